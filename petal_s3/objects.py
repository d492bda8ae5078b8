"""List, read, presign, move and delete this machine's own objects."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from .answers import ObjectInfo, Page
from .errors import (
    Conflict,
    LocalStorageError,
    Mismatch,
    Refused,
    S3FileNotFoundError,
)
from .keys import Territory, header_value
from .outbox import Outbox
from .outbox_thread import OutboxThread
from .s3 import S3

MAX_COPY_BYTES = 5_000_000_000
_MOVED_FROM = "moved-from"
_MOVED_ETAG = "moved-etag"


class Objects:
    """The bucket as this machine may see it: a key of anybody else is refused before signing."""

    def __init__(self, s3: S3, outbox: OutboxThread, territory: Territory) -> None:
        self._s3 = s3
        self._outbox = outbox
        self._territory = territory

    async def page(
        self, prefix: str | None = None, *, limit: int = 100, token: str | None = None
    ) -> tuple[str, Page]:
        """One page below ``prefix`` (relative to home, or whole), with the whole prefix."""
        whole = self._territory.listing_prefix(prefix)
        return whole, await self._s3.page(whole, limit=limit, token=token)

    async def head(self, key: str) -> ObjectInfo:
        """What S3 knows of an object; raises :class:`S3FileNotFoundError`."""
        info = await self._s3.head(self._territory.check(key))
        if info is None:
            raise S3FileNotFoundError("File not found")
        return info

    async def download(self, key: str, target: Path) -> int:
        """Bring an object to ``target``, whole or not at all; return its size in bytes."""
        half = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        done = 0
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with half.open("wb") as file:
                async with self._s3.read(self._territory.check(key)) as (info, blocks):
                    async for block in blocks:
                        await asyncio.to_thread(file.write, block)
                        done += len(block)
                await asyncio.to_thread(_to_disk, file)
            if done != info.size:
                raise Mismatch(f"The download has {done} bytes instead of {info.size}.")
            half.replace(target)
        except OSError as error:
            raise LocalStorageError(
                f"{target.name} cannot be written here ({error.strerror})."
            ) from error
        finally:
            with contextlib.suppress(OSError):
                half.unlink(missing_ok=True)
        return done

    @contextlib.asynccontextmanager
    async def read(
        self, key: str, *, first: int | None = None, last: int | None = None
    ) -> AsyncIterator[tuple[ObjectInfo, AsyncIterator[bytes]]]:
        """Stream an object, or its bytes ``first``..``last`` (both included)."""
        async with self._s3.read(self._territory.check(key), first=first, last=last) as opened:
            yield opened

    async def delete(self, key: str) -> None:
        """Delete an object; its row becomes cancelled. One that is not there is fine."""
        await self._s3.delete(self._territory.check(key))
        await self._outbox(Outbox.delete_proven, key, "Deleted on request.")

    async def move(self, source: str, target: str) -> None:
        """Rename an object: copy, compare, then delete the source; its row follows.

        Raises :class:`Conflict` when an object stands at ``target``, unless it is our own copy
        of the source: asked again after a lost answer, it finishes what it began. The row names
        an object that is there at every moment: the source until the copy is proven.
        """
        self._territory.check(source)
        self._territory.check(target)
        if source == target:
            return
        info = await self._s3.head(source)
        there = await self._s3.head(target)
        if info is None:
            if there is None or there.metadata.get(_MOVED_FROM) != header_value(source):
                raise S3FileNotFoundError("File not found")
            return  # done before; only the answer was lost
        if info.size > MAX_COPY_BYTES:
            raise Refused("S3 copies at most 5 GB in one request; this object is larger.")
        if there is not None and not _our_copy(info, there):
            raise Conflict("Another object stands at the destination.")
        if there is None:
            marks = {_MOVED_FROM: header_value(source), _MOVED_ETAG: info.etag}
            await self._s3.copy(info, target, marks)
            there = await self._s3.head(target)
            if there is None or not _our_copy(info, there):
                raise Mismatch("The copy in S3 is not what was copied; the source is kept.")
        await self._outbox(Outbox.move_proven, source, target, there.etag)
        await self._s3.delete(source)

    async def presign(self, key: str, expires_s: int) -> str:
        """A URL to read the object."""
        return await self._s3.presign(self._territory.check(key), expires_s)


def _our_copy(source: ObjectInfo, there: ObjectInfo) -> bool:
    return (
        there.size == source.size
        and there.metadata.get(_MOVED_FROM) == header_value(source.key)
        and there.metadata.get(_MOVED_ETAG) == source.etag
        and (not source.crc32 or not there.crc32 or source.crc32 == there.crc32)
    )


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
