"""Draw the show: live bars on a terminal, plain lines everywhere else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.filesize import decimal
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from petal_s3.demo.audit import Finding

_BAR_WIDTH, _NARROW_BAR_WIDTH = 32, 14
_WIDE = 110
_STATE_STYLES = {"recording": "cyan", "sending": "yellow", "proven": "green"}


@dataclass(frozen=True)
class Bar:
    """How far one log is; ``detail`` follows its state."""

    name: str
    done: int
    total: int
    state: str
    detail: str = ""

    @property
    def text(self) -> str:
        return f"{self.state}, {self.detail}" if self.detail else self.state

    @property
    def sizes(self) -> str:
        if self.done >= self.total:
            return decimal(self.total)
        return f"{decimal(self.done)} of {decimal(self.total)}"


class Screen:
    """What the audience sees."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._acts = 0

    def title(self, text: str) -> None:
        self._print(text, "bold")

    def act(self, text: str) -> None:
        """Begin the next act."""
        self._acts += 1
        self._print(f"\n{self._acts}. {text}", "bold cyan")

    def say(self, text: str, style: str = "") -> None:
        self._print(f"   {text}", style)

    def facts(self, facts: Sequence[tuple[str, str]]) -> None:
        """Names and what they stand for, one per line."""
        width = max(len(name) for name, _ in facts)
        for name, value in facts:
            self.say(f"{name:{width}}  {value}")

    def _print(self, text: str, style: str) -> None:
        # Soft: a URL or a command must stay in one piece to be copied.
        self._console.print(Text(text, style), soft_wrap=True)

    @contextlib.contextmanager
    def board(self) -> Iterator[Board]:
        """Show how far each log is, for as long as the context lasts."""
        if not self._console.is_terminal:
            yield Board(self)
            return
        with Live(console=self._console, auto_refresh=False) as live:
            yield Board(self, live)

    def findings(self, bucket: str, prefix: str, findings: Sequence[Finding]) -> None:
        """The table at the end; ``prefix`` is what all keys begin with."""
        self.say(f"keys begin with s3://{bucket}/{prefix}")
        out = self._console
        if not out.is_terminal:  # nothing there is as narrow as a console takes it to be
            out = Console(file=out.file, width=max(out.width, _WIDE))
        out.print(_table(prefix, findings, wide=out.width >= _WIDE))


class Board:
    """Where the bars appear; without a terminal a line when a log enters a new state or quarter."""

    def __init__(self, screen: Screen, live: Live | None = None) -> None:
        self._screen = screen
        self._live = live
        self._said: dict[str, tuple[str, int]] = {}

    def show(self, bars: Sequence[Bar], footer: str) -> None:
        """Draw them as they are now; the footer is for a terminal alone."""
        if self._live is not None:
            wide = self._live.console.width >= _WIDE
            self._live.update(
                Group(_grid(bars, wide=wide), Text(f"   {footer}", "dim")), refresh=True
            )
            return
        for bar in bars:
            now = (bar.state, 4 * bar.done // max(bar.total, 1))
            if self._said.get(bar.name) != now:
                self._said[bar.name] = now
                percent = 100 * bar.done // max(bar.total, 1)
                self._screen.say(f"{percent:3} %  {bar.name}  {bar.sizes}  {bar.text}")


def _grid(bars: Sequence[Bar], *, wide: bool) -> Table:
    width = _BAR_WIDTH if wide else _NARROW_BAR_WIDTH
    grid = Table.grid(padding=(0, 2))
    for bar in bars:
        grid.add_row(
            f"   {bar.name}",
            ProgressBar(total=max(bar.total, 1), completed=bar.done, width=width),
            bar.sizes,
            Text(bar.text, _STATE_STYLES.get(bar.state, "dim")),
        )
    return grid


def _table(prefix: str, findings: Sequence[Finding], *, wide: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("key", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("checksum, proof" if wide else "checksum,\nproof", no_wrap=True)
    for name in ("parts\nsent", "cut\noff", "re-\nsent"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("disk, S3", no_wrap=not any(one.trouble for one in findings))
    for one in findings:
        table.add_row(
            one.key.removeprefix(prefix),
            decimal(one.size),
            f"{one.checksum}{'  ' if wide else chr(10)}{one.proof}",
            str(one.parts),
            str(one.cut_off),
            str(one.resent),
            Text(one.trouble or "identical", "red" if one.trouble else "green"),
        )
    return table


def footer(status: Mapping[str, Any]) -> str:
    """One line about all logs, from the petal's status."""
    counts = status["counts"]
    waiting = counts["queued"] + counts["uploading"]
    parts = [f"vehicle {status['flight_state']}", f"{counts['verified']} proven, {waiting} to go"]
    if status["eta_s"]:
        parts.append(f"about {status['eta_s']} s left")
    return "; ".join([*parts, status["reason"]] if status["reason"] else parts)
