"""The documentation leads somewhere: every link, every code, every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from petal_s3.service.reasons import CODES

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "examples" / "README.md",
    ROOT / "contrib" / "README.md",
]
_LINK = re.compile(r"(?<!\\)\[(?:[^\]\[]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
_REFERENCE = re.compile(r"^\[[^\]]+\]:\s+(\S+)", re.MULTILINE)
_FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`]*`")


def prose(page: str) -> str:
    """A page without its blocks and code, in which brackets are no links."""
    return _CODE.sub("", _FENCED.sub("", page))


def anchors(page: str) -> set[str]:
    """What headings can be linked to, as GitHub makes it."""
    found: dict[str, int] = {}
    made = set()
    for heading in re.findall(r"^#+ +(.+?) *#*$", _FENCED.sub("", page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = found.get(slug, 0)
        found[slug] = number + 1
        made.add(f"{slug}-{number}" if number else slug)
    return made


def broken(path: Path, whole: str) -> list[str]:
    """Links of a page that lead nowhere in this checkout."""
    text = prose(whole)
    wrong = []
    for link in [*_LINK.findall(text), *_REFERENCE.findall(text)]:
        if re.match(r"[a-z+]+:", link):
            continue  # elsewhere
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve()
        if not target.exists():
            wrong.append(f"{link}: there is no such file")
        elif anchor and anchor not in anchors(target.read_text("utf-8") if file else whole):
            wrong.append(f"{link}: there is no such heading")
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda one: str(one.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken(page, page.read_text("utf-8")) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A `page`, of 2\n\n## What, then?\n\n## What, then?\n")
    page = tmp_path / "page.md"
    good = "[a](other.md) [b](other.md#a-page-of-2) [c](other.md#what-then-1) [d](https://x.y/#z)"
    assert broken(page, f"# Here\n\n{good} [e](#here) `[f](none.md)`\n") == []
    assert broken(page, "[a](none.md) [b](other.md#no) [c][d]\n\n[d]: gone.md\n") == [
        "none.md: there is no such file",
        "other.md#no: there is no such heading",
        "gone.md: there is no such file",
    ]


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    left = [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for link in _LINK.findall(prose(page.read_text("utf-8"))):
            target = (page.parent / link.partition("#")[0]).resolve()
            left += sorted(target.glob("*.md")) if target.is_dir() else [target]
    assert [one for one in PAGES if one not in reached] == []


def test_for_every_code_it_is_said_what_to_do() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    table = page.partition("## What to do\n")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    named = [code for _, codes, *_ in rows for code in re.findall(r"`(\w+)`", codes)]
    assert sorted(named) == sorted(CODES)
    assert all(len(said.strip()) > 8 for _, _, said, *_ in rows)


def test_the_quick_start_has_its_command_on_the_path_before_it_is_typed() -> None:
    page = (ROOT / "docs" / "quickstart.md").read_text("utf-8")
    made = re.search(r"python3 -m venv (\S+)", page)
    assert made is not None
    path = f'export PATH="{made[1]}/bin:$PATH"'
    first = re.search(r"^petal-s3 ", page, re.MULTILINE)
    assert first is not None
    assert path in page[: first.start()]
