"""Bars as SVG: medians, with a line from the least to the most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from .figures import Figure, shown

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 720, 170, 90, 30, 46
_OURS, _THEIRS, _LINE, _TEXT = "#1f6feb", "#8c959f", "#57606a", "#24292f"


def bars(title: str, figures: Sequence[Figure]) -> str:
    """A chart of figures with one unit, the least first; ours in blue."""
    ordered = sorted(figures, key=lambda one: one.median)
    most = max(max(one.values) for one in ordered) or 1.0
    height = _TOP + _ROW * len(ordered) + 12
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
        f' font-family="sans-serif" font-size="13" fill="{_TEXT}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="12" y="26" font-size="15" font-weight="bold">{escape(title)}</text>',
        *(line for place, one in enumerate(ordered) for line in _bar(place, one, most)),
        "</svg>",
    ]
    return "\n".join([*lines, ""])


def _bar(place: int, figure: Figure, most: float) -> Iterator[str]:
    top = _TOP + _ROW * place
    middle = top + _ROW / 2 - 3

    def x(value: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * max(0.0, value) / most, 1)

    colour = _OURS if figure.what.startswith("petal-s3") else _THEIRS
    width = round(x(figure.median) - _LEFT, 1)
    least, end = x(min(figure.values)), x(max(figure.values))
    yield f'<text x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(figure.what)}</text>'
    yield f'<rect x="{_LEFT}" y="{top}" width="{width}" height="{_ROW - 6}" fill="{colour}"/>'
    yield (
        f'<path d="M{least} {middle}H{end}M{least} {middle - 4}v8M{end} {middle - 4}v8"'
        f' stroke="{_LINE}" fill="none"/>'
    )
    told = f"{shown(figure.median)} {figure.unit}".strip()
    yield f'<text x="{end + 8}" y="{middle + 4}">{escape(told)}</text>'
