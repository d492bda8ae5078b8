"""The commands that ask something of rows: try again, send again, give up, keep, dismiss.

Each says so and ends with exit code 1 where it did nothing to one of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from petal_s3.cli.exit_codes import DONE, complain_of, exit_code, print_json, tell, with_service
from petal_s3.cli.options import ForPrograms, Quiet, RowIds
from petal_s3.errors import LocalStorageError, S3IntegrationError, as_json, plain

if TYPE_CHECKING:
    from petal_s3.outbox.rows import Row
    from petal_s3.service.service import Service
    from petal_s3.service.views.rows import RowView

    Verb = Callable[[Service, int], Awaitable[Row]]

app = typer.Typer()


@app.command()
def retry(ids: RowIds, for_programs: ForPrograms = False, _: Quiet = False) -> None:
    """Try these rows now; files of dead or cancelled ones are examined again, as if new."""
    from petal_s3.service import row_verbs  # noqa: PLC0415 - slow

    _each(row_verbs.retry, ids, _state, for_programs=for_programs)


@app.command()
def resend(ids: RowIds, for_programs: ForPrograms = False, _: Quiet = False) -> None:
    """Send proven logs again whose objects are gone from the bucket, or are others; asks S3."""
    from petal_s3.service.resending import resend  # noqa: PLC0415 - slow

    _each(resend, ids, _state, for_programs=for_programs)


@app.command()
def cancel(
    ids: RowIds,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete their copies in the spool, too, at once.")
    ] = False,
    for_programs: ForPrograms = False,
    _: Quiet = False,
) -> None:
    """Cancel these rows: what was sent of them is aborted, their files stay.

    A copy in the spool, perhaps the only one, stays for a day; petal-s3 retry brings it back.
    """
    from petal_s3.service import row_verbs  # noqa: PLC0415 - slow

    _each(partial(row_verbs.cancel, purge=purge), ids, _state, for_programs=for_programs)


@app.command()
def pin(ids: RowIds, for_programs: ForPrograms = False, _: Quiet = False) -> None:
    """Keep the files of these rows: retention deletes them last."""
    from petal_s3.service import row_verbs  # noqa: PLC0415 - slow

    _each(row_verbs.pin, ids, _pinned, for_programs=for_programs)


@app.command()
def unpin(ids: RowIds, for_programs: ForPrograms = False, _: Quiet = False) -> None:
    """Let retention delete the files of these rows again."""
    from petal_s3.service import row_verbs  # noqa: PLC0415 - slow

    _each(row_verbs.unpin, ids, _pinned, for_programs=for_programs)


@app.command()
def dismiss(
    ids: Annotated[
        list[int] | None,
        typer.Argument(metavar="[ID]...", help="Dead rows.", min=1, max=(1 << 63) - 1),
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="Every dead row.")] = False,
    for_programs: ForPrograms = False,
    _: Quiet = False,
) -> None:
    """Count and show these dead rows no longer; their files stay."""
    if bool(ids) == dead:
        raise typer.BadParameter("Name rows, or say --dead.")
    done = with_service(lambda service: _dismiss(service, ids))
    if for_programs:
        print_json({"dismissed": done})
    else:
        tell(f"Dismissed: {done}. Their files stay; one that changes is looked at again.")


async def _dismiss(service: Service, ids: list[int] | None) -> int:
    from petal_s3.service import row_verbs  # noqa: PLC0415 - slow

    return await (row_verbs.dismiss(service, ids) if ids else row_verbs.dismiss_dead(service))


# -- one row after the other


def _each(
    verb: Verb, ids: list[int], shown: Callable[[RowView], str], *, for_programs: bool
) -> None:
    code = with_service(lambda service: _done(service, verb, ids, shown, for_programs=for_programs))
    raise typer.Exit(code)


async def _done(
    service: Service,
    verb: Verb,
    ids: list[int],
    shown: Callable[[RowView], str],
    *,
    for_programs: bool,
) -> int:
    rows: list[RowView] = []
    refused: list[tuple[int, S3IntegrationError]] = []
    for row_id in dict.fromkeys(ids):
        try:
            await verb(service, row_id)
        except LocalStorageError:
            raise  # the next row would fare no better
        except S3IntegrationError as error:
            complain_of(error)
            refused.append((row_id, error))
            if error.blocks_drain:
                break
            continue
        rows.append(await service.row(row_id))
        if not for_programs:
            tell(plain(f"{row_id}  {shown(rows[-1])}  {rows[-1].key}"))
    if for_programs:
        said = [{"id": row_id, **as_json(error)} for row_id, error in refused]
        print_json({"rows": [row.model_dump() for row in rows], "refused": said})
    return max((exit_code(error) for _, error in refused), default=DONE)


def _state(row: RowView) -> str:
    return row.state


def _pinned(row: RowView) -> str:
    return "pinned" if row.pinned else "not pinned"
