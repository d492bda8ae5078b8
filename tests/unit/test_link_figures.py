"""What the link carries and how long it lives, measured by the bodies that pass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from petal_s3.outbox import facts
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.request_body import ByteCounter
from petal_s3.upload.link_figures import LinkFigures, LinkMeter

MB = 1_000_000


class Link:
    """A link that carries what it is told, and its clock."""

    def __init__(self, outbox: OutboxThread) -> None:
        self.at = 100.0
        self.sent = ByteCounter()
        self.outbox = outbox
        self.meter = self.again()

    def again(self) -> LinkMeter:
        """The meter of another process."""
        return LinkMeter(self.outbox, self.sent, lambda: self.at)

    def carry(self, size: int, for_s: float) -> None:
        self.at += for_s
        self.sent.acknowledge(size, self.at)


@pytest.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    outbox = OutboxThread(tmp_path / "outbox.db")
    await outbox.open()
    yield Link(outbox)
    await outbox.close()


async def test_the_rate_is_what_was_acknowledged_while_bodies_were_on_their_way(link: Link) -> None:
    for _ in range(3):
        with link.meter.carries():
            link.carry(4 * MB, 2.0)
            link.at += 0.3  # the answer
        link.at += 5.0  # nothing travels
    link.meter.passed()

    assert link.meter.figures.rate_bytes_s == pytest.approx(2 * MB)


async def test_bodies_that_travel_together_count_their_time_once(link: Link) -> None:
    with link.meter.carries(), link.meter.carries():
        link.carry(5 * MB, 1.0)
        link.carry(5 * MB, 1.0)
    link.meter.passed()

    assert link.meter.figures.rate_bytes_s == pytest.approx(5 * MB)


async def test_a_few_bytes_tell_no_rate(link: Link) -> None:
    with link.meter.carries():
        link.carry(100_000, 0.3)
    link.meter.passed()

    assert link.meter.figures == LinkFigures()


async def test_a_cut_tells_how_long_the_link_lived_without_the_wait_for_it(link: Link) -> None:
    with link.meter.carries():
        link.carry(20 * MB, 10.0)
        link.at += 60.0  # it was found to stall
    link.meter.broke()

    assert link.meter.figures == LinkFigures(2 * MB, 10.0, cut=True)


async def test_a_link_that_was_not_there_at_all_tells_no_life(link: Link) -> None:
    link.meter.broke()

    assert link.meter.figures == LinkFigures(cut=True)


async def test_a_link_that_breaks_at_once_has_hardly_lived(link: Link) -> None:
    link.meter.figures = LinkFigures(2 * MB, 3600.0)
    with link.meter.carries():
        link.at += 1.0
    link.meter.broke()

    assert 0 < link.meter.figures.life_s < 0.1


async def test_after_a_rest_another_life_begins(link: Link) -> None:
    for rest_s in (0.0, 7200.0):
        link.at += rest_s
        with link.meter.carries():
            link.carry(20 * MB, 10.0)
    link.meter.broke()

    assert link.meter.figures.life_s == pytest.approx(10.0)


async def test_an_upload_that_passes_shows_a_longer_life(link: Link) -> None:
    link.meter.figures = LinkFigures(1.0, life_s=5.0, cut=True)
    with link.meter.carries():
        link.carry(20 * MB, 10.0)
    link.meter.passed()

    assert link.meter.figures == LinkFigures(2 * MB, 10.0, cut=False)


async def test_what_was_seen_is_kept_for_the_next_process(link: Link) -> None:
    await link.meter.load()
    with link.meter.carries():
        link.carry(20 * MB, 10.0)
    link.meter.broke()
    await link.meter.keep()

    after = link.again()
    await after.load()
    assert after.figures == LinkFigures(2 * MB, 10.0, cut=True)


async def test_a_slight_change_is_not_written(link: Link) -> None:
    await link.meter.load()
    for size in (20 * MB, 22 * MB):
        with link.meter.carries():
            link.carry(size, 10.0)
        link.meter.passed()
        await link.meter.keep()

    after = link.again()
    await after.load()
    assert after.figures.rate_bytes_s == pytest.approx(2 * MB)


@pytest.mark.parametrize("kept", ["", "{", "[]", '{"speed": 1}', '{"rate_bytes_s": "fast"}'])
async def test_what_cannot_be_read_is_nothing_known(link: Link, kept: str) -> None:
    await link.outbox(facts.keep, "link", kept)
    await link.meter.load()

    assert link.meter.figures == LinkFigures()
