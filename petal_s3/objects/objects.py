"""List, read, presign, move and delete this machine's own objects."""

from __future__ import annotations

import asyncio
import contextlib
import random
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Protocol

from petal_s3.core.kinds import Way
from petal_s3.errors import (
    NO_OBJECT,
    BadInput,
    Conflict,
    S3FileNotFoundError,
)
from petal_s3.objects.abort import abort_unowned
from petal_s3.objects.copy import MAX_COPY_BYTES, Copier, is_own_copy, move_marks, was_moved_from
from petal_s3.objects.download import download, last_byte, reading
from petal_s3.objects.listing import PAGE, listed
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.objects.readers import Readers
from petal_s3.objects.user_metadata import RECEIVED_BY, metadata
from petal_s3.outbox import proven_objects
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3 import presign
from petal_s3.s3.client import S3
from petal_s3.s3.responses import ObjectInfo, Page, Presigned

MAX_RANGE_BYTES = 64 * 1024 * 1024


class Closes(Protocol):
    """What can be closed."""

    async def close(self) -> None:
        """Give everything back; safe to call twice."""


class Objects:
    """The bucket as this machine may see it: any other key is refused before signing.

    A key may be given as ``s3://bucket/key``. ``copy_limit``: above it objects are copied by
    ranges, bytes; ``spread`` yields 0..1 for the pauses after a break. ``minimal``: as for
    :class:`~petal_s3.objects.copy.Copier`.
    """

    def __init__(
        self,
        s3: S3,
        outbox: OutboxThread,
        ownership: KeyOwnership,
        *,
        copy_limit: int = MAX_COPY_BYTES,
        minimal: bool = False,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.copier = Copier(s3, copy_limit, minimal=minimal)
        self._s3 = s3
        self._outbox = outbox
        self._ownership = ownership
        self.spread = spread
        self.readers = Readers()
        self.at_end: weakref.WeakSet[Closes] = weakref.WeakSet()
        """What is still read when the service stops, and is closed then."""
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def own(self, key: str) -> str:
        """The plain key; raises :class:`NotAllowed` or :class:`BadInput` for any but our own."""
        return self._ownership.check(key)

    # -- looking

    async def page(
        self,
        prefix: str | None = None,
        *,
        limit: int = 100,
        token: str | None = None,
        machine_id: str | None = None,
    ) -> tuple[str, Page]:
        """Up to ``limit`` objects below ``prefix``, and the whole prefix; see :func:`listed`.

        ``prefix``: whole, or below that of ``machine_id``, which is one of ours.
        """
        whole = self._ownership.listing_prefix(prefix, machine_id)
        return whole, await listed(self._s3, whole, limit, token)

    async def walk(self, prefix: str | None = None) -> AsyncIterator[ObjectInfo]:
        """Every object below ``prefix``, however many: one page is in memory at a time."""
        token: str | None = None
        while True:
            _, page = await self.page(prefix, limit=PAGE, token=token)
            for item in page.objects:
                yield item
            token = page.next_token
            if token is None:
                return

    async def head(self, key: str) -> ObjectInfo:
        """What S3 knows of an object; raises :class:`S3FileNotFoundError`."""
        info = await self._s3.head(self.own(key))
        if info is None:
            raise S3FileNotFoundError(NO_OBJECT)
        return info

    # -- reading

    async def download(
        self,
        key: str,
        target: Path,
        *,
        replace: bool = True,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> tuple[int, str]:
        """Bring an object to ``target``, whole and equal or not at all: its size and the proof.

        ``on_progress`` gets the bytes that have come, and how many there are. ``replace``: whether
        a file that is there is replaced; else :class:`Conflict` is raised.
        """
        info = await self.head(key)
        async with self.readers.one():
            proof = await download(
                self._s3, info, target, self.spread, on_progress, replace=replace
            )
            return info.size, proof

    @contextlib.asynccontextmanager
    async def read(
        self, key: str, *, first: int | None = None, last: int | None = None, etag: str = ""
    ) -> AsyncIterator[tuple[ObjectInfo, AsyncIterator[bytes]]]:
        """Stream an object, or its bytes ``first``..``last`` (both included), through breaks.

        Raises :class:`Throttled` when as many are read already as there may be.
        """
        opened = reading(
            self._s3, self.own(key), first=first, last=last, etag=etag, spread=self.spread
        )
        async with self.readers.one(), opened as found:
            yield found

    async def range(self, key: str, first: int, last: int) -> bytes:
        """The bytes ``first``..``last`` of an object, both included.

        Fewer where the object ends before. Raises :class:`BadInput` for a range behind the end
        (416), and where more than 64 MiB of the object lie in it, which :meth:`read` streams.
        """
        if not 0 <= first <= last:
            raise BadInput("A range goes from a first byte to a last one, counted from 0.")
        info = await self.head(key)
        last = last_byte(info, first, last)
        if last - first >= MAX_RANGE_BYTES:
            raise BadInput(f"A range has at most {MAX_RANGE_BYTES} bytes; stream what is larger.")
        async with self.read(info.key, first=first, last=last, etag=info.etag) as (_, blocks):
            return b"".join([block async for block in blocks])

    async def presign(
        self, key: str, expires_s: int, *, method: str = "GET", received_by: Way = ""
    ) -> Presigned:
        """A URL to read an object (``GET``), or to add one where nothing stands (``PUT``).

        ``received_by`` is signed into one that adds: the object says it, and no other word.
        """
        if method not in {"GET", "PUT"}:
            raise BadInput("A URL is made for GET or for PUT.")
        if expires_s < 1:
            raise BadInput("A URL is valid for at least one second.")
        if method == "GET":
            return await presign.get_url(self._s3, self.own(key), expires_s)
        about = metadata([(RECEIVED_BY, received_by)])
        return await presign.put_url(self._s3, self.own(key), expires_s, metadata=about)

    async def presign_put(
        self, key: str, expires_s: int, *, size: int, content_type: str, metadata: Mapping[str, str]
    ) -> Presigned:
        """A URL that adds one object, of which ``size``, ``content_type`` and ``metadata`` are
        settled."""
        return await presign.put_url(
            self._s3,
            self.own(key),
            expires_s,
            size=size,
            content_type=content_type,
            metadata=metadata,
        )

    async def put_bytes(
        self, key: str, body: bytes, *, content_type: str, metadata: Mapping[str, str]
    ) -> None:
        """Add a small object out of memory; raises :class:`Conflict` where one stands."""
        await self._s3.put_bytes(self.own(key), body, content_type=content_type, metadata=metadata)

    # -- changing

    async def delete(self, key: str) -> str:
        """Delete an object; its row becomes cancelled. One that is not there is fine."""
        key = self.own(key)
        async with self._alone(key):
            await self._s3.delete(key)
            await self._outbox(proven_objects.delete_proven, key, "Deleted on request.")
        return key

    async def move(self, source: str, target: str) -> None:
        """Rename an object: copy, compare, then delete the source; its row follows.

        Raises :class:`Conflict` when an object stands at ``target``, unless it is our own copy
        of the source: asked again after a lost answer, it finishes what it began. The row names
        an object that is there at every moment: the source until the copy is proven.
        """
        source, target = self.own(source), self._ownership.check_lasting(target)
        if source == target:
            return
        async with self._alone(source, target):
            await self._move(source, target)

    async def _move(self, source: str, target: str) -> None:
        info = await self._s3.head(source)
        there = await self._s3.head(target)
        if info is None:
            if there is None or not was_moved_from(there, source):
                raise S3FileNotFoundError(NO_OBJECT)
            return  # done before; only the answer was lost
        if there is not None and not is_own_copy(info, there, self._s3.capabilities):
            raise Conflict("Another object stands at the destination.")
        if there is None:
            there = await self.copier.copy(info, target, move_marks(info))  # compared, or it raises
        await self._outbox(proven_objects.move_proven, source, target, there.etag)
        await self._s3.delete(source)
        if info.size > self.copier.limit:
            # What a copy by ranges that died has left open.
            await abort_unowned(self._s3, self._outbox, target)

    @contextlib.asynccontextmanager
    async def _alone(self, *keys: str) -> AsyncIterator[None]:
        """What changes an object waits for the change before it."""
        async with contextlib.AsyncExitStack() as held:
            for key in sorted(keys):
                await held.enter_async_context(self._locks.setdefault(key, asyncio.Lock()))
            yield
