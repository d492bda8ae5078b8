"""Read an object through breaks of the link, and bring it to a file that is proven equal."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import random
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar

from petal_s3.core.files import cannot_write_to, check_links, flush_to_disk, remove
from petal_s3.core.tasks import to_end
from petal_s3.core.threads import run_in
from petal_s3.errors import (
    BadInput,
    Conflict,
    Mismatch,
    Offline,
    plain,
)
from petal_s3.objects.file_bytes import FileBytes
from petal_s3.objects.proof import judge
from petal_s3.s3.client import S3
from petal_s3.s3.responses import ObjectInfo

log = logging.getLogger("petal_s3")

_SHOWN_CHARS = 120
_BREAKS = 3  # in a row, without a byte in between

P = ParamSpec("P")
T = TypeVar("T")


@contextlib.asynccontextmanager
async def reading(
    s3: S3,
    key: str,
    *,
    first: int | None = None,
    last: int | None = None,
    etag: str = "",
    spread: Callable[[], float] = random.random,
) -> AsyncIterator[tuple[ObjectInfo, AsyncIterator[bytes]]]:
    """Stream an object, or its bytes ``first``..``last``; a break is bridged by a range request.

    All bytes are of one version. ``etag``: of this one. Raises :class:`Conflict` when the object
    is another one meanwhile, :class:`Offline` after several breaks in a row. ``spread``: 0..1.
    """
    async with contextlib.AsyncExitStack() as connection:
        opened = s3.read(key, first=first, last=last, etag=etag)
        try:
            info, blocks = await connection.enter_async_context(opened)
        except Conflict as error:
            raise _replaced(key) from error
        yield info, _through(s3, info, first or 0, connection, blocks, spread)


async def _through(
    s3: S3,
    info: ObjectInfo,
    start: int,
    connection: contextlib.AsyncExitStack,
    blocks: AsyncIterator[bytes],
    spread: Callable[[], float],
) -> AsyncIterator[bytes]:
    done = broken = 0
    while True:
        try:
            if broken:
                rest = s3.read(
                    info.key, first=start + done, last=start + info.size - 1, etag=info.etag
                )
                _, blocks = await connection.enter_async_context(rest)
            async for block in blocks:
                done += len(block)
                broken = 0
                yield block
        except Offline as error:
            broken += 1
            if broken > _BREAKS:
                raise
            log.info("read broke off key=%s at=%d reason=%s", info.key, done, error.message)
        except Conflict as error:
            raise _replaced(info.key) from error
        else:
            return
        await connection.aclose()
        await asyncio.sleep(spread() * 2.0**broken)


def _replaced(key: str) -> Conflict:
    return Conflict(f"The object {key} was replaced while it was read.", code="changed")


def last_byte(info: ObjectInfo, first: int, last: int) -> int:
    """The last byte to ask for of ``first``..``last``: some servers refuse what ends behind it.

    Raises :class:`BadInput` (416) where nothing of the object lies there.
    """
    if first >= info.size:
        raise BadInput(
            f"The object has {info.size} bytes; nothing of it lies in this range.",
            code="no_such_range",
            status=416,
        )
    return min(last, info.size - 1)


async def download(
    s3: S3,
    info: ObjectInfo,
    target: Path,
    spread: Callable[[], float] = random.random,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    replace: bool = True,
) -> str:
    """Bring the object to ``target``, whole and equal or not at all; return the proof.

    ``on_progress`` gets the bytes that have come, and how many there are. ``replace``: whether a
    file that is there is replaced; else it is kept, and :class:`Conflict` raised.

    The proof is ``crc32+etag``, ``etag`` or ``crc32``; empty where the object carries nothing
    that can be recomputed, and only its size was compared. Raises :class:`Mismatch` when what
    came is not what S3 says it is, :class:`LocalStorageError` where the disk takes no more,
    :class:`BadInput` for a target that can be no file, or lies where none can be written.
    """
    half = target.parent / f".{secrets.token_hex(16)}.part"  # as long as the disk allows or not
    try:
        await _ended(_prepare, target, half, replace)
        with half.open("r+b") as file:
            async with reading(s3, info.key, etag=info.etag, spread=spread) as (told, blocks):
                if told.size != info.size:
                    raise Mismatch(f"The object has {told.size} bytes instead of {info.size}.")
                async for block in blocks:
                    await _ended(file.write, block)
                    if on_progress is not None:
                        on_progress(file.tell(), info.size)
            await _ended(flush_to_disk, file)
            proof = await _proven(s3, file, info)
        await _ended(_give_name, half, target, replace)
    except FileExistsError as error:
        raise _there(target) from error
    except OSError as error:
        raise cannot_write_to(plain(target.name)[:_SHOWN_CHARS], error) from error
    finally:
        remove(half)
    return proof


async def _ended(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    return await to_end(run_in(None, work, *args, **kwargs))


def _there(target: Path) -> Conflict:
    return Conflict(
        f"The file {target.name} is there already, and is kept: nothing was got.", code="exists"
    )


def _prepare(target: Path, half: Path, replace: bool) -> None:
    check_links(target)
    if not replace and os.path.lexists(target):
        raise _there(target)
    if "\0" in str(target) or not target.name or target.is_dir():
        raise BadInput("The target of a download is the path of a file.", code="bad_path")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # a file stands where a folder should be
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error
    half.touch(exist_ok=False)


def _give_name(half: Path, target: Path, replace: bool) -> None:
    if replace:
        half.replace(target)
        return
    try:
        os.link(half, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without a second name for a file, as on cards
        target.touch(exist_ok=False)
        half.replace(target)


async def _proven(s3: S3, file: BinaryIO, info: ObjectInfo) -> str:
    """Which proof says that the file on disk holds the object; raises :class:`Mismatch`."""
    size = os.fstat(file.fileno()).st_size
    if size != info.size:
        raise Mismatch(f"The download has {size} bytes instead of {info.size}.")
    came = FileBytes(file.fileno(), size)
    judgement = await to_end(judge(info, came, s3.capabilities, presume=True))
    if judgement.differs:
        raise Mismatch("The download is not what S3 says it is; nothing was kept of it.")
    return judgement.proof
