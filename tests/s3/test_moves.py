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
from robot import HOME, MACHINE, until
from wired import KEY, MIB, OTHER, PART, Wired, noise, settings

from petal_s3.demo.faults import Answer, Fault
from petal_s3.demo.logs import write_ulog
from petal_s3.errors import Conflict, Mismatch, S3FileNotFoundError, S3IntegrationError
from petal_s3.objects.copy import Copier

HERE = Path(__file__).parent
SIZE = 2 * PART + 300_000
RANGED = [
    "HeadObject",
    "HeadObject",
    "CreateMultipartUpload",
    "UploadPartCopy",
    "UploadPartCopy",
    "UploadPartCopy",
    "CompleteMultipartUpload",
    "HeadObject",
    "DeleteObject",
    "ListMultipartUploads",
]
ABOUT = {"x_amz_meta_original_filename": "flight.ulg", "x_amz_meta_log_kind": "ulog"}


@pytest.fixture(params=["in one request", "by ranges"])
def ranged(request: pytest.FixtureRequest, wired: Wired) -> bool:
    """Whether objects are copied by ranges."""
    wanted = request.param == "by ranges"
    if wanted:
        by_ranges(wired)
    return wanted


def by_ranges(wired: Wired, limit: int = PART) -> None:
    wired.objects.copier = Copier(wired.service.s3, limit)


def holds(wired: Wired, key: str, body: bytes) -> bool:
    return key in wired.things and wired.things[key].body == body


def assert_moved(wired: Wired, body: bytes) -> None:
    assert set(wired.things) == {OTHER}
    assert wired.things[OTHER].body == body
    assert wired.server.mind.uploads == {}


async def test_a_moved_object_keeps_its_bytes_its_metadata_and_its_type(
    wired: Wired, *, ranged: bool
) -> None:
    body = wired.put(KEY, noise(SIZE), part_size=PART, **ABOUT)
    before = await wired.proxy.head_object(KEY)

    answer = await wired.proxy.move_file(KEY, OTHER)

    assert answer["success"] is True
    assert_moved(wired, body)
    after = await wired.proxy.head_object(OTHER)
    assert before["metadata"].items() <= after["metadata"].items()
    assert after["content_type"] == "application/x-ulog"
    assert wired.things[OTHER].headers["x-amz-server-side-encryption"] == "AES256"
    assert wired.asked("UploadPartCopy" if ranged else "CopyObject")
    assert not wired.asked("CopyObject" if ranged else "UploadPartCopy")
    assert wired.server.ledger.body_bytes < 2000  # no byte of it travels


async def test_a_copy_by_ranges_with_the_same_parts_has_the_same_etag(wired: Wired) -> None:
    by_ranges(wired)
    wired.put(KEY, noise(SIZE), part_size=PART)
    etag = wired.things[KEY].etag

    await wired.objects.move(KEY, OTHER)

    assert wired.things[OTHER].etag == etag
    assert [one.op for one in wired.server.ledger.requests()] == RANGED


@pytest.mark.parametrize("part_size", [0, PART, 6 * MIB])
@pytest.mark.parametrize("opaque", [False, True], ids=["md5", "SSE-KMS"])
async def test_whatever_the_parts_were_a_moved_object_can_be_proven(
    wired: Wired, part_size: int, *, opaque: bool, ranged: bool
) -> None:
    body = wired.put(KEY, noise(SIZE), part_size=part_size)
    if opaque:
        wired.server.mind.opaque = True
        wired.service.s3.server.encryption = {"ServerSideEncryption": "aws:kms"}
    target = wired.tmp / "got.ulg"

    await wired.objects.move(KEY, OTHER)
    size, proof = await wired.objects.download(OTHER, target)

    assert_moved(wired, body)
    assert (size, target.read_bytes() == body) == (SIZE, True)
    assert ranged or proof.startswith("crc32")
    assert opaque or proof.endswith("etag")


async def test_the_row_goes_along_and_names_what_is_there(wired: Wired, *, ranged: bool) -> None:
    log = wired.tmp / "made.ulg"
    write_ulog(log, SIZE)
    row = await wired.land(KEY, log.read_bytes())

    await wired.objects.move(KEY, f"deleted/{KEY}")

    row = await wired.row(row.id)
    assert row.receipt is not None
    there = wired.things[f"deleted/{KEY}"]
    assert (row.state, row.key) == ("verified", f"deleted/{KEY}")
    assert (row.receipt.key, row.receipt.etag) == (row.key, there.etag)
    assert list(wired.things) == [row.key]


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
    wired: Wired, at: int, fault: Fault
) -> None:
    by_ranges(wired)
    body = wired.put(KEY, noise(SIZE), part_size=PART)
    wired.server.plan(RANGED[at], Fault(), times=RANGED[:at].count(RANGED[at]))
    wired.server.plan(RANGED[at], fault)

    first = await wired.proxy.move_file(KEY, OTHER)
    assert holds(wired, KEY, body) or holds(wired, OTHER, body)
    assert "success" in first or first["status"] == 503
    again = await wired.proxy.move_file(KEY, OTHER)

    assert again.get("success") is True
    assert_moved(wired, body)


@pytest.mark.parametrize("at", range(2, len(RANGED) - 1, 2))
async def test_a_move_by_ranges_that_is_cancelled_anywhere_leaves_no_upload_open(
    wired: Wired, at: int
) -> None:
    by_ranges(wired)
    body = wired.put(KEY, noise(SIZE), part_size=PART)
    begun = asyncio.create_task(wired.objects.move(KEY, OTHER))
    await until(lambda: len(wired.server.ledger.requests()) > at or begun.done())

    begun.cancel()
    await asyncio.gather(begun, return_exceptions=True)

    assert holds(wired, KEY, body) or holds(wired, OTHER, body)
    await wired.objects.move(KEY, OTHER)
    assert_moved(wired, body)


@pytest.mark.parametrize("at", [3, 6, 8])
@pytest.mark.guarantee(
    "device",
    "killed at any request of a move by ranges",
    "source or target is whole; asked again it is finished, no upload stays open",
)
async def test_a_move_by_ranges_that_was_killed_is_finished_by_the_next_process(
    wired: Wired, at: int
) -> None:
    body = wired.put(KEY, noise(SIZE), part_size=PART)
    wired.server.always("*", Fault("slow", delay_s=0.05))
    told = settings(wired.server, wired.link.url, wired.tmp, state_dir=str(wired.tmp / "other"))
    other = subprocess.Popen(
        [sys.executable, str(HERE / "mover.py"), json.dumps(told), KEY, OTHER, str(PART)],
        env={**os.environ, "PYTHONPATH": f"{HERE.parents[1]}:{HERE}"},
    )
    await until(lambda: len(wired.server.ledger.requests()) > at)

    other.send_signal(signal.SIGKILL)
    await asyncio.to_thread(other.wait)
    wired.server.heal()

    assert holds(wired, KEY, body) or holds(wired, OTHER, body)
    by_ranges(wired)
    await wired.objects.move(KEY, OTHER)
    assert_moved(wired, body)


# -- one that is lied about


@pytest.mark.guarantee(
    "answers",
    "a copy inside the bucket is not what was copied, as HEAD tells it",
    "the source is never deleted, however often it is asked",
)
@pytest.mark.parametrize(
    "lie",
    [
        {"ETag": f'"{"0" * 32}"'},
        {"x_amz_checksum_crc32": "AAAAAA=="},
        {"Content_Length": "5"},
    ],
    ids=["ETag", "crc32", "size"],
)
async def test_a_copy_that_differs_never_costs_the_source(
    wired: Wired, lie: dict[str, str]
) -> None:
    body = wired.put(KEY, noise(PART))

    def lies(answer: Answer) -> Answer:
        return answer.but(**lie) if "x-amz-meta-moved-from" in answer.headers else answer

    wired.server.always("HeadObject", Fault("lies", twist=lies))
    for _ in range(3):
        with pytest.raises((Mismatch, Conflict)):
            await wired.objects.move(KEY, OTHER)

    assert holds(wired, KEY, body)
    assert wired.asked("DeleteObject") == []


async def test_a_copy_by_ranges_of_other_bytes_never_costs_the_source(wired: Wired) -> None:
    by_ranges(wired)
    body = wired.put(KEY, noise(SIZE), part_size=PART, told=False)

    def lies(answer: Answer) -> Answer:
        told = answer.headers.get("x-amz-meta-moved-from")
        return answer.but(ETag=f'"{"0" * 32}-3"') if told else answer

    wired.server.always("HeadObject", Fault("lies", twist=lies))
    for _ in range(2):
        with pytest.raises((Mismatch, Conflict)):
            await wired.objects.move(KEY, OTHER)

    assert holds(wired, KEY, body)
    assert wired.asked("DeleteObject") == []


async def test_a_source_that_is_replaced_while_it_is_copied_is_not_moved(
    wired: Wired, *, ranged: bool
) -> None:
    wired.put(KEY, noise(SIZE), part_size=PART)

    def replaced(answer: Answer) -> Answer:
        wired.put(KEY, noise(SIZE, seed=1), part_size=PART)
        return answer

    # After the second question, which is about the target.
    wired.server.plan("HeadObject", Fault())
    wired.server.plan("HeadObject", Fault("replaced", twist=replaced))

    with pytest.raises(Conflict):
        await wired.objects.move(KEY, OTHER)

    assert holds(wired, KEY, noise(SIZE, seed=1))
    assert set(wired.things) == {KEY}
    assert wired.server.mind.uploads == {}


async def test_a_target_that_is_taken_in_the_last_moment_stays_as_it_is(
    wired: Wired, *, ranged: bool
) -> None:
    body = wired.put(KEY, noise(SIZE), part_size=PART)

    def taken(answer: Answer) -> Answer:
        wired.put(OTHER, b"of somebody else")
        return answer

    wired.server.plan("HeadObject", Fault())
    wired.server.plan("HeadObject", Fault("taken", twist=taken))

    with pytest.raises(Conflict):
        await wired.objects.move(KEY, OTHER)

    assert holds(wired, KEY, body)
    assert holds(wired, OTHER, b"of somebody else")
    assert wired.server.mind.uploads == {}


# -- many at once


@pytest.mark.guarantee(
    "answers",
    "one object is moved by several callers at once",
    "it is moved once; one whole object is left",
)
async def test_moves_of_one_object_at_once_leave_one_object(wired: Wired, *, ranged: bool) -> None:
    body = wired.put(KEY, noise(SIZE), part_size=PART)
    targets = [OTHER, OTHER, f"{HOME}third.ulg", f"{MACHINE}/fourth.ulg", OTHER]

    ended = await asyncio.gather(
        *(wired.objects.move(KEY, target) for target in targets), return_exceptions=True
    )

    assert len(wired.things) == 1
    (thing,) = wired.things.values()
    assert thing.body == body
    (key,) = wired.things
    for target, end in zip(targets, ended, strict=True):
        assert end is None if target == key else isinstance(end, S3FileNotFoundError)
    assert wired.server.mind.uploads == {}


@pytest.mark.parametrize("seed", range(3))
async def test_moves_back_and_forth_and_deletions_never_lose_more_than_was_deleted(
    wired: Wired, seed: int
) -> None:
    rng = random.Random(seed)
    keys = [f"{HOME}{name}.ulg" for name in "abcd"]
    bodies = {wired.put(key, noise(1000, seed=number)) for number, key in enumerate(keys[:3])}

    async def act() -> None:
        for _ in range(6):
            try:
                await wired.objects.move(*rng.sample(keys, 2))
            except S3IntegrationError as error:
                assert error.status in {404, 409}

    await asyncio.gather(*(act() for _ in range(4)))

    assert {thing.body for thing in wired.things.values()} == bodies
    assert len(wired.things) == 3


async def test_metadata_that_leave_no_room_for_a_mark_do_not_stop_a_move(
    wired: Wired, *, ranged: bool
) -> None:
    """S3 takes 2 KB of them in all."""
    full = {f"x_amz_meta_{number}": "v" * 99 for number in range(20)}
    body = wired.put(KEY, noise(SIZE), part_size=PART, **full)

    await wired.objects.move(KEY, OTHER)

    assert_moved(wired, body)
    meta = {n: v for n, v in wired.things[OTHER].headers.items() if n.startswith("x-amz-meta-")}
    assert sum(len(n.removeprefix("x-amz-meta-")) + len(v) for n, v in meta.items()) <= 2048
    assert meta["x-amz-meta-0"] == "v" * 99


async def test_keys_that_no_header_can_hold_are_moved(wired: Wired) -> None:
    key, target = f"{HOME}\N{SNOWMAN} a+b&c=ü%.ulg", HOME + "\N{SNOWMAN}" * 300
    body = wired.put(key, noise(1000))

    await wired.objects.move(key, target)
    await wired.objects.move(target, key)

    assert holds(wired, key, body)
    assert set(wired.things) == {key}
