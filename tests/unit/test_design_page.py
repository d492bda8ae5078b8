"""The design page names what is there, and each test file has a name of its own."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_each_module_on_the_design_page_exists() -> None:
    page = (ROOT / "docs" / "design.md").read_text("utf-8")
    where = page[page.index("## Where to look") : page.index("## Words")]
    packages = {path.parent.name for path in (ROOT / "petal_s3").glob("*/__init__.py")}
    named = re.findall(r"`(\w+)\.([\w.]+)`", where)
    modules = [(package, rest) for package, rest in named if package in packages]
    assert len(modules) > 50
    missing = [
        f"{package}.{rest}"
        for package, rest in modules
        if not (path := ROOT.joinpath("petal_s3", package, *rest.split("."))).is_dir()
        and not path.with_suffix(".py").is_file()
    ]
    assert missing == []


def test_each_question_stands_there_once() -> None:
    page = (ROOT / "docs" / "design.md").read_text("utf-8")
    where = page[page.index("## Where to look") : page.index("## Words")]
    asked = re.findall(r"^\| (.+?) \|", where, re.MULTILINE)
    assert len(asked) > 40
    assert sorted({one for one in asked if asked.count(one) > 1}) == []


def test_each_test_file_has_a_name_of_its_own() -> None:
    """Else ``pytest`` without a folder collects none of the two."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) > 200
    assert sorted({one for one in names if names.count(one) > 1}) == []
