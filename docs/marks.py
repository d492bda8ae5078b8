"""Read from the tests which of them prove a guarantee, and against whom; nothing is run."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

ROOT = Path(__file__).resolve().parents[1]
GUARANTEE, THREAT = "guarantee", "threat"
AREAS = (
    "answers",
    "links",
    "credentials",
    "clock",
    "refusals",
    "file",
    "device",
    "retention",
    "orphans",
    "card",
    "attack",
)
WHO = ("page", "wifi", "neighbour", "sibling", "user", "stolen", "tokens", "server", "path")
_GROUPS = {GUARANTEE: AREAS, THREAT: WHO}
_HEADS = {GUARANTEE: "| fault | what happens |", THREAT: "| what is tried | what happens |"}
_NEVER_RUNS = {"skip", "xfail"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Row:
    """One row: what goes wrong or is tried, what happens, and the test that proves it."""

    kind: str
    """The page it stands on: ``guarantee`` or ``threat``."""
    group: str
    """Its table there: one of :data:`AREAS`, or of :data:`WHO`."""
    fault: str
    outcome: str
    proof: str
    """``path::test_name``, as pytest takes it."""

    @property
    def line(self) -> str:
        """The row as the table shows it."""
        return f"| {self.fault} | {self.outcome} | `{self.proof}` |"


class BadMark(ValueError):
    """A mark that cannot become a row; the sentence names the line."""


@functools.cache
def rows(root: Path = ROOT) -> Sequence[Row]:
    """Every row that a test under ``root``/tests proves, in the order of files and lines.

    Raises :class:`BadMark` where a mark is no row: not literal, of an unknown group, not on a
    test of its own, on a test that never runs, or the second of its fault.
    """
    found: list[Row] = []
    for path in sorted((root / "tests").rglob("*.py")):
        found += _of_file(path, path.relative_to(root).as_posix())
    first: dict[tuple[str, str], str] = {}
    for one in found:
        before = first.setdefault((one.group, one.fault.casefold()), one.proof)
        if before != one.proof:
            raise BadMark(f"{one.proof}: {one.group} has {one.fault!r} already, from {before}")
    return tuple(found)


def table(group: str, root: Path = ROOT) -> str:
    """The table of an area, or of one who may try something."""
    [head] = [head for kind, head in _HEADS.items() if group in _GROUPS[kind]]
    lines = ["", f"{head} proven by |", "|---|---|---|"]
    lines += [one.line for one in rows(root) if one.group == group]
    return "\n".join([*lines, "", ""])


def _of_file(path: Path, shown: str) -> Iterator[Row]:
    module = ast.parse(path.read_text())
    marks = {id(node): node for node in ast.walk(module) if _is_mark(node, set(_GROUPS))}
    dead_module = _ends_at_once(module.body) or any(
        _is_mark(node, _NEVER_RUNS)
        for statement in module.body
        if isinstance(statement, ast.Assign) and _names(statement) == ["pytestmark"]
        for node in ast.walk(statement)
    )
    for function in module.body:
        if not isinstance(function, Function):
            continue
        where = f"{shown}::{function.name}"
        calls = [one for one in function.decorator_list if isinstance(one, ast.Call)]
        own = [(one, marks.pop(id(one.func))) for one in calls if id(one.func) in marks]
        if own and not function.name.startswith("test"):
            raise BadMark(f"{where}: only a test can prove something")
        if own and (dead_module or _never_runs(function)):
            raise BadMark(f"{where}: a test that never runs proves nothing")
        yield from _of_test([(mark.attr, _texts(call, where)) for call, mark in own], where)
    for left in marks.values():
        raise BadMark(f"{shown}:{left.lineno}: a mark belongs above one test")


def _of_test(marks: Sequence[tuple[str, Sequence[str]]], where: str) -> Iterator[Row]:
    """The rows of one test: a guarantee at most, and one for each who may try the same."""
    said = [texts for kind, texts in marks if kind == GUARANTEE]
    tables = [kind if kind == GUARANTEE else texts[0] for kind, texts in marks]
    if len(set(tables)) < len(tables):
        raise BadMark(f"{where}: one guarantee per test, and one threat for each who")
    for kind, (group, *own) in marks:
        if group not in _GROUPS[kind]:
            known = ", ".join(_GROUPS[kind])
            raise BadMark(f"{where}: {group!r} is unknown to {kind}; they are {known}")
        texts = said[0][1:] if not own and kind == THREAT and said else own
        if len(texts) != 2:
            raise BadMark(f"{where}: a mark has a group, a fault and what happens")
        yield Row(kind, group, *texts, where)


def _is_mark(node: ast.AST, names: set[str]) -> TypeGuard[ast.Attribute]:
    """Whether it is ``<anything>.mark.<one of the names>``."""
    return (
        isinstance(node, ast.Attribute)
        and node.attr in names
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "mark"
    )


def _names(statement: ast.Assign) -> list[str]:
    return [target.id for target in statement.targets if isinstance(target, ast.Name)]


def _never_runs(function: Function) -> bool:
    marks = [one.func if isinstance(one, ast.Call) else one for one in function.decorator_list]
    return any(_is_mark(one, _NEVER_RUNS) for one in marks) or _ends_at_once(function.body)


def _ends_at_once(body: Sequence[ast.stmt]) -> bool:
    """Whether ``pytest.skip(...)`` or its like is called there, under no condition."""
    called = [
        one.value.func
        for one in body
        if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call)
    ]
    return any(isinstance(one, ast.Attribute) and one.attr in _NEVER_RUNS for one in called)


def _texts(call: ast.Call, where: str) -> Sequence[str]:
    try:
        texts = [ast.literal_eval(argument) for argument in call.args]
    except ValueError as error:
        raise BadMark(f"{where}: the texts of a mark are literals") from error
    if call.keywords or not texts or not all(isinstance(text, str) for text in texts):
        raise BadMark(f"{where}: a mark has a group, a fault and what happens")
    if any(not text or text != text.strip() or set(text) & set("|\n`") for text in texts):
        raise BadMark(f"{where}: a text of a mark is one plain phrase")
    return texts
