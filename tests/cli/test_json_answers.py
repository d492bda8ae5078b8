"""What ``--json`` answers is what its types, and so its documentation, say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from console import Console, Sea
from pydantic import TypeAdapter
from typer.core import TyperGroup
from typer.main import get_command

from petal_s3.cli.answers import ANSWERS, Failure, schema_of
from petal_s3.cli.main import app
from petal_s3.core.release import JSON_SCHEMA

_IAM = {"bucket policy"}  # a document of IAM's own form


def _with_json(group: TyperGroup, prefix: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if any("--json" in param.opts for param in command.params):
            yield f"{prefix}{name}"
        if isinstance(command, TyperGroup):
            yield from _with_json(command, f"{prefix}{name} ")


def assert_as_described(command: str, found: Any) -> None:
    """An answer has the names of its type, no more and no less, and their types."""
    form = Failure if "error" in found else ANSWERS[command]
    TypeAdapter(form).validate_python(found)
    if isinstance(found, list):
        for one in found:
            assert set(one) == set(get_args(form)[0].model_fields)
        return
    assert found["schema"] == JSON_SCHEMA
    may_lack = {"card"} if "card" in form.model_fields else set()
    assert set(found) - {"schema"} | may_lack == set(form.model_fields) | may_lack


def test_every_command_with_json_is_described() -> None:
    top = get_command(app)
    assert isinstance(top, TyperGroup)
    assert {*_with_json(top)} == {*ANSWERS} | _IAM


def test_answers_are_as_they_are_described(console: Console, sea: Sea) -> None:
    path = console.write("a.ulg")
    asked = {
        "enqueue": [path],
        "drain": [],
        "status": [],
        "pin": ["1", "7"],
        "unpin": ["1"],
        "log": ["1"],
        "ls": [],
        "presign": ["20250727_143022_a.ulg"],
        "verify": ["--all"],
        "backup": [console.directory / "backup.db"],
        "retry": ["1"],
        "resend": ["1"],
        "cancel": ["1"],
        "dismiss": ["--dead"],  # there is none: a failure
        "card": [],
        "card ls": [],
        "card safe-to-erase": [],
        "check": [],
    }
    for command, words in asked.items():
        found = console.type(*command.split(), *words, "--json")
        assert_as_described(command, found.json)


def test_a_failure_is_as_it_is_described(console: Console) -> None:
    found = console.type("log", "7", "--json").json
    assert found.pop("schema") == JSON_SCHEMA
    assert set(found) == set(Failure.model_fields)


@pytest.mark.parametrize("command", sorted(ANSWERS))
def test_a_schema_is_printed(console: Console, command: str) -> None:
    assert console.type("schema", *command.split()).json == schema_of(command)


def test_schema_lists_the_commands(console: Console) -> None:
    assert console.type("schema").out.splitlines() == list(ANSWERS)
    assert console.type("schema", "serve").code == 2
