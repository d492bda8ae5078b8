"""What is taken in leaves a reserve on the disk, and what waits is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from petal_s3.core.settings import GIB, MIB
from petal_s3.errors import BadInput, LocalStorageError, Transient
from petal_s3.intake.reserve import PER_MINUTE, Arrivals, Reserve, Room, Space, reserve_bytes
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
    free: int,
    *,
    total: int = 64 * GIB,
    held: int = 0,
    given_up: int = 0,
    arrivals: Arrivals | None = None,
) -> Room:
    return Room(
        Path("/spool"), 0, held, given_up, lambda _: Space(free, total), arrivals or Arrivals()
    )


def refused(one: Room, size: int) -> LocalStorageError:
    with pytest.raises(LocalStorageError) as told:
        one.take(size)
    assert told.value.status == 507
    with pytest.raises(LocalStorageError):
        one.check(size)
    return told.value


def test_what_leaves_the_reserve_is_taken_and_a_byte_more_is_not() -> None:
    one = room(2 * GIB)
    one.check(2 * GIB - 512 * MIB)
    error = refused(one, 2 * GIB - 512 * MIB + 1)
    assert error.code == "storage_full"
    assert f"{2 * GIB} bytes are free" in error.message
    assert f"{512 * MIB} stay free" in error.message


def test_copies_that_are_not_up_fill_a_half_of_the_disk_at_most() -> None:
    one = room(3 * GIB, total=4 * GIB, held=GIB, given_up=300 * MIB)
    one.check(GIB)
    error = refused(one, GIB + 1)
    assert error.code == "spool_full"
    assert f"hold {GIB} bytes" in error.message
    assert f"rows hold {300 * MIB} bytes: `petal-s3 cancel --purge`" in error.message
    one.take(GIB)
    assert refused(one, 1).code == "spool_full"


def test_logs_that_come_side_by_side_fill_a_half_of_the_disk_at_most() -> None:
    arrivals = Arrivals()
    one = room(3 * GIB, total=4 * GIB, arrivals=arrivals)
    one.take(GIB)
    other = room(3 * GIB, total=4 * GIB, arrivals=arrivals)  # it begins while that one comes
    other.take(GIB)
    for each in (one, other):
        error = refused(each, 1)
        assert (error.code, f"hold {2 * GIB} bytes" in error.message) == ("spool_full", True)
    other.give_back()  # it broke off, and its file is gone
    one.take(GIB)
    assert refused(one, 1).code == "spool_full"


def test_what_has_come_whole_is_counted_once() -> None:
    arrivals = Arrivals()
    one, other = (room(3 * GIB, total=4 * GIB, arrivals=arrivals) for _ in range(2))
    one.take(GIB)
    one.settle()
    other.take(GIB)
    assert refused(other, 1).code == "spool_full"
    # Whoever comes later finds it among the copies that the outbox counts.
    room(3 * GIB, total=4 * GIB, held=GIB, arrivals=arrivals).check(0)
    assert refused(room(3 * GIB, total=4 * GIB, held=GIB, arrivals=arrivals), 1).code


def test_what_was_only_announced_keeps_nobody_out() -> None:
    arrivals = Arrivals()
    room(3 * GIB, total=4 * GIB, arrivals=arrivals).check(2 * GIB)
    room(3 * GIB, total=4 * GIB, arrivals=arrivals).take(2 * GIB)


def test_a_disk_that_cannot_be_looked_at_is_not_judged() -> None:
    def gone(_: Path) -> Space:
        raise OSError

    Room(Path("/spool"), 0, 0, 0, gone, Arrivals()).take(GIB)


def take_one(reserve: Reserve) -> None:
    with reserve.counted():
        pass


def test_rest_takes_so_many_in_a_minute(tmp_path: Path) -> None:
    at = [1000.0]
    reserve = Reserve(OutboxThread(tmp_path / "outbox.db"), tmp_path, 0, lambda: at[0])
    for _ in range(PER_MINUTE):
        take_one(reserve)
    with pytest.raises(Transient) as told:
        take_one(reserve)
    assert (told.value.code, told.value.status, told.value.retry_after_s) == ("too_fast", 503, 1.0)
    at[0] += 1
    for _ in range(PER_MINUTE // 60):
        take_one(reserve)
    with pytest.raises(Transient):
        take_one(reserve)


def test_what_rest_refuses_counts_for_nothing(tmp_path: Path) -> None:
    reserve = Reserve(OutboxThread(tmp_path / "outbox.db"), tmp_path, 0, lambda: 1000.0)
    for _ in range(2 * PER_MINUTE):
        with pytest.raises(BadInput), reserve.counted():
            raise BadInput("There is no such file.")
    for _ in range(PER_MINUTE):
        take_one(reserve)
    with pytest.raises(Transient):
        take_one(reserve)
