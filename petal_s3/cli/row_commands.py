"""The commands that change rows of the outbox, or send them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from petal_s3.cli import screen
from petal_s3.cli.exit_codes import (
    DONE,
    FAILED,
    NOT_NOW,
    complain,
    print_json,
    run,
    with_service,
)
from petal_s3.cli.options import ForPrograms, RowIds
from petal_s3.cli.progress_bars import Bars
from petal_s3.core.settings_loading import load_settings
from petal_s3.errors import LocalStorageError, NotFinished, S3IntegrationError, as_json, plain
from petal_s3.service.reasons import NO_DRAIN

if TYPE_CHECKING:
    from petal_s3.service.service import Service
    from petal_s3.service.views.rows import RowView

_PATIENCE_S = 60.0

app = typer.Typer()


@app.command()
def enqueue(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Flight logs.")],
    key: Annotated[str | None, typer.Option(help="The key in the bucket, for one file.")] = None,
    for_programs: ForPrograms = False,
) -> None:
    """Put flight logs into the outbox; the host, serve or drain sends them."""
    if key is not None and len(paths) > 1:
        raise typer.BadParameter("--key is for one file.")
    from petal_s3.host.local_service import local_service  # noqa: PLC0415 - slow

    service = local_service(load_settings())
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
    wait: Annotated[bool, typer.Option("--wait", help="Wait without a limit.")] = False,
    for_programs: ForPrograms = False,
    patience_s: Annotated[float, typer.Option("--patience", hidden=True)] = _PATIENCE_S,
) -> None:
    """Send everything, or watch another process do it; 0 all is proven, 3 no progress for 60 s."""
    patience = None if wait else patience_s
    raise typer.Exit(
        with_service(lambda service: _drain(service, patience, for_programs=for_programs))
    )


async def _drain(service: Service, patience_s: float | None, *, for_programs: bool) -> int:
    from petal_s3.cli.follow import until_empty  # noqa: PLC0415 - slow, and only for this

    with Bars(screen.console(stderr=for_programs)) as bars:
        end = await until_empty(service, bars, patience_s=patience_s)
    rows = [await service.row(row.id) for row in end.settled]
    code = FAILED if end.died or end.trouble else DONE if end.empty else NOT_NOW
    if end.trouble and end.trouble not in end.status.headline:
        complain(end.trouble)
    if for_programs:
        shown = {"rows": [row.model_dump() for row in rows], "done": code == DONE}
        print_json({**end.status.model_dump(), **shown, "reason": end.reason})
    else:
        typer.echo(plain(end.status.headline))
        if end.reason and end.reason not in end.status.headline:
            typer.echo(plain(end.reason))
    return code


@app.command()
def pin(ids: RowIds, for_programs: ForPrograms = False) -> None:
    """Keep the files of these rows: retention deletes them last."""
    with_service(lambda service: _pin(service, ids, pinned=True, for_programs=for_programs))


@app.command()
def unpin(ids: RowIds, for_programs: ForPrograms = False) -> None:
    """Let retention delete the files of these rows again."""
    with_service(lambda service: _pin(service, ids, pinned=False, for_programs=for_programs))


async def _pin(service: Service, ids: list[int], *, pinned: bool, for_programs: bool) -> None:
    rows = [await service.pin(row_id, pinned=pinned) for row_id in ids]
    if for_programs:
        print_json({"rows": [(await service.row(row.id)).model_dump() for row in rows]})
        return
    for row in rows:
        typer.echo(f"{row.id}  {'pinned' if row.pinned else 'not pinned'}  {row.key}")


@app.command()
def retry(ids: RowIds, for_programs: ForPrograms = False) -> None:
    """Try these rows now; files of dead or cancelled ones are examined again, as if new."""
    with_service(lambda service: _each(service, service.retry, ids, for_programs=for_programs))


@app.command()
def cancel(ids: RowIds, for_programs: ForPrograms = False) -> None:
    """Cancel these rows: what was sent of them is aborted, their files stay."""
    with_service(lambda service: _each(service, service.cancel, ids, for_programs=for_programs))


async def _each(
    service: Service,
    verb: Callable[[int], Awaitable[object]],
    ids: list[int],
    *,
    for_programs: bool,
) -> None:
    for row_id in ids:
        await verb(row_id)
    rows = [await service.row(row_id) for row_id in ids]
    if for_programs:
        print_json({"rows": [row.model_dump() for row in rows]})
        return
    for row in rows:
        typer.echo(f"{row.id}  {row.state}  {row.key}")
