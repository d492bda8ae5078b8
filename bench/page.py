"""The page of figures: the table, and charts drawn from what bench/results holds."""

from __future__ import annotations

from collections.abc import Iterator

from . import charts, results
from .figures import Figure, shown
from .process import ROOT
from .table import ROWS

_CHARTS = ROOT / "docs" / "performance"


def write() -> None:
    """Draw the charts anew; the page itself takes the rest by cog."""
    _CHARTS.mkdir(exist_ok=True)
    for file, title, figures in _charts():
        (_CHARTS / file).write_text(charts.bars(title, figures), encoding="utf-8")


def table() -> str:
    """The rows: before, the bars, what was measured last."""
    lines = ["", "| | before | to reach | now (median, least to most) |", "|---|---|---|---|"]
    found = [one for _, figures in _read() for one in figures]
    for number, row in ROWS.items():
        mine = [one for one in found if one.row == number]
        bars = "; ".join(dict.fromkeys(map(str, row.bars)))
        now = "<br>".join(map(_told, mine)) or "not measured yet"
        lines.append(f"| {number}. {row.what} | {row.before} | {bars} | {now} |")
    return "\n".join([*lines, "", ""])


def sources() -> str:
    """When, where and beside which load each measurement was made."""
    lines = [""]
    for told, _ in _read():
        load = told["load"]
        assert isinstance(load, dict)
        loads = " and ".join(f"{load[when][0]:.1f}" for when in ("before", "after"))
        lines.append(
            f"- `{told['name']}`: {told['at']}, {told['machine']}; load {loads} before and after;"
            f" {_versions(told)}"
        )
    return "\n".join([*lines, "", ""])


def pictures() -> str:
    """The charts, as the page shows them."""
    shown_here = [f"![{title}](performance/{file})" for file, title, _ in _charts()]
    return "\n".join(["", *shown_here, "", ""])


def _read() -> list[tuple[dict[str, object], list[Figure]]]:
    found = []
    for file in sorted(results.FOLDER.glob("*.json")):
        told, figures = results.read(file)
        found.append(({**told, "name": file.stem}, figures))
    return found


def _told(figure: Figure) -> str:
    unit = f" {figure.unit}" if figure.unit else ""
    spread = f" ({figure.spread()})" if len(figure.values) > 1 else ""
    mark = "" if figure.bar is None else "" if figure.is_reached else ", not reached"
    return f"{figure.what}: **{shown(figure.median)}{unit}**{spread}{mark}"


def _versions(told: dict[str, object]) -> str:
    versions = told["versions"]
    assert isinstance(versions, dict)
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _charts() -> Iterator[tuple[str, str, list[Figure]]]:
    """File, title and figures of each chart."""
    by_title: dict[str, list[Figure]] = {}
    for _, figures in _read():
        for figure in figures:
            if figure.chart:
                by_title.setdefault(figure.chart, []).append(figure)
    for title, figures in by_title.items():
        plain = "".join(letter if letter.isalnum() else "-" for letter in title.lower())
        yield "-".join(filter(None, plain.split("-"))) + ".svg", title, figures
