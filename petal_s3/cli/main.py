"""The command line: turn words into the service's verbs, and outcomes into exit codes."""

from __future__ import annotations

import gc
import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Annotated

import typer
from typer.core import TyperGroup
from typer.main import get_command

from petal_s3 import __version__
from petal_s3.cli.exit_codes import FAILED, Sentences, complain, print_document
from petal_s3.cli.options import ForPrograms, Shell

_DEMO_NEEDS = ("moto", "flask", "petal_app_manager", "pymavlink")

_COMMANDS: Mapping[str, tuple[str, ...]] = {
    "status_command": ("status",),
    "row_commands": ("enqueue", "drain"),
    "outbox_commands": ("log", "backup"),
    "verb_commands": ("retry", "resend", "cancel", "pin", "unpin", "dismiss"),
    "card_commands": ("card",),
    "object_commands": ("ls", "get", "presign", "rm", "mv"),
    "verify_command": ("verify",),
    "check_command": ("check",),
    "serve_command": ("serve",),
    "host_commands": ("host",),
    "admin_commands": ("bucket",),
}
"""The modules of commands and the words of each, as the help lists them; then those of this one."""
_GROUPS = {"host_commands": "host", "admin_commands": "bucket", "card_commands": "card"}
"""Modules whose words follow another word."""


def command_line(word: str = "") -> typer.Typer:
    """All commands, or what is needed for the one that begins with ``word``.

    To import all of them takes longer than most of them run.
    """
    app = typer.Typer(
        cls=Sentences,
        add_completion=False,  # the command completion prints its own
        context_settings={"help_option_names": ["-h", "--help"]},
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Flight logs from a drone into S3, proven.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong use, 3 not now.",
    )
    app.callback()(_options)
    known = {word for words in _COMMANDS.values() for word in words}
    every = word not in known | _OWN.keys()
    for module, words in _COMMANDS.items():
        if every or word in words:
            found = importlib.import_module(f"petal_s3.cli.{module}").app
            app.add_typer(found, name=_GROUPS.get(module))
    last = typer.Typer()  # what stands in a group of its own comes after the others
    for own in _OWN.values():
        last.command()(own)
    app.add_typer(last)
    return app


def __getattr__(name: str) -> typer.Typer:
    """``app``: all commands."""
    if name != "app":
        raise AttributeError(name)
    globals()["app"] = made = command_line()
    return made


def main() -> None:
    """Run the command that was typed."""
    # What is logged is said again, and better, by the commands.
    logging.getLogger().addHandler(logging.NullHandler())
    # What is imported stays: to look through it again and again took a twelfth of a drain.
    gc.set_threshold(10_000, 10, 10)
    command_line(sys.argv[1] if len(sys.argv) > 1 else "")(prog_name="petal-s3")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"petal-s3 {__version__}")
        raise typer.Exit


def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Run on until Ctrl-C.")] = False,
) -> None:
    """Play a flight on this machine: host, S3 server and token service are all local."""
    missing = [name for name in _DEMO_NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        complain(f"The demo needs {', '.join(missing)}: pip install 'petal-s3[demo]'")
        raise typer.Exit(FAILED)
    from petal_s3.demo import show  # noqa: PLC0415 - needs packages that are not always there

    raise typer.Exit(show.run(keep))


def selftest(for_programs: ForPrograms = False) -> None:
    """Prove offline that petal-s3 works here: formats, keys, outbox, an upload to itself."""
    from petal_s3.selftest.running import selftest as prove  # noqa: PLC0415 - only for this

    raise typer.Exit(prove(for_programs=for_programs))


def completion(shell: Annotated[Shell, typer.Argument(help="For which shell.")]) -> None:
    """Print what a shell completes, for: eval "$(petal-s3 completion bash)"."""
    from petal_s3.cli.completions import script  # noqa: PLC0415 - only for this

    top = get_command(command_line())
    assert isinstance(top, TyperGroup)
    typer.echo(script(shell, top), nl=False)


def schema(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND]...", help="Like: card fetch.")
    ] = None,
) -> None:
    """Print the JSON Schema of what a command answers to --json; without one, the commands."""
    from petal_s3.cli.answers import ANSWERS, schema_of  # noqa: PLC0415 - slow

    command = " ".join(words or [])
    if not command:
        typer.echo("\n".join(ANSWERS))
    elif command in ANSWERS:
        print_document(schema_of(command))
    else:
        raise typer.BadParameter(f"One of these is expected: {', '.join(ANSWERS)}.")


_OWN: Mapping[str, Callable[..., None]] = {
    "demo": demo,
    "selftest": selftest,
    "completion": completion,
    "schema": schema,
}
