"""``petal-s3 verify``: compare disk, outbox and bucket."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from petal_s3.cli.exit_codes import DONE, FAILED, complain, print_json, tell, with_service
from petal_s3.cli.options import ForPrograms, Quiet
from petal_s3.errors import plain
from petal_s3.service.reasons import NO_DRAIN

if TYPE_CHECKING:
    from petal_s3.admin.verify import Compared
    from petal_s3.service.service import Service

app = typer.Typer()


@app.command()
def verify(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="Keys, as for get.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every log that is proven.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Queue again what the bucket holds no longer.")
    ] = False,
    for_programs: ForPrograms = False,
    _: Quiet = False,
) -> None:
    """Compare disk, outbox and bucket; 0 when all agree, 1 on any difference."""
    if bool(keys) == everything:
        raise typer.BadParameter("Name keys, or say --all.")
    agreed = with_service(
        lambda service: _verify(service, keys or [], repair=repair, for_programs=for_programs)
    )
    raise typer.Exit(DONE if agreed else FAILED)


async def _verify(service: Service, keys: list[str], *, repair: bool, for_programs: bool) -> bool:
    from petal_s3.admin.verify import verify as compare  # noqa: PLC0415 - slow, and only for this

    said: list[dict[str, object]] = []
    different = queued = 0
    async for one in compare(
        service, [service.ownership.named(key) for key in keys], repair=repair
    ):
        different += bool(one.differs)
        queued += one.queued
        if for_programs:
            said.append({"key": one.key, "same": not one.differs, **asdict(one)})
        else:
            _say_compared(one)
    if for_programs:
        print_json({"logs": said, "different": different, "queued": queued})
    elif queued and (await service.status()).drained_by is None:
        complain(NO_DRAIN.sentence)
    return not different


def _say_compared(one: Compared) -> None:
    if not one.differs:
        where = "disk, outbox, bucket" if one.disk else "outbox, bucket"
        tell(f"same      {plain(one.key)}  {where}")
        return
    again = f" Queued again as row {one.row_id}." if one.queued else f" {one.not_queued}"
    typer.echo(plain(f"DIFFERS   {one.key}  {one.differs}{again}".rstrip()))
