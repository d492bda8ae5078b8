"""Settle a row whose bytes are in the bucket already: by their receipt, or by a copy."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NoReturn

from petal_s3.errors import Conflict, Mismatch, Transient
from petal_s3.objects.copy import MAX_COPY_BYTES, Copier
from petal_s3.objects.proof import copy_proof, still_proven
from petal_s3.outbox import queries, transitions
from petal_s3.outbox.rows import Receipt, Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.checksums import etag_parts
from petal_s3.s3.client import S3
from petal_s3.s3.responses import ObjectInfo
from petal_s3.upload.abort import abandon
from petal_s3.upload.conflicts import Conflicts
from petal_s3.upload.duplicates import Duplicate, still_there
from petal_s3.upload.plan import copy_metadata
from petal_s3.upload.receipt import BLIND_S, Receipts, not_yet_there
from petal_s3.upload.source_file import SourceFile

log = logging.getLogger("petal_s3")


@dataclass(frozen=True)
class Reuse:
    """Rows that need no upload; ``minimal``: copies are made without metadata that identify."""

    s3: S3
    outbox: OutboxThread
    receipts: Receipts
    conflicts: Conflicts
    minimal: bool = False

    async def without_file(self, row: Row) -> Row | None:
        """The verified row where its file went after another row of it was proven; else none.

        Then S3 has the bytes; a key that was asked for gets a copy.
        """
        twin = await self.outbox(queries.proven_twin, row)
        if twin is None or twin.receipt is None:
            return None
        origin = await still_there(self.s3, twin.receipt.key)
        if origin is None or not still_proven(origin, twin.receipt):
            return None  # what was proven once is no proof today
        await abandon(self.s3, self.outbox, row)
        if not row.asked_key:
            return await self.outbox(transitions.verified, row, twin.receipt, same_as=twin.id)
        info = await self.s3.head(row.key)
        fresh = info is None
        if info is None:
            # By ranges a multipart object keeps its ETag, and that is the proof.
            limit = 0 if etag_parts(origin.etag) else MAX_COPY_BYTES
            try:
                copier = Copier(self.s3, limit, minimal=self.minimal)
                info = await copier.copy(origin, row.key, copy_metadata(row))
            except Conflict as error:
                await self._not_copied(row, error)
        told = twin.receipt.checksum.removeprefix("crc32:")
        how = await copy_proof(info, origin, told, self.s3.capabilities, fresh=fresh)
        if not how:
            return None
        log.info("upload copied key=%s from=%s proof=%s", row.key, twin.key, how)
        return await self.outbox(transitions.verified, row, self._copied(row.key, info, told, how))

    async def adopt(self, row: Row, source: SourceFile, found: Duplicate) -> Row:
        """The bytes are there: nothing is sent. A key that was asked for gets a copy."""
        source.check()
        receipt = found.receipt
        if row.asked_key and found.free:
            return await self._copy(row, source, receipt, found.free)
        log.info("upload recognised key=%s as=%s", row.key, receipt.key)
        return await self.outbox(transitions.verified, row, receipt, same_as=found.same_as)

    async def _copy(self, row: Row, source: SourceFile, receipt: Receipt, key: str) -> Row:
        """Copy proven bytes inside the bucket; the copy is compared with the file itself."""
        origin = await self._origin(receipt)
        try:
            copier = Copier(self.s3, minimal=self.minimal)
            info = await copier.copy(origin, key, copy_metadata(row))
        except Conflict as error:
            row = row if row.key == key else await self.outbox(transitions.change_key, row, key)
            await self._not_copied(row, error)
        expected = self.receipts.bytes_of(source)
        judgement = await self.receipts.judged(row, info, source, expected)
        if not judgement.proof:
            raise Mismatch(f"The copy of {receipt.key} in S3 is not what was copied.")
        source.check()
        told, how = receipt.checksum.removeprefix("crc32:"), judgement.proof
        log.info("upload copied key=%s from=%s proof=%s", key, receipt.key, how)
        return await self.outbox(transitions.verified, row, self._copied(key, info, told, how))

    async def _origin(self, receipt: Receipt) -> ObjectInfo:
        info = await self.s3.head(receipt.key)
        if info is None or not still_proven(info, receipt):
            raise Transient(
                f"The object {receipt.key} changed while it was copied.", code="copy_changed"
            )
        return info

    def _copied(self, key: str, info: ObjectInfo, crc32: str, how: str) -> Receipt:
        return Receipt(
            key=key,
            etag=info.etag,
            checksum=f"crc32:{crc32}",
            size=info.size,
            proof=how,
            verified_at=self.receipts.server_time(),
        )

    async def _not_copied(self, row: Row, error: Conflict) -> NoReturn:
        """What to say where S3 speaks of an object at the key of a copy.

        It may be an earlier copy of ours, whose answer was lost: it is looked at. Where none is
        shown, also after a while, the server refuses the condition whatever stands there.
        """
        if await self.receipts.seen(row) is not None:
            await self.conflicts.use_another_key(row, error)
        now = self.receipts.server_time()
        if row.code != "not_yet_there":
            await self.outbox(transitions.storing, row, now)
            raise not_yet_there(row.key) from error
        if row.stored_at is not None and 0 <= now - row.stored_at < BLIND_S:
            raise not_yet_there(row.key) from error
        self.s3.learn("copy_condition", offered=False, by=f"{error.told}, and nothing was shown")
        raise Transient(
            f"{error.message} Yet it shows none: it is copied without If-None-Match.",
            code="key_taken",
        ) from error
