"""The spool holds our own copies and nothing else; one process at a time drains."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from petal_s3.errors import LocalStorageError
from petal_s3.intake.spool import (
    YOUNG_S,
    Seen,
    bring_in,
    copy_path,
    discard,
    same_bytes,
    sweep,
)
from petal_s3.logs.opening import Identity
from petal_s3.outbox.state_dir import DrainLock, prepare

PACKAGE = Path(__file__).resolve().parents[2]
CONTENT = bytes(range(256)) * 9000  # more than one block of copying
TAKES_AND_WAITS = """
import sys
from pathlib import Path
from petal_s3.outbox.state_dir import DrainLock
lock = DrainLock(Path(sys.argv[1]))
taken = lock.take()
print("taken" if taken else "refused", flush=True)
sys.stdin.read()
"""

STARTS_A_PROGRAM = """
import subprocess
subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], close_fds=False)
"""


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return prepare(tmp_path / "state")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere/My Log.ULG"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    os.utime(path, ns=(1_000_000_007, 1_000_000_007))
    return path


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def brought_in(spool: Path, log: Path) -> Path:
    target = copy_path(spool, str(log), Identity.of(log.stat()))
    with opened(log) as fd:
        bring_in(fd, log, target)
    return target


def across_file_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hard links end at the border of a file system."""

    def refuse(*_args: Any, **_more: Any) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- the state directory


def test_the_state_directory_is_for_its_user_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        spool = prepare(tmp_path / "a/b/state")
    finally:
        os.umask(old)
    assert spool == tmp_path / "a/b/state/spool"
    assert (mode(spool), mode(spool.parent)) == (0o700, 0o700)
    assert list(spool.parent.iterdir()) == [spool]


@pytest.mark.threat(
    "user", "the state directory was made open to all before", "it is closed at the start"
)
def test_a_state_directory_that_was_open_to_all_is_closed(tmp_path: Path) -> None:
    (tmp_path / "state/spool").mkdir(parents=True)
    (tmp_path / "state").chmod(0o777)
    (tmp_path / "state/spool").chmod(0o777)
    spool = prepare(tmp_path / "state")
    assert (mode(spool), mode(spool.parent)) == (0o700, 0o700)


@pytest.mark.parametrize("name", ["", "spool", "outbox.db", "drain.lock"])
@pytest.mark.guarantee(
    "attack",
    "the state directory, its spool, database or lock is a link that somebody planted",
    "refused with a sentence; nothing is written where it leads",
)
@pytest.mark.threat("user")
def test_a_link_in_place_of_what_is_ours_is_refused(tmp_path: Path, name: str) -> None:
    state_dir, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    if name in {"", "spool"}:
        elsewhere.mkdir(mode=0o755)
    else:
        elsewhere.write_bytes(b"theirs")
        elsewhere.chmod(0o644)
    if name:
        prepare(state_dir)
    link = state_dir / name
    if name == "spool":
        link.rmdir()
    link.symlink_to(elsewhere)

    with pytest.raises(LocalStorageError) as caught:
        prepare(state_dir)

    assert caught.value.message.startswith(f"{link} is a link")
    assert "PETAL_S3_STATE_DIR" in caught.value.message
    assert mode(elsewhere) in {0o755, 0o644}
    assert list(elsewhere.iterdir()) == [] if name in {"", "spool"} else elsewhere.stat().st_size


@pytest.mark.guarantee(
    "attack",
    "the state directory belongs to another user",
    "refused with a sentence that says so; root may use that of any user",
)
@pytest.mark.threat("user")
def test_a_state_directory_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_dir = tmp_path / "state"
    state_dir.mkdir(mode=0o777)
    ours = os.getuid()
    monkeypatch.setattr(os, "geteuid", lambda: ours + 1)
    with pytest.raises(LocalStorageError) as caught:
        prepare(state_dir)
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert caught.value.message.startswith(f"{state_dir} belongs to another user, number {ours}")
    assert prepare(state_dir) == state_dir / "spool"
    assert mode(state_dir) == 0o700


def test_files_that_others_could_read_are_closed_to_them(spool: Path) -> None:
    names = ("outbox.db", "outbox.db-wal", "outbox.db-shm", "drain.lock")
    for name in names:
        (spool.parent / name).touch()
        (spool.parent / name).chmod(0o666)
    prepare(spool.parent)
    assert {mode(spool.parent / name) for name in names} == {0o600}


@pytest.mark.parametrize("written", [".writable", "a copy", "drain.lock"])
@pytest.mark.guarantee(
    "attack",
    "a link stands where a file of ours is about to be written",
    "it is replaced or refused; what it leads to stays as it is",
)
@pytest.mark.threat("user")
def test_nothing_is_written_through_a_link(
    spool: Path, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"theirs")
    if written == ".writable":
        (spool.parent / ".writable").symlink_to(theirs)
        prepare(spool.parent)
    elif written == "a copy":
        across_file_systems(monkeypatch)
        target = copy_path(spool, str(log), Identity.of(log.stat()))
        target.with_name(f"{target.name}.part").symlink_to(theirs)
        assert brought_in(spool, log).read_bytes() == CONTENT
        assert mode(target) == 0o600
    else:
        (spool.parent / "drain.lock").symlink_to(theirs)
        with pytest.raises(LocalStorageError, match=r"drain\.lock cannot be taken"):
            DrainLock(spool.parent).take()
    assert theirs.read_bytes() == b"theirs"


def test_preparing_twice_keeps_what_is_there(spool: Path) -> None:
    (spool / "copy.ulg").write_bytes(b"x")
    assert prepare(spool.parent) == spool
    assert (spool / "copy.ulg").read_bytes() == b"x"


@pytest.mark.parametrize("where", ["file", "file/state", "proc"])
def test_a_state_directory_that_cannot_be_had_is_said_to_be_none(
    tmp_path: Path, where: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    state_dir = Path("/proc/petal-s3") if where == "proc" else tmp_path / where
    with pytest.raises(LocalStorageError) as caught:
        prepare(state_dir)
    assert caught.value.message.startswith(f"The state directory {state_dir} cannot be used (")
    assert "set PETAL_S3_STATE_DIR" in caught.value.message
    assert (caught.value.status, caught.value.blocks_drain) == (507, True)


def test_a_full_disk_is_found_out_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def full(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(LocalStorageError, match="No space left on device"):
        prepare(tmp_path / "state")


# -- bringing in


def test_a_copy_lies_at_one_place_per_file_and_content(spool: Path, log: Path) -> None:
    one = Identity.of(log.stat())
    target = copy_path(spool, str(log), one)
    assert target == copy_path(spool, str(log), one)
    assert (target.parent, target.suffix, len(target.stem)) == (spool, ".ulg", 32)
    others = {
        copy_path(spool, str(log) + "x", one),
        copy_path(spool, str(log), Identity(one.dev, one.ino + 1, one.size, one.mtime_ns)),
        copy_path(spool, str(log), Identity(one.dev, one.ino, one.size + 1, one.mtime_ns)),
        copy_path(spool, str(log), Identity(one.dev, one.ino, one.size, one.mtime_ns + 1)),
        target,
    }
    assert len(others) == 5
    assert copy_path(spool, str(log), Identity(9, one.ino, one.size, one.mtime_ns)) == target


def test_any_path_has_a_place(spool: Path) -> None:
    for path in ("/a/\udcff.ulg", "/a/ü\n.bag", "/noextension", "/../x.ulg"):
        assert copy_path(spool, path, Identity(1, 2, 3, 4)).parent == spool


def test_a_copy_is_a_hard_link_where_that_can_be(spool: Path, log: Path) -> None:
    target = brought_in(spool, log)
    assert target.samefile(log)
    log.unlink()
    assert target.read_bytes() == CONTENT


def test_across_file_systems_the_bytes_are_copied(
    spool: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    across_file_systems(monkeypatch)
    target = brought_in(spool, log)
    assert not target.samefile(log)
    assert target.read_bytes() == CONTENT
    assert target.stat().st_mtime_ns == log.stat().st_mtime_ns
    assert list(spool.iterdir()) == [target]


@pytest.mark.parametrize("copied", [False, True])
def test_a_copy_is_on_disk_before_it_counts(
    spool: Path, log: Path, monkeypatch: pytest.MonkeyPatch, copied: bool
) -> None:
    if copied:
        across_file_systems(monkeypatch)
    synced: list[tuple[int, bool]] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        entered = bool(list(spool.glob("*.ulg")))
        synced.append((os.fstat(fd).st_ino, entered))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    target = brought_in(spool, log)
    assert target.stat().st_ino in {ino for ino, _ in synced}
    assert (spool.stat().st_ino, True) in synced  # its name, after it was entered


def test_a_copy_left_by_one_who_was_killed_is_on_disk_before_it_counts(
    spool: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = brought_in(spool, log)
    synced: list[int] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    assert brought_in(spool, log) == target
    assert {target.stat().st_ino, spool.stat().st_ino} <= set(synced)


def test_the_same_file_again_is_not_copied_again(
    spool: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    across_file_systems(monkeypatch)
    target = brought_in(spool, log)
    before = target.stat()
    assert brought_in(spool, log) == target
    assert target.stat() == before


def test_it_is_the_open_file_that_is_brought_in_not_what_took_its_name(
    spool: Path, log: Path
) -> None:
    target = copy_path(spool, str(log), Identity.of(log.stat()))
    with opened(log) as fd:
        log.rename(log.with_name("moved.ulg"))
        log.write_bytes(b"another file under the same name")
        bring_in(fd, log, target)
    assert target.read_bytes() == CONTENT


def test_a_link_put_in_the_files_place_is_not_followed(spool: Path, log: Path) -> None:
    secret = log.with_name("secret")
    secret.write_bytes(b"not yours")
    target = copy_path(spool, str(log), Identity.of(log.stat()))
    with opened(log) as fd:
        log.unlink()
        log.symlink_to(secret)
        bring_in(fd, log, target)
    assert not target.is_symlink()
    assert target.read_bytes() == CONTENT


@pytest.mark.guarantee(
    "device",
    "the disk is full or fails while a copy is made, or at its end",
    "nothing half-written stays, and the log itself is untouched",
)
@pytest.mark.parametrize("moment", ["while copying", "at the end"])
@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_full_disk_leaves_nothing_half_written(
    spool: Path, log: Path, monkeypatch: pytest.MonkeyPatch, moment: str, reason: int
) -> None:
    across_file_systems(monkeypatch)

    def full(*args: Any) -> None:
        if moment == "while copying":
            args[1].write(CONTENT[:4096])
            args[1].flush()
        assert [copy.suffix for copy in spool.iterdir()] == [".part"]
        raise OSError(reason, os.strerror(reason))

    where, name = (shutil, "copyfileobj") if moment == "while copying" else (os, "fsync")
    monkeypatch.setattr(where, name, full)
    with pytest.raises(LocalStorageError) as caught:
        brought_in(spool, log)
    assert caught.value.message == (
        f"A copy of {log.name} cannot be kept in the spool ({os.strerror(reason)})."
    )
    assert list(spool.iterdir()) == []
    assert log.read_bytes() == CONTENT


def test_what_a_crash_left_half_written_is_written_anew(
    spool: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    across_file_systems(monkeypatch)
    target = copy_path(spool, str(log), Identity.of(log.stat()))
    target.with_name(f"{target.name}.part").write_bytes(b"half" * 10**6)
    assert brought_in(spool, log).read_bytes() == CONTENT
    assert list(spool.iterdir()) == [target]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (CONTENT, CONTENT, True),
        (b"", b"", True),
        (CONTENT, CONTENT[:-1], False),
        (CONTENT[:-1], CONTENT, False),
        (CONTENT, CONTENT[:-1] + b"x", False),
        (b"x" + CONTENT, b"y" + CONTENT, False),
        (None, CONTENT, False),
        (CONTENT, None, False),
    ],
)
def test_files_are_the_same_when_every_byte_is(
    tmp_path: Path, first: bytes | None, second: bytes | None, same: bool
) -> None:
    for name, content in (("one", first), ("other", second)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
    assert same_bytes(tmp_path / "one", tmp_path / "other") is same


# -- removing


def test_a_copy_that_is_no_longer_needed_goes(spool: Path, log: Path) -> None:
    target = brought_in(spool, log)
    discard(spool, str(target))
    discard(spool, str(target))
    assert list(spool.iterdir()) == []
    assert log.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "path",
    [
        "elsewhere/My Log.ULG",
        "state/outbox.db",
        "state/spool/../outbox.db",
        "state/spool/deep/a.ulg",
        "state/spool",
        "state/spool/..",
        "state/spool/deep",
    ],
)
def test_nothing_outside_the_spool_is_ever_removed(spool: Path, log: Path, path: str) -> None:
    state = spool.parent
    (state / "outbox.db").write_bytes(b"rows")
    (spool / "deep").mkdir()
    (spool / "deep/a.ulg").write_bytes(b"x")
    before = sorted(state.parent.rglob("*"))
    discard(spool, str(state.parent / path))
    assert sorted(state.parent.rglob("*")) == before


def test_a_link_in_the_spool_is_removed_and_not_what_it_leads_to(spool: Path, log: Path) -> None:
    (spool / "link.ulg").symlink_to(log)
    discard(spool, str(spool / "link.ulg"))
    assert not (spool / "link.ulg").is_symlink()
    assert log.read_bytes() == CONTENT


def test_a_sweep_removes_what_no_row_needs(spool: Path) -> None:
    for name in ("needed.ulg", "orphan.ulg", "half.ulg.part"):
        (spool / name).write_bytes(b"x")
    (spool / "directory").mkdir()
    sweep(spool, {str(spool / "needed.ulg"), "/elsewhere/gone.ulg"}, {}, 0.0, young_s=0)
    assert sorted(copy.name for copy in spool.iterdir()) == ["directory", "needed.ulg"]


def test_a_sweep_spares_a_copy_of_which_the_row_is_just_being_entered(
    spool: Path, log: Path
) -> None:
    target = brought_in(spool, log)  # its time of change is that of an old log
    seen: Seen = {}
    sweep(spool, set(), seen, 1000.0)
    sweep(spool, set(), seen, 1000.0 + YOUNG_S - 1)
    assert target.exists()


@pytest.mark.guarantee(
    "clock",
    "the date of the device jumps by years while a process enters a copy into the outbox",
    "the copy stays: only what was seen without a row for ten minutes is swept",
)
def test_no_jump_of_the_date_makes_a_copy_old(
    spool: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = brought_in(spool, log)
    seen: Seen = {}
    monkeypatch.setattr(time, "time", lambda: 4e9)
    sweep(spool, set(), seen, 1000.0)
    assert target.exists()
    sweep(spool, set(), seen, 1000.0 + YOUNG_S)
    assert not target.exists()


def test_what_is_written_to_anew_is_young_again(spool: Path) -> None:
    half = spool / "half.part"
    seen: Seen = {}
    half.write_bytes(b"x")
    sweep(spool, set(), seen, 0.0)
    half.write_bytes(b"more")
    sweep(spool, set(), seen, YOUNG_S)
    assert half.exists()
    sweep(spool, set(), seen, 2 * YOUNG_S)
    assert not half.exists()


def test_a_sweep_of_nothing_is_nothing(spool: Path) -> None:
    sweep(spool, {"/logs/a.ulg"}, {}, 0.0, young_s=0)
    assert list(spool.iterdir()) == []


# -- the right to drain


@contextmanager
def another_process(
    state_dir: Path, script: str = TAKES_AND_WAITS
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that tries to take the lock, says how it went, and lives on."""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PACKAGE,
        env={"PYTHONPATH": str(PACKAGE)},
    ) as child:
        assert child.stdout is not None
        said = child.stdout.readline().strip()
        try:
            yield child, said
        finally:
            child.kill()


def test_one_process_drains_and_its_end_frees_the_lock(spool: Path) -> None:
    state_dir = spool.parent
    ours = DrainLock(state_dir)
    with another_process(state_dir) as (child, said):
        assert said == "taken"
        assert (ours.take(), ours.held) == (False, False)
        assert ours.holder() == child.pid
        child.send_signal(signal.SIGKILL)
        child.wait(30)
        assert ours.holder() is None
        assert ours.take()
    assert ours.holder() == os.getpid()
    ours.give()


def test_while_we_drain_no_other_process_does(spool: Path) -> None:
    ours = DrainLock(spool.parent)
    assert ours.take()
    with another_process(spool.parent) as (_, said):
        assert said == "refused"
    ours.give()
    with another_process(spool.parent) as (_, said):
        assert said == "taken"


def test_two_outboxes_are_drained_by_two(tmp_path: Path) -> None:
    one, other = DrainLock(tmp_path / "one"), DrainLock(tmp_path / "other")
    for name in ("one", "other"):
        prepare(tmp_path / name)
    assert one.take()
    assert other.take()
    one.give()
    other.give()


def test_the_lock_holds_within_a_process_too(spool: Path) -> None:
    first, second = DrainLock(spool.parent), DrainLock(spool.parent)
    assert first.take()
    assert first.take()
    assert (first.held, second.take(), second.held) == (True, False, False)
    assert second.holder() == os.getpid()
    first.give()
    first.give()
    assert (first.held, second.holder()) == (False, None)
    assert second.take()
    second.give()


def test_a_caller_that_only_asks_who_drains_does_not_take_the_lock(spool: Path) -> None:
    asks, takes = DrainLock(spool.parent), DrainLock(spool.parent)
    assert asks.holder() is None  # there is no lock file yet
    assert list(spool.parent.glob("*.lock")) == []
    assert takes.take()
    takes.give()
    assert asks.holder() is None
    assert takes.take()
    takes.give()


def test_two_may_ask_at_once_who_drains(spool: Path) -> None:
    lock = DrainLock(spool.parent)
    assert lock.take()
    lock.give()
    with opened(spool.parent / "drain.lock") as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert DrainLock(spool.parent).holder() is None


def test_the_lock_file_names_the_process_whatever_stood_there(spool: Path) -> None:
    path = spool.parent / "drain.lock"
    path.write_text("12345678901234567890 of an earlier boot\n")
    lock = DrainLock(spool.parent)
    assert lock.take()
    assert path.read_text() == f"{os.getpid()}\n"
    lock.give()


@pytest.mark.parametrize(
    "text", ["?", "", "-1", "\u00b2", "\u0663", "1\n2", "\x1b[31m7", "\0" * 99]
)
@pytest.mark.guarantee(
    "attack",
    "the lock file holds nonsense instead of a process number",
    "somebody drains, nobody knows who; nothing fails",
)
def test_a_holder_that_wrote_no_number_is_a_holder_all_the_same(spool: Path, text: str) -> None:
    lock = DrainLock(spool.parent)
    assert lock.take()
    (spool.parent / "drain.lock").write_text(text, "utf-8")
    assert DrainLock(spool.parent).holder() == 0
    lock.give()


def test_the_lock_is_not_inherited_by_a_program_that_is_started(spool: Path) -> None:
    script = TAKES_AND_WAITS.replace("print(", STARTS_A_PROGRAM + "print(")
    with another_process(spool.parent, script) as (child, said):
        assert said == "taken"
        child.kill()
        child.wait(30)
        lock, deadline = DrainLock(spool.parent), time.monotonic() + 30
        while not lock.take():  # what it started lives on, and reads
            assert time.monotonic() < deadline, "a program that was started holds the lock"
            time.sleep(0.01)
        lock.give()


def test_a_lock_that_is_given_back_is_free_though_a_child_was_forked(spool: Path) -> None:
    lock = DrainLock(spool.parent)
    assert lock.take()
    file = spool.parent.resolve() / "drain.lock"
    [held] = [fd for fd in Path("/proc/self/fd").iterdir() if fd.resolve() == file]
    copy = os.dup(int(held.name))  # what a fork leaves in the child until it starts its program
    lock.give()
    assert DrainLock(spool.parent).holder() is None
    os.close(copy)
