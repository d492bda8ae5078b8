"""What the bench keeps and draws; nothing is measured here."""

from __future__ import annotations

import importlib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench import charts, page, results
from bench.__main__ import NAMES
from bench.figures import Figure, ratios
from bench.table import ROWS, Bar


def test_a_figure_is_the_median_of_its_rounds_against_its_bar() -> None:
    found = ratios(1, "CPU over boto3", [1.0, 3.0, 2.0], [2.0, 2.0, 4.0])

    assert (found.median, found.is_reached) == (0.5, True)
    assert found.line().endswith("0.50 (0.50 to 1.50 in 3 rounds); bar ≤ 0.6: reached")


@pytest.mark.parametrize(("value", "at_least", "holds"), [(1, False, True), (1, True, False)])
def test_a_bar_is_the_most_or_the_least(*, value: float, at_least: bool, holds: bool) -> None:
    assert Bar(1.5, at_least=at_least).holds(value) == holds


def test_every_row_has_a_bar_and_every_measurement_can_be_run() -> None:
    assert all(row.bars for row in ROWS.values())
    for name in NAMES:
        module = importlib.import_module(f"bench.{name}")
        assert hasattr(module, "figures") or hasattr(module, "run")


def test_what_is_kept_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    kept = [Figure(16, "most", (4.0, 4.2), "%", case=1), Figure(0, "boto3", (1.0,), "s", chart="C")]

    results.write("robots", kept, (0.5, 0.4, 0.3), {"boto3": "1"}, quick=False)

    assert results.read(tmp_path / "robots.json")[1] == kept
    assert "most: **4.10 %** (4.00 to 4.20)" in page.table()
    assert "load 0.5 and" in page.sources()
    assert page.pictures().strip() == "![C](performance/c.svg)"


def test_a_chart_is_well_formed_and_names_each_bar() -> None:
    drawn = charts.bars("CPU & wall", [Figure(0, "a < b", (1.0, 2.0), "s"), Figure(0, "c", (3.0,))])

    texts = [node.text for node in ET.fromstring(drawn).iter() if node.tag.endswith("text")]
    assert texts == ["CPU & wall", "a < b", "1.50 s", "c", "3.00"]
