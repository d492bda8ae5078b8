"""Draw progress bars on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.errors import plain
from petal_s3.service.views.rows import RowView
from petal_s3.service.views.status import StatusView, spoken_s

_NAME_CHARS = 40
_LINE_S = 10.0
"""How often a line is said where there is no terminal for bars."""


def _progress(screen: Console, *more: ProgressColumn) -> Progress:
    """Bars; none at all where there is no terminal."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        DownloadColumn(),
        *more,
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )


class Bars:
    """One bar for each row on its way and one for all; lines where there is no terminal."""

    def __init__(self, screen: Console, now: Clock = clock.now) -> None:
        self._console, self._now = screen, now
        self._line_at = now() + _LINE_S
        # The pace is that of the status: bars that measure one of their own would tell another.
        self._bars = _progress(screen, TextColumn("{task.fields[pace]}", markup=False))
        self._tasks: dict[int, TaskID] = {}
        self._total: TaskID | None = None
        self._bytes = self._left = 0

    def say(self, sentence: str) -> None:
        """Print a line; the bars stay below it."""
        self._console.print(plain(sentence), soft_wrap=True)

    def draw(self, status: StatusView, moving: Sequence[RowView]) -> None:
        """Draw all bars: one for what is left in all, and one for each row on its way.

        Where there is no terminal, a line says how far it is, every ten seconds.
        """
        if not self._console.is_terminal:
            self._line(status, len(moving))
            return
        if self._total is None:
            self._total = self._bars.add_task("all", total=None, pace="")
        left = status.backlog_bytes
        self._bytes += max(0, left - self._left)
        self._left = left
        done = self._bytes - left
        self._bars.update(self._total, total=self._bytes, completed=done, pace=_pace(status))
        for gone in self._tasks.keys() - {row.id for row in moving}:
            self._bars.remove_task(self._tasks.pop(gone))
        for row in moving:
            if row.id not in self._tasks:
                name = plain(row.key.rpartition("/")[2])
                short = name if len(name) <= _NAME_CHARS else f"{name[: _NAME_CHARS - 3]}..."
                self._tasks[row.id] = self._bars.add_task(short, total=row.size, pace="")
            self._bars.update(self._tasks[row.id], completed=row.sent_bytes)

    def _line(self, status: StatusView, moving: int) -> None:
        if self._now() < self._line_at:
            return
        self._line_at = self._now() + _LINE_S
        counts = status.counts
        left = counts["queued"] + counts["uploading"]
        said = [f"{counts['verified']} proven", f"{left} to go"] if left else []
        said += [f"{decimal(status.backlog_bytes)} left"] if status.backlog_bytes else []
        said += [pace] if moving and (pace := _pace(status)) else []
        if said:
            word = "sending  " if moving else "waiting  "
            self.say(f"{word} {', '.join(said)}")

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


def _pace(status: StatusView) -> str:
    rate = f"{decimal(status.rate_bytes_s)}/s" if status.rate_bytes_s else ""
    left = f"{spoken_s(status.eta_s)} left" if status.eta_s is not None else ""
    return " ".join(filter(None, (rate, left)))


class Bar:
    """One bar for one transfer; none where there is no terminal."""

    def __init__(self, screen: Console, name: str) -> None:
        self._bar = _progress(screen, TransferSpeedColumn(), TimeRemainingColumn())
        self._task = self._bar.add_task(plain(name), total=None)

    def draw(self, done: int, size: int) -> None:
        """So many bytes of so many have come."""
        self._bar.update(self._task, completed=done, total=size)

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
