"""What a row tells of its log beside its proof."""

from __future__ import annotations

import pytest

from petal_s3.service.views.rows import duration_s
from petal_s3.service.views.view import iso, spoken_bytes


@pytest.mark.parametrize(
    ("facts", "seconds"),
    [
        ({"boot-us": "1000000", "end-us": "61500000"}, 60.5),
        ({"start-utc": "1753626622", "end-utc": "1753626722"}, 100.0),
        ({"boot-us": "1000000"}, None),
        ({}, None),
        ({"boot-us": "2", "end-us": "1"}, None),
        ({"boot-us": "x", "end-us": "-1"}, None),
    ],
)
def test_a_log_lasts_as_its_header_and_its_end_say(
    facts: dict[str, str], seconds: float | None
) -> None:
    assert duration_s(facts) == seconds


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "1970-01-01T00:00:00+00:00"),
        (1_753_626_622.9, "2025-07-27T14:30:22+00:00"),
        (-5, "1970-01-01T00:00:00+00:00"),
        (1e18, "9999-12-31T23:59:59+00:00"),
    ],
)
def test_a_moment_is_told_whatever_a_clock_says(seconds: float, told: str) -> None:
    assert iso(seconds) == told


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_900, "99.9 kB"),
        (99_960, "100 kB"),
        (999_960, "1.0 MB"),
        (1_200_000_000, "1.2 GB"),
        (10**15, "1000.0 TB"),
    ],
)
def test_a_size_is_told_in_units_of_a_thousand(size: int, told: str) -> None:
    assert spoken_bytes(size) == told
