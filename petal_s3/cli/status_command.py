"""``petal-s3 status``: are my logs up, and if not, why?"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from petal_s3.cli.exit_codes import DONE, NOT_NOW, print_json, tell
from petal_s3.cli.options import ForPrograms, Quiet
from petal_s3.core.settings_loading import load_settings

if TYPE_CHECKING:
    from rich.console import Console, Group

    from petal_s3.core.settings import Settings
    from petal_s3.service.views.status import SnapshotView

_FEW_ROWS = 3
_SHOWN_ROWS = 20
_JSON_ROWS = 1000
_LOOK_S = 1.0
_ALL_UP = "all_up"

app = typer.Typer()


@app.command()
def status(
    for_programs: ForPrograms = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look every second until Ctrl-C.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="For scripts: exit code 0 only when all is up, else 3.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Are my logs up, and if not, why? Changes nothing, needs no running host."""
    if watch and check:
        raise typer.BadParameter("--check looks once: leave out --watch.")
    if quiet and not check:
        raise typer.BadParameter("--quiet is for --check.")
    settings = load_settings()
    with contextlib.suppress(KeyboardInterrupt):
        if check:
            _check(settings, for_programs=for_programs)
        elif for_programs:
            for found in _looks(settings, _JSON_ROWS, watch=watch):
                print_json(found.model_dump(), indent=None if watch else 2)
        else:
            _show(settings, watch=watch)


def _check(settings: Settings, *, for_programs: bool) -> None:
    (found,) = _looks(settings, _JSON_ROWS if for_programs else 1, watch=False)
    if for_programs:
        print_json(found.model_dump())
    else:
        tell(found.headline)
    raise typer.Exit(DONE if found.code == _ALL_UP else NOT_NOW)


def _looks(settings: Settings, rows: int, *, watch: bool) -> Iterator[SnapshotView]:
    from petal_s3.service.snapshot import read_status  # noqa: PLC0415 - slow

    yield read_status(settings, rows)
    while watch:
        time.sleep(_LOOK_S)
        yield read_status(settings, rows)


def _show(settings: Settings, *, watch: bool) -> None:
    from rich.live import Live  # noqa: PLC0415 - slow

    from petal_s3.cli import screen  # noqa: PLC0415 - slow
    from petal_s3.core.packages import unfit  # noqa: PLC0415 - slow
    from petal_s3.service.snapshot import hints  # noqa: PLC0415 - slow

    wrong = unfit()
    notes = [*hints(settings), *([wrong.message] if wrong is not None else [])]
    console = screen.console()
    looks = _looks(settings, _SHOWN_ROWS, watch=watch)
    if watch and console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            for found in looks:
                live.update(_fitting(console, found, notes), refresh=True)
        return
    before = None
    for found in looks:
        if found != before:
            screen.show(console, screen.status_view(found, found.rows, notes, console.width))
        before = found


def _fitting(console: Console, found: SnapshotView, notes: Sequence[str]) -> Group:
    """The status with as many rows as leave all other facts on the screen.

    Before the last few rows go, what is so at any time does.
    """
    from rich.console import Group  # noqa: PLC0415 - slow

    from petal_s3.cli import screen  # noqa: PLC0415 - slow

    few = min(_FEW_ROWS, len(found.rows))
    whole = [(number, False) for number in range(len(found.rows), few - 1, -1)]
    for number, brief in [*whole, *((number, True) for number in range(few, -1, -1))]:
        rows = found.rows[:number]
        shown = Group(*screen.status_view(found, rows, notes, console.width, brief=brief))
        if len(console.render_lines(shown, pad=False)) < console.height:
            break
    return shown
