"""What to do where another object may stand at the key that a row is stored at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from petal_s3.errors import Conflict, Mismatch, S3IntegrationError, Transient
from petal_s3.objects.file_bytes import FileBytes
from petal_s3.outbox import remote_objects, transitions
from petal_s3.outbox.rows import Receipt, Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.capabilities import Feature
from petal_s3.s3.client import S3
from petal_s3.upload.learning import Learner
from petal_s3.upload.receipt import Receipts, not_yet_there
from petal_s3.upload.source_file import SourceFile


@dataclass(frozen=True)
class Conflicts:
    """Answers refusals to overwrite, where S3 is right and where it is not."""

    s3: S3
    outbox: OutboxThread
    receipts: Receipts
    learner: Learner

    async def check_free(self, row: Row, condition: Feature, *, free: bool, again: bool) -> None:
        """Raise :class:`Conflict` where no condition keeps a request from storing over what came
        to its key meanwhile. ``free``: what stands there is to be replaced; ``again``: it is long
        since the key was looked at."""
        known = self.s3.capabilities
        looks = known.lacks(condition) or (again and not known.offers(condition))
        if not free and looks and await self.s3.head(row.key) is not None:
            raise Conflict(f"An object stands at {row.key} (HeadObject).", code="key_taken")

    async def receipt_of_same(
        self, row: Row, source: SourceFile, expected: FileBytes, error: Conflict
    ) -> Receipt | None:
        """The receipt of an object that took the row's key and holds its very bytes.

        It may be ours, where the answer to an earlier request was lost. None where it holds other
        bytes; raises where S3 shows no object there.
        """
        if await self.receipts.seen(row) is None:
            raise await self._unseen(row, error) from error
        try:
            return await self.receipts.receipt(row, source, expected)
        except Mismatch:
            return None

    async def _unseen(self, row: Row, error: Conflict) -> S3IntegrationError:
        """What to say where S3 speaks of an object at the row's key, and shows none.

        It may show it late, and is waited for; or it refuses every condition, and is asked ever
        more seldom: each time a body may travel.
        """
        if await self.learner.again():
            return Transient(f"{error.message} It is tried again.", code="key_taken")
        if row.code in {"not_yet_there", "key_taken"}:
            return Conflict(f"{error.message} Yet it shows none.", code="key_taken")
        await self.outbox(transitions.storing, row, self.receipts.server_time())
        return not_yet_there(row.key)

    async def use_another_key(self, row: Row, error: Conflict) -> NoReturn:
        """Raise that the key is taken, once that is remembered."""
        raise await self.taken(row, error) from error

    async def taken(self, row: Row, error: Conflict) -> Transient:
        """Remember that the key is taken, so that the next attempt looks before it sends.

        Returns what to raise; raises it where S3 shows nothing there: what was sent is kept then.
        """
        info = await self.s3.head(row.key)
        if info is None:
            raise Transient(f"{error.message} It is looked at again.", code="key_taken") from error
        await self.outbox(remote_objects.add, info.key, info.size, info.etag)
        return Transient(
            f"The key {row.key} was taken by other bytes; another key is used.", code="key_taken"
        )
