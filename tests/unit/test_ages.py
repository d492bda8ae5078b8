"""Ages count on a clock that nothing can shorten: over boots, without power, through jumps."""

from __future__ import annotations

from pathlib import Path

import pytest

from petal_s3.outbox import ages, facts
from petal_s3.outbox.ages import DAY_S, HOUR_S, Ages, Moment
from petal_s3.outbox.outbox import Outbox

NOON = 1_750_000_000.0
DECADES_S = 55 * 365 * DAY_S


class Device:
    """A device whose clocks a test moves; its outbox is opened anew at each boot."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._boots = 0
        self.s3_off_s = self.wall_off_s = 0.0
        self.true = NOON
        self.online = True
        self.boot()

    def boot(self, off_s: float = 0.0) -> None:
        """The power is off for so long."""
        if self._boots:
            self.outbox.close()
        self._boots += 1
        self.true += off_s
        self._up_at = self.true
        self.outbox = Outbox(self._path, boot_id=f"boot-{self._boots}")
        self.outbox.now = lambda: self.true - self._up_at

    def passes(self, seconds: float) -> Ages:
        """So much time with power, and a look at the end of it."""
        self.true += seconds
        s3 = self.true + self.s3_off_s if self.online else None
        moment = Moment(self.outbox.now(), self.true + self.wall_off_s, s3)
        return ages.carry_on(self.outbox, moment)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path / "outbox.db")


def test_the_count_grows_with_the_steady_clock(device: Device) -> None:
    begun = device.passes(0)
    later = device.passes(1000)
    assert later.count - begun.count == 1000
    device.true += 50
    assert ages.count(device.outbox) == later.count + 50


@pytest.mark.guarantee(
    "retention",
    "the device is off between two boots, offline or with a date that is wrong",
    "the time without power does not count: an age may be too low, never too high",
)
def test_without_s3_only_time_with_power_counts(device: Device) -> None:
    device.online = False
    device.passes(5000)
    device.boot(off_s=30 * DAY_S)
    device.wall_off_s = DECADES_S
    assert device.passes(1000).count == pytest.approx(1000, abs=5000)
    device.boot(off_s=30 * DAY_S)
    assert device.passes(1000).count <= 7000


@pytest.mark.guarantee(
    "retention",
    "the device was off for 30 days, and S3's clock and its own agree on that",
    "those days count",
)
def test_time_without_power_counts_where_two_clocks_agree_on_it(device: Device) -> None:
    device.passes(0)
    begun = device.passes(1000)
    device.boot(off_s=30 * DAY_S)
    assert device.passes(20).count - begun.count == pytest.approx(30 * DAY_S + 20)
    assert device.passes(1000).count - begun.count == pytest.approx(30 * DAY_S + 1020)


def test_a_date_that_is_put_right_late_still_counts(device: Device) -> None:
    device.passes(0)
    begun = device.passes(1000)
    device.boot(off_s=30 * DAY_S)
    device.wall_off_s = -DECADES_S
    early = device.passes(20).count
    device.wall_off_s = 0.0
    assert early - begun.count == pytest.approx(20)
    assert device.passes(20).count - begun.count == pytest.approx(30 * DAY_S + 40)


@pytest.mark.parametrize("which", ["s3", "wall"])
@pytest.mark.guarantee(
    "retention",
    "after a boot one of the two clocks, S3's or the device's, is decades ahead",
    "the other one decides how long the power was off",
)
def test_one_clock_alone_makes_nothing_old(device: Device, which: str) -> None:
    device.passes(0)
    begun = device.passes(1000)
    device.boot(off_s=HOUR_S)
    if which == "s3":
        device.s3_off_s = DECADES_S
    else:
        device.wall_off_s = DECADES_S
    device.passes(20)
    assert device.passes(20).count - begun.count == pytest.approx(HOUR_S + 40)


def test_where_the_two_never_agreed_time_without_power_does_not_count(device: Device) -> None:
    device.s3_off_s = -DECADES_S  # a server of S3 in 1970
    begun = device.passes(1000)
    device.boot(off_s=HOUR_S)
    device.s3_off_s = 0.0
    assert device.passes(20).count - begun.count == pytest.approx(20)


@pytest.mark.parametrize("jump_s", [DECADES_S, 2 * HOUR_S, -2 * HOUR_S, -DECADES_S])
def test_a_jump_of_s3s_clock_begins_ages_anew(device: Device, jump_s: float) -> None:
    device.passes(5 * DAY_S)
    device.passes(5 * DAY_S)
    before = device.passes(0)
    device.s3_off_s = jump_s
    after = device.passes(60)
    later = device.passes(DAY_S)

    assert before.oldest(4 * DAY_S) > 0
    assert after.jumped
    assert after.oldest(HOUR_S) < 0
    assert after.jump_s == pytest.approx(jump_s)
    assert (later.jumped, later.oldest(DAY_S) >= 0, later.oldest(2 * DAY_S) >= 0) == (
        False,
        True,
        False,
    )


def test_a_jump_back_between_two_boots_begins_ages_anew(device: Device) -> None:
    device.passes(0)
    device.passes(5 * DAY_S)
    device.boot()
    device.s3_off_s = -40 * DAY_S
    assert device.passes(60).jumped


@pytest.mark.parametrize("jump_s", [0.0, 1800.0, -1800.0])
def test_a_smaller_difference_is_none(device: Device, jump_s: float) -> None:
    device.passes(5 * DAY_S)
    device.s3_off_s = jump_s
    assert not device.passes(60).jumped


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"boot": 1}', "nonsense", "7"])
def test_what_is_kept_of_another_version_begins_anew(device: Device, text: str) -> None:
    facts.keep(device.outbox, "ages", text)
    assert ages.count(device.outbox) == 0.0
    assert device.passes(10).count == pytest.approx(0.0, abs=10)


def test_it_is_written_down_seldom(device: Device) -> None:
    device.passes(0)
    device.passes(1)
    before = device.outbox.sql.conn.total_changes
    for _ in range(9):
        device.passes(60)
    assert device.outbox.sql.conn.total_changes == before
    device.passes(120)
    assert device.outbox.sql.conn.total_changes > before
