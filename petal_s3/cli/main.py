"""The command line: turn words into the service's verbs, and outcomes into exit codes."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.live import Live

from petal_s3 import __version__
from petal_s3.cli import admin_commands as cli_admin
from petal_s3.cli import object_commands as cli_objects
from petal_s3.cli import screen
from petal_s3.cli.exit_codes import DONE, FAILED, NOT_NOW, Sentences, complain, print_json, run
from petal_s3.core.packages import unfit
from petal_s3.core.settings import Settings
from petal_s3.core.settings_loading import load_settings
from petal_s3.core.settings_yaml import CONFIG_FILE, PREFIX
from petal_s3.errors import LocalStorageError, NotFinished, S3IntegrationError, as_json
from petal_s3.host import install as hostfiles
from petal_s3.host import settings_file as settingsfile
from petal_s3.service.reasons import NO_DRAIN
from petal_s3.service.snapshot import hints, read_status

if TYPE_CHECKING:
    from petal_s3.service.service import Service
    from petal_s3.service.views.rows import RowView
    from petal_s3.service.views.status import SnapshotView

_DEMO_NEEDS = ("moto", "flask", "petal_app_manager", "pymavlink")
_SHOWN_ROWS = 20
_JSON_ROWS = 1000
_LOOK_S = 1.0
_PATIENCE_S = 60.0

Json = dict[str, Any]
ForPrograms = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Root = Annotated[
    Path | None,
    typer.Option("--root", help="Where the host looks for proxies.yaml; else it is found."),
]


app = typer.Typer(
    cls=Sentences,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Flight logs from a drone into S3, proven.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong use, 3 not now.",
)
host = typer.Typer(no_args_is_help=True, help="Register the petal in petal-app-manager.")
app.add_typer(host, name="host")
app.add_typer(cli_objects.app)
app.add_typer(cli_admin.bucket, name="bucket")
app.command()(cli_admin.check)


def main() -> None:
    """Entry point of ``petal-s3``."""
    # What is logged is said again, and better, by the commands.
    logging.getLogger().addHandler(logging.NullHandler())
    app(prog_name="petal-s3")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"petal-s3 {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
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


# -- looking


@app.command()
def status(
    for_programs: ForPrograms = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look every second until Ctrl-C.")] = False,
) -> None:
    """Are my logs up, and if not, why? Disturbs nobody."""
    settings = load_settings()
    with contextlib.suppress(KeyboardInterrupt):
        if for_programs:
            for found in _looks(settings, _JSON_ROWS, watch=watch):
                print_json(found.model_dump(), indent=None if watch else 2)
        else:
            _show_status(settings, watch=watch)


def _looks(settings: Settings, rows: int, *, watch: bool) -> Iterator[SnapshotView]:
    yield read_status(settings, rows)
    while watch:
        time.sleep(_LOOK_S)
        yield read_status(settings, rows)


def _show_status(settings: Settings, *, watch: bool) -> None:
    wrong = unfit()
    notes = [*hints(settings), *([wrong.message] if wrong is not None else [])]
    console = screen.console()
    looks = _looks(settings, _SHOWN_ROWS, watch=watch)
    if watch and console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            for found in looks:
                live.update(Group(*screen.status_view(found, found.rows, notes)), refresh=True)
        return
    before = None
    for found in looks:
        if found != before:
            screen.show(console, screen.status_view(found, found.rows, notes))
        before = found


# -- sending


@app.command()
def enqueue(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Flight logs.")],
    key: Annotated[str | None, typer.Option(help="The key in the bucket, for one file.")] = None,
    for_programs: ForPrograms = False,
) -> None:
    """Put flight logs into the outbox; whoever drains it sends them."""
    if key is not None and len(paths) > 1:
        raise typer.BadParameter("--key is for one file.")
    service = _service(load_settings())
    if key is not None:
        service.ownership.check(key)
    raise typer.Exit(run(_enqueue(service, paths, key, for_programs=for_programs)))


async def _enqueue(
    service: Service, paths: list[Path], key: str | None, *, for_programs: bool
) -> int:
    rows: list[RowView] = []
    refused: list[tuple[Path, S3IntegrationError]] = []
    try:
        await service.open()
        for path in paths:
            try:
                row = await service.enqueue(path, key=key)
            except LocalStorageError:
                raise  # the next file would fare no better
            except S3IntegrationError as error:
                complain(error.message)
                refused.append((path, error))
                continue
            rows.append(await service.row(row.id))
            if not for_programs:
                typer.echo(f"{row.id}  {row.state}  {row.key}")
        drained = (await service.status()).drained_by is not None
    finally:
        await service.stop()
    if for_programs:
        said = [{"path": str(path), **as_json(error)} for path, error in refused]
        print_json({"rows": [row.model_dump() for row in rows], "refused": said})
    elif rows and not drained:
        complain(NO_DRAIN.sentence)
    if not refused:
        return DONE
    return NOT_NOW if all(isinstance(error, NotFinished) for _, error in refused) else FAILED


@app.command()
def drain(
    wait: Annotated[bool, typer.Option("--wait", help="Never give up.")] = False,
    for_programs: ForPrograms = False,
    patience_s: Annotated[float, typer.Option("--patience", hidden=True)] = _PATIENCE_S,
) -> None:
    """Send everything, or watch who does; 0 when all is proven, 3 after 60 s without progress."""
    service = _service(load_settings())
    patience = None if wait else patience_s
    raise typer.Exit(run(_drain(service, patience, for_programs=for_programs)))


async def _drain(service: Service, patience_s: float | None, *, for_programs: bool) -> int:
    from petal_s3.cli.follow import until_empty  # noqa: PLC0415 - slow, and only for this

    try:
        with screen.Bars(screen.console(stderr=for_programs)) as bars:
            end = await until_empty(service, bars, patience_s=patience_s)
        rows = [await service.row(row.id) for row in end.settled]
    finally:
        await service.stop()
    code = FAILED if end.died else DONE if end.empty else NOT_NOW
    if for_programs:
        shown = {"rows": [row.model_dump() for row in rows], "done": code == DONE}
        print_json({**end.status.model_dump(), **shown, "reason": end.reason})
    else:
        typer.echo(screen.headline(end.status.model_copy(update={"reason": end.reason})))
    return code


@app.command()
def serve(
    address: Annotated[
        str | None, typer.Option("--host", help="Address; else PETAL_S3_API_HOST.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Else PETAL_S3_API_PORT.")
    ] = None,
) -> None:
    """Drain, watch the log directories and answer over HTTP, on robots without the host."""
    settings = load_settings()
    service = _service(settings)
    from petal_s3.web.server import (  # noqa: PLC0415 - slow, and only for this
        check_binding,
        serve,
    )

    bound = address or settings.api_host
    check_binding(bound, settings.api_token)
    answered = settings.api_port if port is None else port
    raise typer.Exit(run(_serve(serve, service, bound, answered)))


async def _serve(serve: Any, service: Service, address: str, port: int) -> int:
    with _logging():
        await serve(service, host=address, port=port, said=typer.echo)
    return DONE


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


RowIds = Annotated[list[int], typer.Argument(metavar="ID...", help="Rows, as status shows them.")]


@app.command()
def pin(ids: RowIds, for_programs: ForPrograms = False) -> None:
    """Keep the files of these rows as long as the disk allows."""
    raise typer.Exit(run(_pin(ids, pinned=True, for_programs=for_programs)))


@app.command()
def unpin(ids: RowIds, for_programs: ForPrograms = False) -> None:
    """Let the files of these rows go when their time comes."""
    raise typer.Exit(run(_pin(ids, pinned=False, for_programs=for_programs)))


async def _pin(ids: list[int], *, pinned: bool, for_programs: bool) -> int:
    service = _service(load_settings())
    try:
        await service.open()
        rows = [await service.pin(row_id, pinned=pinned) for row_id in ids]
        shown = [await service.row(row.id) for row in rows]
    finally:
        await service.stop()
    if for_programs:
        print_json({"rows": [row.model_dump() for row in shown]})
    for row in rows if not for_programs else []:
        typer.echo(f"{row.id}  {'pinned' if row.pinned else 'not pinned'}  {row.key}")
    return DONE


def _service(settings: Settings) -> Service:
    from petal_s3.host.local_service import (  # noqa: PLC0415 - slow, and not for every command
        local_service,
    )

    return local_service(settings)


# -- the host


@host.command()
def install(
    root: Root = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting for the settings file."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Change what the settings file says otherwise.")
    ] = False,
) -> None:
    """Load the petal at the host's next start, and give host and command line one outbox."""
    given, left_out = settingsfile.given_now(os.environ, settings or [])
    named = os.environ.get(f"{PREFIX}CONFIG")
    file = Path(os.path.abspath(named)) if named else CONFIG_FILE  # noqa: PTH100
    said = hostfiles.install(hostfiles.find_root(root), file, given, force=force)
    if named:
        said.append(f"Host and shells must have {PREFIX}CONFIG={file} in their environment.")
    for sentence in [*said, *left_out]:
        typer.echo(sentence)


@host.command()
def remove(root: Root = None) -> None:
    """Take the petal out of the host again; settings and outbox stay."""
    for sentence in hostfiles.remove(hostfiles.find_root(root)):
        typer.echo(sentence)
