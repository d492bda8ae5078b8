"""Turn errors and signals into sentences and exit codes."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from typer.core import TyperGroup

from petal_s3.core.release import JSON_SCHEMA
from petal_s3.errors import (
    BadInput,
    ConfigError,
    LocalStorageError,
    S3IntegrationError,
    as_json,
)

if TYPE_CHECKING:
    from petal_s3.service.service import Service

DONE, FAILED, WRONG_USE, NOT_NOW, INTERRUPTED = 0, 1, 2, 3, 130

T = TypeVar("T")


class Sentences(TyperGroup):
    """Commands of which every error of ours becomes one sentence and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; with ``--json`` an error is the answer, as JSON."""
        for_programs = "--json" in ctx.args
        _quiet.set(False)
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            _say_mistake(error)
            raise
        except S3IntegrationError as error:
            complain_of(error)
            if for_programs:
                print_json(as_json(error))
            if isinstance(error, ConfigError):
                _say_where_settings_are()
            raise typer.Exit(exit_code(error)) from None


def _say_mistake(error: typer.BadParameter) -> None:
    from pydantic import ValidationError  # noqa: PLC0415 - slow

    from petal_s3.core.wrong_values import first_mistake  # noqa: PLC0415 - only for this

    if isinstance(error.__cause__, ValidationError):
        error.message = f"{first_mistake(error.__cause__)[1]}."


def _say_where_settings_are() -> None:
    from petal_s3.core.settings_yaml import CONFIG_FILE, config_file  # noqa: PLC0415 - slow

    file = config_file() or f"no settings file ({CONFIG_FILE})"
    complain(f"Settings come from the environment and {file}.")


def exit_code(error: S3IntegrationError) -> int:
    """The exit code that tells a script what to do about ``error``."""
    if isinstance(error, ConfigError | BadInput):
        return WRONG_USE
    if isinstance(error, LocalStorageError) and error.status != HTTPStatus.SERVICE_UNAVAILABLE:
        return FAILED  # it stays so until a person has made room
    return NOT_NOW if error.waiting_helps else FAILED


_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def hush() -> None:
    """From now on the command says nothing but what goes wrong."""
    _quiet.set(True)


def is_hushed() -> bool:
    """Whether the command was asked to say nothing but what goes wrong."""
    return _quiet.get()


def tell(sentence: str) -> None:
    """Print what was done, unless it was asked for silence."""
    if not is_hushed():
        typer.echo(sentence)


def complain(sentence: str) -> None:
    """Print a sentence that is not the answer, to standard error."""
    typer.echo(sentence, err=True)


def complain_of(error: S3IntegrationError) -> None:
    """Say what went wrong, with the stable code that a search can use."""
    complain(f"{error.message} [{error.code}]")


def print_json(found: Mapping[str, object], *, indent: int | None = 2) -> None:
    """Answer a program, as :mod:`petal_s3.cli.answers` describes it."""
    print_document({"schema": JSON_SCHEMA, **found}, indent=indent)


def print_document(found: object, *, indent: int | None = 2) -> None:
    """Print JSON of a form that is not ours."""
    typer.echo(json.dumps(found, indent=indent))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or until a signal; then ``work`` is cancelled, and the outbox stays."""
    import asyncio  # noqa: PLC0415 - slow

    async def stoppable() -> T:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await work

    try:
        return asyncio.run(stoppable())
    except asyncio.CancelledError:
        complain("Stopped; what is not proven stays in the outbox.")
        raise typer.Exit(INTERRUPTED) from None


def with_service(
    work: Callable[[Service], Coroutine[Any, Any, T]], *, only_reads: bool = False
) -> T:
    """Do ``work`` with a service, whose outbox is open unless it only reads the bucket."""
    from petal_s3.core.settings_loading import load_settings  # noqa: PLC0415 - slow
    from petal_s3.host.local_service import (  # noqa: PLC0415 - slow, and not for every command
        local_service,
    )

    service = local_service(load_settings(), only_reads=only_reads)

    async def whole() -> T:
        try:
            if not only_reads:
                await service.open()
            return await work(service)
        finally:
            await service.stop()

    return run(whole())
