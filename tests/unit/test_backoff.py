"""Waiting after failures: longer each time, never beyond the cap, never in step with others."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petal_s3.upload.backoff import backoff_s

FAILURES = st.integers(0, 10**9)
CAPS = st.floats(0.001, 1e6)
SPREADS = st.floats(0.0, 1.0)


def longest(failures: int, cap_s: float = 60.0) -> float:
    return backoff_s(failures, cap_s=cap_s, spread=lambda: 1.0)


@given(FAILURES, CAPS, SPREADS)
def test_a_wait_lies_between_nothing_and_the_cap(
    failures: int, cap_s: float, spread: float
) -> None:
    assert 0.0 <= backoff_s(failures, cap_s=cap_s, spread=lambda: spread) <= cap_s


@given(FAILURES, CAPS)
def test_the_longest_wait_never_shrinks_with_failures(failures: int, cap_s: float) -> None:
    assert longest(failures, cap_s) <= longest(failures + 1, cap_s)


@given(FAILURES, CAPS, CAPS)
def test_the_longest_wait_never_shrinks_with_the_cap(
    failures: int, one: float, other: float
) -> None:
    assert longest(failures, min(one, other)) <= longest(failures, max(one, other))


@given(FAILURES, CAPS, SPREADS)
def test_the_spread_uses_the_whole_range_evenly(failures: int, cap_s: float, spread: float) -> None:
    waited = backoff_s(failures, cap_s=cap_s, spread=lambda: spread)
    assert waited == pytest.approx(spread * longest(failures, cap_s))
    assert backoff_s(failures, cap_s=cap_s, spread=lambda: 0.0) == 0.0


@pytest.mark.parametrize(
    ("failures", "expected"), [(0, 1), (1, 2), (2, 4), (3, 8), (5, 32), (6, 60), (7, 60), (99, 60)]
)
def test_the_longest_wait_doubles_up_to_a_minute(failures: int, expected: float) -> None:
    assert longest(failures) == expected


@pytest.mark.parametrize(("failures", "expected"), [(8, 256), (9, 300), (1000, 300)])
def test_a_refusal_waits_five_minutes_at_most(failures: int, expected: float) -> None:
    assert longest(failures, cap_s=300.0) == expected


@pytest.mark.parametrize("failures", [-1, -(10**9)])
def test_no_failure_at_all_is_the_shortest_wait(failures: int) -> None:
    assert longest(failures) == longest(0)


def test_many_devices_that_failed_together_do_not_come_back_together() -> None:
    dice = random.Random(7)
    waits = sorted(backoff_s(20, spread=dice.random) for _ in range(2000))
    assert waits[0] < 1.0
    assert waits[-1] > 59.0
    assert 28.0 < sum(waits) / len(waits) < 32.0
    assert len(set(waits)) == len(waits)


def test_left_to_itself_it_throws_dice() -> None:
    assert len({backoff_s(20) for _ in range(20)}) > 1
