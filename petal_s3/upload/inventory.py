"""What the bucket held before this outbox was made, and what of it may be a file's bytes.

S3 is asked of an object once at most: size, ETag, part size and CRC32 are remembered, and rule out.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.errors import S3BucketError, S3IntegrationError
from petal_s3.objects.file_bytes import FileBytes
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.objects.proof import likely_part_size
from petal_s3.outbox import remote_objects
from petal_s3.outbox.remote_objects import Known, RemoteObject
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.client import S3
from petal_s3.s3.responses import ObjectInfo, Page

log = logging.getLogger("petal_s3")

# More than ten years of flights. Bytes that stand further down are not recognised under another
# name; the log's own key is asked for in any case. A page is some 40 kB: more would not pass a slow
# link in one life of its, or within a deadline.
PAGE = 100
MOST_PAGES = 1000
_REFUSED_S = 600.0


class Inventory:
    """The bucket is listed once in the life of an outbox: one before it may have been lost."""

    def __init__(
        self, s3: S3, outbox: OutboxThread, ownership: KeyOwnership, *, now: Clock = clock.now
    ) -> None:
        self.list_at = float("-inf")
        """When it is tried (again)."""
        self._s3 = s3
        self._outbox = outbox
        self.ownership = ownership
        self._now = now
        self._pages: Counter[str] = Counter()

    async def complete(self, known: Known, key: str, size: int) -> Known:
        """What is known of ``key``, and of files of ``size`` bytes; what there is is listed first.

        It is listed once; where that was cut it goes on, also in another process. ``known``: the
        same as it was known before.
        """
        if known.listed or self._now() < self.list_at:
            return known
        await self._take()
        return await self._outbox(remote_objects.known, key, size)

    async def newest_log(self) -> int | None:
        """When the newest log was made that the bucket held before this outbox, in seconds since
        1970; 0 where it held none, none while that is not known.

        The bucket is listed where it was not. Raises as a listing does.
        """
        if not await self._outbox(remote_objects.listed_once):
            if self._now() < self.list_at:
                return None
            await self._take()
            if not await self._outbox(remote_objects.listed_once):
                return None
        return await self._outbox(remote_objects.newest_log)

    async def _take(self) -> None:
        try:
            for prefix in self.ownership.listed:
                await self._list(prefix)
        except S3BucketError as error:
            if error.code != "forbidden":
                raise
            # It may be allowed later. Until then only a log's own keys are looked at.
            self.list_at = self._now() + _REFUSED_S
            return
        await self._outbox(remote_objects.complete_listing)

    async def _list(self, prefix: str) -> None:
        while (token := await self._outbox(remote_objects.next_page, prefix)) != "":
            if self._pages[prefix] >= MOST_PAGES:
                log.warning("inventory cut off prefix=%s", prefix)
                return
            page = await self._page(prefix, token)
            # What is only handed over is deleted soon: it proves no log.
            ours = [
                (item.key, item.size, item.etag)
                for item in page.objects
                if self.ownership.owns(item.key) and not self.ownership.is_temporary(item.key)
            ]
            await self._outbox(remote_objects.record_page, prefix, ours, page.next_token or "")
            self._pages[prefix] += 1

    async def _page(self, prefix: str, token: str | None) -> Page:
        try:
            return await self._s3.page(prefix, limit=PAGE, token=token)
        except S3IntegrationError as error:
            if not error.blocks_drain:  # not the link: S3 may no longer know the place
                await self._outbox(remote_objects.restart_listing, prefix)
            raise

    # -- what may be the same

    async def candidates(
        self, alike: list[RemoteObject], size: int, expected: FileBytes
    ) -> list[tuple[str, int]]:
        """Keys of objects that may hold the bytes of a file, each with the part size that says so.

        ``alike``: the objects of ``size`` bytes, that of the file.

        The part size is 0 where none does: then S3 has to be asked.
        """
        found = []
        for held in alike:
            part_size = await likely_part_size(held, size, expected, self._s3.capabilities)
            if part_size is not None:
                found.append((held.key, part_size))
        return found

    async def heard(self, key: str, info: ObjectInfo | None) -> None:
        """Remember what S3 told of an object of the inventory."""
        if info is None:
            await self._outbox(remote_objects.remove, key)
            return
        held = RemoteObject(key, info.etag, info.part_size or 0, info.crc32)
        await self._outbox(remote_objects.describe, held, info.size)


def cut_by(info: ObjectInfo, part_size: int) -> ObjectInfo:
    """An object whose ETag is that of parts of ``part_size`` bytes; 0: as it says itself."""
    if not part_size:
        return info
    return replace(info, metadata={**info.metadata, "part-size": str(part_size)})
