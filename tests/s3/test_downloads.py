"""A download arrives whole and equal through breaks, or leaves what was there as it was."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import disks
import pytest
from robot import until
from wired import KEY, MIB, PART, Wired, noise

from petal_s3.demo.faults import Answer, Fault
from petal_s3.demo.logs import write_ulog
from petal_s3.errors import (
    BadInput,
    Conflict,
    LocalStorageError,
    Mismatch,
    Offline,
    S3FileNotFoundError,
    S3IntegrationError,
    Throttled,
)
from petal_s3.objects.readers import MOST_READERS

SIZE = 4 * MIB
CUT = Fault("cut", cut_answer_at=MIB)
OLD = b"an older version"


def target_of(wired: Wired) -> Path:
    """Where to; an older file stands there."""
    target = wired.tmp / "got" / "got.ulg"
    target.parent.mkdir()
    target.write_bytes(OLD)
    return target


def assert_untouched(target: Path) -> None:
    assert target.read_bytes() == OLD
    assert list(target.parent.iterdir()) == [target]


def starts(wired: Wired) -> list[int]:
    """From which byte on each request asked."""
    wanted = [one.range or "bytes=0-" for one in wired.asked("GetObject")]
    return [int(text.removeprefix("bytes=").split("-")[0]) for text in wanted]


# -- a link that breaks


@pytest.mark.guarantee(
    "links",
    "a download is cut again and again",
    "it goes on where it was cut and arrives byte-identical",
)
async def test_a_download_goes_on_where_it_was_cut(wired: Wired) -> None:
    body = wired.put(KEY, noise(SIZE))
    target = target_of(wired)
    wired.server.plan("GetObject", CUT, times=3)

    size, proof = await wired.objects.download(KEY, target)

    assert (size, proof) == (SIZE, "crc32+etag")
    assert target.read_bytes() == body
    assert list(target.parent.iterdir()) == [target]
    asked = starts(wired)
    assert len(asked) == 4
    for before, after in itertools.pairwise(asked):
        # What has come is not asked for again, but for what lay in a buffer at the cut.
        assert before + MIB // 2 < after <= before + MIB
    assert all(one.range.endswith(f"-{SIZE - 1}") for one in wired.asked("GetObject")[1:])


async def test_each_byte_on_the_way_makes_patience_long_again(wired: Wired) -> None:
    """Ten breaks, but never four in a row without a byte."""
    body = wired.put(KEY, noise(SIZE))
    target = target_of(wired)
    wired.server.plan("GetObject", Fault("cut", cut_answer_at=MIB), times=1)
    for _ in range(3):
        wired.server.plan("GetObject", Fault("drop", drop=True), times=2)
        wired.server.plan("GetObject", Fault("cut", cut_answer_at=MIB // 2), times=1)

    await wired.objects.download(KEY, target)

    assert target.read_bytes() == body


async def test_a_link_that_does_not_come_back_ends_the_download(wired: Wired) -> None:
    wired.put(KEY, noise(SIZE))
    target = target_of(wired)
    wired.server.plan("GetObject", CUT)
    wired.server.always("GetObject", Fault("drop", drop=True))

    with pytest.raises(Offline):
        await wired.objects.download(KEY, target)

    assert_untouched(target)
    assert len(starts(wired)) == 4


@pytest.mark.guarantee(
    "answers",
    "the object is replaced while it is downloaded",
    "409; nothing is kept of either version",
)
@pytest.mark.parametrize("honest", [True, False], ids=["If-Match is kept", "If-Match is ignored"])
@pytest.mark.threat("server")
async def test_two_versions_are_never_mixed(wired: Wired, *, honest: bool) -> None:
    wired.put(KEY, noise(SIZE))
    target = target_of(wired)

    def replaced(answer: Answer) -> Answer:
        wired.put(KEY, noise(SIZE, seed=1))
        return answer

    wired.server.plan("GetObject", Fault("cut", cut_answer_at=MIB, twist=replaced))
    if not honest:
        other = noise(SIZE, seed=1)

        def ignores(answer: Answer) -> Answer:
            tag = f'"{wired.things[KEY].etag}"'
            first = starts(wired)[-1]
            told = f"bytes {first}-{SIZE - 1}/{SIZE}"
            return Answer(206, other[first:], {"ETag": tag, "Content-Range": told})

        wired.server.plan("GetObject", Fault("ignores", twist=ignores))

    with pytest.raises(Conflict, match="replaced while it was read"):
        await wired.objects.download(KEY, target)

    assert_untouched(target)


async def test_an_object_that_is_deleted_meanwhile_is_not_found(wired: Wired) -> None:
    wired.put(KEY, noise(SIZE))
    target = target_of(wired)

    def deleted(answer: Answer) -> Answer:
        del wired.things[KEY]
        return answer

    wired.server.plan("GetObject", Fault("cut", cut_answer_at=MIB, twist=deleted))

    with pytest.raises(S3FileNotFoundError):
        await wired.objects.download(KEY, target)

    assert_untouched(target)


async def test_an_object_that_is_deleted_between_question_and_download_is_not_found(
    wired: Wired,
) -> None:
    wired.put(KEY, noise(1000))
    target = target_of(wired)

    def deleted(answer: Answer) -> Answer:
        del wired.things[KEY]
        return answer

    wired.server.plan("HeadObject", Fault("deleted", twist=deleted))

    answer = await wired.proxy.download_file(KEY, target)

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
@pytest.mark.threat("path")
async def test_one_wrong_bit_is_noticed(wired: Wired, part_size: int, *, told: bool) -> None:
    wired.put(KEY, noise(PART + 1000), part_size=part_size, told=told)
    target = target_of(wired)
    wired.server.plan("GetObject", Fault("altered", twist=altered))

    with pytest.raises(Mismatch):
        await wired.objects.download(KEY, target)

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
        "single part",
        "single part without crc32",
        "multipart",
        "multipart without crc32",
        "multipart of unknown parts",
        "SSE-KMS",
        "SSE-KMS without crc32",
        "no md5 at all",
        "a part size that does not fit",
    ],
)
async def test_the_proof_is_whatever_the_object_carries(
    wired: Wired, about: dict[str, str | int], proof: str
) -> None:
    body = wired.put(KEY, noise(PART + 1000), **about)  # type: ignore[arg-type]
    target = wired.tmp / "got.ulg"

    answer = await wired.proxy.download_file(KEY, target)

    assert (answer.get("success"), answer.get("proof")) == (True, proof)
    assert answer["file_size"] == len(body)
    assert target.read_bytes() == body


@pytest.mark.guarantee(
    "answers", "an answer to a download is shorter than the object", "nothing is kept of it"
)
async def test_an_answer_of_another_size_is_not_kept(wired: Wired) -> None:
    wired.put(KEY, noise(5000), etag="f" * 32, told=False, x_amz_server_side_encryption="aws:kms")
    target = target_of(wired)

    def half(answer: Answer) -> Answer:
        return answer.but(body=answer.body[:2500], Content_Length="2500")

    wired.server.plan("GetObject", Fault("half", twist=half))

    with pytest.raises(Mismatch):
        await wired.objects.download(KEY, target)

    assert_untouched(target)


async def test_an_empty_object_is_an_empty_file(wired: Wired) -> None:
    wired.put(KEY, b"")

    assert await wired.objects.download(KEY, wired.tmp / "got.ulg") == (0, "crc32+etag")
    assert (wired.tmp / "got.ulg").read_bytes() == b""


# -- where to


@pytest.mark.parametrize("name", ["g" * 255, "\N{SNOWMAN}" * 85, "a b.ulg", ".hidden", "-"])
async def test_every_name_that_the_disk_takes_will_do(wired: Wired, name: str) -> None:
    body = wired.put(KEY, noise(1000))
    target = wired.tmp / "deep" / "er" / name

    await wired.objects.download(KEY, target)

    assert target.read_bytes() == body


@pytest.mark.parametrize("name", ["", ".", "a\0b", "folder", "/"])
async def test_what_can_be_no_file_is_refused_before_a_byte_comes(
    wired: Wired, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(wired.tmp)
    (wired.tmp / "folder").mkdir()
    wired.put(KEY, noise(1000))

    answer = await wired.proxy.download_file(KEY, name)

    assert answer["status"] == 400
    assert wired.asked("GetObject") == []


def too_long(tmp: Path) -> Path:
    return tmp / ("g" * 256)


def behind_a_file(tmp: Path) -> Path:
    (tmp / "file").write_bytes(b"in the way")
    return tmp / "file" / "got.ulg"


def in_proc(_: Path) -> Path:
    return Path("/proc/got.ulg")


@pytest.mark.parametrize("place", [too_long, behind_a_file, in_proc])
async def test_where_nothing_can_stand_is_a_bad_path_before_a_byte_comes(
    wired: Wired, place: Callable[[Path], Path]
) -> None:
    wired.put(KEY, noise(1000))

    with pytest.raises(BadInput) as told:
        await wired.objects.download(KEY, place(wired.tmp))

    assert (told.value.code, told.value.status) == ("bad_path", 400)
    assert wired.asked("GetObject") == []


@pytest.mark.guarantee(
    "device", "the disk is full in the middle of a download", "507; the half file is gone again"
)
async def test_a_full_disk_leaves_no_half_file(wired: Wired) -> None:
    wired.put(KEY, noise(SIZE))
    with disks.small(wired.tmp / "small", "2m") as disk:
        with pytest.raises(LocalStorageError):
            await wired.objects.download(KEY, disk / "got.ulg")

        assert list(disk.iterdir()) == []


async def test_a_disk_that_is_read_only_is_a_507(wired: Wired) -> None:
    wired.put(KEY, noise(1000))
    with disks.small(wired.tmp / "small") as disk:
        (disk / "got.ulg").write_bytes(OLD)
        disks.remount(disk, "ro")
        with pytest.raises(LocalStorageError):
            await wired.objects.download(KEY, disk / "got.ulg")

        assert (disk / "got.ulg").read_bytes() == OLD


# -- who gives up


@pytest.mark.parametrize("steps", range(0, 60, 6))
async def test_a_download_that_is_cancelled_at_any_step_leaves_nothing(
    wired: Wired, steps: int
) -> None:
    wired.put(KEY, noise(MIB))
    target = target_of(wired)
    download = asyncio.create_task(wired.objects.download(KEY, target))
    for _ in range(steps):
        await asyncio.sleep(0)
    await until(lambda: download.done() or steps < 30 or wired.asked("GetObject"))

    download.cancel()
    await asyncio.gather(download, return_exceptions=True)

    assert list(target.parent.iterdir()) == [target]
    assert target.read_bytes() in {OLD, wired.things[KEY].body}


async def test_many_broken_downloads_use_up_neither_connections_nor_files(
    wired: Wired,
) -> None:
    body = wired.put(KEY, noise(MIB))
    target = wired.tmp / "got.ulg"
    await wired.objects.download(KEY, target)
    before = len(list(Path("/proc/self/fd").iterdir()))
    wired.server.always("GetObject", Fault("cut", cut_answer_at=0))

    async def fails() -> None:
        with pytest.raises(S3IntegrationError):
            await wired.objects.download(KEY, target)

    await asyncio.gather(*(fails() for _ in range(20)))
    wired.server.heal()

    await wired.objects.download(KEY, target)
    assert target.read_bytes() == body
    await until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before + 16)


# -- many readers


@pytest.mark.guarantee(
    "attack",
    "readers who take nothing of what they asked for",
    "a few at most hold a connection, the next hears 503, and logs are sent meanwhile",
)
async def test_slow_readers_do_not_keep_logs_from_being_sent(wired: Wired) -> None:
    wired.put(KEY, noise(SIZE))
    wired.objects.readers.patience_s = 0.2
    async with contextlib.AsyncExitStack() as held:
        for _ in range(MOST_READERS):
            await held.enter_async_context(wired.objects.read(KEY))
        for again in (wired.objects.range(KEY, 0, 9), wired.objects.download(KEY, wired.tmp / "x")):
            with pytest.raises(Throttled):
                await again
        write_ulog(wired.tmp / "next.ulg", PART + 1)
        row = await wired.service.enqueue(wired.tmp / "next.ulg")
        assert (await wired.bring(row.id)).state == "verified"
    assert await wired.objects.range(KEY, 0, 9) == noise(SIZE)[:10]
