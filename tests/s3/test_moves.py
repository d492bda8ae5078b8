"""A move copies, proves and only then deletes: one whole object is there at every moment."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rig import HOME, MACHINE, until
from shore import KEY, MIB, OTHER, PART, Shore, noise, settings

from petal_s3.demo.logs import write_ulog
from petal_s3.errors import Conflict, Mismatch, S3FileNotFoundError, S3IntegrationError
from petal_s3.objects.copy import Copier
from tests.faults.wire import Answer, Fault

HERE = Path(__file__).parent
SIZE = 2 * PART + 300_000
RANGED = [
    "HeadObject", "HeadObject", "CreateMultipartUpload", "UploadPartCopy", "UploadPartCopy",
    "UploadPartCopy", "CompleteMultipartUpload", "HeadObject", "DeleteObject",
    "ListMultipartUploads",
]  # fmt: skip
ABOUT = {"x_amz_meta_original_filename": "flight.ulg", "x_amz_meta_log_kind": "ulog"}


@pytest.fixture(params=["in one request", "by ranges"])
def ranged(request: pytest.FixtureRequest, shore: Shore) -> bool:
    """Whether objects are copied by ranges."""
    wanted = request.param == "by ranges"
    if wanted:
        by_ranges(shore)
    return wanted


def by_ranges(shore: Shore, limit: int = PART) -> None:
    shore.objects.copier = Copier(shore.service.s3, limit)


def holds(shore: Shore, key: str, body: bytes) -> bool:
    return key in shore.things and shore.things[key].body == body


def assert_moved(shore: Shore, body: bytes) -> None:
    assert set(shore.things) == {OTHER}
    assert shore.things[OTHER].body == body
    assert shore.server.mind.uploads == {}


async def test_a_moved_object_keeps_its_bytes_its_metadata_and_its_type(
    shore: Shore, *, ranged: bool
) -> None:
    body = shore.put(KEY, noise(SIZE), part_size=PART, **ABOUT)
    before = await shore.proxy.head_object(KEY)

    answer = await shore.proxy.move_file(KEY, OTHER)

    assert answer["success"] is True
    assert_moved(shore, body)
    after = await shore.proxy.head_object(OTHER)
    assert before["metadata"].items() <= after["metadata"].items()
    assert after["content_type"] == "application/x-ulog"
    assert shore.things[OTHER].headers["x-amz-server-side-encryption"] == "AES256"
    assert shore.asked("UploadPartCopy" if ranged else "CopyObject")
    assert not shore.asked("CopyObject" if ranged else "UploadPartCopy")
    assert shore.server.body_bytes < 2000  # no byte of it travels


async def test_a_copy_by_ranges_with_the_same_parts_has_the_same_etag(shore: Shore) -> None:
    by_ranges(shore)
    shore.put(KEY, noise(SIZE), part_size=PART)
    etag = shore.things[KEY].etag

    await shore.objects.move(KEY, OTHER)

    assert shore.things[OTHER].etag == etag
    assert [one.op for one in shore.server.seen] == RANGED


@pytest.mark.parametrize("part_size", [0, PART, 6 * MIB])
@pytest.mark.parametrize("opaque", [False, True], ids=["md5", "SSE-KMS"])
async def test_whatever_the_parts_were_a_moved_object_can_be_proven(
    shore: Shore, part_size: int, *, opaque: bool, ranged: bool
) -> None:
    body = shore.put(KEY, noise(SIZE), part_size=part_size)
    if opaque:
        shore.server.mind.opaque = True
        shore.service.s3._sse = {"ServerSideEncryption": "aws:kms"}
    target = shore.tmp / "got.ulg"

    await shore.objects.move(KEY, OTHER)
    size, proof = await shore.objects.download(OTHER, target)

    assert_moved(shore, body)
    assert (size, target.read_bytes() == body) == (SIZE, True)
    assert ranged or proof.startswith("crc32")
    assert opaque or proof.endswith("etag")


async def test_the_row_goes_along_and_names_what_is_there(shore: Shore, *, ranged: bool) -> None:
    log = shore.tmp / "made.ulg"
    write_ulog(log, SIZE)
    row = await shore.land(KEY, log.read_bytes())

    await shore.objects.move(KEY, f"deleted/{KEY}")

    row = await shore.row(row.id)
    assert row.receipt is not None
    there = shore.things[f"deleted/{KEY}"]
    assert (row.state, row.key) == ("verified", f"deleted/{KEY}")
    assert (row.receipt.key, row.receipt.etag) == (row.key, there.etag)
    assert list(shore.things) == [row.key]


# -- one that is cut


@pytest.mark.parametrize(
    "fault", [Fault("drop", drop=True), Fault("deaf", deaf=True)], ids=lambda fault: fault.name
)
@pytest.mark.parametrize("at", range(len(RANGED)))
@pytest.mark.guarantee(
    "links",
    "a move by ranges is cut at any of its requests, or the answer is lost",
    "source or target is whole at every moment; asked again it is finished, no upload stays open",
)
async def test_a_move_by_ranges_that_was_cut_anywhere_is_finished_when_asked_again(
    shore: Shore, at: int, fault: Fault
) -> None:
    by_ranges(shore)
    body = shore.put(KEY, noise(SIZE), part_size=PART)
    shore.server.plan(RANGED[at], Fault(), times=RANGED[:at].count(RANGED[at]))
    shore.server.plan(RANGED[at], fault)

    first = await shore.proxy.move_file(KEY, OTHER)
    assert holds(shore, KEY, body) or holds(shore, OTHER, body)
    assert "success" in first or first["status"] == 503
    again = await shore.proxy.move_file(KEY, OTHER)

    assert again.get("success") is True
    assert_moved(shore, body)


@pytest.mark.parametrize("at", range(2, len(RANGED) - 1, 2))
async def test_a_move_by_ranges_that_is_cancelled_anywhere_leaves_no_upload_open(
    shore: Shore, at: int
) -> None:
    by_ranges(shore)
    body = shore.put(KEY, noise(SIZE), part_size=PART)
    begun = asyncio.create_task(shore.objects.move(KEY, OTHER))
    await until(lambda: len(shore.server.seen) > at or begun.done())

    begun.cancel()
    await asyncio.gather(begun, return_exceptions=True)

    assert holds(shore, KEY, body) or holds(shore, OTHER, body)
    await shore.objects.move(KEY, OTHER)
    assert_moved(shore, body)


@pytest.mark.parametrize("at", [3, 6, 8])
@pytest.mark.guarantee(
    "device",
    "killed at any request of a move by ranges",
    "source or target is whole; asked again it is finished, no upload stays open",
)
async def test_a_move_by_ranges_that_was_killed_is_finished_by_the_next_process(
    shore: Shore, at: int
) -> None:
    body = shore.put(KEY, noise(SIZE), part_size=PART)
    shore.server.always("*", Fault("slow", delay_s=0.05))
    told = settings(shore.server, shore.link.url, shore.tmp, state_dir=str(shore.tmp / "other"))
    other = subprocess.Popen(
        [sys.executable, str(HERE / "mover.py"), json.dumps(told), KEY, OTHER, str(PART)],
        env={**os.environ, "PYTHONPATH": f"{HERE.parents[1]}:{HERE}"},
    )
    await until(lambda: len(shore.server.seen) > at)

    other.send_signal(signal.SIGKILL)
    await asyncio.to_thread(other.wait)
    shore.server.heal()

    assert holds(shore, KEY, body) or holds(shore, OTHER, body)
    by_ranges(shore)
    await shore.objects.move(KEY, OTHER)
    assert_moved(shore, body)


# -- one that is lied about


@pytest.mark.guarantee(
    "answers",
    "a copy inside the bucket is not what was copied, as HEAD tells it",
    "the source is never deleted, however often it is asked",
)
@pytest.mark.parametrize("lie", [
    {"ETag": f'"{"0" * 32}"'}, {"x_amz_checksum_crc32": "AAAAAA=="}, {"Content_Length": "5"},
], ids=["ETag", "crc32", "size"])  # fmt: skip
async def test_a_copy_that_differs_never_costs_the_source(
    shore: Shore, lie: dict[str, str]
) -> None:
    body = shore.put(KEY, noise(PART))

    def lies(answer: Answer) -> Answer:
        return answer.but(**lie) if "x-amz-meta-moved-from" in answer.headers else answer

    shore.server.always("HeadObject", Fault("lies", twist=lies))
    for _ in range(3):
        with pytest.raises((Mismatch, Conflict)):
            await shore.objects.move(KEY, OTHER)

    assert holds(shore, KEY, body)
    assert shore.asked("DeleteObject") == []


async def test_a_copy_by_ranges_of_other_bytes_never_costs_the_source(shore: Shore) -> None:
    by_ranges(shore)
    body = shore.put(KEY, noise(SIZE), part_size=PART, told=False)

    def lies(answer: Answer) -> Answer:
        told = answer.headers.get("x-amz-meta-moved-from")
        return answer.but(ETag=f'"{"0" * 32}-3"') if told else answer

    shore.server.always("HeadObject", Fault("lies", twist=lies))
    for _ in range(2):
        with pytest.raises((Mismatch, Conflict)):
            await shore.objects.move(KEY, OTHER)

    assert holds(shore, KEY, body)
    assert shore.asked("DeleteObject") == []


async def test_a_source_that_is_replaced_while_it_is_copied_is_not_moved(
    shore: Shore, *, ranged: bool
) -> None:
    shore.put(KEY, noise(SIZE), part_size=PART)

    def replaced(answer: Answer) -> Answer:
        shore.put(KEY, noise(SIZE, seed=1), part_size=PART)
        return answer

    # After the second question, which is about the target.
    shore.server.plan("HeadObject", Fault())
    shore.server.plan("HeadObject", Fault("replaced", twist=replaced))

    with pytest.raises(Conflict):
        await shore.objects.move(KEY, OTHER)

    assert holds(shore, KEY, noise(SIZE, seed=1))
    assert set(shore.things) == {KEY}
    assert shore.server.mind.uploads == {}


async def test_a_target_that_is_taken_in_the_last_moment_stays_as_it_is(
    shore: Shore, *, ranged: bool
) -> None:
    body = shore.put(KEY, noise(SIZE), part_size=PART)

    def taken(answer: Answer) -> Answer:
        shore.put(OTHER, b"of somebody else")
        return answer

    shore.server.plan("HeadObject", Fault())
    shore.server.plan("HeadObject", Fault("taken", twist=taken))

    with pytest.raises(Conflict):
        await shore.objects.move(KEY, OTHER)

    assert holds(shore, KEY, body)
    assert holds(shore, OTHER, b"of somebody else")
    assert shore.server.mind.uploads == {}


# -- many at once


@pytest.mark.guarantee(
    "answers",
    "one object is moved by several callers at once",
    "it is moved once; one whole object is left",
)
async def test_moves_of_one_object_at_once_leave_one_object(shore: Shore, *, ranged: bool) -> None:
    body = shore.put(KEY, noise(SIZE), part_size=PART)
    targets = [OTHER, OTHER, f"{HOME}third.ulg", f"{MACHINE}/fourth.ulg", OTHER]

    ended = await asyncio.gather(
        *(shore.objects.move(KEY, target) for target in targets), return_exceptions=True
    )

    assert len(shore.things) == 1
    (thing,) = shore.things.values()
    assert thing.body == body
    (key,) = shore.things
    for target, end in zip(targets, ended, strict=True):
        assert end is None if target == key else isinstance(end, S3FileNotFoundError)
    assert shore.server.mind.uploads == {}


@pytest.mark.parametrize("seed", range(3))
async def test_moves_back_and_forth_and_deletions_never_lose_more_than_was_deleted(
    shore: Shore, seed: int
) -> None:
    rng = random.Random(seed)
    keys = [f"{HOME}{name}.ulg" for name in "abcd"]
    bodies = {shore.put(key, noise(1000, seed=number)) for number, key in enumerate(keys[:3])}

    async def act() -> None:
        for _ in range(6):
            try:
                await shore.objects.move(*rng.sample(keys, 2))
            except S3IntegrationError as error:
                assert error.status in {404, 409}

    await asyncio.gather(*(act() for _ in range(4)))

    assert {thing.body for thing in shore.things.values()} == bodies
    assert len(shore.things) == 3


async def test_metadata_that_leave_no_room_for_a_mark_do_not_stop_a_move(
    shore: Shore, *, ranged: bool
) -> None:
    """S3 takes 2 KB of them in all."""
    full = {f"x_amz_meta_{number}": "v" * 99 for number in range(20)}
    body = shore.put(KEY, noise(SIZE), part_size=PART, **full)

    await shore.objects.move(KEY, OTHER)

    assert_moved(shore, body)
    meta = {n: v for n, v in shore.things[OTHER].headers.items() if n.startswith("x-amz-meta-")}
    assert sum(len(n.removeprefix("x-amz-meta-")) + len(v) for n, v in meta.items()) <= 2048
    assert meta["x-amz-meta-0"] == "v" * 99


async def test_keys_that_no_header_can_hold_are_moved(shore: Shore) -> None:
    key, target = f"{HOME}\N{SNOWMAN} a+b&c=ü%.ulg", HOME + "\N{SNOWMAN}" * 300
    body = shore.put(key, noise(1000))

    await shore.objects.move(key, target)
    await shore.objects.move(target, key)

    assert holds(shore, key, body)
    assert set(shore.things) == {key}
