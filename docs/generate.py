"""Write the parts of the documentation that come from the code; scripts/check compares them."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from pydantic import ByteSize
from typer.core import TyperGroup
from typer.main import get_command

from petal_s3.cli.answers import ANSWERS, schema_of
from petal_s3.cli.main import app
from petal_s3.core.settings import Settings
from petal_s3.core.settings_yaml import PREFIX
from petal_s3.host.mqtt_commands import COMMANDS, PETAL
from petal_s3.intake import flight_holds
from petal_s3.service import reasons as reasons_of
from petal_s3.service.endings import ENDINGS
from petal_s3.web.routes import ROUTES

_FEW = 10
_WORDS = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
    "object": "object",
}


def commands() -> str:
    """One line per command, from the command line itself."""
    lines = ["", "| command | does |", "|---|---|"]

    def walk(group: TyperGroup, prefix: str) -> None:
        for name, command in sorted(group.commands.items()):
            if isinstance(command, TyperGroup):
                walk(command, f"{prefix} {name}")
            else:
                lines.append(f"| `{prefix} {name}` | {command.get_short_help_str(200)} |")

    top = get_command(app)
    assert isinstance(top, TyperGroup)
    walk(top, "petal-s3")
    return "\n".join([*lines, "", ""])


def settings() -> str:
    """The table of settings."""
    lines = ["", "| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        variable = f"`{PREFIX}{name.upper()}`"
        if name == "session_token_url":
            variable += " or `PETAL_SESSION_TOKEN_URL`"
        default = "required" if field.is_required() else f"`{_shown(field.default)}`"
        lines.append(f"| {variable} | {default} | {field.description} |")
    return "\n".join([*lines, "", ""])


def packages() -> str:
    """One line per package, the highest first: what it holds, and its modules."""
    import tomllib  # noqa: PLC0415 - from Python 3.11 on

    contracts = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layers = " | ".join(contracts["contracts"][0]["layers"]).split(" | ")
    lines = ["", "| package | holds | modules |", "|---|---|---|"]
    for name in layers:
        package = Path("petal_s3", name)
        if package.is_dir():
            files = (file for file in package.rglob("*.py") if file.stem[0] != "_")
            modules = sorted(
                ".".join(file.relative_to(package).with_suffix("").parts) for file in files
            )
            holds = _first_line(package / "__init__.py")
            lines.append(f"| `{name}` | {holds} | {', '.join(f'`{one}`' for one in modules)} |")
        elif name != "__main__":
            lines.append(f"| `{name}` | {_first_line(package.with_suffix('.py'))} | |")
    return "\n".join([*lines, "", ""])


def _first_line(module: Path) -> str:
    text = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
    return text.partition("\n")[0].replace("``", "`").rstrip(".")


def rest() -> str:
    """One line per REST route, from the table that both doors mount."""
    lines = ["", "| method, path | does | asks for | failures |", "|---|---|---|---|"]
    for route in ROUTES:
        path = route.path.replace(":path}", "}")
        named = [name for name in route.ask.model_fields if f"{{{name}}}" not in path]
        if route.form is not None:
            named += [f"form: {name}" for name in route.form.model_fields]
        kind = "JSON: " if route.takes_json and named else ""
        asked = kind + ", ".join(f"`{name}`" for name in named)
        failures = ", ".join(str(status) for status in route.errors)
        lines.append(f"| {route.method} `{path}` | {route.summary} | {asked} | {failures} |")
    return "\n".join([*lines, "", ""])


def mqtt() -> str:
    """One line per command over MQTT."""
    lines = ["", "| command | does | payload | answer | as over REST |", "|---|---|---|---|---|"]
    for one in COMMANDS:
        asked = ", ".join(f"`{name}`" for name in one.ask.model_fields)
        answer = " or ".join(f"`{model.__name__}`" for model in one.answer)
        same = ", ".join(f"`{part}`" for part in one.rest.split(", ") if one.rest)
        needs = "" if one.needs == "read" else f" ({one.needs})"
        lines.append(
            f"| `{PETAL}/{one.name}`{needs} | {one.summary} | {asked} | {answer} | {same} |"
        )
    return "\n".join([*lines, "", ""])


def mqtt_payloads() -> str:
    """Every name of the payloads, and those of answers that REST does not have."""
    lines = ["", "| command | name | meaning |", "|---|---|---|"]
    for one in COMMANDS:
        for name, field in one.ask.model_fields.items():
            needed = "; required" if field.is_required() else ""
            lines.append(f"| `{one.name}` | `{name}` | {field.description}{needed} |")
    return "\n".join([*lines, "", ""])


def mqtt_answers() -> str:
    """The fields of the answers that REST does not have."""
    lines = ["", "| model | name | meaning |", "|---|---|---|"]
    for one in COMMANDS:
        for model in one.answer:
            if one.rest:
                continue
            for name, field in model.model_fields.items():
                lines.append(f"| `{model.__name__}` | `{name}` | {field.description or ''} |")
    return "\n".join([*lines, "", ""])


def json_commands() -> str:
    """One line per command with ``--json``: what its answer is called."""
    lines = ["", "| command | answer |", "|---|---|"]
    for command in ANSWERS:
        schema = schema_of(command)
        said = f"`{schema['title']}`" if schema.get("type") == "object" else _kind(schema)
        lines.append(f"| `{command}` | {said} |")
    return "\n".join([*lines, "", ""])


def json_answers() -> str:
    """Every name of every answer: its type and meaning."""
    models: dict[str, dict[str, Any]] = {}
    for command in ANSWERS:
        schema = schema_of(command)
        models |= schema.get("$defs", {})
        if schema.get("type") == "object":
            models[schema["title"]] = schema
    lines = ["", "| answer | name | type | meaning |", "|---|---|---|---|"]
    for title in sorted(models):
        for name, about in models[title].get("properties", {}).items():
            said = about.get("description", "")
            lines.append(f"| `{title}` | `{name}` | {_kind(about)} | {said} |")
    return "\n".join([*lines, "", ""])


def _kind(schema: dict[str, Any]) -> str:
    """The type of a value, in words."""
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema and len(schema["enum"]) <= _FEW:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"names, each with {_kind(schema['additionalProperties'])}"
    return _WORDS.get(schema.get("type", ""), "any")


def reasons() -> str:
    """The closed list of codes: the sentence of each, and what happens."""
    lines = ["", "| code | what it means | what happens | what ends it |", "|---|---|---|---|"]
    for codes, effect in (
        (reasons_of.STATES, "nothing is in the way"),
        (reasons_of.TROUBLES, "there may be more logs than are counted"),
        (reasons_of.HOLDS, "every row waits"),
        (reasons_of.WAITS, "this row waits"),
        (reasons_of.ENDS, "it is not sent; a person has to look"),
        (reasons_of.CARD, "of the autopilot's card"),
    ):
        lines += [
            f"| `{code}` | {said} | {effect} | {ENDINGS.get(code, '')} |"
            for code, said in codes.items()
        ]
    return "\n".join([*lines, "", ""])


def holds() -> str:
    """The table of what the vehicle holds the uploads for: code and sentence."""
    known = [one for one in vars(flight_holds).values() if isinstance(one, flight_holds.Hold)]
    said = flight_holds.declared_armed("2025-07-27 14:30 UTC by this machine's clock")
    lines = ["", "| code | sentence |", "|---|---|"]
    lines += [f"| `{one.code}` | {one.sentence} |" for one in [*known, said]]
    return "\n".join([*lines, "", ""])


def _shown(default: object) -> str:
    if default is None:
        return "none"
    if isinstance(default, ByteSize):
        return default.human_readable().replace(".0", "") if default else "0"
    if isinstance(default, tuple):
        return ":".join(str(part) for part in default) or "none"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float):
        return f"{default:g}"
    return str(default if not isinstance(default, Path) else default.as_posix())
