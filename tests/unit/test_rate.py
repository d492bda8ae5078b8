"""The rate that people see is the speed of the upload, not diluted by the rest before it."""

from __future__ import annotations

from petal_s3.service.status import Rate


def test_the_rest_before_an_upload_does_not_count() -> None:
    rate = Rate()
    for second in range(8):
        assert rate.take(second, 500) == 0.0
    assert rate.take(8, 600) == 100.0
    assert rate.take(9, 700) == 100.0


def test_the_first_instant_says_nothing_yet() -> None:
    rate = Rate()
    rate.take(0, 0)
    assert rate.take(0.2, 5_000_000) == 0.0
    assert rate.take(1, 6_000_000) == 6_000_000.0


def test_a_pause_within_an_upload_counts_and_ten_seconds_of_it_are_standstill() -> None:
    rate = Rate()
    rate.take(0, 0)
    assert rate.take(1, 100) == 100.0
    assert rate.take(4, 100) == 25.0
    assert rate.take(12, 100) == 0.0
