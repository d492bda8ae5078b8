"""Find out whether a file's bytes are in the bucket already, under whatever owned key."""

from __future__ import annotations

import logging
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.errors import (
    Conflict,
    Refused,
    S3BucketError,
    S3FileNotFoundError,
    Transient,
)
from petal_s3.objects.file_bytes import FileBytes
from petal_s3.objects.key_names import key_with_crc
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.objects.proof import judge, likely_part_size, remembered
from petal_s3.outbox import queries, remote_objects
from petal_s3.outbox.remote_objects import Known
from petal_s3.outbox.rows import Receipt, Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.outbox.transitions import Claim
from petal_s3.s3.capabilities import Feature
from petal_s3.s3.checksums import etag_parts
from petal_s3.s3.client import S3
from petal_s3.s3.responses import ObjectInfo, withheld
from petal_s3.upload.inventory import Inventory, cut_by
from petal_s3.upload.receipt import Receipts
from petal_s3.upload.source_file import SourceFile

log = logging.getLogger("petal_s3")


@dataclass(frozen=True)
class Duplicate:
    """An object that holds the very bytes; ``same_as`` is the row that brought them.

    ``free``: where it stands under another key, the key of the row that is free for a copy.
    """

    receipt: Receipt
    same_as: int | None = None
    free: str = ""


@dataclass(frozen=True)
class FreeKey:
    """The bytes are not there yet; ``key`` is free for them.

    ``wrong``: what this row stored there holds other bytes, and is replaced.
    """

    key: str
    wrong: bool = False


class DuplicateFinder:
    """Compares a file with what the bucket and the outbox know, reading it as seldom as it can."""

    def __init__(
        self,
        s3: S3,
        outbox: OutboxThread,
        files: Executor,
        ownership: KeyOwnership,
        *,
        now: Clock = clock.now,
    ) -> None:
        self._receipts = Receipts(s3, outbox, files)
        self.inventory = Inventory(s3, outbox, ownership, now=now)
        self._s3 = s3
        self._outbox = outbox

    async def find(
        self,
        row: Row,
        source: SourceFile,
        condition: Feature,
        claim: Claim,
        expected: FileBytes,
    ) -> Duplicate | FreeKey:
        """Return the object that already holds the bytes, or a key that is free for them.

        ``condition``: what keeps the request that will store them from overwriting. ``claim``:
        that of ``row``; ``expected``: the bytes of ``source``.
        """
        known = await self.inventory.complete(claim.known, row.key, row.size)
        key = row.key
        held = await self._standing(row, condition, known, unsent=claim.planned)
        if held is not None:
            settled = await self._compared(row, source, held, expected, known)
            if settled is not None:
                return settled
            key = key_with_crc(row.key, await expected.whole_crc32())
            held = await self._s3.head(key)
            if held is not None:
                settled = await self._compared(row, source, held, expected, known)
                if settled is None:
                    raise Conflict(f"Both spellings of {row.key} are taken by other bytes.")
                return settled
            if _begun(row, await self._outbox(queries.at_key, key)):
                raise Transient("The same bytes are on their way already.", code="same_as_other")
        found = await self._elsewhere(row, expected, known)
        return FreeKey(key) if found is None else replace(found, free=key)

    async def elsewhere(self, row: Row, source: SourceFile) -> Duplicate | None:
        """The object that holds the bytes under another key than the row's; none where none is."""
        known = await self._outbox(remote_objects.known, row.key, row.size)
        known = await self.inventory.complete(known, row.key, row.size)
        return await self._elsewhere(row, self._receipts.bytes_of(source), known)

    async def _standing(
        self, row: Row, condition: Feature, known: Known, *, unsent: bool
    ) -> ObjectInfo | None:
        """What stands at the row's key, or is on its way there.

        S3 is not asked where it would refuse to overwrite, nothing was sent there yet, and
        neither the inventory nor this outbox knows of an object there.
        """
        unsent = (unsent or row.part_size is None) and row.read_back is None
        unasked = unsent and self._s3.capabilities.offers(condition)
        if unasked and known.listed and not known.shared and not known.held:
            return None
        held = await self._s3.head(row.key)
        if held is None and _begun(row, await self._outbox(queries.at_key, row.key)):
            return _IN_USE
        return held

    async def _compared(
        self, row: Row, source: SourceFile, held: ObjectInfo, expected: FileBytes, known: Known
    ) -> Duplicate | FreeKey | None:
        """What an object at one of the row's own keys means; none: it holds other bytes."""
        if held is _IN_USE:
            return None
        if self._receipts.is_wrong(row, held):
            return FreeKey(held.key, wrong=True)
        if held.listed:  # no word of its parts: S3 allows no HEAD, and so no reading back
            sizes = dict(await self.inventory.candidates(known.alike, row.size, expected))
            held = cut_by(held, sizes.get(held.key, 0))
        try:
            judgement = await self._receipts.judged(row, held, source, expected)
        except (Refused, S3BucketError) as error:
            if isinstance(error, S3BucketError) and not withheld(error):
                raise
            log.info("object not compared key=%s reason=%s", held.key, error.message)
            return None  # archived or forbidden: its bytes cannot be had, so another key is used
        if judgement.proof:
            receipt = await self._receipts.made(held, expected, judgement.proof)
            return Duplicate(receipt, await self._bringer(row, held.key))
        return None

    async def _bringer(self, row: Row, key: str) -> int | None:
        rows = await self._outbox(queries.at_key, key)
        proven = [r.id for r in rows if r.id != row.id and r.state == "verified" and not r.same_as]
        return proven[0] if proven else None

    async def _elsewhere(self, row: Row, expected: FileBytes, known: Known) -> Duplicate | None:
        """The same content under another owned key: from this outbox, or from before it.

        S3 is asked only for what size, CRC32 and ETag, as far as known here, do not rule out.
        """
        proven = await self._proven_alike(row, expected, known) if known.proven else []
        for other, part_size in proven:
            info = await still_there(self._s3, other.key)
            if not part_size and info is not None and etag_parts(info.etag):
                await self.inventory.heard(other.key, info)  # asked once by which size it came
            same = None if info is None else cut_by(info, part_size)
            found = None if same is None else await self._same(same, expected, other.id)
            if found is not None:
                return found
        asked = {other.key for other, _ in proven}
        for key, part_size in await self.inventory.candidates(known.alike, row.size, expected):
            if key in asked:
                continue
            info = await still_there(self._s3, key)
            await self.inventory.heard(key, info)
            found = None if info is None else await self._same(cut_by(info, part_size), expected)
            if found is not None:
                return found
        return None

    async def _same(
        self, info: ObjectInfo, expected: FileBytes, row_id: int | None = None
    ) -> Duplicate | None:
        judgement = await judge(info, expected, self._s3.capabilities, own=False)
        if not judgement.proof:
            return None
        return Duplicate(await self._receipts.made(info, expected, judgement.proof), row_id)

    async def _proven_alike(
        self, row: Row, expected: FileBytes, known: Known
    ) -> list[tuple[Row, int]]:
        """Proven rows whose object may hold the bytes, each with the part size that says so.

        All that S3 would say of their objects is remembered, but a part size that is not ours.
        """
        checksum = f"crc32:{await expected.crc32()}"
        heard = {held.key: held for held in known.alike}
        found = []
        for other in await self._outbox(queries.proven_like, row.size, checksum):
            if other.id == row.id or other.receipt is None:
                continue
            held = remembered(other.receipt, other.part_size)
            if held.part_size is None and other.key in heard:
                held = replace(held, part_size=heard[other.key].part_size)
            part_size = await likely_part_size(held, row.size, expected, self._s3.capabilities)
            if part_size is not None:
                found.append((other, part_size))
        return found


def _begun(row: Row, rows: list[Row]) -> bool:
    """Whether another row of a key uploads there."""
    return any(other.id != row.id and other.upload_id is not None for other in rows)


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


_IN_USE = ObjectInfo(
    key="", size=-1, etag=""
)  # another row uploads to the key: taken, by unknown bytes
