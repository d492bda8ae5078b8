"""Write the parts of the documentation that come from the code; scripts/check compares them."""

from __future__ import annotations

import ast
from pathlib import Path

from pydantic import ByteSize
from typer.core import TyperGroup
from typer.main import get_command

from petal_s3.cli.main import app
from petal_s3.core.settings import Settings
from petal_s3.core.settings_yaml import PREFIX
from petal_s3.intake import flight_holds
from petal_s3.service import reasons as reasons_of
from petal_s3.service.endings import ENDINGS
from petal_s3.web.routes import ROUTES


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
