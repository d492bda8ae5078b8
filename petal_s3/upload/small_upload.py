"""Store a file of one part in one request; S3 refuses to overwrite."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from petal_s3.core.tasks import to_end
from petal_s3.errors import Conflict, S3IntegrationError, SourceChanged
from petal_s3.objects.file_bytes import FileBytes
from petal_s3.outbox import transitions
from petal_s3.outbox.rows import Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.capabilities import Feature
from petal_s3.s3.client import S3
from petal_s3.upload.bodies import Bodies
from petal_s3.upload.conflicts import Conflicts
from petal_s3.upload.fallback import send_with_fallback
from petal_s3.upload.learning import Learner
from petal_s3.upload.plan import UploadPlan
from petal_s3.upload.progress import Transfer
from petal_s3.upload.receipt import Receipts


@dataclass(frozen=True)
class SmallUpload:
    """PutObject of whole files."""

    s3: S3
    outbox: OutboxThread
    receipts: Receipts
    learner: Learner
    plan: UploadPlan
    bodies: Bodies
    conflicts: Conflicts

    async def put(self, row: Row, transfer: Transfer, *, replace: bool) -> Row:
        """Send the file and prove it; return the verified row.

        ``replace``: what stands at the key is wrong, and is overwritten.
        """
        source = transfer.source
        if row.part_size is None or row.part_size < row.size:  # else it is on disk already
            part_size = self.plan.part_size_of(row.size, self.s3.round_trip_s)
            row = await self.outbox(transitions.plan, row, part_size)
        transfer.progress.confirmed = 0  # what was sent before and not proven counts for nothing
        whole = transfer.whole or await self.bodies.digest(source, 0, source.size)
        source.check()
        expected = self.receipts.bytes_of(source, whole)

        async def send(refusal: S3IntegrationError | None, again: bool) -> str:
            if again:
                await self.conflicts.check_free(row, "put_condition", free=replace, again=True)
            with self.bodies.offered(transfer, 0, whole) as body:
                return await self.s3.put(
                    row.key,
                    body,
                    content_type=row.media_type,
                    metadata=self.plan.metadata(row, self.receipts.server_time()),
                    replace=replace,
                    refusal=refusal,
                )

        options: tuple[Feature, ...] = ("body_checksums", "put_condition")
        try:
            stored = await send_with_fallback(self.s3, self.learner, row, send, *options)
        except Conflict as error:
            receipt = await self.conflicts.receipt_of_same(row, source, expected, error)
            if receipt is None:
                await self.conflicts.use_another_key(row, error)
            return await self.receipts.settle(row, receipt)
        return await self._proven(row, transfer, expected, stored)

    async def _proven(self, row: Row, transfer: Transfer, expected: FileBytes, stored: str) -> Row:
        """Prove what S3 has stored under the ETag ``stored``; return the verified row.

        What is planned is looked for at its key the next time. So a body that S3 has confirmed is
        recorded with its proof; by itself only where it is not proven now, where S3 may show it
        late, or where something else was recorded of the key before.
        """
        at, source = self.receipts.server_time(), transfer.source
        try:
            source.check()
        except SourceChanged:
            await self.outbox(transitions.storing, row, at)
            raise
        self.bodies.count(transfer, source.size)
        if self.s3.capabilities.lacks("prompt_reads") or row.read_back is not None:
            row = await self.bodies.stored(row, at)
            receipt = await self.receipts.receipt(row, source, expected, stored=stored)
            return await self.receipts.settle(row, receipt)
        async with contextlib.AsyncExitStack() as unless_proven:
            unless_proven.push_async_callback(self._record, row, at)
            receipt = await self.receipts.receipt(row, source, expected, stored=stored)
            done = await self.receipts.settle(row, receipt, sent=1)
            unless_proven.pop_all()
        return done

    async def _record(self, row: Row, at: int) -> None:
        """Record that S3 has stored the body, whatever ended the attempt."""
        with contextlib.suppress(S3IntegrationError):
            await to_end(self.bodies.stored(row, at))
