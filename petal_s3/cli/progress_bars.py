"""Draw progress bars on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from petal_s3.errors import plain

_NAME_CHARS = 40


def _progress(screen: Console) -> Progress:
    """Bars; none at all where there is no terminal."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )


class Bars:
    """One bar for each row on its way and one for all; only lines where there is no terminal."""

    def __init__(self, screen: Console) -> None:
        self._console = screen
        self._bars = _progress(screen)
        self._tasks: dict[int, TaskID] = {}
        self._total: TaskID | None = None
        self._bytes = self._left = 0

    def say(self, sentence: str) -> None:
        """Print a line; the bars stay below it."""
        self._console.print(plain(sentence), soft_wrap=True)

    def draw(
        self, left_bytes: int, on_way_bytes: int, moving: Mapping[int, tuple[str, int, int]]
    ) -> None:
        """Draw all bars.

        ``left_bytes``: of all rows, not yet confirmed; ``on_way_bytes`` of them are handed to the
        network. ``moving``: per row on its way its name, bytes moved, size.
        """
        if self._total is None:
            self._total = self._bars.add_task("all", total=None)
        self._bytes += max(0, left_bytes - self._left)
        self._left = left_bytes
        done = self._bytes - left_bytes + on_way_bytes
        self._bars.update(self._total, total=self._bytes, completed=done)
        for gone in self._tasks.keys() - moving.keys():
            self._bars.remove_task(self._tasks.pop(gone))
        for row_id, (name, moved, size) in moving.items():
            if row_id not in self._tasks:
                name = plain(name)  # noqa: PLW2901
                short = name if len(name) <= _NAME_CHARS else f"{name[: _NAME_CHARS - 3]}..."
                self._tasks[row_id] = self._bars.add_task(short, total=size)
            self._bars.update(self._tasks[row_id], completed=moved)

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()


class Bar:
    """One bar for one transfer; none where there is no terminal."""

    def __init__(self, screen: Console, name: str) -> None:
        self._bar = _progress(screen)
        self._task = self._bar.add_task(plain(name), total=None)

    def draw(self, done: int, size: int) -> None:
        """So many bytes of so many have come."""
        self._bar.update(self._task, completed=done, total=size)

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
