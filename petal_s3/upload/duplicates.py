"""Find out whether a file's bytes are in the bucket already, under whatever owned key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.errors import (
    Conflict,
    Offline,
    S3BucketError,
    S3FileNotFoundError,
    S3IntegrationError,
    Transient,
)
from petal_s3.objects.ownership import Territory, key_with_crc
from petal_s3.outbox import metadata as memory
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Receipt, Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.checksums import crc32_base64, digest, etag_parts, file_etag
from petal_s3.s3.client import S3, withheld
from petal_s3.s3.responses import ObjectInfo
from petal_s3.upload.source_file import Source

log = logging.getLogger("petal_s3")

# Of an inventory: more than ten years of flights. Bytes that stand further down are not
# recognised under another name; the log's own key is asked for in any case. A page is some 40 kB:
# more would not pass a slow link in one life of its, or within a deadline.
_PAGE = 100
_MOST_PAGES = 1000
_REFUSED_S = 600.0

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """An object that holds the very bytes; ``same_as`` is the row that brought them.

    ``free``: where it stands under another key, the key of the row that is free for a copy.
    """

    receipt: Receipt
    same_as: int | None = None
    free: str = ""


@dataclass(frozen=True)
class Free:
    """The bytes are not there yet; ``key`` is free for them."""

    key: str


def proof(info: ObjectInfo, *, size: int, etag: str, crc32: str) -> str | None:
    """Which proof S3's answer gives that an object holds our bytes; none when it gives none.

    ``etag`` and ``crc32`` are recomputed from the file. A checksum that a server may only echo
    counts for itself alone where the ETag is no md5 (SSE-KMS, some servers).
    """
    if info.size != size or (info.crc32 and info.crc32 != crc32):
        return None
    if etag_parts(info.etag) is not None and not info.encryption.startswith("aws:kms"):
        if info.etag != etag:
            return None
        return "crc32+etag" if info.crc32 else "etag"
    return "crc32" if info.crc32 else None


@dataclass
class _Listing:
    """How far the listing of one root has come."""

    found: list[tuple[str, int, str]] = field(default_factory=list)
    token: str | None = None
    pages: int = 0

    @property
    def ended(self) -> bool:
        return self.pages >= _MOST_PAGES or (self.pages > 0 and self.token is None)


class Recogniser:
    """Compares a file with what the bucket and the outbox know, reading it as seldom as it can."""

    def __init__(
        self, s3: S3, outbox: OutboxThread, files: Executor, territory: Territory,
        *, now: Clock = clock.now,
    ) -> None:  # fmt: skip
        self._s3 = s3
        self._now = now
        self._list_at = float("-inf")
        self._outbox = outbox
        self._files = files
        self._territory = territory
        self._listed: dict[str, _Listing] = {}  # by root, kept when the link breaks off

    async def look(self, row: Row, source: Source) -> Found | Free:
        """Return the object that already holds the bytes, or a key that is free for them."""
        await self._take_inventory()
        comparison = _Comparison(self._s3, source, self._files)
        key = row.key
        held = await self._s3.head(key)
        if held is None and await self._begun_elsewhere(row, key):
            held = _NOBODYS
        if held is not None:
            receipt = await comparison.same(held, own=True)
            if receipt is not None:
                return Found(receipt, await self._bringer(row, key))
            key = key_with_crc(row.key, await comparison.crc32())
            held = await self._s3.head(key)
        if held is not None:
            receipt = await comparison.same(held, own=True)
            if receipt is None:
                raise Conflict(f"Both spellings of {row.key} are taken by other bytes.")
            return Found(receipt, await self._bringer(row, key))
        if await self._begun_elsewhere(row, key):
            raise Transient("The same bytes are on their way already.", code="same_as_other")
        found = await self._elsewhere(row, comparison)
        return Free(key) if found is None else replace(found, free=key)

    async def _begun_elsewhere(self, row: Row, key: str) -> bool:
        rows = await self._outbox(Outbox.at_key, key)
        return any(other.id != row.id and other.upload_id is not None for other in rows)

    async def _bringer(self, row: Row, key: str) -> int | None:
        rows = await self._outbox(Outbox.at_key, key)
        proven = [r.id for r in rows if r.id != row.id and r.state == "verified" and not r.same_as]
        return proven[0] if proven else None

    async def _elsewhere(self, row: Row, comparison: _Comparison) -> Found | None:
        """The same content under another owned key: from this outbox, or from before it."""
        proven = await self._outbox(Outbox.proven_of_size, row.size)
        keys = {r.key: r.id for r in proven if r.receipt is not None and r.id != row.id}
        older = dict.fromkeys(key for key, _ in await self._outbox(memory.held_of_size, row.size))
        for key, row_id in {**older, **keys}.items():
            info = await still_there(self._s3, key)
            receipt = await comparison.same(info) if info is not None else None
            if receipt is not None:
                return Found(receipt, row_id)
        return None

    async def _take_inventory(self) -> None:
        """List the bucket once in the life of an outbox: it may have been lost before."""
        if self._now() < self._list_at or await self._outbox(memory.inventory_taken):
            return
        try:
            for root in self._territory.roots:
                await self._list(root, self._listed.setdefault(root, _Listing()))
        except Offline:
            raise  # it goes on from there
        except S3IntegrationError as error:
            self._listed.clear()
            if not isinstance(error, S3BucketError) or error.code != "forbidden":
                raise
            # It may be allowed later. Until then only a log's own keys are looked at.
            self._list_at = self._now() + _REFUSED_S
            return
        found = [one for listing in self._listed.values() for one in listing.found]
        await self._outbox(memory.take_inventory, found)
        self._listed.clear()

    async def _list(self, root: str, listing: _Listing) -> None:
        while not listing.ended:
            page = await self._s3.page(root, limit=_PAGE, token=listing.token)
            # What is only handed over is deleted soon: it proves no log.
            ours = (
                item
                for item in page.objects
                if self._territory.owns(item.key) and not self._territory.is_temporary(item.key)
            )
            listing.found += [(item.key, item.size, item.etag) for item in ours]
            listing.token = page.next_token
            listing.pages += 1
        if listing.token is not None:
            log.warning("inventory cut off prefix=%s objects=%d", root, len(listing.found))


async def still_there(s3: S3, key: str) -> ObjectInfo | None:
    """What S3 knows of an object that was there before; none when it is there no more.

    The 404 of a HEAD names no code: the whole bucket may be missing, for a moment or at another
    server. So S3 is asked for one byte, which needs the permission of a HEAD and is refused in
    words. Raises :class:`S3BucketError` when the bucket is what is missing.
    """
    info = await s3.head(key)
    if info is not None:
        return info
    try:
        async with s3.read(key, first=0, last=0):
            pass
    except S3FileNotFoundError:
        return None
    except S3BucketError as error:
        if not withheld(error):
            raise
        return None  # S3 gives no bytes to this machine: then its HEAD is all there is
    raise Transient(
        f"HEAD of {key} was answered 404, and GET with its bytes.", code="not_yet_there"
    )


class _Comparison:
    """Digests of one file, each computed at most once."""

    def __init__(self, s3: S3, source: Source, files: Executor) -> None:
        self._s3 = s3
        self._source = source
        self._files = files
        self._etags: dict[int | None, str] = {}
        self._crc32: int | None = None

    async def same(self, info: ObjectInfo, *, own: bool = False) -> Receipt | None:
        """The receipt when ``info`` is an object of the same bytes: size and recomputed ETag.

        ``own``: it stands at the file's own key, which holds its name and time. Where the ETag
        is no md5 (SSE-KMS) nothing but a checksum can tell that our own upload arrived.
        """
        if info.size != self._source.size:
            return None
        how = await self._by_checksum(info) if own else None
        how = how or await self._by_etag(info)
        if how is None:
            return None
        return Receipt(
            key=info.key,
            etag=info.etag,
            checksum=f"crc32:{crc32_base64(await self.crc32())}",
            size=info.size,
            proof=how,
            verified_at=int(self._s3.clock.utcnow().timestamp()),
        )

    async def _by_checksum(self, info: ObjectInfo) -> str | None:
        hidden = etag_parts(info.etag) is None or info.encryption.startswith("aws:kms")
        if not hidden or not info.crc32:
            return None
        return "crc32" if info.crc32 == crc32_base64(await self.crc32()) else None

    async def _by_etag(self, info: ObjectInfo) -> str | None:
        parts = etag_parts(info.etag)
        part_size = info.part_size if parts else None
        if parts is None or (parts and part_size is None):
            return None
        if await self._etag(part_size) != info.etag:
            return None
        if info.crc32 and info.crc32 != crc32_base64(await self.crc32()):
            return None
        return "crc32+etag" if info.crc32 else "etag"

    async def crc32(self) -> int:
        """CRC32 of the whole file."""
        if self._crc32 is None:
            whole = await self._run(digest, self._source.fd, 0, self._source.size)
            self._crc32 = whole.crc32
            self._etags[None] = whole.etag
        return self._crc32

    async def _etag(self, part_size: int | None) -> str:
        if part_size not in self._etags:
            self._etags[part_size] = await self._run(
                file_etag, self._source.fd, self._source.size, part_size
            )
        return self._etags[part_size]

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._files, work, *args)


_NOBODYS = ObjectInfo(key="", size=-1, etag="")
