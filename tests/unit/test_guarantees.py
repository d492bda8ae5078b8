"""The tables of guarantees and threats and the tests that prove them agree, both ways."""

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
    "card": "The autopilot's card",
    "attack": "Attack",
}
WHO = {
    "page": "A web page",
    "wifi": "Somebody on the Wi-Fi",
    "neighbour": "A neighbour robot",
    "sibling": "A sibling petal",
    "user": "A local user",
    "stolen": "A stolen robot",
    "tokens": "The token service",
    "server": "The S3 server",
    "path": "Somebody on the path",
}
PAGES = {
    "guarantee": ("docs/guarantees.md", TITLES),
    "threat": ("docs/security.md", WHO),
}
KIND_OF = {group: kind for kind, (_, titles) in PAGES.items() for group in titles}
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
    """What the tests say: group, fault, what happens, proof."""
    return [(one.group, one.fault, one.outcome, one.proof) for one in marks.rows()]


@functools.cache
def parsed(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def sections(kind: str) -> dict[str, str]:
    """The text below each heading of a page."""
    text = (ROOT / PAGES[kind][0]).read_text()
    _, *parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def rows(group: str) -> list[tuple[str, str, str]]:
    """What a reader sees in the table of a group, wherever it was written."""
    kind = KIND_OF[group]
    return [
        (found["fault"], found["outcome"], found["proof"])
        for found in map(_ROW.fullmatch, sections(kind)[PAGES[kind][1][group]].splitlines())
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


@pytest.mark.parametrize("group", KIND_OF)
def test_a_table_holds_what_the_tests_say(group: str) -> None:
    in_tests = [tuple(row) for its, *row in said() if its == group]

    page = PAGES[KIND_OF[group]][0]
    assert rows(group) == in_tests, f"run: .venv/bin/python -m cogapp -r {page}"


@pytest.mark.parametrize("group", KIND_OF)
def test_every_row_is_proven_by_a_test_that_says_so(group: str) -> None:
    assert rows(group), "a table without a row promises nothing"
    for fault, outcome, proof in rows(group):
        there = [ast.unparse(one) for one in decorators(proof)]
        whole = f"pytest.mark.{KIND_OF[group]}({group!r}, {fault!r}, {outcome!r})"
        if group in WHO and f"pytest.mark.threat({group!r})" in there:
            ends = f", {fault!r}, {outcome!r})"
            assert any(
                one.startswith("pytest.mark.guarantee(") and one.endswith(ends) for one in there
            )
        else:
            assert whole in there, proof


@pytest.mark.parametrize("group", KIND_OF)
def test_no_fault_is_twice_in_a_table(group: str) -> None:
    faults = [fault.casefold() for fault, _, _ in rows(group)]

    assert sorted(set(faults)) == sorted(faults)


@pytest.mark.parametrize("kind", PAGES)
def test_every_group_has_a_table_of_its_own_and_no_row_stands_elsewhere(kind: str) -> None:
    titles = PAGES[kind][1]
    assert tuple(titles) == {"guarantee": marks.AREAS, "threat": marks.WHO}[kind]
    for title, text in sections(kind).items():
        generated = [(code, made) for code, made in _GENERATED.findall(text)]
        lines = [line for line in text.splitlines() if "::test_" in line and line.startswith("|")]
        groups = [group for group, its in titles.items() if its == title]
        assert [f'table("{group}")' in code for group in groups for code, _ in generated] == [
            True
        ] * len(groups)
        assert lines == [
            line for _, made in generated for line in made.splitlines() if "::" in line
        ]


def test_each_who_says_what_stays_possible_and_what_to_do() -> None:
    for title, text in sections("threat").items():
        if title in WHO.values():
            before = text.partition("<!--")[0]
            assert "**Stays possible:**" in before, title
            assert "**What to do:**" in before, title


def test_every_mark_that_pytest_sees_is_in_the_table(request: pytest.FixtureRequest) -> None:
    """Of the tests that run now; reading the source could miss a way to set a mark."""
    seen = {
        (mark.args, item.nodeid.partition("[")[0])
        for item in request.session.items
        for kind in PAGES
        for mark in item.iter_markers(kind)
    }
    whole = {((group, fault, outcome), proof) for group, fault, outcome, proof in said()}
    short = {((group,), proof) for group, _, _, proof in said() if group in WHO}

    assert seen <= whole | short


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
    return [one.line for one in marks.rows(tmp_path)]


THREAT = '@pytest.mark.threat("page", "it asks", "403")\n'
SHORT = '@pytest.mark.threat("page")\n'


def test_a_mark_is_a_row(tmp_path: Path) -> None:
    source = MARK + "@pytest.mark.parametrize('n', [1, 2])\nasync " + TEST

    assert read(tmp_path, source) == ["| a cut | it goes on | `tests/test_one.py::test_it` |"]


def test_a_test_may_prove_a_row_for_several(tmp_path: Path) -> None:
    source = MARK + SHORT + THREAT.replace("page", "path") + TEST

    where = "tests/test_one.py::test_it"
    assert read(tmp_path, source) == [
        f"| a cut | it goes on | `{where}` |",
        f"| a cut | it goes on | `{where}` |",
        f"| it asks | 403 | `{where}` |",
    ]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (MARK.replace("links", "weather") + TEST, "unknown to guarantee"),
        (MARK.replace('"a cut"', "CUT") + TEST, "literals"),
        (MARK.replace('"a cut"', 'f"a {CUT}"') + TEST, "literals"),
        (MARK.replace('"a cut"', "7") + TEST, "has a group"),
        (MARK.replace('"a cut", ', "") + TEST, "has a group"),
        (MARK.replace('"it goes', 'outcome="it goes') + TEST, "has a group"),
        (MARK.replace("a cut", "a | cut") + TEST, "plain phrase"),
        (MARK.replace("a cut", "a cut ") + TEST, "plain phrase"),
        (MARK.replace("a cut", "") + TEST, "plain phrase"),
        (MARK + MARK.replace("cut", "stall") + TEST, "one guarantee per test"),
        (THREAT + THREAT.replace("asks", "sends") + TEST, "one threat for each who"),
        (THREAT.replace("page", "links") + TEST, "unknown to threat"),
        (MARK.replace("links", "page") + TEST, "unknown to guarantee"),
        (SHORT + TEST, "has a group"),
        (SHORT.replace('"page"', "") + TEST, "has a group"),
        (THREAT + "@pytest.mark.skip\n" + TEST, "never runs"),
        (THREAT + "class TestIt: ...\n", "above one test"),
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
