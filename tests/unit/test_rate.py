"""The rate that people see is the speed of the upload, not diluted by the rest before it."""

from __future__ import annotations

from petal_s3.service.rate import Rate


def test_the_rest_before_an_upload_does_not_count() -> None:
    rate = Rate()
    for second in range(8):
        assert rate.take(second, 500) == 0.0
    for second in range(8, 18):
        rate.take(second, 500 + 100 * (second - 7))
    assert rate.take(18, 1600) == 100.0
    assert rate.take(19, 1700) == 100.0


def test_less_than_ten_seconds_say_nothing_yet() -> None:
    rate = Rate()
    for second in range(10):
        assert rate.take(second, 6_000_000 * second) == 0.0
    assert rate.take(10, 60_000_000) == 6_000_000.0


def test_a_pause_within_an_upload_counts_and_ten_seconds_of_it_are_standstill() -> None:
    rate = Rate()
    for second in range(11):
        measured = rate.take(second, 100 * second)
    assert measured == 100.0
    assert rate.take(15, 1000) == 1000 / 15
    assert rate.take(20, 1000) == 0.0
    assert rate.take(21, 1100) == 0.0


def test_what_goes_on_after_a_standstill_is_measured_anew() -> None:
    rate = Rate()
    for second in range(11):
        rate.take(second, 100 * second)
    rate.take(60, 1000)
    for second in range(61, 70):
        measured = rate.take(second, 1000 + 50 * (second - 60))
    assert measured == 0.0
    assert rate.take(70, 1500) == 50.0


def test_callers_that_ask_often_get_the_same_rate_as_one_that_asks_seldom() -> None:
    often, seldom = Rate(), Rate()
    for tick in range(400):
        now = tick / 10
        measured = often.take(now, int(400_000 * now))
        if tick % 20 == 0:
            assert abs(seldom.take(now, int(400_000 * now)) - measured) < 1
