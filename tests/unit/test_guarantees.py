"""The table of guarantees and the tests that prove them agree, in both directions."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
TITLES = {
    "answers": "Answers that lie",
    "links": "Links",
    "credentials": "Credentials",
    "clock": "Clock",
    "refusals": "Refusals",
    "file": "The file",
    "device": "The device",
    "retention": "Retention",
    "orphans": "Orphans",
    "attack": "Attack",
}
_ROW = re.compile(r"\| (?P<fault>[^|]+) \| (?P<outcome>[^|]+) \| `(?P<proof>[^|`]+)` \|")
_GENERATED = re.compile(r"<!-- \[\[\[cog\n(.*?)\]\]\] -->(.*?)<!-- \[\[\[end\]\]\] -->", re.DOTALL)


def _marks() -> ModuleType:
    """The module beside the documentation, which is no package of ours."""
    spec = importlib.util.spec_from_file_location("marks", ROOT / "docs" / "marks.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules["marks"] = made  # its dataclasses look there for themselves
    spec.loader.exec_module(made)
    return made


marks = _marks()


@functools.cache
def said() -> list[tuple[str, str, str, str]]:
    """What the tests say: area, fault, what happens, proof."""
    return [(one.area, one.fault, one.outcome, one.proof) for one in marks.guarantees()]


@functools.cache
def parsed(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def sections() -> dict[str, str]:
    """The text below each heading of the document."""
    text = (ROOT / "docs" / "guarantees.md").read_text()
    _, *parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def rows(area: str) -> list[tuple[str, str, str]]:
    """What a reader sees in the table of an area, wherever it was written."""
    return [
        (found["fault"], found["outcome"], found["proof"])
        for found in map(_ROW.fullmatch, sections()[TITLES[area]].splitlines())
        if found is not None
    ]


def decorators(proof: str) -> list[ast.expr]:
    """The decorators of a test, read from its file anew."""
    path, _, name = proof.partition("::")
    found = [
        node
        for node in parsed(path).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    ]
    assert len(found) == 1, f"{proof} is in {len(found)} places"
    return found[0].decorator_list


@pytest.mark.parametrize("area", TITLES)
def test_the_table_of_an_area_holds_what_the_tests_say(area: str) -> None:
    in_tests = [tuple(row) for its, *row in said() if its == area]

    assert rows(area) == in_tests, "run: .venv/bin/python -m cogapp -r docs/guarantees.md"


@pytest.mark.parametrize("area", TITLES)
def test_every_row_is_proven_by_a_test_that_says_so(area: str) -> None:
    assert rows(area), "an area without a row promises nothing"
    for fault, outcome, proof in rows(area):
        wanted = f"pytest.mark.guarantee({area!r}, {fault!r}, {outcome!r})"
        assert wanted in [ast.unparse(one) for one in decorators(proof)], proof


@pytest.mark.parametrize("area", TITLES)
def test_no_fault_is_twice_in_an_area(area: str) -> None:
    faults = [fault.casefold() for fault, _, _ in rows(area)]

    assert sorted(set(faults)) == sorted(faults)


def test_every_area_has_a_table_of_its_own_and_no_row_stands_elsewhere() -> None:
    assert tuple(TITLES) == marks.AREAS
    for title, text in sections().items():
        generated = [(code, made) for code, made in _GENERATED.findall(text)]
        lines = [line for line in text.splitlines() if "::test_" in line and line.startswith("|")]
        areas = [area for area, its in TITLES.items() if its == title]
        assert [f'table("{area}")' in code for area in areas for code, _ in generated] == [
            True
        ] * len(areas)
        assert lines == [
            line for _, made in generated for line in made.splitlines() if "::" in line
        ]


def test_every_mark_that_pytest_sees_is_in_the_table(request: pytest.FixtureRequest) -> None:
    """Of the tests that run now; reading the source could miss a way to set a mark."""
    seen = {
        (*mark.args, f"{item.nodeid.partition('[')[0]}")
        for item in request.session.items
        for mark in item.iter_markers("guarantee")
    }

    assert seen <= set(said())


def test_every_test_in_the_table_is_one_that_pytest_finds(request: pytest.FixtureRequest) -> None:
    """Of the files that run now; what is deselected by its whole name runs by itself, before."""
    items = {item.nodeid.partition("[")[0] for item in request.session.items}
    files = {item.partition("::")[0] for item in items}
    chosen = any("::" in argument for argument in request.config.args)
    alone = set(request.config.getoption("deselect") or ())
    options = ("keyword", "markexpr", "lf")
    if chosen or any(request.config.getoption(name, None) for name in options):
        pytest.skip("only some tests were asked for")

    missing = [
        proof
        for *_, proof in said()
        if proof.partition("::")[0] in files and proof not in items | alone
    ]

    assert missing == []


# -- what the reader of the marks does not let pass

MARK = '@pytest.mark.guarantee("links", "a cut", "it goes on")\n'
TEST = "def test_it() -> None: ...\n"


def read(tmp_path: Path, source: str) -> list[str]:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_one.py").write_text(f"import pytest\n{source}")
    return [one.line for one in marks.guarantees(tmp_path)]


def test_a_mark_is_a_row(tmp_path: Path) -> None:
    source = MARK + "@pytest.mark.parametrize('n', [1, 2])\nasync " + TEST

    assert read(tmp_path, source) == ["| a cut | it goes on | `tests/test_one.py::test_it` |"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (MARK.replace("links", "weather") + TEST, "no area"),
        (MARK.replace('"a cut"', "CUT") + TEST, "literals"),
        (MARK.replace('"a cut"', 'f"a {CUT}"') + TEST, "literals"),
        (MARK.replace('"a cut"', "7") + TEST, "has an area"),
        (MARK.replace('"a cut", ', "") + TEST, "has an area"),
        (MARK.replace('"it goes', 'outcome="it goes') + TEST, "has an area"),
        (MARK.replace("a cut", "a | cut") + TEST, "plain phrase"),
        (MARK.replace("a cut", "a cut ") + TEST, "plain phrase"),
        (MARK.replace("a cut", "") + TEST, "plain phrase"),
        (MARK + MARK.replace("cut", "stall") + TEST, "one mark per test"),
        (MARK + "def helper() -> None: ...\n", "only a test"),
        (MARK + "class TestIt: ...\n", "above one test"),
        (f"pytestmark = {MARK[1:]}" + TEST, "above one test"),
        (f"CUT = {MARK[1:]}@CUT\n" + TEST, "above one test"),
        ("class TestIt:\n    " + MARK + "    def test_it(self) -> None: ...\n", "above one test"),
        (MARK + "@pytest.mark.skip\n" + TEST, "never runs"),
        (MARK + "@pytest.mark.skip(reason='slow')\n" + TEST, "never runs"),
        (MARK + "@pytest.mark.xfail(strict=True)\n" + TEST, "never runs"),
        (MARK + "def test_it() -> None:\n    pytest.skip('slow')\n", "never runs"),
        ("pytestmark = [pytest.mark.skip]\n" + MARK + TEST, "never runs"),
        ("pytest.skip('slow', allow_module_level=True)\n" + MARK + TEST, "never runs"),
        (MARK + TEST + MARK + TEST.replace("test_it", "test_that"), "already"),
        (MARK + TEST + MARK.replace("a cut", "A cut") + TEST.replace("it", "that"), "already"),
    ],
)
def test_a_mark_that_proves_nothing_is_refused(tmp_path: Path, source: str, says: str) -> None:
    with pytest.raises(marks.BadMark, match=says):
        read(tmp_path, source)


def test_a_test_that_runs_only_where_it_can_may_prove_something(tmp_path: Path) -> None:
    source = MARK + "@pytest.mark.skipif(not HERE, reason='needs root')\n" + TEST

    assert len(read(tmp_path, source)) == 1
