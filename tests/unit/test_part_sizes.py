"""How large parts are and how many travel at once: by what the link carried, and for how long."""

from __future__ import annotations

import pytest

from petal_s3.core.settings import GIB, MIB
from petal_s3.upload.link_figures import LinkFigures, LinkMeter
from petal_s3.upload.plan import (
    AUTO_SIZES,
    MOST_AT_ONCE,
    UploadPlan,
    chosen_part_size,
    chosen_parts_at_once,
)

MBIT = 125_000.0


class Nothing:
    """In place of an outbox and of what was sent: only figures are asked here."""


def plan(part_size: int | str, concurrency: int | str, link: LinkFigures) -> UploadPlan:
    meter = LinkMeter(Nothing(), Nothing(), lambda: 0.0)  # type: ignore[arg-type]
    meter.figures = link
    return UploadPlan("m", part_size, concurrency, meter)  # type: ignore[arg-type]


# -- the size of a part


@pytest.mark.parametrize(
    ("size", "expected"), [(6 * MIB, 5), (500 * MIB, 5), (GIB, 8), (2 * GIB, 16), (20 * GIB, 16)]
)
def test_while_nothing_is_measured_a_part_is_a_hundredth_of_the_file(
    size: int, expected: int
) -> None:
    assert chosen_part_size(size, LinkFigures(), 2) == expected * MIB


@pytest.mark.parametrize(("size", "expected"), [(60 * MIB, 5), (240 * MIB, 8), (2 * GIB, 16)])
def test_where_three_travel_unmeasured_parts_are_a_little_larger(size: int, expected: int) -> None:
    assert chosen_part_size(size, LinkFigures(), 3) == expected * MIB


def test_after_a_cut_of_a_link_that_was_not_measured_parts_are_as_small_as_can_be() -> None:
    assert chosen_part_size(2 * GIB, LinkFigures(cut=True), 1) == 5 * MIB


@pytest.mark.parametrize(
    ("mbit_s", "at_once", "expected"),
    [(0.064, 2, 5), (16, 2, 5), (20, 2, 8), (16, 1, 5), (100, 2, 32), (1000, 2, 64), (9000, 2, 64)],
)
def test_what_is_on_its_way_passes_in_eight_seconds(
    mbit_s: float, at_once: int, expected: int
) -> None:
    link = LinkFigures(rate_bytes_s=mbit_s * MBIT)

    chosen = chosen_part_size(2 * GIB, link, at_once)

    assert chosen == expected * MIB
    assert chosen == AUTO_SIZES[0] or chosen * at_once <= 8 * link.rate_bytes_s


@pytest.mark.parametrize(("life_s", "expected"), [(2, 5), (10, 8), (20, 16), (3600, 32)])
def test_a_part_takes_no_more_than_a_quarter_of_the_last_life_of_the_link(
    life_s: float, expected: int
) -> None:
    link = LinkFigures(rate_bytes_s=80 * MBIT, life_s=life_s, cut=True)

    assert chosen_part_size(2 * GIB, link, 1) == expected * MIB


@pytest.mark.parametrize(
    ("size", "at_once", "expected"),
    [(150 * MIB, 2, 16), (400 * MIB, 6, 8), (150 * MIB, 6, 5), (20 * MIB, 2, 5), (2 * GIB, 2, 32)],
)
def test_every_connection_has_several_turns(size: int, at_once: int, expected: int) -> None:
    assert chosen_part_size(size, LinkFigures(100 * MBIT), at_once) == expected * MIB


def test_what_passes_in_a_moment_goes_in_one_request() -> None:
    assert chosen_part_size(30 * MIB, LinkFigures(100e6), 2) == 32 * MIB


@pytest.mark.parametrize("size", [1, 5 * MIB, 100 * MIB, 600 * GIB])
@pytest.mark.parametrize("rate", [0.0, 1.0, 1e5, 1e7, 1e12])
@pytest.mark.parametrize("life_s", [0.0, 0.001, 30.0])
@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_it_is_never_outside_five_to_sixty_four_mib(
    size: int, rate: float, life_s: float, at_once: int
) -> None:
    assert chosen_part_size(size, LinkFigures(rate, life_s), at_once) in AUTO_SIZES


def test_a_size_that_is_set_is_obeyed_whatever_the_link_carries() -> None:
    link = LinkFigures(rate_bytes_s=1e9, life_s=1.0)

    assert plan(7 * MIB, 2, link).part_size_of(2 * GIB, 0.3) == 7 * MIB


@pytest.mark.parametrize("wanted", [5 * MIB, "auto"])
def test_a_part_grows_where_ten_thousand_would_not_do(wanted: int | str) -> None:
    size = 5000 * GIB

    chosen = plan(wanted, 2, LinkFigures()).part_size_of(size, None)

    assert -(-size // chosen) <= 10_000
    assert chosen == 512 * MIB


# -- how many at once


@pytest.mark.parametrize("round_trip_s", [None, 0.0001, 0.02, 0.099])
@pytest.mark.parametrize("rate", [0.0, 2e6, 1e9])
def test_on_a_short_link_two_parts_fill_each_others_pauses_and_three_of_a_large_file(
    round_trip_s: float | None, rate: float
) -> None:
    assert chosen_parts_at_once(60 * MIB, rate, round_trip_s) == 2
    assert chosen_parts_at_once(64 * MIB, rate, round_trip_s) == 3


@pytest.mark.parametrize(
    ("mbit_s", "round_trip_s", "expected"),
    [(0, 0.3, 3), (16, 0.3, 3), (100, 0.3, 3), (200, 0.3, 4), (1000, 0.6, MOST_AT_ONCE)],
)
def test_a_long_link_takes_as_many_as_its_windows_need(
    mbit_s: float, round_trip_s: float, expected: int
) -> None:
    assert chosen_parts_at_once(MIB, mbit_s * MBIT, round_trip_s) == expected


@pytest.mark.parametrize("concurrency", [1, 6, "auto"])
def test_after_a_cut_there_is_one_until_an_upload_has_passed(concurrency: int | str) -> None:
    chosen = plan("auto", concurrency, LinkFigures(1e7, 30.0, cut=True))
    assert chosen.parts_at_once(GIB, 0.3) == 1

    chosen.link.figures = LinkFigures(1e7, 30.0)
    assert chosen.parts_at_once(GIB, 0.3) == (concurrency if concurrency != "auto" else 3)
