"""Rate and backlog are kept where they change, for a day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from petal_s3.outbox import samples
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.samples import Sample


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox(tmp_path / "outbox.db")
    yield opened
    opened.close()


def kept(outbox: Outbox) -> list[Sample]:
    return samples.between(outbox, 0, 1 << 40)


def test_a_sample_that_says_the_same_is_not_kept_again(outbox: Outbox) -> None:
    for at, rate, left in (
        (1, 0, 0),
        (2, 10, 500),
        (3, 10, 500),
        (4, 0, 500),
        (5, 0, 0),
        (6, 0, 0),
    ):
        samples.add(outbox, Sample(at, rate, left))
    assert kept(outbox) == [Sample(2, 10, 500), Sample(4, 0, 500), Sample(5, 0, 0)]


def test_of_many_the_last_day_is_kept(outbox: Outbox) -> None:
    for number in range(samples.MOST + 10):
        samples.add(outbox, Sample(number * 60, 1, number + 1))
    found = kept(outbox)
    assert len(found) == samples.MOST
    assert found[-1] == Sample((samples.MOST + 9) * 60, 1, samples.MOST + 10)


def test_what_was_kept_by_a_clock_that_was_wrong_is_not_of_this_day(outbox: Outbox) -> None:
    samples.add(outbox, Sample(100, 1, 1))
    samples.add(outbox, Sample(1_800_000_000, 2, 2))
    assert samples.between(outbox, 1_799_913_600, 1_800_000_060) == [Sample(1_800_000_000, 2, 2)]
