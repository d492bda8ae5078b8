"""The commands that change rows of the outbox, or send them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from petal_s3.cli.exit_codes import (
    DONE,
    FAILED,
    NOT_NOW,
    complain,
    complain_of,
    is_hushed,
    print_json,
    run,
    tell,
    with_service,
)
from petal_s3.cli.options import ForPrograms, Quiet
from petal_s3.core.settings_loading import load_settings
from petal_s3.errors import LocalStorageError, NotFinished, S3IntegrationError, as_json, plain
from petal_s3.outbox import queries
from petal_s3.service.reasons import NO_DRAIN

if TYPE_CHECKING:
    from petal_s3.cli.progress_bars import Bar
    from petal_s3.outbox.rows import Row
    from petal_s3.service.service import Service

_PATIENCE_S = 60.0
LARGE_BYTES = 64 * 1024 * 1024
"""From so many on it is shown how far a file is copied."""
_AT_ONCE = 50
"""Of so many files it is looked at once whether a program writes to them."""

app = typer.Typer()


@app.command()
def enqueue(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Flight logs.")],
    key: Annotated[str | None, typer.Option(help="The key in the bucket, for one file.")] = None,
    for_programs: ForPrograms = False,
    _: Quiet = False,
) -> None:
    """Put flight logs into the outbox; the host, serve or drain sends them.

    Exit code 1 also where one of them is in the outbox already, so that nothing was done.
    """
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
    rows: list[Row] = []
    refused: list[tuple[Path, S3IntegrationError]] = []
    known: list[int] = []
    shown: list[dict[str, object]] = []
    try:
        await service.open()
        async for path, row, changed in _each_entered(service, paths, key):
            if isinstance(row, S3IntegrationError):
                complain_of(row)
                refused.append((path, row))
                continue
            rows.append(row)
            known += [] if changed else [row.id]
            _say(row, changed=changed, for_programs=for_programs)
        if for_programs:
            shown = [(await service.row(row.id)).model_dump() for row in rows]
        drained = (await service.status()).drained_by is not None
    finally:
        await service.stop()
    if for_programs:
        said = [{"path": str(path), **as_json(error)} for path, error in refused]
        print_json({"rows": shown, "refused": said, "unchanged": known})
    elif not drained and any(row.state != "verified" for row in rows):
        complain(NO_DRAIN.sentence)
    if not refused:
        return FAILED if known else DONE
    return NOT_NOW if all(isinstance(error, NotFinished) for _, error in refused) else FAILED


async def _each_entered(
    service: Service, paths: list[Path], key: str | None
) -> AsyncIterator[tuple[Path, Row | S3IntegrationError, bool]]:
    """Each path with the row of its file, or why it has none, and whether anything was changed.

    Raises :class:`LocalStorageError`: the next file would fare no better.
    """
    from petal_s3.intake.enqueue import written_to  # noqa: PLC0415 - slow

    written = await service.outbox(queries.changes)
    for number, path in enumerate(paths):
        if number % _AT_ONCE == 0:
            writing = await written_to(service.intake, paths[number : number + _AT_ONCE])
        try:
            row = await _entered(service, path, key, writing)
        except LocalStorageError:
            raise
        except S3IntegrationError as error:
            yield path, error, False
            continue
        before, written = written, await service.outbox(queries.changes)
        yield path, row, written != before


async def _entered(service: Service, path: Path, key: str | None, writing: Collection[str]) -> Row:
    """The row of the file; a bar shows how far it is copied, where that has to be."""
    with contextlib.ExitStack() as showing:
        bars: list[Bar] = []

        def copied(done: int, size: int) -> None:
            if size >= LARGE_BYTES and not bars:
                bars.append(showing.enter_context(_copy_bar(path)))
            for bar in bars:
                bar.draw(done, size)

        return await service.enqueue(
            path, key=key, writing=writing, received_by="cli", on_copied=copied
        )


def _copy_bar(path: Path) -> Bar:
    from petal_s3.cli import screen  # noqa: PLC0415 - slow
    from petal_s3.cli.progress_bars import Bar  # noqa: PLC0415 - slow

    return Bar(screen.console(stderr=True, quiet=is_hushed()), path.name)


def _say(row: Row, *, changed: bool, for_programs: bool) -> None:
    if not changed:
        complain(_known(row))
    elif not for_programs:
        tell(f"{row.id}  {row.state}  {row.key}")


def _known(row: Row) -> str:
    name = plain(row.name)
    if row.state != "verified":
        return (
            f"The file {name} is in the outbox already, as row {row.id} ({row.state}): nothing was"
            " done."
        )
    return (
        f"The file {name} is up already, as row {row.id}: nothing was done. Where its object is"
        f" gone from the bucket, `petal-s3 resend {row.id}` sends it again."
    )


@app.command()
def drain(
    wait: Annotated[bool, typer.Option("--wait", help="Wait without a limit.")] = False,
    for_programs: ForPrograms = False,
    _: Quiet = False,
    patience_s: Annotated[float, typer.Option("--patience", hidden=True)] = _PATIENCE_S,
) -> None:
    """Send everything, or watch another process do it; 0 all is proven, 3 no progress for 60 s.

    Exit code 1 while a row is dead: petal-s3 dismiss takes one out of the count.
    """
    patience = None if wait else patience_s
    raise typer.Exit(
        with_service(lambda service: _drain(service, patience, for_programs=for_programs))
    )


async def _drain(service: Service, patience_s: float | None, *, for_programs: bool) -> int:
    from petal_s3.cli import screen  # noqa: PLC0415 - slow
    from petal_s3.cli.follow import until_empty  # noqa: PLC0415 - slow
    from petal_s3.cli.progress_bars import Bars  # noqa: PLC0415 - slow

    with Bars(screen.console(stderr=for_programs, quiet=is_hushed())) as bars:
        end = await until_empty(service, bars, patience_s=patience_s)
    dead = end.status.counts["dead"]  # also of before: what is not proven is not done
    code = FAILED if dead or end.trouble or end.status.gone else DONE if end.empty else NOT_NOW
    if end.trouble and end.trouble not in end.status.headline:
        complain(end.trouble)
    if for_programs:
        rows = [await service.row(row.id) for row in end.settled]
        shown = {"rows": [row.model_dump() for row in rows], "done": code == DONE}
        print_json({**end.status.model_dump(), **shown, "reason": end.reason})
    else:
        tell(plain(end.status.headline))
        if end.reason and end.reason not in end.status.headline:
            tell(plain(end.reason))
    return code
