"""Logs are cut into parts by what the link carried last, and for how long."""

from __future__ import annotations

import pytest
from robot import DROP, PART, THREE_PARTS, TWO_PARTS, Robot
from test_links import most_in_flight

from petal_s3.core.settings import MIB
from petal_s3.upload.link_figures import LinkFigures
from petal_s3.upload.plan import UploadPlan


def plan(robot: Robot) -> UploadPlan:
    """How the service that lives now cuts logs."""
    return robot.service.uploader.parts.plan


@pytest.mark.guarantee(
    "links",
    "fast at the last upload",
    "the next log travels in fewer and larger requests; what is set is obeyed",
)
async def test_a_log_that_passes_in_a_moment_travels_in_one_request(robot: Robot) -> None:
    first = await robot.attempt(await robot.land("first.ulg", THREE_PARTS))
    plan(robot).link.figures = LinkFigures(rate_bytes_s=200e6)

    second = await robot.attempt(await robot.land("second.ulg", THREE_PARTS, seed=1))
    await robot.restart(part_size=PART)
    third = await robot.attempt(await robot.land("third.ulg", THREE_PARTS, seed=2))

    assert [one.part_size for one in (first, second, third)] == [PART, 64 * MIB, PART]
    assert (robot.count("UploadPart"), robot.count("PutObject")) == (6, 1)
    for row, name in ((first, "first"), (second, "second"), (third, "third")):
        robot.assert_sent_once(row, robot.logs / f"{name}.ulg")


async def test_the_rate_of_an_upload_is_measured_and_kept(robot: Robot) -> None:
    await robot.attempt(await robot.land(size=THREE_PARTS))
    measured = plan(robot).link.figures
    await robot.restart()
    await robot.attempt(await robot.land("next.ulg", seed=1))

    assert measured.rate_bytes_s > 100_000
    assert not measured.cut
    assert plan(robot).link.figures.rate_bytes_s == measured.rate_bytes_s


async def test_an_upload_goes_on_with_the_part_size_that_it_began_with(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=3)
    cut = await robot.attempt(await robot.land(size=THREE_PARTS))
    plan(robot).link.figures = LinkFigures(rate_bytes_s=200e6)

    done = await robot.attempt(cut)

    assert (cut.part_size, done.part_size) == (PART, PART)
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


async def test_an_upload_of_which_no_part_passed_begins_anew_with_the_size_that_is_right(
    robot: Robot,
) -> None:
    await plan(robot).link.load()
    plan(robot).link.figures = LinkFigures(rate_bytes_s=17 * MIB)
    robot.always("UploadPart", DROP)
    cut = await robot.attempt(await robot.land(size=4 * PART))
    robot.heal()

    done = await robot.attempt(cut)

    assert (cut.part_size, done.part_size) == (8 * MIB, PART)
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "links",
    "cut, and then the process ends",
    "the next process, too, sends one part at a time until an upload has passed",
)
async def test_a_cut_is_known_to_the_next_process(robot: Robot) -> None:
    robot.cut_after(1_000_000, part=1)
    row = await robot.land(size=THREE_PARTS)
    cut = await robot.attempt(row)
    robot.link.forward()
    before = len(robot.ledger.requests("UploadPart"))
    await robot.restart()

    await robot.finish(row)
    await robot.attempt(await robot.land("next.ulg", TWO_PARTS, seed=1))

    after = robot.ledger.requests("UploadPart")[before:]
    assert cut.code == "offline"
    assert most_in_flight(robot, [one for one in after if one.key == row.key]) == 1
    assert plan(robot).parts_at_once(TWO_PARTS, None) == 2
