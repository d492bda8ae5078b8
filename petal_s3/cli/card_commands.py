"""The commands that look at the autopilot's card: what is on it, and may it be erased?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal

from petal_s3.cli.exit_codes import DONE, NOT_NOW, complain, print_json, tell, with_service
from petal_s3.cli.options import ForPrograms, Quiet
from petal_s3.errors import plain
from petal_s3.service.views.card import CardFileView, CardView, card_facts

if TYPE_CHECKING:
    from petal_s3.service.service import Service

FileIds = Annotated[
    list[int],
    typer.Argument(metavar="ID...", help="Files, as card ls shows them.", min=1, max=(1 << 63) - 1),
]

app = typer.Typer(
    invoke_without_command=True,
    help="The autopilot's card; exit code 3 while a log on it is not proven in the bucket.",
)


@app.callback()
def card(context: typer.Context, for_programs: ForPrograms = False) -> None:
    """The autopilot's card; exit code 3 while a log on it is not proven in the bucket."""
    if context.invoked_subcommand is None:
        ls(for_programs)


@app.command()
def ls(for_programs: ForPrograms = False) -> None:
    """What is on the card, as it was listed last; nothing is asked of it."""
    from petal_s3.service.card_verbs import show  # noqa: PLC0415 - slow

    _show(show, for_programs=for_programs)


@app.command()
def scan(for_programs: ForPrograms = False) -> None:
    """List the card now, by the process that has it: the host, or serve."""
    from petal_s3.service.card_verbs import scan  # noqa: PLC0415 - slow

    _show(scan, for_programs=for_programs)


@app.command()
def fetch(ids: FileIds, for_programs: ForPrograms = False, _: Quiet = False) -> None:
    """Fetch these logs, also those that the settings leave out."""
    found = with_service(lambda service: _fetch(service, ids))
    if for_programs:
        print_json({"files": [file.model_dump() for file in found]})
    else:
        for file in found:
            tell(_line(file))


@app.command("safe-to-erase")
def safe_to_erase(for_programs: ForPrograms = False, _: Quiet = False) -> None:
    """Whether every log on the card is proven in the bucket; 3 where it must not be erased."""
    from petal_s3.service import card_verbs  # noqa: PLC0415 - slow

    found = with_service(card_verbs.safe_to_erase)
    if for_programs:
        print_json({"safe_to_erase": found.safe_to_erase, "not_safe": found.not_safe})
    elif found.safe_to_erase:
        tell(f"Yes: every log of the card ({found.on_card}) is proven in the bucket.")
    else:
        complain(plain(f"No. {found.not_safe}"))
    raise typer.Exit(DONE if found.safe_to_erase else NOT_NOW)


async def _fetch(service: Service, ids: list[int]) -> list[CardFileView]:
    from petal_s3.service.card_verbs import fetch  # noqa: PLC0415 - slow

    return [await fetch(service, file_id) for file_id in dict.fromkeys(ids)]


def _show(verb: Callable[[Service], Awaitable[CardView]], *, for_programs: bool) -> None:
    async def asked(service: Service) -> CardView:
        return await verb(service)

    found = with_service(asked)
    if for_programs:
        print_json(found.model_dump())
    else:
        for file in found.files:
            typer.echo(_line(file))
        for sentence in card_facts(found, decimal):
            typer.echo(plain(sentence))
    raise typer.Exit(NOT_NOW if found.unproven else DONE)


def _line(file: CardFileView) -> str:
    part = f" {100 * file.fetched_bytes // file.size}%" if file.state == "fetching" else ""
    row = f"  row {file.row}" if file.row is not None else ""
    why = f"  {file.reason}" if file.reason else ""
    return plain(f"{file.id}  {file.state}{part}  {decimal(file.size)}  {file.path}{row}{why}")
