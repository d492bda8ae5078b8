"""Store a large file by a multipart upload: begin, go on with what S3 holds, join the parts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from petal_s3.errors import Conflict, S3BucketError, S3IntegrationError, UploadGone
from petal_s3.objects.abort import abort_quietly
from petal_s3.objects.file_bytes import FileBytes
from petal_s3.outbox import transitions
from petal_s3.outbox.rows import Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3 import multipart
from petal_s3.s3.capabilities import Feature
from petal_s3.s3.checksums import joined_etag, whole_crc32
from petal_s3.s3.client import S3
from petal_s3.s3.responses import HeldPart
from petal_s3.upload.abort import abandon, abandon_patiently
from petal_s3.upload.conflicts import Conflicts
from petal_s3.upload.fallback import send_with_fallback
from petal_s3.upload.learning import Learner
from petal_s3.upload.parts import UNLISTED, PartSender, SentPart
from petal_s3.upload.plan import UploadPlan
from petal_s3.upload.progress import Transfer
from petal_s3.upload.receipt import Receipts

log = logging.getLogger("petal_s3")


@dataclass(frozen=True)
class MultipartUpload:
    """Multipart uploads of rows. S3 is the truth about parts, the file about bytes."""

    s3: S3
    outbox: OutboxThread
    receipts: Receipts
    learner: Learner
    plan: UploadPlan
    parts: PartSender
    conflicts: Conflicts

    async def begin(self, row: Row) -> Row:
        """Open a multipart upload; its id is on disk before the first part leaves."""
        part_size = self.plan.part_size_of(row.size, self.s3.round_trip_s)
        row = await self.outbox(transitions.plan, row, part_size)
        about = self.plan.metadata(row, self.receipts.server_time())

        async def create(_refusal: S3IntegrationError | None, _again: bool) -> tuple[str, bool]:
            return await multipart.begin(
                self.s3, row.key, content_type=row.media_type, metadata=about
            )

        upload_id, checksummed = await send_with_fallback(self.s3, self.learner, row, create)
        log.info("upload started key=%s size=%d part_size=%d", row.key, row.size, part_size)
        try:
            return await self.outbox(
                transitions.remember_upload, row, upload_id, checksummed=checksummed
            )
        except S3IntegrationError:
            # The lease or the disk is lost: no other process may know this id, and S3 may not let
            # us look for it.
            await abort_quietly(self.s3, row.key, upload_id)
            raise

    async def resume(self, row: Row, transfer: Transfer) -> Row:
        """S3 is asked which parts it holds; those that agree with the file are kept."""
        held = await self._held(row)
        log.info("upload resumed key=%s parts_held=%d", row.key, len(held))
        if held:
            self.s3.learn("list_parts", offered=True, by="ListParts named what was sent")
        elif row.sent_bytes or row.failures:
            # Some servers answer so for an upload that is no more, and take parts all the same. It
            # may have been called gone in an attempt whose reason a later one has replaced.
            before = "of which it had confirmed some" if row.sent_bytes else "and an attempt failed"
            raise UploadGone(
                f"S3 lists no part of {row.key}, {before}: it begins anew.", code=UNLISTED
            )
        return await self.finish(row, transfer, held, resumed=True)

    async def _held(self, row: Row) -> dict[int, HeldPart]:
        assert row.upload_id is not None
        try:
            return {
                part.number: part for part in await multipart.parts(self.s3, row.key, row.upload_id)
            }
        except S3BucketError as error:
            known = self.s3.capabilities
            doubted = known.offers("list_parts") or (
                row.sent_bytes and not known.lacks("list_parts")
            )
            if error.code != "not_implemented" or (doubted and not row.failed_by(error)):
                raise  # confirmed parts are not given up for one such answer
            if doubted and await self.learner.lists_parts():
                raise
            self.s3.learn("list_parts", offered=False, by=str(error.told))
            raise UploadGone(
                f"{error.message} What S3 holds of {row.name} cannot be asked; it begins anew.",
                code=UNLISTED,
            ) from error

    async def finish(
        self,
        row: Row,
        transfer: Transfer,
        held: Mapping[int, HeldPart],
        *,
        replace: bool = False,
        resumed: bool = False,
    ) -> Row:
        """Send what is missing beside ``held`` parts, join all, prove; return the verified row.

        ``replace``: what stands at the key is wrong, and is overwritten.
        """
        source = transfer.source
        parts = await self.parts.send_missing(row, transfer, held, resumed=resumed)
        expected = self._expected(row, transfer, parts)
        source.check()
        row = await self.outbox(transitions.storing, row, self.receipts.server_time())

        async def join(_: S3IntegrationError | None, again: bool) -> str:
            await self.conflicts.check_free(
                row, "complete_condition", free=replace, again=again or resumed
            )
            return await self._join(row, parts, replace=replace)

        options: tuple[Feature, ...] = ("full_checksums", "complete_condition")
        try:
            stored = await send_with_fallback(self.s3, self.learner, row, join, *options)
        except Conflict as error:
            return await self._taken(row, transfer, expected, error)
        receipt = await self.receipts.receipt(row, source, expected, stored=stored)
        return await self.receipts.settle(row, receipt)

    def _expected(self, row: Row, transfer: Transfer, parts: list[SentPart]) -> FileBytes:
        digests = [part.digest for part in parts]
        return self.receipts.bytes_of(
            transfer.source,
            crc32=whole_crc32(digests),
            etags={row.part_size: joined_etag(digests)},
        )

    async def _join(self, row: Row, parts: list[SentPart], *, replace: bool) -> str:
        assert row.upload_id is not None
        return await multipart.complete(
            self.s3,
            row.key,
            row.upload_id,
            [part.held for part in parts],
            crc32=whole_crc32([part.digest for part in parts]) if row.checksummed else None,
            size=row.size,
            replace=replace,
        )

    async def _taken(
        self, row: Row, transfer: Transfer, expected: FileBytes, error: Conflict
    ) -> Row:
        """The key was taken meanwhile, or it was this very upload, whose answer was lost."""
        receipt = await self.conflicts.receipt_of_same(row, transfer.source, expected, error)
        if receipt is None:
            # Remembered first: who is cut off in between would send every part to this key again.
            taken = await self.conflicts.taken(row, error)
            await self.forget(row)
            raise taken from error
        # Where another process brought the same bytes, ours is still open.
        await abandon_patiently(self.s3, self.outbox, row)
        return await self.receipts.settle(row, receipt)

    async def forget(self, row: Row) -> Row:
        """Abort the row's upload and begin at nothing the next time."""
        await abandon(self.s3, self.outbox, row)
        return await self.outbox(transitions.forget_upload, row)

    async def lacks_parts(self, row: Row) -> bool:
        """Whether S3 still knows the upload, and has lost some of its parts."""
        assert row.upload_id is not None
        assert row.part_size is not None
        try:
            held = await multipart.parts(self.s3, row.key, row.upload_id)
        except UploadGone:
            return False
        return bool(held) and len({part.number for part in held}) < -(-row.size // row.part_size)
