"""The commands that read the outbox itself: the journal of one log, and a copy of all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from petal_s3.cli.exit_codes import print_json, tell, with_service
from petal_s3.cli.options import ForPrograms, Quiet
from petal_s3.core.settings_loading import load_settings
from petal_s3.errors import plain
from petal_s3.outbox.backup import copy_to

_OPEN = ("queued", "uploading")

app = typer.Typer()


@app.command("log")
def journal(
    row_id: Annotated[
        int,
        typer.Argument(metavar="ID", help="A row, as status shows it.", min=1, max=(1 << 63) - 1),
    ],
    for_programs: ForPrograms = False,
) -> None:
    """Tell what became of one log, from found to proven: when, why not sooner, why not now."""
    found = with_service(lambda service: service.overview.journal(row_id))
    if for_programs:
        print_json(found.model_dump())
        return
    typer.echo(plain(f"{found.id}  {found.state}  {found.key}"))
    for number, one in enumerate(found.events):
        way = f"  received by {found.received_by}" if found.received_by and not number else ""
        s3_time = f"  (by S3 {one.s3_time[:19]})" if one.s3_time else ""
        said = f"  {one.reason}" if one.reason else ""
        typer.echo(plain(f"{one.device_time[:19]}  {one.event:<11}{way}{said}{s3_time}".rstrip()))
    last = found.events[-1].reason if found.events else ""
    if found.reason and (found.state in _OPEN or found.reason != last):
        word = "waits" if found.state in _OPEN else found.state
        typer.echo(plain(f"{'now':<19}  {word:<11}  {found.reason}"))


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; never replaced.")],
    for_programs: ForPrograms = False,
    _: Quiet = False,
) -> None:
    """Copy the outbox to a new file, whole and consistent, while the drain goes on."""
    size = copy_to(load_settings().outbox_path, file)
    if for_programs:
        print_json({"file": str(file), "size": size})
    else:
        tell(plain(f"copied    {file}  {decimal(size)}"))
