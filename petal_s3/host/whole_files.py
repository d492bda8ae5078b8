"""Put whole files in place of others, in folders that may be another user's; all of it blocks.

What root writes there must not lead it elsewhere: no link is followed that this user, or root, has
not made, and what is written has its owner and its mode before its first byte.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from petal_s3.core.files import LedAstray, check_links

_NEW_MODE = 0o644
_ACL = "system.posix_acl_access"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Staged:
    """A file that is written whole, and not in its place yet."""

    folder: int
    half: str
    name: str


def real_path(path: Path) -> Path:
    """Where ``path`` leads; a link as its last part stays a link.

    Raises :class:`LedAstray` as :func:`~petal_s3.core.files.check_links`.
    """
    check_links(path)
    return path.resolve()


@contextlib.contextmanager
def folder_of(path: Path) -> Iterator[int]:
    """The open folder of ``path``, which has no links in it; raises ``OSError`` for one that has
    come into it meanwhile."""
    fd = os.open("/", _FOLDER)
    try:
        for part in path.parent.parts[1:]:
            inner = os.open(part, _FOLDER, dir_fd=fd)
            os.close(fd)
            fd = inner
        yield fd
    finally:
        os.close(fd)


def read(path: Path) -> bytes:
    """The bytes of a regular file; raises ``OSError``."""
    real = real_path(path)
    with folder_of(real) as folder:
        fd = os.open(real.name, _READ, dir_fd=folder)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise LedAstray(0, "it is no regular file")
        return file.read()


def stage(folder: int, name: str, text: str, like: Path | None) -> Staged:
    """Write ``text`` to a new file beside ``name`` in the open ``folder``; raises ``OSError``.

    Owner and mode are those of ``like``, else of what ``name`` is now, else the owner is that of
    the folder and every user may read it.
    """
    before = _before(folder, name, like)
    owner = before or os.fstat(folder)
    mode = stat.S_IMODE(before.st_mode) & 0o777 if before else _NEW_MODE
    half = f".{name}.{secrets.token_hex(8)}.new"
    fd = os.open(half, _CREATE, 0o600, dir_fd=folder)
    staged = Staged(folder, half, name)
    with contextlib.ExitStack() as undo, os.fdopen(fd, "wb") as file:
        undo.callback(discard, staged)
        if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.fstat(fd).st_gid):
            with contextlib.suppress(PermissionError):  # only root may give files away
                os.fchown(fd, owner.st_uid, owner.st_gid)
        os.fchmod(fd, mode)
        file.write(text.encode())
        file.flush()
        os.fsync(fd)
        undo.pop_all()
    return staged


def _before(folder: int, name: str, like: Path | None) -> os.stat_result | None:
    """The file whose owner and mode the new one gets; none where there is none."""
    there: os.stat_result | None = None
    with contextlib.suppress(FileNotFoundError):
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    found = there if like is None else real_path(like).stat()
    if not all(one is None or stat.S_ISREG(one.st_mode) for one in (there, found)):
        raise LedAstray(0, "it is no regular file")
    return found


def put(staged: Staged) -> None:
    """Put a file that is written whole in its place; raises ``OSError``."""
    os.replace(staged.half, staged.name, src_dir_fd=staged.folder, dst_dir_fd=staged.folder)
    os.fsync(staged.folder)


def discard(staged: Staged) -> None:
    """Remove a file that is not in its place yet."""
    with contextlib.suppress(OSError):
        os.unlink(staged.half, dir_fd=staged.folder)


def trusted(path: Path) -> bool:
    """Whether only root and this user can decide what ``path`` holds.

    Each folder on the way to it belongs to one of them, and no other user may write there, by the
    mode, a group or an access list, unless its files are safe from others (the sticky bit, as in
    /tmp).
    """
    try:
        return all(_ours(one) for way in {path.absolute(), path.resolve()} for one in _way(way))
    except OSError:
        return False


def _way(path: Path) -> Iterator[Path]:
    yield path
    yield from path.parents


def _ours(path: Path) -> bool:
    found = path.lstat()
    if found.st_uid not in {0, os.geteuid()}:
        return False
    if stat.S_ISLNK(found.st_mode):  # its mode says nothing
        return True
    sticky = stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISVTX)
    by_group = bool(found.st_mode & stat.S_IWGRP) and not _is_private(path, found.st_gid)
    return sticky or not (by_group or found.st_mode & stat.S_IWOTH)


def _is_private(path: Path, gid: int) -> bool:
    """Whether nobody but root and this user may write by the group's bits of ``path``.

    They are also the mask of an access list, which may name others. A user's own group, which has
    the user's name, has no other members as distributions make it.
    """
    if _ACL in os.listxattr(path, follow_symlinks=False):
        return False
    if gid == 0:
        return True
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
