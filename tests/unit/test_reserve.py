"""What is taken in leaves a reserve on the disk, and what waits is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from petal_s3.core.settings import GIB, MIB
from petal_s3.errors import LocalStorageError, Transient
from petal_s3.intake.reserve import PER_MINUTE, Reserve, Room, Space, reserve_bytes
from petal_s3.outbox.thread import OutboxThread


@pytest.mark.parametrize(
    ("total", "min_free", "reserve"),
    [
        (64 * GIB, 0, 512 * MIB),
        (10 * GIB, 0, 512 * MIB),
        (4 * GIB, 0, 4 * GIB // 20),
        (20 * MIB, 0, MIB),
        (64 * GIB, 20 * GIB, 20 * GIB),
        (64 * GIB, 100 * MIB, 512 * MIB),
    ],
)
def test_the_reserve_fits_the_disk(total: int, min_free: int, reserve: int) -> None:
    assert reserve_bytes(total, min_free) == reserve


def room(
    free: int, *, total: int = 64 * GIB, held: int = 0, given_up: int = 0, expected: int = 0
) -> Room:
    return Room(Path("/spool"), 0, held, given_up, expected, lambda _: Space(free, total))


def refused(one: Room, size: int, written: int = 0) -> LocalStorageError:
    with pytest.raises(LocalStorageError) as told:
        one.check(size, written) if written else one.check_all(size)
    assert told.value.status == 507
    return told.value


def test_what_leaves_the_reserve_is_taken_and_a_byte_more_is_not() -> None:
    one = room(2 * GIB)
    one.check_all(2 * GIB - 512 * MIB)
    error = refused(one, 2 * GIB - 512 * MIB + 1)
    assert error.code == "storage_full"
    assert f"{2 * GIB} bytes are free" in error.message
    assert f"{512 * MIB} stay free" in error.message


def test_room_is_left_for_what_others_have_announced() -> None:
    one = room(2 * GIB, expected=GIB)
    refused(one, GIB)
    one.check(GIB)  # those bytes have not come yet


def test_copies_that_are_not_up_fill_a_half_of_the_disk_at_most() -> None:
    one = room(3 * GIB, total=4 * GIB, held=GIB, given_up=300 * MIB)
    one.check_all(GIB)
    error = refused(one, GIB + 1)
    assert error.code == "spool_full"
    assert f"hold {GIB} bytes" in error.message
    assert f"rows hold {300 * MIB} bytes: `petal-s3 cancel --purge`" in error.message
    assert refused(one, 1, written=GIB).code == "spool_full"


def test_a_disk_that_cannot_be_looked_at_is_not_judged() -> None:
    def gone(_: Path) -> Space:
        raise OSError

    Room(Path("/spool"), 0, 0, 0, 0, gone).check_all(GIB)


def test_rest_takes_so_many_in_a_minute(tmp_path: Path) -> None:
    at = [1000.0]
    reserve = Reserve(OutboxThread(tmp_path / "outbox.db"), tmp_path, 0, lambda: at[0])
    for _ in range(PER_MINUTE):
        reserve.slow_down()
    with pytest.raises(Transient) as told:
        reserve.slow_down()
    assert (told.value.code, told.value.status, told.value.retry_after_s) == ("too_fast", 503, 1.0)
    at[0] += 1
    for _ in range(PER_MINUTE // 60):
        reserve.slow_down()
    with pytest.raises(Transient):
        reserve.slow_down()
