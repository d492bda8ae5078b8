"""The command that drains, watches and answers on a robot without the host."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from petal_s3.cli.exit_codes import run
from petal_s3.core.settings_loading import load_settings

if TYPE_CHECKING:
    from petal_s3.service.service import Service

ROOT = Path("/")

app = typer.Typer()


@app.command()
def serve(
    address: Annotated[
        str | None, typer.Option("--host", help="Address; else PETAL_S3_API_HOST.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Else PETAL_S3_API_PORT.")
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option("--trace", help="Write what the autopilot's card answers into this file."),
    ] = None,
    install_systemd: Annotated[
        bool,
        typer.Option(
            "--install-systemd", help="Make it a service of systemd instead; nothing is started."
        ),
    ] = False,
) -> None:
    """Drain, watch the log directories and answer over HTTP, on robots without the host."""
    if install_systemd:
        _install(address, port)
        return
    from petal_s3.cli.links import say_links  # noqa: PLC0415 - slow
    from petal_s3.host.local_service import local_service  # noqa: PLC0415 - slow
    from petal_s3.host.own_autopilot import flight_of  # noqa: PLC0415 - slow
    from petal_s3.web.guard import check_binding  # noqa: PLC0415 - slow
    from petal_s3.web.server import serve  # noqa: PLC0415 - slow

    settings = load_settings()
    if trace is not None:
        settings = settings.model_copy(update={"autopilot_trace": trace})
    service = local_service(settings, flight=flight_of(settings))
    bound = address or settings.api_host
    check_binding(bound, settings.api_token)
    answered = settings.api_port if port is None else port
    said = partial(say_links, asks_token=settings.api_token is not None)
    beside = _beside(service)
    with _logging():
        run(serve(service, host=bound, port=answered, said=said, alongside=beside))


def _install(address: str | None, port: int | None) -> None:
    from petal_s3.core.settings_yaml import CONFIG_FILE, PREFIX  # noqa: PLC0415 - slow
    from petal_s3.host import settings_file, systemd_unit  # noqa: PLC0415 - slow

    words = [] if address is None else [f"API_HOST={address}"]
    words += [] if port is None else [f"API_PORT={port}"]
    to_do = f"put it into {systemd_unit.SECRETS}, of mode 0600"
    given, left_out = settings_file.given_now(os.environ, words, to_do)
    named = os.environ.get(f"{PREFIX}CONFIG")
    file = Path(os.path.abspath(named)) if named else CONFIG_FILE  # noqa: PTH100
    place = systemd_unit.Place(ROOT, file, systemd_unit.command_of())
    for sentence in [*left_out, *systemd_unit.install(place, given)]:
        typer.echo(sentence)


@contextlib.asynccontextmanager
async def _beside(service: Service) -> AsyncIterator[None]:
    """The autopilot is heard, and systemd told, while the block runs."""
    from petal_s3.host.own_autopilot import own_autopilot  # noqa: PLC0415 - slow
    from petal_s3.web.supervised import supervised  # noqa: PLC0415 - slow

    async with own_autopilot(service), supervised(service):
        yield


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    """Log to standard error: a service of the system is watched by its journal."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("petal_s3")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        ours.removeHandler(handler)
