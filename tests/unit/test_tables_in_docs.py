"""Every table in the documentation is one table: header, rule, and rows of as many cells."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def broken(text: str) -> list[str]:
    """Sentences about the tables of a Markdown text that do not render as tables."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found = []
    for is_table, lines in groupby(prose.splitlines(), lambda line: line.startswith("|")):
        if not is_table:
            continue
        header, *rest = lines
        if not rest or not re.fullmatch(r"\|(?: *:?-+:? *\|)+", rest[0]):
            found.append(f"no header above: {header}")
        found += [
            f"not as many cells as its header: {row}"
            for row in rest
            if _cells(row) != _cells(header)
        ]
    return found


def _cells(row: str) -> int:
    return re.sub(r"`[^`]*`|\\\|", "", row).count("|")


@pytest.mark.parametrize("doc", DOCS, ids=lambda doc: str(doc.relative_to(ROOT)))
def test_its_tables_are_whole(doc: Path) -> None:
    assert broken(doc.read_text("utf-8")) == []


def test_a_blank_line_in_a_table_is_found() -> None:
    table = "| a | b |\n|---|---|\n| 1 | 2 |\n"
    assert broken(table) == []
    assert broken(f"{table}\n| 3 | 4 |\n| 5 | 6 |\n") == ["no header above: | 3 | 4 |"]
    assert broken(f"{table}| 3 |\n") == ["not as many cells as its header: | 3 |"]
