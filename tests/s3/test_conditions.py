"""Nobody's object is overwritten: every write says so, and one odd answer does not change that."""

from __future__ import annotations

import pytest
from robot import DROP, TWO_PARTS, Robot, refusal

from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.outbox.rows import Row
from petal_s3.s3.capabilities import Capabilities
from tests.support.known import CONDITIONAL, KNOWN

NOT_HERE = refusal(501, "NotImplemented")
GUARD = "if-none-match"
STRANGE = b"of somebody else"
EMPTY = says(200)
SAID = says(
    200,
    b"<CompleteMultipartUploadResult><ETag>x</ETag><Bucket>logs</Bucket>"
    b"</CompleteMultipartUploadResult>",
    {"Content-Type": "application/xml"},
)


def guarded(robot: Robot) -> list[bool]:
    return [GUARD in {n.lower() for n in one.headers} for one in robot.ledger.requests("PutObject")]


async def knows_conditions(robot: Robot) -> None:
    """A new process on a server that was seen to refuse to overwrite."""
    robot.known = CONDITIONAL
    await robot.restart()


async def arrives_beside(robot: Robot, row: Row) -> None:
    """The row arrives under another key: at its own another's object stands, and stays."""
    done = await robot.finish(row)
    assert done.state == "verified"
    assert robot.body(row.key) == STRANGE
    assert done.key != row.key


@pytest.mark.guarantee(
    "answers",
    "a 501 comes to a server that has understood If-None-Match before",
    "no write goes without the condition; the row waits",
)
async def test_a_caller_that_understood_the_condition_once_is_never_asked_without_it(
    robot: Robot,
) -> None:
    await knows_conditions(robot)
    await robot.attempt(await robot.land("a.ulg", seed=1))
    robot.fault("PutObject", NOT_HERE)
    row = await robot.attempt(await robot.land("b.ulg", seed=2))
    assert (row.state, row.code) == ("queued", "not_implemented")
    done = await robot.finish(row)
    assert done.state == "verified"
    assert guarded(robot) == [True, True, True]


@pytest.mark.guarantee(
    "answers",
    "a 501 comes to a server of which nothing is known, and without If-None-Match it stores",
    "one refused body is enough to learn it; from then on each key is looked at before",
)
async def test_a_condition_that_is_refused_is_learnt_from_one_body(robot: Robot) -> None:
    robot.fault("PutObject", NOT_HERE)
    first = await robot.attempt(await robot.land("a.ulg", seed=1))
    second = await robot.land("b.ulg", seed=2)
    robot.put(second.key, STRANGE)
    done = await robot.finish(second)
    assert [first.state, done.state] == ["verified", "verified"]
    assert guarded(robot) == [True, False, False]
    assert done.key != second.key
    assert robot.body(second.key) == STRANGE


@pytest.mark.guarantee(
    "answers",
    "a server knows no conditions at all",
    "one body is refused; no other is, each key is looked at before its bytes leave",
)
async def test_a_server_that_knows_no_conditions_is_not_asked_for_ever(robot: Robot) -> None:
    async def unknown(request: object) -> object:
        return NOT_HERE if GUARD in {n.lower() for n in request.headers} else None  # type: ignore[attr-defined]

    robot.always("PutObject", unknown)  # type: ignore[arg-type]
    for number in range(5):
        row = await robot.attempt(await robot.land(f"{number}.ulg", seed=number))
        assert row.state == "verified"
        asked = [one.op for one in robot.ledger.requests() if one.key == row.key]
        assert asked[0] == "HeadObject"
    assert guarded(robot) == [True, *[False] * 5]


@pytest.mark.guarantee(
    "answers",
    "a server refuses the checksums of a Complete; an object comes to the key meanwhile",
    "its 412 ends the look for what can be left out: nothing is stored over it",
)
@pytest.mark.parametrize("known", [KNOWN, CONDITIONAL])
async def test_a_taken_key_is_no_option_that_the_server_lacks(
    robot: Robot, known: Capabilities
) -> None:
    robot.known = known
    await robot.restart()

    async def no_checksum(request: Request) -> Fault | None:
        if "x-amz-checksum-crc32" not in {name.lower() for name in request.headers}:
            return None
        if row.key not in robot.stored():
            robot.put(row.key, STRANGE)
        return refusal(400, "InvalidRequest")

    row = await robot.land(size=TWO_PARTS)
    robot.always("CompleteMultipartUpload", no_checksum)
    robot.always("HeadObject", says(404))  # shown late
    row = await robot.attempt(row)
    assert robot.body(row.key) == STRANGE

    robot.heal()
    await arrives_beside(robot, row)


@pytest.mark.guarantee(
    "answers",
    "a Complete is answered 500, and 412 when it is asked again: the key was taken meanwhile",
    "the 412 is believed: nothing is stored over it",
)
async def test_a_taken_key_is_seen_behind_a_moment_of_trouble(robot: Robot) -> None:
    async def taken_meanwhile(_: Request) -> Fault:
        robot.put(row.key, STRANGE)
        return refusal(500, "InternalError")

    row = await robot.land(size=TWO_PARTS)
    robot.fault("CompleteMultipartUpload", taken_meanwhile)
    row = await robot.attempt(row)
    assert robot.body(row.key) == STRANGE

    await arrives_beside(robot, row)


@pytest.mark.guarantee(
    "answers",
    "a Complete is answered 200 without a word, and another's object came to the key meanwhile",
    "what stands there is not taken for our own bytes gone wrong: nothing is stored over it",
)
@pytest.mark.parametrize("answer", [EMPTY, SAID])
async def test_an_object_is_ours_only_under_the_etag_that_s3_named(
    robot: Robot, answer: Fault
) -> None:
    await knows_conditions(robot)

    async def said_but_not_done(_: Request) -> Fault:
        robot.put(row.key, STRANGE)
        return answer

    row = await robot.land(size=TWO_PARTS)
    robot.fault("CompleteMultipartUpload", said_but_not_done)
    await arrives_beside(robot, await robot.attempt(row))


@pytest.mark.guarantee(
    "answers",
    "an object comes to an upload's key before its parts are joined; the link breaks just then",
    "it is seen when the upload goes on: no part travels to that key again",
)
async def test_what_stands_at_the_key_of_a_begun_upload_is_remembered(robot: Robot) -> None:
    await knows_conditions(robot)

    async def comes(_: Request) -> None:
        robot.put(row.key, STRANGE)

    row = await robot.land(size=TWO_PARTS)
    robot.fault("CompleteMultipartUpload", comes)
    robot.fault("HeadObject", DROP)
    row = await robot.attempt(row)
    assert (row.state, row.code) == ("queued", "offline")

    await arrives_beside(robot, row)

    there = [one.part for one in robot.ledger.requests("UploadPart") if one.key == row.key]
    assert sorted(there) == [1, 2]


@pytest.mark.guarantee(
    "answers",
    "an object comes to an upload's key before its parts are joined; all is cut off once the upload"
    " is given up",
    "the key is known to be taken: no part travels to it again",
)
async def test_that_a_key_is_taken_is_remembered_before_its_upload_is_given_up(
    robot: Robot,
) -> None:
    await knows_conditions(robot)

    async def comes(_: Request) -> None:
        robot.put(row.key, STRANGE)

    async def then_breaks(_: Request) -> None:
        robot.fault("HeadObject", DROP)

    row = await robot.land(size=TWO_PARTS)
    robot.fault("CompleteMultipartUpload", comes)
    robot.fault("AbortMultipartUpload", then_breaks)
    await arrives_beside(robot, await robot.attempt(row))

    there = [one.part for one in robot.ledger.requests("UploadPart") if one.key == row.key]
    assert sorted(there) == [1, 2]


@pytest.mark.guarantee(
    "answers",
    "S3 fails twice as parts are to be joined, nothing is known of its conditions, and another's"
    " object comes to the key meanwhile",
    "the condition stays: the other's object does, too",
)
async def test_a_condition_is_never_given_up_because_s3_fails(robot: Robot) -> None:
    row = await robot.land(size=TWO_PARTS)
    for _ in range(2):
        robot.fault("CompleteMultipartUpload", refusal(500, "InternalError"))
    await robot.attempt(row)
    robot.put(row.key, STRANGE)
    await arrives_beside(robot, row)
    joined = robot.ledger.requests("CompleteMultipartUpload")
    assert all(GUARD in {name.lower() for name in one.headers} for one in joined)
