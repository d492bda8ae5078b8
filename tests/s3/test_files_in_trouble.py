"""Whatever happens to a file meanwhile, what is verified is one version of it, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import mmap
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from robot import DROP, OPS, PART, SMALL, TWO_PARTS, Robot, until

from petal_s3.core.settings import MIB
from petal_s3.demo.ledger import Request
from petal_s3.errors import NotAFlightLog
from petal_s3.outbox import queries
from petal_s3.outbox.rows import Row
from petal_s3.s3 import checksums, request_body
from petal_s3.upload.parts import PartSender
from petal_s3.upload.progress import Transfer

HEAD = 4096  # a writer that spoils the header makes it no log, which is another story
ALL_OPS = (*OPS, "AbortMultipartUpload")


def flight(robot: Robot) -> Path:
    return robot.logs / "flight.ulg"


def quietly(path: Path, *places: int) -> None:
    """Other bytes at these places, and the time of change put back."""
    known = path.stat()
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(os.urandom(500))
    put_back(path, known.st_mtime_ns)


def put_back(path: Path, mtime_ns: int) -> None:
    os.utime(path, ns=(mtime_ns, mtime_ns))


def on_request(
    robot: Robot, op: str, do: Callable[[], object], part: int = 0, times: int = 1
) -> None:
    """Do it when such a request arrives, before its body."""

    async def act(_: Request) -> None:
        do()

    robot.fault(op, act, part=part, times=times)


def after_complete(robot: Robot, do: Callable[[], object]) -> None:
    """Do it between the last Complete and the HEAD that proves it."""
    on_request(robot, "CompleteMultipartUpload", lambda: on_request(robot, "HeadObject", do))


async def scan(robot: Robot) -> list[Row]:
    """Look through the log directories as after a landing; every row, the oldest first."""
    await robot.service.landed()
    return list(reversed(await robot.service.outbox(queries.rows)))


# -- one version, whoever writes


@pytest.mark.guarantee(
    "file",
    "rewritten between two parts, with its size and time of change as before",
    "all that S3 holds is compared with the disk at the end: one version arrives",
)
async def test_a_quiet_change_of_sent_and_unsent_bytes_arrives_whole(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    row = await robot.land(size=TWO_PARTS)
    robot.link.rate_bytes_s = 30e6
    robot.when_sent(MIB, lambda: quietly(flight(robot), HEAD, PART + 5000), part=1)

    done = await robot.attempt(row)

    assert (done.state, done.parts_resent) == ("verified", 1)
    assert robot.body(done.key) == flight(robot).read_bytes()
    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "file",
    "written through memory (mmap), which moves no time of change",
    "all that S3 holds is compared with the disk at the end: one version arrives",
)
async def test_a_writer_through_memory_does_not_get_versions_mixed(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    row = await robot.land(size=TWO_PARTS)
    path, landed = flight(robot), flight(robot).stat()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        for place in range(0, len(memory), mmap.PAGESIZE):
            memory[place] = memory[place]  # a page that is dirty already moves no time again
        put_back(path, landed.st_mtime_ns)
        dirty = path.stat()

        def write() -> None:
            for place in (HEAD, PART + 5000):
                memory[place : place + 500] = os.urandom(500)

        robot.link.rate_bytes_s = 30e6
        robot.when_sent(MIB, write, part=1)
        done = await robot.attempt(row)
        now = path.stat()

    assert (now.st_mtime_ns, now.st_ctime_ns) == (dirty.st_mtime_ns, dirty.st_ctime_ns)
    assert (done.state, done.reason) == ("verified", "")
    assert robot.body(done.key) == path.read_bytes()


@pytest.mark.guarantee(
    "file",
    "never rests while it is sent, though its size and time stay",
    "it waits and says so, keeps what S3 holds, and goes up when it rests",
)
async def test_a_file_that_is_written_all_the_time_waits_until_it_rests(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    row = await robot.land(size=TWO_PARTS)
    on_request(robot, "UploadPart", lambda: quietly(flight(robot), HEAD, PART + 9), times=4)

    busy = await robot.attempt(row)
    done = await robot.finish(row)

    assert (busy.state, busy.code) == ("queued", "not_finished")
    assert busy.reason == "The file flight.ulg is being written while it is sent."
    assert robot.count("CreateMultipartUpload") == robot.count("CompleteMultipartUpload") == 1
    assert done.state == "verified"
    assert robot.body(done.key) == flight(robot).read_bytes()


@pytest.mark.parametrize("chore", ["mode", "hard link", "read"])
@pytest.mark.guarantee(
    "file",
    "its mode changes or it gets a hard link while it is sent",
    "its bytes are the same: nothing travels twice",
)
async def test_what_moves_only_the_time_of_the_inode_disturbs_nothing(
    robot: Robot, chore: str
) -> None:
    row = await robot.land(size=TWO_PARTS)
    path = flight(robot)
    chores: dict[str, Callable[[], object]] = {
        "mode": lambda: path.chmod(0o444),
        "hard link": lambda: os.link(path, robot.tmp / "kept.ulg"),
        "read": path.read_bytes,
    }
    on_request(robot, "UploadPart", chores[chore], part=2)

    done = await robot.attempt(row)

    assert robot.count("UploadPart") == 2
    robot.assert_sent_once(done, path)


async def test_a_caller_that_waits_is_not_sent_away_while_a_large_file_is_compared(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await robot.run()
    compare, compared = service.uploader.parts.read_again, service.waiting.compared
    now, looks = 0.0, 0

    def count_looks(row: Row) -> int:
        nonlocal looks
        looks += 1
        return compared(row)

    async def slow(_: PartSender, transfer: Transfer, pieces: Any, *by_md5: Any) -> Any:
        nonlocal now
        for _ in range(2 if pieces else 0):
            seen = looks
            now += 25.0
            transfer.progress.compared += 1
            await until(lambda seen=seen: looks > seen + 1)  # type: ignore[misc]
        return await compare(transfer, pieces, *by_md5)

    monkeypatch.setattr(service.waiting, "now", lambda: now)
    monkeypatch.setattr(service.waiting, "compared", count_looks)
    monkeypatch.setattr(PartSender, "read_again", slow)

    done = await service.wait((await robot.land(size=TWO_PARTS)).id, patience_s=30)

    assert (done.state, now) == ("verified", 50.0)


class Writer:
    """Somebody who does anything to the file at any request; knows every version there was."""

    def __init__(self, robot: Robot, rng: random.Random, left: int) -> None:
        self.versions = [flight(robot).read_bytes()]
        self._rig = robot
        self._rng = rng
        self._left = left
        self.later: list[asyncio.Task[None]] = []
        self._mtime_ns = flight(robot).stat().st_mtime_ns

    async def act(self, request: Request) -> None:
        if not self._left or self._rng.random() > 0.4:
            return
        self._left -= 1
        if request.op in {"PutObject", "UploadPart"} and self._rng.random() < 0.7:
            self.later.append(asyncio.create_task(self._in_the_middle(request)))
        else:
            self._change()

    async def _in_the_middle(self, request: Request) -> None:
        await until(lambda: request.body_bytes >= MIB or request.finished is not None)
        self._change()

    def _change(self) -> None:
        path, rng = flight(self._rig), self._rng
        known = path.stat()
        how = rng.choice(
            ["quiet", "both", "both", "both", "memory", "write", "grow", "cut", "swap"]
        )
        if how in {"quiet", "both", "write"}:
            places = [rng.randrange(HEAD, known.st_size - 500) for _ in range(2)]
            quietly(path, *(places if how != "both" else (HEAD, known.st_size - 600)))
        elif how == "memory":
            with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
                memory[HEAD : HEAD + 99] = rng.randbytes(99)
            put_back(path, known.st_mtime_ns)
        elif how == "grow":
            with path.open("ab") as file:
                file.write(rng.randbytes(777))
        elif how == "cut":
            os.truncate(path, known.st_size - 333)
        else:
            other = path.with_name("other.tmp")
            shutil.copyfile(path, other)
            quietly(other, HEAD, known.st_size - 600)
            put_back(other, known.st_mtime_ns)
            other.replace(path)
        if how == "write":
            self._mtime_ns += 10**9
            put_back(path, self._mtime_ns)
        self.versions.append(path.read_bytes())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.guarantee(
    "file",
    "changed in any way at any request, by a writer who rolls dice",
    "what is verified is one version, byte by byte",
)
async def test_what_is_verified_is_one_version_of_the_file(robot: Robot, seed: int) -> None:
    rng = random.Random(seed)
    await robot.restart(concurrency=1 + seed % 2)
    robot.link.rate_bytes_s = 50e6
    row = await robot.land(size=TWO_PARTS if seed % 4 else SMALL, seed=seed)
    writer = Writer(robot, rng, left=5)
    for op in ALL_OPS:
        robot.always(op, writer.act)

    done = await robot.finish(row, attempts=30)
    await asyncio.gather(*writer.later)

    assert len(writer.versions) > 1
    assert done.state == "verified"
    assert robot.body(done.key) in writer.versions


async def test_a_log_with_holes_arrives_with_its_zeros(robot: Robot) -> None:
    """A lossy download leaves holes that no disk block stands behind."""
    path = robot.write(size=SMALL)
    os.truncate(path, TWO_PARTS)
    with path.open("r+b") as file:
        file.seek(TWO_PARTS - 1000)
        file.write(os.urandom(1000))

    done = await robot.finish(await robot.service.enqueue(path))

    assert path.stat().st_blocks * 512 < TWO_PARTS // 2
    robot.assert_sent_once(done, path)


# -- shorter, longer, another one


@pytest.mark.parametrize("op", ["PutObject", "UploadPart", "CompleteMultipartUpload"])
@pytest.mark.guarantee(
    "file",
    "truncated to nothing while it is sent",
    "dead with its reason, nothing is left in S3; examined again by a scan when it is a log again",
)
async def test_a_file_that_is_emptied_is_dead_until_it_is_a_log_again(
    robot: Robot, op: str
) -> None:
    row = await robot.land(size=SMALL if op == "PutObject" else TWO_PARTS)
    path = flight(robot)
    whole = path.read_bytes()
    on_request(robot, op, lambda: os.truncate(path, 0))

    await robot.attempt(row)
    dead = await robot.finish(row)
    await robot.service.drainer.turn()
    left = robot.open_uploads()
    path.write_bytes(whole)
    (again,) = await scan(robot)
    done = await robot.finish(again)

    assert (dead.state, dead.code, left) == ("dead", "empty", [])
    assert again.id == row.id
    assert (done.state, robot.body(done.key)) == ("verified", whole)


@pytest.mark.guarantee(
    "file",
    "something is appended after it was proven (a crash dump at the next boot)",
    "it goes up anew under a key of its own; what was up before stays",
)
async def test_what_was_appended_after_the_proof_is_another_object(robot: Robot) -> None:
    path = robot.write(size=SMALL)
    first = await robot.finish((await scan(robot))[0])
    before, mtime_ns = path.read_bytes(), path.stat().st_mtime_ns
    with path.open("ab") as file:
        file.write(b"the stack at the time of the crash")
    put_back(path, mtime_ns)  # the same second, so the same first spelling of the key

    _, second = await scan(robot)
    second = await robot.finish(second)

    assert (first.state, second.state) == ("verified", "verified")
    assert robot.body(first.key) == before
    assert robot.body(second.key) == path.read_bytes() != before
    assert second.key != first.key


@pytest.mark.parametrize("op", ["CreateMultipartUpload", "UploadPart", "Complete", "proof"])
@pytest.mark.guarantee(
    "file",
    "deleted while it is sent, before the end, or just before the proof",
    "it is held open: it arrives and is proven",
)
async def test_a_file_deleted_at_any_moment_of_an_attempt_still_arrives(
    robot: Robot, op: str
) -> None:
    await robot.restart(concurrency=1)
    row = await robot.land(size=TWO_PARTS)
    path = flight(robot)
    data = path.read_bytes()
    if op == "proof":
        after_complete(robot, path.unlink)
    else:
        on_request(robot, "CompleteMultipartUpload" if op == "Complete" else op, path.unlink)

    done = await robot.attempt(row)

    assert not path.exists()
    assert (done.state, robot.body(row.key)) == ("verified", data)
    assert robot.open_uploads() == []


# -- the disk under it


def bad_blocks(
    monkeypatch: pytest.MonkeyPatch, reader: ModuleType, path: Path, at: int
) -> list[int]:
    """From now on the card cannot read this place of the file, as this module finds.

    Gives the places asked for.
    """
    hit: list[int] = []

    def read(fd: int, size: int, offset: int) -> int:
        """How many bytes there are before the bad block."""
        same = path.exists() and os.path.samestat(os.fstat(fd), path.stat())
        if not same or not offset <= at < offset + size:
            return size
        hit.append(offset)
        if offset == at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return at - offset

    def preadv(fd: int, views: list[memoryview], offset: int, *flags: int) -> int:
        [view] = views
        return os.preadv(fd, [view[: read(fd, len(view), offset)]], offset, *flags)

    def sendfile(connection: int, fd: int, offset: int, size: int) -> int:
        return os.sendfile(connection, fd, offset, read(fd, size, offset))

    patched = SimpleNamespace(**{**vars(os), "preadv": preadv, "sendfile": sendfile})
    monkeypatch.setattr(reader, "os", patched)
    return hit


@pytest.mark.parametrize("at", [PART - 50_000, PART + 5000])
@pytest.mark.parametrize("reader", [checksums, request_body], ids=["hashed", "sent"])
@pytest.mark.guarantee(
    "file",
    "the card cannot read a block (EIO), of what is hashed or of what is being sent",
    "this log waits with its reason and keeps what is up; the others go on, the link is not blamed",
)
async def test_a_bad_block_holds_up_its_own_log_and_no_other(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, reader: ModuleType, at: int
) -> None:
    await robot.restart(concurrency=1)
    bad = await robot.land(size=TWO_PARTS, priority=99)
    good = await robot.land("good.ulg", seed=7)
    robot.service.drainer.timing.spread = lambda: 1.0  # the bad one is not due again at once
    with monkeypatch.context() as patch:
        hit = bad_blocks(patch, reader, flight(robot), at)
        waiting = await robot.attempt(bad)
        other = await robot.attempt(good)
    drainer = robot.service.drainer
    done = await robot.finish(bad)

    assert hit
    assert (waiting.state, waiting.code) == ("queued", "source_away")
    assert "Input/output error" in waiting.reason
    assert (other.state, drainer.block, drainer.link) == ("verified", None, "up")
    robot.assert_sent_once(done, flight(robot))


@pytest.mark.guarantee(
    "file",
    "the card cannot read a block when all is up and only the last comparison is left",
    "it waits with its reason, and nothing that is up travels again",
)
async def test_a_bad_block_in_the_last_comparison_costs_nothing(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await robot.land(size=TWO_PARTS)
    compare = robot.service.uploader.parts.read_again
    with monkeypatch.context() as patch:

        async def failing(_: PartSender, *args: Any) -> Any:
            bad_blocks(patch, checksums, flight(robot), 0)
            return await compare(*args)

        patch.setattr(PartSender, "read_again", failing)
        waiting = await robot.attempt(row)
    done = await robot.finish(row)

    assert (waiting.code, waiting.sent_bytes) == ("source_away", TWO_PARTS)
    robot.assert_sent_once(done, flight(robot))


def mount(*words: str | Path) -> bool:
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0


@pytest.fixture
def card(robot: Robot) -> Iterator[Path]:
    """A folder of the log directory that is another device; a bind mount keeps its contents."""
    behind, place = robot.tmp / "behind", robot.logs / "card"
    behind.mkdir()
    place.mkdir()
    if not mount("-t", "tmpfs", "tmpfs", behind):
        pytest.skip("only root may mount")
    try:
        assert mount("--bind", behind, place)
        yield place
    finally:
        for directory in (place, behind):
            subprocess.run(["umount", "--lazy", directory], capture_output=True, check=False)


@pytest.mark.guarantee(
    "file",
    "its card is unmounted while it waits",
    "it waits and asks for the card; mounted again it goes on with what is up",
)
async def test_a_card_that_is_pulled_between_two_attempts_is_waited_for(
    robot: Robot, card: Path
) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=2)
    row = await robot.attempt(await robot.land("card/flight.ulg", size=TWO_PARTS))
    subprocess.run(["umount", card], check=True)

    away = await robot.attempt(row)
    assert mount("--bind", robot.tmp / "behind", card)
    done = await robot.finish(row)

    assert (away.state, away.code, away.sent_bytes) == ("queued", "source_away", PART)
    assert "mounted" in away.reason
    robot.assert_sent_once(done, card / "flight.ulg")


async def test_a_card_that_is_pulled_lazily_in_the_middle_is_read_to_the_end(
    robot: Robot, card: Path
) -> None:
    row = await robot.land("card/flight.ulg", size=TWO_PARTS)
    data = (card / "flight.ulg").read_bytes()
    on_request(
        robot, "UploadPart", lambda: subprocess.run(["umount", "--lazy", card], check=True), part=2
    )

    done = await robot.attempt(row)

    assert (done.state, robot.body(row.key)) == ("verified", data)


@pytest.mark.parametrize("where", ["file", "folder"])
@pytest.mark.guarantee(
    "file",
    "the right to read it is taken away, and given back",
    "an accepted log waits with its reason and keeps what is up, then goes on",
)
async def test_a_permission_that_is_taken_away_is_waited_for(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DROP, part=2)
    row = await robot.attempt(await robot.land(size=TWO_PARTS))
    with monkeypatch.context() as patch:
        forbid(patch, flight(robot), "open" if where == "file" else "lstat")
        waiting = await robot.attempt(row)
    done = await robot.finish(row)

    assert (waiting.state, waiting.code) == ("queued", "source_away")
    assert waiting.reason == "The file flight.ulg cannot be read now: permission denied."
    robot.assert_sent_once(done, flight(robot))


async def test_a_file_that_a_scan_may_not_read_is_taken_when_it_may(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = robot.write()
    with monkeypatch.context() as patch:
        forbid(patch, path, "open")
        (dead,) = await scan(robot)
        assert (dead.state, dead.code) == ("dead", "unreadable")
        assert [row.state for row in await scan(robot)] == ["dead"]

    (row,) = await scan(robot)

    robot.assert_sent_once(await robot.finish(row), path)


def forbid(patch: pytest.MonkeyPatch, path: Path, call: str) -> None:
    """Root reads everything, so the kernel is stood in for."""
    where = os if call == "open" else Path
    real = getattr(where, call)

    def denied(asked: Any, *more: Any, **options: Any) -> Any:
        if str(asked) == str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(asked, *more, **options)

    patch.setattr(where, call, denied)


# -- links and names


async def test_hard_links_of_one_log_are_one_object(robot: Robot) -> None:
    path = robot.write(size=TWO_PARTS)
    os.link(path, robot.logs / "again.ulg")

    rows = [await robot.finish(row) for row in await scan(robot)]

    assert [row.state for row in rows] == ["verified", "verified"]
    assert {row.same_as for row in rows} == {None, *(r.id for r in rows if r.same_as is None)}
    assert robot.count("CompleteMultipartUpload") == len(robot.stored()) == 1
    assert robot.body(rows[0].receipt.key if rows[0].receipt else "") == path.read_bytes()


def swapped(folder: Path, elsewhere: Path) -> None:
    """A folder becomes a link to a place outside, where a file of the same name lies."""
    if not folder.is_symlink():
        folder.rename(folder.with_name("moved"))
        folder.symlink_to(elsewhere)


@pytest.fixture
def outside(robot: Robot) -> Path:
    """A log outside the log directories, of the same name, size and time as the one inside."""
    robot.write("day/flight.ulg", seed=1)
    path = robot.tmp / "outside" / "flight.ulg"
    robot.store.copy(path, SMALL, 2)
    put_back(path, (robot.logs / "day/flight.ulg").stat().st_mtime_ns)
    return path


@pytest.mark.parametrize("when", ["waiting", "changed"])
@pytest.mark.guarantee(
    "file",
    "a folder above it is replaced by a link that leads out of the log directories",
    "refused by where the opened file really lies; nothing of the other file is sent",
)
async def test_a_link_in_place_of_a_folder_is_not_followed_when_a_log_is_sent(
    robot: Robot, outside: Path, when: str
) -> None:
    row = await robot.service.enqueue(robot.logs / "day/flight.ulg", inside_only=True)
    swapped(robot.logs / "day", outside.parent)
    if when == "changed":
        with outside.open("ab") as file:
            file.write(b"more")

    dead = await robot.finish(row)

    assert (dead.state, dead.code) == ("dead", "not_allowed")
    assert robot.stored() == []


@pytest.mark.parametrize("how", ["by name", "by a scan"])
@pytest.mark.guarantee(
    "file",
    "a folder above it is replaced by a link between the check and the opening",
    "refused by where the opened file really lies; no row",
)
async def test_a_link_in_place_of_a_folder_is_not_followed_when_a_log_lands(
    robot: Robot, outside: Path, how: str
) -> None:
    check = robot.service.intake.open_for_writing

    def late(paths: Any) -> set[str]:
        found = check(paths)
        swapped(robot.logs / "day", outside.parent)
        return found

    robot.service.intake.open_for_writing = late
    if how == "by name":
        with pytest.raises(NotAFlightLog) as caught:
            await robot.service.enqueue(robot.logs / "day/flight.ulg", inside_only=True)
        assert (caught.value.code, caught.value.status) == ("not_allowed", 403)
        assert await robot.service.outbox(queries.rows) == []
    else:
        (dead,) = await scan(robot)
        assert (dead.state, dead.code) == ("dead", "not_allowed")


async def test_a_log_directory_that_moved_and_left_a_link_is_found_where_it_is_now(
    robot: Robot,
) -> None:
    row = await robot.land()
    elsewhere = robot.tmp / "bigger-disk"
    shutil.copytree(robot.logs, elsewhere)
    shutil.rmtree(robot.logs)
    robot.logs.symlink_to(elsewhere)

    done = await robot.attempt(row)
    (found,) = await scan(robot)

    assert (done.id, done.path) == (found.id, str(elsewhere / "flight.ulg"))
    robot.assert_sent_once(done, elsewhere / "flight.ulg")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as made:
        made.bind(str(path))


@pytest.mark.parametrize("make", [make_fifo, make_socket, Path.mkdir])
@pytest.mark.guarantee(
    "file",
    "a pipe, a socket or a folder with its name takes its place",
    "refused at once, without waiting for a writer; a scan passes it over",
)
async def test_what_is_no_file_holds_nothing_up(robot: Robot, make: Callable[[Path], None]) -> None:
    row = await robot.land()
    flight(robot).unlink()
    make(flight(robot))

    dead = await robot.attempt(row)
    rows = await scan(robot)

    assert (dead.state, dead.code) == ("dead", "not_regular")
    assert [found.id for found in rows] == [row.id]


@pytest.mark.guarantee(
    "file",
    "its name is no text (bytes that are no UTF-8)",
    "dead with the name shown escaped; the scan goes on with the others",
)
async def test_a_name_that_is_no_text_is_told_and_harms_no_other(robot: Robot) -> None:
    path = robot.write("good.ulg")
    odd = os.fsencode(robot.logs) + b"/caf\xff\n.ulg"
    shutil.copyfile(os.fsencode(path), odd)

    rows = {row.state: row for row in await scan(robot)}
    again = await scan(robot)

    assert (rows["dead"].code, rows["dead"].reason.isprintable()) == ("bad_name", True)
    assert "caf\\xff\\n.ulg" in rows["dead"].reason
    assert len(again) == 2
    robot.assert_sent_once(await robot.finish(rows["queued"]), path)


@pytest.mark.parametrize(
    "year", [1901, 1970, 2106, 2300, 2440], ids=lambda year: f"the year {year}"
)
@pytest.mark.guarantee(
    "file",
    "its time of change is 1901, 1970, or far in the future",
    "it goes up under a sane key, and holds up no other",
)
async def test_a_file_from_another_century_goes_up(robot: Robot, year: int) -> None:
    path = robot.write()
    put_back(path, (year - 1970) * 31_556_952 * 10**9)
    robot.write("good.ulg", seed=1)

    rows = [await robot.finish(row) for row in await scan(robot)]

    assert [row.state for row in rows] == ["verified", "verified"]
    assert len(robot.stored()) == 2
    assert await scan(robot) == rows  # known: nothing is found again


async def test_hundreds_of_small_logs_are_taken_once_and_the_newest_goes_first(
    robot: Robot,
) -> None:
    for number in range(150):
        robot.write(f"2025-07-27/14_{number // 60:02}_{number % 60:02}.ulg", size=1000, seed=0)

    first = await robot.service.landed()
    second = await robot.service.landed()
    await robot.step()

    assert (first.enqueued, second.enqueued) == (150, 0)
    verified = await robot.service.outbox(queries.rows, "verified")
    assert [row.name for row in verified] == ["14_02_29.ulg"]
