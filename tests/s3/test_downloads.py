"""A download arrives whole and equal through breaks, or leaves what was there as it was."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import disks
import pytest
from rig import until
from shore import KEY, MIB, PART, Shore, noise

from petal_s3.demo.logs import write_ulog
from petal_s3.errors import (
    Conflict,
    LocalStorageError,
    Mismatch,
    Offline,
    S3FileNotFoundError,
    S3IntegrationError,
    Throttled,
)
from petal_s3.objects.objects import MOST_READERS
from tests.faults.wire import Answer, Fault

SIZE = 4 * MIB
CUT = Fault("cut", cut_answer_at=MIB)
OLD = b"an older version"


def target_of(shore: Shore) -> Path:
    """Where to; an older file stands there."""
    target = shore.tmp / "got" / "got.ulg"
    target.parent.mkdir()
    target.write_bytes(OLD)
    return target


def assert_untouched(target: Path) -> None:
    assert target.read_bytes() == OLD
    assert list(target.parent.iterdir()) == [target]


def starts(shore: Shore) -> list[int]:
    """From which byte on each request asked."""
    wanted = [one.range or "bytes=0-" for one in shore.asked("GetObject")]
    return [int(text.removeprefix("bytes=").split("-")[0]) for text in wanted]


# -- a link that breaks


@pytest.mark.guarantee(
    "links",
    "a download is cut again and again",
    "it goes on where it was cut and arrives byte-identical",
)
async def test_a_download_goes_on_where_it_was_cut(shore: Shore) -> None:
    body = shore.put(KEY, noise(SIZE))
    target = target_of(shore)
    shore.server.plan("GetObject", CUT, times=3)

    size, proof = await shore.objects.download(KEY, target)

    assert (size, proof) == (SIZE, "crc32+etag")
    assert target.read_bytes() == body
    assert list(target.parent.iterdir()) == [target]
    asked = starts(shore)
    assert len(asked) == 4
    for before, after in itertools.pairwise(asked):
        # What has come is not asked for again, but for what lay in a buffer at the cut.
        assert before + MIB // 2 < after <= before + MIB
    assert all(one.range.endswith(f"-{SIZE - 1}") for one in shore.asked("GetObject")[1:])


async def test_each_byte_on_the_way_makes_patience_long_again(shore: Shore) -> None:
    """Ten breaks, but never four in a row without a byte."""
    body = shore.put(KEY, noise(SIZE))
    target = target_of(shore)
    shore.server.plan("GetObject", Fault("cut", cut_answer_at=MIB), times=1)
    for _ in range(3):
        shore.server.plan("GetObject", Fault("drop", drop=True), times=2)
        shore.server.plan("GetObject", Fault("cut", cut_answer_at=MIB // 2), times=1)

    await shore.objects.download(KEY, target)

    assert target.read_bytes() == body


async def test_a_link_that_does_not_come_back_ends_the_download(shore: Shore) -> None:
    shore.put(KEY, noise(SIZE))
    target = target_of(shore)
    shore.server.plan("GetObject", CUT)
    shore.server.always("GetObject", Fault("drop", drop=True))

    with pytest.raises(Offline):
        await shore.objects.download(KEY, target)

    assert_untouched(target)
    assert len(starts(shore)) == 4


@pytest.mark.guarantee(
    "answers",
    "the object is replaced while it is downloaded",
    "409; nothing is kept of either version",
)
@pytest.mark.parametrize("honest", [True, False], ids=["If-Match is kept", "If-Match is ignored"])
async def test_two_versions_are_never_mixed(shore: Shore, *, honest: bool) -> None:
    shore.put(KEY, noise(SIZE))
    target = target_of(shore)

    def replaced(answer: Answer) -> Answer:
        shore.put(KEY, noise(SIZE, seed=1))
        return answer

    shore.server.plan("GetObject", Fault("cut", cut_answer_at=MIB, twist=replaced))
    if not honest:
        other = noise(SIZE, seed=1)

        def ignores(answer: Answer) -> Answer:
            tag = f'"{shore.things[KEY].etag}"'
            first = starts(shore)[-1]
            told = f"bytes {first}-{SIZE - 1}/{SIZE}"
            return Answer(206, other[first:], {"ETag": tag, "Content-Range": told})

        shore.server.plan("GetObject", Fault("ignores", twist=ignores))

    with pytest.raises(Conflict, match="replaced while it was read"):
        await shore.objects.download(KEY, target)

    assert_untouched(target)


async def test_an_object_that_is_deleted_meanwhile_is_not_found(shore: Shore) -> None:
    shore.put(KEY, noise(SIZE))
    target = target_of(shore)

    def deleted(answer: Answer) -> Answer:
        del shore.things[KEY]
        return answer

    shore.server.plan("GetObject", Fault("cut", cut_answer_at=MIB, twist=deleted))

    with pytest.raises(S3FileNotFoundError):
        await shore.objects.download(KEY, target)

    assert_untouched(target)


async def test_an_object_that_is_deleted_between_question_and_download_is_not_found(
    shore: Shore,
) -> None:
    shore.put(KEY, noise(1000))
    target = target_of(shore)

    def deleted(answer: Answer) -> Answer:
        del shore.things[KEY]
        return answer

    shore.server.plan("HeadObject", Fault("deleted", twist=deleted))

    answer = await shore.proxy.download_file(KEY, target)

    assert answer["status"] == 404
    assert_untouched(target)


# -- bytes


def altered(answer: Answer) -> Answer:
    middle = len(answer.body) // 2
    flipped = bytes([answer.body[middle] ^ 1])
    return answer.but(body=answer.body[:middle] + flipped + answer.body[middle + 1 :])


@pytest.mark.guarantee(
    "answers",
    "one bit of a download is changed on the way",
    "it is noticed by ETag or checksum; nothing is kept, the older file stays",
)
@pytest.mark.parametrize("part_size", [0, PART])
@pytest.mark.parametrize("told", [True, False], ids=["with crc32", "without crc32"])
async def test_one_wrong_bit_is_noticed(shore: Shore, part_size: int, *, told: bool) -> None:
    shore.put(KEY, noise(PART + 1000), part_size=part_size, told=told)
    target = target_of(shore)
    shore.server.plan("GetObject", Fault("altered", twist=altered))

    with pytest.raises(Mismatch):
        await shore.objects.download(KEY, target)

    assert_untouched(target)


@pytest.mark.parametrize(
    ("about", "proof"),
    [
        ({}, "crc32+etag"),
        ({"told": False}, "etag"),
        ({"part_size": PART}, "crc32+etag"),
        ({"part_size": PART, "told": False}, "etag"),
        ({"etag": "0123456789abcdef" * 2 + "-2"}, "crc32"),  # nobody wrote down its part size
        ({"etag": "f" * 32, "x_amz_server_side_encryption": "aws:kms"}, "crc32"),
        ({"etag": "f" * 32, "x_amz_server_side_encryption": "aws:kms", "told": False}, ""),
        ({"etag": "another-servers-own", "told": False}, ""),
        ({"etag": "0" * 32 + "-2", "told": False, "x_amz_meta_part_size": "7"}, ""),
    ],
    ids=[
        "single part", "single part without crc32", "multipart", "multipart without crc32",
        "multipart of unknown parts", "SSE-KMS", "SSE-KMS without crc32", "no md5 at all",
        "a part size that does not fit",
    ],
)  # fmt: skip
async def test_the_proof_is_whatever_the_object_carries(
    shore: Shore, about: dict[str, str | int], proof: str
) -> None:
    body = shore.put(KEY, noise(PART + 1000), **about)  # type: ignore[arg-type]
    target = shore.tmp / "got.ulg"

    answer = await shore.proxy.download_file(KEY, target)

    assert (answer.get("success"), answer.get("proof")) == (True, proof)
    assert answer["file_size"] == len(body)
    assert target.read_bytes() == body


@pytest.mark.guarantee(
    "answers", "an answer to a download is shorter than the object", "nothing is kept of it"
)
async def test_an_answer_of_another_size_is_not_kept(shore: Shore) -> None:
    shore.put(KEY, noise(5000), etag="f" * 32, told=False, x_amz_server_side_encryption="aws:kms")
    target = target_of(shore)

    def half(answer: Answer) -> Answer:
        return answer.but(body=answer.body[:2500], Content_Length="2500")

    shore.server.plan("GetObject", Fault("half", twist=half))

    with pytest.raises(Mismatch):
        await shore.objects.download(KEY, target)

    assert_untouched(target)


async def test_an_empty_object_is_an_empty_file(shore: Shore) -> None:
    shore.put(KEY, b"")

    assert await shore.objects.download(KEY, shore.tmp / "got.ulg") == (0, "crc32+etag")
    assert (shore.tmp / "got.ulg").read_bytes() == b""


# -- where to


@pytest.mark.parametrize("name", ["g" * 255, "\N{SNOWMAN}" * 85, "a b.ulg", ".hidden", "-"])
async def test_every_name_that_the_disk_takes_will_do(shore: Shore, name: str) -> None:
    body = shore.put(KEY, noise(1000))
    target = shore.tmp / "deep" / "er" / name

    await shore.objects.download(KEY, target)

    assert target.read_bytes() == body


@pytest.mark.parametrize("name", ["", ".", "a\0b", "folder", "/"])
async def test_what_can_be_no_file_is_refused_before_a_byte_comes(
    shore: Shore, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shore.tmp)
    (shore.tmp / "folder").mkdir()
    shore.put(KEY, noise(1000))

    answer = await shore.proxy.download_file(KEY, name)

    assert answer["status"] == 400
    assert shore.asked("GetObject") == []


def too_long(tmp: Path) -> Path:
    return tmp / ("g" * 256)


def behind_a_file(tmp: Path) -> Path:
    (tmp / "file").write_bytes(b"in the way")
    return tmp / "file" / "got.ulg"


@pytest.mark.parametrize("place", [too_long, behind_a_file])
async def test_where_nothing_can_stand_is_a_507_before_a_byte_comes(
    shore: Shore, place: Callable[[Path], Path]
) -> None:
    shore.put(KEY, noise(1000))

    with pytest.raises(LocalStorageError):
        await shore.objects.download(KEY, place(shore.tmp))

    assert shore.asked("GetObject") == []


@pytest.mark.guarantee(
    "device", "the disk is full in the middle of a download", "507; the half file is gone again"
)
async def test_a_full_disk_leaves_no_half_file(shore: Shore) -> None:
    shore.put(KEY, noise(SIZE))
    with disks.small(shore.tmp / "small", "2m") as disk:
        with pytest.raises(LocalStorageError):
            await shore.objects.download(KEY, disk / "got.ulg")

        assert list(disk.iterdir()) == []


async def test_a_disk_that_is_read_only_is_a_507(shore: Shore) -> None:
    shore.put(KEY, noise(1000))
    with disks.small(shore.tmp / "small") as disk:
        (disk / "got.ulg").write_bytes(OLD)
        disks.remount(disk, "ro")
        with pytest.raises(LocalStorageError):
            await shore.objects.download(KEY, disk / "got.ulg")

        assert (disk / "got.ulg").read_bytes() == OLD


# -- who gives up


@pytest.mark.parametrize("steps", range(0, 60, 6))
async def test_a_download_that_is_cancelled_at_any_step_leaves_nothing(
    shore: Shore, steps: int
) -> None:
    shore.put(KEY, noise(MIB))
    target = target_of(shore)
    download = asyncio.create_task(shore.objects.download(KEY, target))
    for _ in range(steps):
        await asyncio.sleep(0)
    await until(lambda: download.done() or steps < 30 or shore.asked("GetObject"))

    download.cancel()
    await asyncio.gather(download, return_exceptions=True)

    assert list(target.parent.iterdir()) == [target]
    assert target.read_bytes() in {OLD, shore.things[KEY].body}


async def test_many_broken_downloads_use_up_neither_connections_nor_files(
    shore: Shore,
) -> None:
    body = shore.put(KEY, noise(MIB))
    target = shore.tmp / "got.ulg"
    await shore.objects.download(KEY, target)
    before = len(list(Path("/proc/self/fd").iterdir()))
    shore.server.always("GetObject", Fault("cut", cut_answer_at=0))

    async def fails() -> None:
        with pytest.raises(S3IntegrationError):
            await shore.objects.download(KEY, target)

    await asyncio.gather(*(fails() for _ in range(20)))
    shore.server.heal()

    await shore.objects.download(KEY, target)
    assert target.read_bytes() == body
    await until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before + 16)


# -- many readers


@pytest.mark.guarantee(
    "attack",
    "readers who take nothing of what they asked for",
    "a few at most hold a connection, the next hears 503, and logs are sent meanwhile",
)
async def test_slow_readers_do_not_keep_logs_from_being_sent(shore: Shore) -> None:
    shore.put(KEY, noise(SIZE))
    shore.objects._patience_s = 0.2
    async with contextlib.AsyncExitStack() as held:
        for _ in range(MOST_READERS):
            await held.enter_async_context(shore.objects.read(KEY))
        for again in (shore.objects.range(KEY, 0, 9), shore.objects.download(KEY, shore.tmp / "x")):
            with pytest.raises(Throttled):
                await again
        write_ulog(shore.tmp / "next.ulg", PART + 1)
        row = await shore.service.enqueue(shore.tmp / "next.ulg")
        assert (await shore.bring(row.id)).state == "verified"
    assert await shore.objects.range(KEY, 0, 9) == noise(SIZE)[:10]
