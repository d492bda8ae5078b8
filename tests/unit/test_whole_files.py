"""What root writes in the folder of another user leads it nowhere else."""

from __future__ import annotations

import os
import secrets
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from petal_s3.errors import LocalStorageError, NotAllowed
from petal_s3.host import host_code, settings_file, whole_files, yaml_file
from petal_s3.host.yaml_file import Change, backup
from petal_s3.outbox.backup import copy_to

NOBODY = 65534
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root writes for another user")
VICTIM = "secret: of root\n"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """The folder of another user."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "proxies.yaml").write_text("a: 1\n")
    for path in (folder, folder / "proxies.yaml"):
        os.chown(path, NOBODY, NOBODY)
    return folder


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file of root that nobody else may touch."""
    path = tmp_path / "victim.yaml"
    path.write_text(VICTIM)
    path.chmod(0o600)
    yield path
    status = path.stat()
    assert path.read_text() == VICTIM
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o600)


def planted(link: Path, target: Path) -> None:
    link.symlink_to(target)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)


@only_root
@pytest.mark.guarantee(
    "attack",
    "a link waits where host install writes its half-written file",
    "not followed: what it leads to keeps content, owner and mode",
)
@pytest.mark.threat("user")
def test_a_link_at_the_half_written_name_is_not_followed(
    theirs: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(theirs / ".proxies.yaml.new", victim)
    yaml_file.write([Change(theirs / "proxies.yaml", "a: 2\n")])
    assert (theirs / "proxies.yaml").read_text() == "a: 2\n"
    assert (theirs / "proxies.yaml").stat().st_uid == NOBODY

    monkeypatch.setattr(secrets, "token_hex", lambda _: "guessed")
    planted(theirs / ".proxies.yaml.guessed.new", victim)
    with pytest.raises(LocalStorageError):
        yaml_file.write([Change(theirs / "proxies.yaml", "a: 3\n")])
    assert (theirs / "proxies.yaml").read_text() == "a: 2\n"


@only_root
@pytest.mark.guarantee(
    "attack",
    "the file that host install reads and changes is another user's link to a file of root",
    "refused: neither changed nor copied into a backup",
)
@pytest.mark.parametrize("name", ["proxies.yaml", "proxies.yaml.bak"])
@pytest.mark.threat("user")
def test_a_link_of_another_user_to_a_file_of_root_is_refused(
    theirs: Path, victim: Path, name: str
) -> None:
    (theirs / name).unlink(missing_ok=True)
    planted(theirs / name, victim)
    with pytest.raises(LocalStorageError) as told:
        yaml_file.read(theirs / name)
    assert "it is a link of another user" in told.value.message
    with pytest.raises(LocalStorageError) as told:
        yaml_file.write([Change(theirs / name, "a: 2\n")])
    assert "nothing was changed" in told.value.message
    assert sorted(path.name for path in theirs.iterdir()) == sorted({"proxies.yaml", name})


@only_root
@pytest.mark.guarantee(
    "attack",
    "a folder on the way to what root writes is another user's link to a folder of root",
    "refused: nothing is read, changed or made behind it",
)
@pytest.mark.threat("user")
def test_a_folder_that_is_a_link_of_another_user_is_refused(theirs: Path, tmp_path: Path) -> None:
    of_root = tmp_path / "of-root"
    (of_root / "inner").mkdir(parents=True)
    (of_root / "inner" / "proxies.yaml").write_text(VICTIM)
    (tmp_path / "outbox.db").touch()
    planted(theirs / "direct", of_root)
    planted(theirs / "hop", theirs / "direct")
    for way in (theirs / "direct" / "inner", theirs / "hop" / "inner", theirs / "hop"):
        with pytest.raises(LocalStorageError) as told:
            yaml_file.read(way / "proxies.yaml")
        assert "it is a link of another user" in told.value.message
        with pytest.raises(LocalStorageError, match=r"nothing was changed"):
            yaml_file.write([Change(way / "new.yaml", "a: 2\n")])
        with pytest.raises(LocalStorageError, match=r"link of another user"):
            copy_to(tmp_path / "outbox.db", way / "copy.db")
    assert sorted(path.name for path in of_root.rglob("*")) == ["inner", "proxies.yaml"]
    assert (of_root / "inner" / "proxies.yaml").read_text() == VICTIM


def test_links_of_one_s_own_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "a").symlink_to("real/deep")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    there = (tmp_path / "real").resolve() / "new.yaml"
    assert whole_files.real_path(tmp_path / "b" / ".." / "new.yaml") == there
    with pytest.raises(OSError, match=r"Too many levels"):
        whole_files.real_path(tmp_path / "loop" / "new.yaml")


@only_root
def test_a_link_of_another_user_to_that_user_s_file_is_followed(theirs: Path) -> None:
    (theirs / "proxies.yaml").rename(theirs / "real.yaml")
    planted(theirs / "proxies.yaml", theirs / "real.yaml")
    yaml_file.write([Change(theirs / "proxies.yaml", "a: 2\n")])
    assert (theirs / "proxies.yaml").is_symlink()
    assert (theirs / "real.yaml").read_text() == "a: 2\n"
    assert (theirs / "real.yaml").stat().st_uid == NOBODY


@only_root
@pytest.mark.threat(
    "user",
    "a folder becomes a link after root has looked at it, before it writes there",
    "it is not entered",
)
def test_a_folder_that_becomes_a_link_meanwhile_is_not_entered(
    theirs: Path, tmp_path: Path
) -> None:
    real = whole_files.real_path(theirs / "proxies.yaml")
    theirs.rename(tmp_path / "moved")
    planted(theirs, tmp_path / "moved")
    with (
        pytest.raises(OSError, match=r"Not a directory|Too many levels"),
        whole_files.folder_of(real),
    ):
        pass


@only_root
@pytest.mark.threat(
    "user",
    "they open the new file while root writes it",
    "it is made for one user alone, and has mode and owner of its original before the first byte",
)
def test_owner_and_mode_are_there_before_the_first_byte(
    theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (theirs / "proxies.yaml").chmod(0o640)
    seen: list[tuple[int, int, int, bytes]] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            seen.append((status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), b""))
        fsync(fd)

    made: list[int] = []
    opened = os.open

    def created(path: str, flags: int, mode: int = 0o777, **more: int) -> int:
        if flags & os.O_CREAT:
            made.append(mode)
            assert flags & os.O_EXCL
            assert flags & os.O_NOFOLLOW
        return opened(path, flags, mode, **more)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(os, "open", created)
    yaml_file.write([Change(theirs / "proxies.yaml", "a: 2\n")])
    assert made == [0o600]
    assert seen == [(NOBODY, NOBODY, 0o640, b"")]


@pytest.mark.guarantee(
    "attack",
    "host install --force keeps a backup of a settings file that only its owner may read",
    "the backup has the mode and the owner of its original",
)
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
@pytest.mark.threat("user")
def test_a_backup_is_as_closed_as_its_original(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "petal-s3.yaml"
    file.write_text("bucket_name: logs\napi_token: of-this-robot-alone\n")
    file.chmod(mode)
    if os.geteuid() == 0:
        os.chown(file, NOBODY, NOBODY)
    kept = yaml_file.backup_of(file)
    kept.write_text("an earlier one\n")
    kept.chmod(0o666)

    changes, _, _ = settings_file.plan(file, {"bucket_name": "others"}, force=True)
    yaml_file.write(changes)

    found = kept.stat()
    assert "bucket_name: logs" in kept.read_text()
    assert stat.S_IMODE(found.st_mode) == stat.S_IMODE(file.stat().st_mode) == mode
    assert found.st_uid == file.stat().st_uid


def test_a_pipe_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "proxies.yaml")
    with pytest.raises(LocalStorageError):
        yaml_file.read(tmp_path / "proxies.yaml")
    with pytest.raises(LocalStorageError):
        yaml_file.write([backup(tmp_path / "proxies.yaml", "a: 1\n")])
    assert [path.name for path in tmp_path.iterdir()] == ["proxies.yaml"]


# -- the host's own code


def host_of(folder: Path) -> Path:
    """A host whose code leaves a mark where it is run."""
    code = folder / "app" / "petal_app_manager" / "config.py"
    code.parent.mkdir(parents=True)
    code.write_text(
        f"open({str(folder.parent / 'was-run')!r}, 'w').close()\n"
        "def ensure_proxies_config_exists(path):\n    path.write_text('enabled_proxies: []\\n')\n"
    )
    return folder


@only_root
@pytest.mark.guarantee(
    "attack",
    "root installs into the folder of another user, where the host's code lies",
    "that code is not run as root; the sentence says what to do",
)
@pytest.mark.parametrize("whose", ["", "/petal_app_manager", "/petal_app_manager/config.py"])
@pytest.mark.threat("user")
def test_the_code_of_another_user_is_not_run_as_root(tmp_path: Path, whose: str) -> None:
    root = host_of(tmp_path / "host")
    os.chown(f"{root}/app{whose}", NOBODY, NOBODY)
    with pytest.raises(NotAllowed) as told:
        host_code.default_proxies(root)
    assert told.value.code == "foreign_code"
    assert not (tmp_path / "was-run").exists()


@only_root
@pytest.mark.parametrize(
    "way",
    [
        "a link of another user",
        "a folder that all may write to",
        "a folder that a group may write to",
        "a file that a group may write to",
        "a file with an access list",
    ],
)
@pytest.mark.threat(
    "user",
    "the host's code lies where all, a group or an access list may write, or behind their link",
    "it is not run as root",
)
def test_code_that_another_user_may_swap_is_not_run(tmp_path: Path, way: str) -> None:
    root = host_of(tmp_path / "host")
    code = root / "app" / "petal_app_manager" / "config.py"
    if way == "a link of another user":
        (root / "app").rename(tmp_path / "real")
        planted(root / "app", tmp_path / "real")
    elif way == "a folder that all may write to":
        (root / "app").chmod(0o777)
    elif way == "a file with an access list":
        os.setxattr(code, "system.posix_acl_access", nobody_may_write())
    else:
        shared = code if way.startswith("a file") else root / "app"
        os.chown(shared, 0, NOBODY)
        shared.chmod(0o775)
    with pytest.raises(NotAllowed):
        host_code.default_proxies(root)
    assert not (tmp_path / "was-run").exists()


def nobody_may_write() -> bytes:
    """An access list as the kernel takes it: entries of tag, permissions and id (acl(5))."""
    owner, user, group, mask, other = 1, 2, 4, 16, 32
    entries = [(owner, 6, -1), (user, 6, NOBODY), (group, 4, -1), (mask, 6, -1), (other, 4, -1)]
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHi", tag, may, who) for tag, may, who in entries
    )


def test_code_of_one_s_own_is_asked(tmp_path: Path) -> None:
    text, found = host_code.default_proxies(host_of(tmp_path / "host"))
    assert found == {"enabled_proxies": []}
    assert text.startswith("enabled_proxies")
    assert (tmp_path / "was-run").exists()
