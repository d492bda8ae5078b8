"""A file is finished when nothing about it changes and nobody holds it open for writing."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from petal_s3.intake import writers
from petal_s3.intake.looking import find_named
from petal_s3.intake.settling import StableFiles
from petal_s3.intake.writers import locked, open_for_writing
from petal_s3.logs.opening import Identity

OPENS_AND_WAITS = """
import os, sys
fd = os.open(sys.argv[1], getattr(os, sys.argv[2]))
print("open", flush=True)
sys.stdin.read()
"""


def made(path: Path, content: bytes = b"x") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def names(*directories: Path) -> list[str]:
    return sorted(Path(path).name for path, _ in find_named(directories))


# -- finding


def test_logs_are_found_by_their_names_at_any_depth(tmp_path: Path) -> None:
    for name in ("a.ulg", "b.bag", "C.ULG", "2025-07-27/14_30_22.ulg", "x/y/z.orig.bag"):
        made(tmp_path / name)
    for name in ("a.txt", "b.bag.active", "c.ulg.part", ".hidden.ulg", ".ulg", "ulg", "d.ulgk"):
        made(tmp_path / name)
    assert names(tmp_path) == ["14_30_22.ulg", "C.ULG", "a.ulg", "b.bag", "z.orig.bag"]


def test_a_file_is_found_with_its_identity(tmp_path: Path) -> None:
    path = made(tmp_path / "a.ulg", b"twelve bytes")
    assert find_named([tmp_path]) == [(path, Identity.of(os.lstat(path)))]


def test_directories_that_are_not_there_are_passed_over(tmp_path: Path) -> None:
    made(tmp_path / "logs/a.ulg")
    made(tmp_path / "file.ulg")
    assert names(tmp_path / "missing", tmp_path / "file.ulg", tmp_path / "logs") == ["a.ulg"]


@pytest.mark.guarantee(
    "file",
    "links, dangling links and loops of folders in a log directory",
    "not followed; the scan ends and finds the others",
)
def test_links_to_files_and_directories_are_not_followed(tmp_path: Path) -> None:
    made(tmp_path / "elsewhere/outside.ulg")
    logs = tmp_path / "logs"
    made(logs / "a.ulg")
    (logs / "link.ulg").symlink_to(tmp_path / "elsewhere/outside.ulg")
    (logs / "dangling.ulg").symlink_to(tmp_path / "nowhere.ulg")
    (logs / "directory").symlink_to(tmp_path / "elsewhere")
    (logs / "loop").symlink_to(logs)
    (logs / "loop.ulg").symlink_to(logs / "loop.ulg")
    assert names(logs) == ["a.ulg"]


def test_a_log_directory_may_itself_be_a_link(tmp_path: Path) -> None:
    path = made(tmp_path / "card/logs/a.ulg")
    (tmp_path / "logs").symlink_to(tmp_path / "card/logs")
    assert [found for found, _ in find_named([tmp_path / "logs"])] == [os.path.realpath(path)]


def test_one_file_has_one_path_however_it_is_reached(tmp_path: Path) -> None:
    path = made(tmp_path / "logs/deep/a.ulg")
    (tmp_path / "again").symlink_to(tmp_path / "logs")
    roots = [tmp_path / "logs", tmp_path / "again", tmp_path / "logs/deep", tmp_path / "again/deep"]
    assert [found for found, _ in find_named(roots)] == [path]


def test_what_is_no_regular_file_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "directory.ulg").mkdir()
    os.mkfifo(tmp_path / "pipe.ulg")
    made(tmp_path / "directory.ulg/a.ulg")
    assert names(tmp_path) == ["a.ulg"]


def test_a_name_that_is_no_text_is_found_all_the_same(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/\xff.ulg"
    os.close(os.open(raw, os.O_CREAT | os.O_WRONLY))
    assert [os.fsencode(path) for path, _ in find_named([tmp_path])] == [raw]


def test_depth_is_bounded(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 16)
    made(deep / "reached.ulg")
    made(deep / "d/too-deep.ulg")
    assert names(tmp_path) == ["reached.ulg"]


@pytest.mark.parametrize("reason", [errno.EACCES, errno.EIO, errno.ENOENT])
@pytest.mark.guarantee(
    "file",
    "a folder that cannot be read",
    "passed over; the others are found",
)
def test_a_directory_that_cannot_be_read_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    made(tmp_path / "a/closed.ulg")
    made(tmp_path / "b/open.ulg")
    scandir = os.scandir

    def unreadable(directory: str) -> Any:  # root reads everything: the kernel is stood in for
        if directory == str(tmp_path / "a"):
            raise OSError(reason, os.strerror(reason))
        return scandir(directory)

    monkeypatch.setattr(os, "scandir", unreadable)
    assert names(tmp_path) == ["open.ulg"]


def test_a_vanishing_file_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "gone.ulg")
    made(tmp_path / "there.ulg")
    scandir = os.scandir

    def listed_then_deleted(directory: Any) -> nullcontext[list[os.DirEntry[str]]]:
        entries = list(scandir(directory))
        (tmp_path / "gone.ulg").unlink()
        return nullcontext(entries)

    monkeypatch.setattr(os, "scandir", listed_then_deleted)
    assert names(tmp_path) == ["there.ulg"]


# -- who writes


@pytest.fixture(params=["by lease", "by /proc"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is on most disks, and as it is where the kernel gives no lease."""
    if request.param == "by /proc":
        monkeypatch.setattr(writers, "SET_LEASE", None)


@contextmanager
def held_open(path: str, how: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds ``path`` open until the block ends."""
    with subprocess.Popen(
        [sys.executable, "-c", OPENS_AND_WAITS, path, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize(
    ("how", "writes"), [("O_WRONLY", True), ("O_RDWR", True), ("O_RDONLY", False)]
)
@pytest.mark.guarantee(
    "file",
    "its recorder has it open",
    "not taken before it is closed",
)
@pytest.mark.usefixtures("either_way")
def test_a_recorder_of_another_process_is_seen(tmp_path: Path, how: str, writes: bool) -> None:
    path, other = made(tmp_path / "a.ulg"), made(tmp_path / "b.ulg")
    with held_open(path, how):
        assert open_for_writing([path, other]) == ({path} if writes else set())


@pytest.mark.usefixtures("either_way")
def test_a_recorder_that_is_killed_writes_no_more(tmp_path: Path) -> None:
    path = made(tmp_path / "a.ulg")
    with held_open(path, "O_WRONLY") as recorder:
        assert open_for_writing([path]) == {path}
        recorder.kill()
        recorder.wait(30)
        assert open_for_writing([path]) == set()


@pytest.mark.usefixtures("either_way")
def test_our_own_writing_is_seen_too(tmp_path: Path) -> None:
    path = made(tmp_path / "a.ulg")
    with Path(path).open("ab"):
        assert open_for_writing([path]) == {path}
    assert open_for_writing([path]) == set()


@pytest.mark.usefixtures("either_way")
def test_a_writer_is_seen_through_a_link_and_named_as_it_was_asked_for(tmp_path: Path) -> None:
    path = made(tmp_path / "real/a.ulg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    asked = str(tmp_path / "link/a.ulg")
    with Path(path).open("ab"):
        assert open_for_writing([asked]) == {asked}


@pytest.mark.usefixtures("either_way")
def test_a_writer_of_a_file_that_was_renamed_is_seen(tmp_path: Path) -> None:
    path = made(tmp_path / "a.bag.active")
    with Path(path).open("ab"):
        Path(path).rename(tmp_path / "a.bag")
        assert open_for_writing([str(tmp_path / "a.bag")]) == {str(tmp_path / "a.bag")}


@pytest.mark.usefixtures("either_way")
def test_a_name_with_odd_bytes_is_compared_as_it_is(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/a b\n\xff.ulg")
    with Path(path).open("wb"):
        assert open_for_writing([path]) == {path}


@pytest.mark.usefixtures("either_way")
def test_no_writer_is_found_where_nothing_is_asked(tmp_path: Path) -> None:
    assert open_for_writing([]) == set()
    assert open_for_writing([str(tmp_path / "missing.ulg")]) == set()


def test_where_the_kernel_tells_proc_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [made(tmp_path / f"{number}.ulg") for number in range(3)]
    read: list[str] = []
    monkeypatch.setattr(writers, "names_in", lambda directory: read.append(directory) or [])
    with Path(paths[1]).open("ab"):
        assert open_for_writing(paths) == {paths[1]}
    assert not read


OPENS_OFTEN = """
import os, sys
for _ in range(3000):
    os.close(os.open(sys.argv[1], os.O_WRONLY))
"""


def test_whoever_opens_the_file_while_it_is_asked_is_served_and_ends_nobody(tmp_path: Path) -> None:
    path = made(tmp_path / "a.ulg")
    asks = (
        "import sys, subprocess\n"
        "from petal_s3.intake.writers import open_for_writing\n"
        "with subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]]) as opens:\n"
        "    while opens.poll() is None:\n"
        "        open_for_writing([sys.argv[1]])\n"
        "sys.exit(opens.returncode)\n"
    )
    assert (
        subprocess.run([sys.executable, "-c", asks, path, OPENS_OFTEN], check=False).returncode == 0
    )
    assert open_for_writing([path]) == set()


@pytest.mark.parametrize("lock", ["a.ulg.lock", "a.lock"])
def test_a_recorders_lock_beside_the_file_is_seen(tmp_path: Path, lock: str) -> None:
    path = made(tmp_path / "a.ulg")
    assert not locked(path)
    made(tmp_path / lock)
    assert locked(path)


def test_a_dangling_lock_is_a_lock(tmp_path: Path) -> None:
    path = made(tmp_path / "a.ulg")
    (tmp_path / "a.ulg.lock").symlink_to("host-pid-1234")  # as some editors and recorders write it
    assert locked(path)


def test_the_lock_of_another_file_is_none_of_ours(tmp_path: Path) -> None:
    path = made(tmp_path / "a.ulg")
    made(tmp_path / "b.lock")
    made(tmp_path / "a.ulg.lockfile")
    assert not locked(path)


# -- settling

SETTLE_S = 10.0


@pytest.fixture
def settling() -> StableFiles:
    return StableFiles(SETTLE_S)


def watched(settling: StableFiles, path: str, now: float = 0.0) -> int:
    return settling.watch([(path, Identity.of(os.lstat(path)))], now)


def grow(path: str) -> None:
    with Path(path).open("ab") as file:
        file.write(b"more")


def touch(path: str) -> None:
    os.utime(path, ns=(1, 1))


def put_another_in_its_place(path: str) -> None:
    before = os.lstat(path)
    other = Path(f"{path}.new")
    other.write_bytes(Path(path).read_bytes())
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)


def test_a_file_is_ready_once_it_has_been_still_for_the_settle_time(
    settling: StableFiles, tmp_path: Path
) -> None:
    path = made(tmp_path / "a.ulg")
    assert watched(settling, path, 100.0) == 1
    settling.check(109.9)
    assert settling.ready(109.9, not_before=None) == []
    settling.check(110.0)
    assert settling.ready(110.0, not_before=None) == [path]


def test_a_file_is_watched_once(settling: StableFiles, tmp_path: Path) -> None:
    path = made(tmp_path / "a.ulg")
    watched(settling, path, 0.0)
    assert watched(settling, path, 9.0) == 0
    assert (len(settling), settling.paths) == (1, [path])
    assert settling.ready(10.0, not_before=None) == [path]


@pytest.mark.parametrize("change", [grow, touch, put_another_in_its_place])
def test_any_change_begins_the_wait_anew(
    settling: StableFiles, tmp_path: Path, change: Callable[[str], None]
) -> None:
    path = made(tmp_path / "a.ulg")
    watched(settling, path)
    change(path)
    settling.check(9.0)
    assert settling.ready(18.9, not_before=None) == []
    settling.check(18.0)
    assert settling.ready(19.0, not_before=None) == [path]


def test_a_file_that_changes_for_ever_is_never_ready(settling: StableFiles, tmp_path: Path) -> None:
    path = made(tmp_path / "a.ulg")
    watched(settling, path)
    for second in range(1, 60):
        grow(path)
        settling.check(float(second))
        assert settling.ready(float(second), not_before=None) == []


def test_the_wait_counts_from_the_end_of_the_flight(settling: StableFiles, tmp_path: Path) -> None:
    path = made(tmp_path / "a.ulg")
    watched(settling, path)
    assert settling.ready(104.9, not_before=95.0) == []
    assert settling.ready(105.0, not_before=95.0) == [path]


def test_a_flight_that_ended_long_ago_does_not_shorten_the_wait(
    settling: StableFiles, tmp_path: Path
) -> None:
    path = made(tmp_path / "a.ulg")
    watched(settling, path, 100.0)
    assert settling.ready(109.0, not_before=1.0) == []


def test_a_file_that_vanished_is_waited_for_no_more(settling: StableFiles, tmp_path: Path) -> None:
    path = made(tmp_path / "a.ulg")
    watched(settling, path)
    Path(path).unlink()
    settling.check(1.0)
    assert (len(settling), settling.ready(99.0, not_before=None)) == (0, [])


def test_a_file_that_came_back_is_watched_anew(settling: StableFiles, tmp_path: Path) -> None:
    path = made(tmp_path / "a.ulg")
    watched(settling, path)
    Path(path).unlink()
    settling.check(1.0)
    made(tmp_path / "a.ulg")
    assert watched(settling, path, 50.0) == 1
    assert settling.ready(59.0, not_before=None) == []


@pytest.mark.parametrize(("settle_s", "soon_s"), [(10.0, 1.0), (0.25, 0.25)])
def test_a_busy_file_is_looked_at_again_soon(
    tmp_path: Path, settle_s: float, soon_s: float
) -> None:
    settling, path = StableFiles(settle_s), made(tmp_path / "a.ulg")
    watched(settling, path)
    assert settling.ready(100.0, not_before=None) == [path]
    settling.busy(path, 100.0)
    assert settling.ready(100.0 + soon_s / 2, not_before=None) == []
    assert settling.ready(100.0 + soon_s, not_before=None) == [path]


def test_what_is_done_is_waited_for_no_more(settling: StableFiles, tmp_path: Path) -> None:
    path = made(tmp_path / "a.ulg")
    watched(settling, path)
    settling.done(path)
    settling.done(path)
    settling.busy(path, 1.0)
    assert (len(settling), settling.paths) == (0, [])


def test_a_log_in_a_wastebasket_is_not_found(tmp_path: Path) -> None:
    (tmp_path / ".Trash-1000").mkdir()
    (tmp_path / ".Trash-1000" / "deleted.ulg").write_bytes(b"x")
    assert find_named([tmp_path]) == []
