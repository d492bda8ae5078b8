"""Read from the tests which of them prove a guarantee; nothing is imported or run."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
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
    "attack",
)
_NEVER_RUNS = {"skip", "xfail"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Guarantee:
    """One row: a fault, what happens, and the test that proves it."""

    area: str
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
def guarantees(root: Path = ROOT) -> Sequence[Guarantee]:
    """Every guarantee that a test under ``root``/tests proves, in the order of files and lines.

    Raises :class:`BadMark` where a mark is no row: not literal, of an unknown area, not on a
    test of its own, on a test that never runs, or the second of its fault.
    """
    found: list[Guarantee] = []
    for path in sorted((root / "tests").rglob("*.py")):
        found += _of_file(path, path.relative_to(root).as_posix())
    first: dict[tuple[str, str], str] = {}
    for one in found:
        before = first.setdefault((one.area, one.fault.casefold()), one.proof)
        if before != one.proof:
            raise BadMark(f"{one.proof}: {one.area} has {one.fault!r} already, from {before}")
    return tuple(found)


def table(area: str, root: Path = ROOT) -> str:
    """The table of one area."""
    lines = ["", "| fault | what happens | proven by |", "|---|---|---|"]
    lines += [one.line for one in guarantees(root) if one.area == area]
    return "\n".join([*lines, "", ""])


def _of_file(path: Path, shown: str) -> Iterator[Guarantee]:
    module = ast.parse(path.read_text())
    marks = {id(node): node for node in ast.walk(module) if _is_mark(node, {"guarantee"})}
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
        own = [one for one in function.decorator_list if isinstance(one, ast.Call)]
        own = [one for one in own if id(one.func) in marks]
        for call in own:
            del marks[id(call.func)]
            if len(own) > 1:
                raise BadMark(f"{where}: one mark per test")
            if not function.name.startswith("test"):
                raise BadMark(f"{where}: only a test can prove something")
            if dead_module or _never_runs(function):
                raise BadMark(f"{where}: a test that never runs proves nothing")
            yield Guarantee(*_texts(call, where), where)
    for left in marks.values():
        raise BadMark(f"{shown}:{getattr(left, 'lineno', 0)}: a mark belongs above one test")


def _is_mark(node: ast.AST, names: set[str]) -> bool:
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


def _texts(call: ast.Call, where: str) -> tuple[str, str, str]:
    try:
        texts = [ast.literal_eval(argument) for argument in call.args]
    except ValueError as error:
        raise BadMark(f"{where}: the texts of a mark are literals") from error
    if call.keywords or len(texts) != 3 or not all(isinstance(text, str) for text in texts):
        raise BadMark(f"{where}: a mark has an area, a fault and what happens")
    if texts[0] not in AREAS:
        raise BadMark(f"{where}: {texts[0]!r} is no area; they are {', '.join(AREAS)}")
    if any(not text or text != text.strip() or set(text) & set("|\n`") for text in texts):
        raise BadMark(f"{where}: a text of a mark is one plain phrase")
    return texts[0], texts[1], texts[2]
