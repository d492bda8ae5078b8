"""The rate that people see is the speed of the upload, not diluted by the rest before it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from petal_s3.s3.checksums import Digest
from petal_s3.s3.request_body import ByteCounter, FilePart
from petal_s3.service.rate import Rate
from petal_s3.upload.progress import UploadProgress

PART = 5 * 1024 * 1024
PARTS = 8
BUFFER = 2_500_000  # what the kernel takes at once for each connection
LINE = 400_000  # bytes per second
AT_ONCE = 4


class Paced(FilePart):
    """A part on a line of which the buffer takes all it has room for, at once."""

    queued = 0

    def unacknowledged(self) -> int | None:
        return self.queued

    def fill(self) -> None:
        taken = min(BUFFER - self.queued, self.size - self.position)
        self.position += taken
        self.farthest = self.position
        self.queued += taken


def sent(fd: int, counter: ByteCounter) -> Iterator[tuple[float, UploadProgress]]:
    """An upload on a simulated clock, tick by tick; S3 answers a second after each part's end."""
    progress = UploadProgress(1, PARTS * PART)
    digest = Digest(PART, 0, b"")
    waiting = [Paced(fd, 0, digest, counter=counter) for _ in range(PARTS)]
    answered: dict[Paced, float] = {}
    now = 0.0
    while progress.confirmed < progress.size:
        while waiting and len(progress.bodies) < AT_ONCE:
            progress.bodies.add(waiting.pop())
        moving = [one for one in progress.bodies if isinstance(one, Paced)]
        for one in moving:
            one.fill()
        busy = [one for one in moving if one.queued]
        for one in busy:
            one.queued = max(0, one.queued - int(LINE * 0.1 / len(busy)))
        for one in moving:
            if one.position == one.size and not one.queued:
                answered.setdefault(one, now + 1.0)
        for one in [one for one, at in answered.items() if at <= now]:
            one.look(answered=True)
            progress.bodies.discard(one)
            progress.confirmed += one.size
            del answered[one]
        yield now, progress
        now += 0.1


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "log"
    path.touch()
    opened = os.open(path, os.O_RDONLY)
    yield opened
    os.close(opened)


def test_a_steady_line_has_a_steady_rate_though_parts_end_in_bursts(fd: int) -> None:
    rate, counter = Rate(), ByteCounter()
    measured = []
    for tick, (now, progress) in enumerate(sent(fd, counter)):
        shown = progress.moved
        if tick % 20 == 0:
            measured.append((now, rate.take(now, counter.acknowledged)))
            # Bytes that are shown as sent are those that the line has carried.
            assert abs(shown - min(LINE * now, PARTS * PART)) < 2.5 * LINE
    told = [speed for now, speed in measured if 12 <= now <= PARTS * PART / LINE - 2]
    assert len(told) > 30
    assert min(told) > 0.85 * LINE
    assert max(told) < 1.05 * LINE


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
