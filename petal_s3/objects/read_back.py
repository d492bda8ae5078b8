"""Read an object back and compare it with its file, byte by byte; it goes on where it was cut."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor

from petal_s3.core.threads import run_in
from petal_s3.errors import Conflict, Mismatch, Transient
from petal_s3.s3.client import S3
from petal_s3.s3.responses import ObjectInfo

_PIECE_BYTES = 4 * 1024 * 1024  # asked for at once, and compared before the next

Note = Callable[[int], Awaitable[None]]
"""Told how many bytes were equal so far."""


async def read_back(
    s3: S3, info: ObjectInfo, fd: int, files: Executor, *, done: int = 0, note: Note
) -> bool:
    """Whether the object holds the bytes of the open file; ``done``: so many were equal before.

    Only the version that ``info`` tells of is read. Raises what the link raises, and
    :class:`Transient` when the object was replaced meanwhile. It keeps to ``PETAL_S3_MAX_RATE``.
    """
    while done < info.size:
        last = min(info.size, done + _PIECE_BYTES) - 1
        try:
            async with s3.read(info.key, first=done, last=last, etag=info.etag) as (_, blocks):
                async for block in blocks:
                    await s3.limit.pause(len(block))
                    local = await run_in(files, os.pread, fd, len(block), done)
                    if local != block:
                        return False
                    done += len(block)
        except Conflict as error:
            raise Transient(
                f"The object {info.key} was replaced while it was read back.", code="copy_changed"
            ) from error
        await note(done)
    return True


def other_bytes(info: ObjectInfo) -> Mismatch:
    """What to say after the bytes were compared."""
    return Mismatch(f"S3 holds other bytes than the disk at {info.key}.")
