"""One figure of the bench: what was measured in each round, and what it is held against."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from . import table


@dataclass(frozen=True)
class Figure:
    """Values of one thing, one for each round.

    ``row``: of the table in :mod:`bench.table`, 0 for what only stands beside it; ``case``: which
    bar of the row, where it has several. ``chart``: figures of one chart are drawn side by side.
    """

    row: int
    what: str
    values: tuple[float, ...]
    unit: str = ""
    case: int = 0
    chart: str = ""

    @property
    def median(self) -> float:
        """The middle value."""
        return statistics.median(self.values)

    @property
    def bar(self) -> table.Bar | None:
        """What it is held against."""
        bars = table.ROWS[self.row].bars if self.row else ()
        return bars[self.case] if self.case < len(bars) else None

    @property
    def is_reached(self) -> bool:
        """Whether the median keeps to the bar, or there is none."""
        return self.bar is None or self.bar.holds(self.median)

    def spread(self) -> str:
        """The least and the most of all rounds."""
        least, most = shown(min(self.values)), shown(max(self.values))
        return least if least == most else f"{least} to {most}"

    def line(self) -> str:
        """The figure in a line."""
        row = f"row {self.row:2}" if self.row else "      "
        unit = f" {self.unit}" if self.unit else ""
        rounds = f" ({self.spread()} in {len(self.values)} rounds)" if len(self.values) > 1 else ""
        bar = "" if self.bar is None else f"; bar {self.bar}"
        verdict = "" if self.bar is None else ": reached" if self.is_reached else ": not reached"
        what = f"{self.chart}: {self.what}" if self.chart else self.what
        return f"{row}  {what}: {shown(self.median)}{unit}{rounds}{bar}{verdict}"


def shown(value: float) -> str:
    """A figure with as many digits as it is worth."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def ratios(row: int, what: str, ours: Sequence[float], theirs: Sequence[float]) -> Figure:
    """Ours over theirs, round by round."""
    return Figure(row, what, tuple(a / b for a, b in zip(ours, theirs, strict=True)))
