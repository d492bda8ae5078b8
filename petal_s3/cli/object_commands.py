"""The commands that look into the bucket, or change what is there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Coroutine
from datetime import timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.filesize import decimal

from petal_s3.cli import screen
from petal_s3.cli.exit_codes import (
    complain,
    complain_of,
    exit_code,
    is_hushed,
    print_json,
    tell,
    with_service,
)
from petal_s3.cli.options import ForPrograms, Key, Quiet
from petal_s3.cli.progress_bars import Bar
from petal_s3.cli.standard_output import ONLY_SIZE, to_standard_output
from petal_s3.core.files import cannot_write_to
from petal_s3.errors import S3FileNotFoundError, S3IntegrationError, plain
from petal_s3.s3.responses import LONGEST_URL_S, ObjectInfo
from petal_s3.service import row_verbs, signing
from petal_s3.service.views.objects import object_view

if TYPE_CHECKING:
    from petal_s3.service.service import Service

T = TypeVar("T")

app = typer.Typer()


async def _in_bucket(service: Service, work: Coroutine[Any, Any, T]) -> T:
    """Do ``work``; where an object is missing, the whole bucket may be: a HEAD has no words."""
    try:
        return await work
    except S3FileNotFoundError:
        await service.s3.page(service.ownership.machine_prefix, limit=1)
        raise


def _own(service: Service, key: str) -> str:
    """The whole key that was named."""
    return service.ownership.named(key)


# -- looking


@app.command()
def ls(
    prefix: Annotated[
        str, typer.Argument(help="Below the machine's folder, or a whole one, or s3://bucket/...")
    ] = "",
    for_programs: ForPrograms = False,
) -> None:
    """List what this machine has in the bucket: size, last change (UTC), key for get and rm."""
    show = _list_for_programs if for_programs else _list
    with_service(lambda service: show(service, prefix), only_reads=True)


async def _list(service: Service, prefix: str) -> None:
    count = size = 0
    async for found in service.objects.walk(prefix):
        count, size = count + 1, size + found.size
        key = plain(service.ownership.short(found.key))
        typer.echo(f"{decimal(found.size):>11}  {_moment(found):19}  {key}")
    where = service.ownership.listing_prefix(prefix)
    typer.echo(f"{count} object{'' if count == 1 else 's'} below {where}, {decimal(size)}")


async def _list_for_programs(service: Service, prefix: str) -> None:
    """One object a line, as they come: memory stays flat."""
    before = "["
    try:
        async for found in service.objects.walk(prefix):
            typer.echo(f"{before}\n{json.dumps(object_view(found).model_dump())}", nl=False)
            before = ","
    except S3IntegrationError as error:
        if before == "[":
            raise
        typer.echo()  # a list without its end: no program takes it for all
        complain_of(error)
        raise typer.Exit(exit_code(error)) from None
    typer.echo("[]" if before == "[" else "\n]")


def _moment(found: ObjectInfo) -> str:
    told = found.last_modified
    return told.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S") if told else ""


@app.command()
def get(
    key: Key,
    file: Annotated[
        str | None,
        typer.Argument(
            help="Where to, - for standard output; else here, by the last part of the key."
        ),
    ] = None,
    no_clobber: Annotated[
        bool, typer.Option("--no-clobber", "-n", help="Never replace a file that is there.")
    ] = False,
    _: Quiet = False,
) -> None:
    """Download an object and verify its checksum; nothing is kept if it does not match."""
    if file == "-":
        with_service(
            lambda service: _in_bucket(service, to_standard_output(service, _own(service, key))),
            only_reads=True,
        )
        return
    target = Path() if file is None else Path(file)
    with_service(
        lambda service: _in_bucket(service, _get(service, key, target, replace=not no_clobber)),
        only_reads=True,
    )


async def _get(service: Service, key: str, target: Path, *, replace: bool) -> None:
    key = _own(service, key)
    target, older = _target(target, service.objects.own(key).rpartition("/")[2])
    with Bar(screen.console(quiet=is_hushed()), target.name) as bar:
        size, proof = await service.objects.download(
            key, target, replace=replace, on_progress=bar.draw
        )
    told = f"got       {plain(str(target))}  {size} bytes, {proof or ONLY_SIZE}"
    tell(f"{told}; it replaced the file that was there" if older else told)


def _target(asked: Path, name: str) -> tuple[Path, bool]:
    """The file to write, and whether one is there: ``name`` in a directory that was asked for."""
    try:
        target = asked / name if asked.is_dir() else asked
        return target, os.path.lexists(target)
    except OSError as error:  # too long, or in a folder that may not be entered
        raise cannot_write_to(plain(str(asked))[:120], error) from error


@app.command()
def presign(
    key: Key,
    expires_s: Annotated[
        int, typer.Option("--expires", min=1, max=LONGEST_URL_S, help="Seconds that it lives.")
    ] = 3600,
    for_programs: ForPrograms = False,
) -> None:
    """Print a URL that reads one object without credentials, until it ends."""
    made = with_service(
        lambda service: signing.presign(service, _own(service, key), expires_s), only_reads=True
    )
    if for_programs:
        print_json(made.model_dump())
        return
    typer.echo(made.url)
    complain(
        f"It opens the object without credentials until {made.expires_at} ({made.expires_in} s)."
    )


# -- changing


@app.command()
def rm(
    key: Key,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    _: Quiet = False,
) -> None:
    """Delete an object from the bucket; its row in the outbox becomes cancelled."""
    if not yes and not sys.stdin.isatty():
        raise typer.BadParameter("There is no terminal to ask on: say --yes to delete.")
    if not yes:
        found = with_service(
            lambda service: _in_bucket(service, service.objects.head(_own(service, key))),
            only_reads=True,
        )
        typer.confirm(f"Delete {plain(found.key)} ({decimal(found.size)})?", abort=True)
    gone = with_service(lambda service: row_verbs.delete_object(service, _own(service, key)))
    tell(f"deleted   {plain(gone)}")


@app.command()
def mv(source: Key, dest: Key, _: Quiet = False) -> None:
    """Rename an object inside the bucket; its row in the outbox follows."""
    moved = with_service(lambda service: _in_bucket(service, _move(service, source, dest)))
    tell(f"moved to  {plain(moved)}")


async def _move(service: Service, source: str, dest: str) -> str:
    dest = _own(service, dest)
    await service.objects.move(_own(service, source), dest)
    return service.objects.own(dest)
