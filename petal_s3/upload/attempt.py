"""Bring one row's file into S3 and prove that it arrived: one attempt, from open to verified."""

from __future__ import annotations

import contextlib
import logging
from concurrent.futures import Executor
from dataclasses import replace

from petal_s3.errors import (
    Mismatch,
    Offline,
    S3BucketError,
    S3IntegrationError,
    SourceAway,
    SourceGone,
    UploadGone,
)
from petal_s3.outbox import remote_objects, transitions
from petal_s3.outbox.rows import Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.outbox.transitions import Claim
from petal_s3.s3.capabilities import Feature
from petal_s3.s3.checksums import Digest
from petal_s3.s3.client import S3
from petal_s3.s3.link_state import LinkState
from petal_s3.s3.responses import ObjectInfo
from petal_s3.upload.abort import abandon, abandon_patiently
from petal_s3.upload.bodies import Bodies
from petal_s3.upload.conflicts import Conflicts
from petal_s3.upload.duplicates import Duplicate, DuplicateFinder
from petal_s3.upload.learning import Learner
from petal_s3.upload.multipart_upload import MultipartUpload
from petal_s3.upload.opening import Opened, SourceOpener
from petal_s3.upload.parts import UNLISTED, PartSender
from petal_s3.upload.plan import UploadPlan
from petal_s3.upload.progress import Traffic, Transfer, UploadProgress
from petal_s3.upload.receipt import BLIND_S, Receipts, not_yet_there
from petal_s3.upload.reuse import Reuse
from petal_s3.upload.small_upload import SmallUpload
from petal_s3.upload.source_file import SourceFile

log = logging.getLogger("petal_s3")


class Uploader:
    """One attempt at one row: ask S3 what it holds, send what is missing, prove the whole."""

    def __init__(
        self,
        s3: S3,
        outbox: OutboxThread,
        files: Executor,
        *,
        duplicates: DuplicateFinder,
        learner: Learner,
        plan: UploadPlan,
    ) -> None:
        self.live: dict[int, UploadProgress] = {}
        """What is on its way now, by row id."""
        self.traffic = Traffic()
        self.duplicates = duplicates
        self._s3 = s3
        self._outbox = outbox
        self._plan = plan
        self._learner = learner
        self._bucket_failed = False
        self._opener = SourceOpener(outbox, files, plan.directories)
        self._receipts = receipts = Receipts(s3, outbox, files)
        conflicts = Conflicts(s3, outbox, receipts, learner)
        self._bodies = bodies = Bodies(s3, outbox, files, self.traffic, plan.link, plan.now)
        self.parts = PartSender(s3, learner, bodies, plan)
        self._reuse = Reuse(s3, outbox, receipts, conflicts, minimal=plan.minimal)
        self._small = SmallUpload(s3, outbox, receipts, learner, plan, bodies, conflicts)
        self._multipart = MultipartUpload(
            s3, outbox, receipts, learner, plan, self.parts, conflicts
        )

    @property
    def answered(self) -> int:
        """How many calls S3 has answered well."""
        return self._s3.server.answered

    @property
    def link_state(self) -> LinkState:
        """When S3 was last heard of."""
        return self._s3.server.link_state

    async def abandon(self, row: Row) -> None:
        """Abort the multipart upload of a row that gives it up; raises what the link raises."""
        await abandon(self._s3, self._outbox, row)

    @property
    def whole_bytes(self) -> int:
        """The largest file that travels in one request, whatever the link is like."""
        return self._plan.whole_bytes

    async def attempt(self, claim: Claim) -> Row:
        """Make one attempt at a claimed row; return it verified, or raise why not yet."""
        row = claim.row
        try:
            opened = await self._open(row)
        except SourceGone:
            done = await self._reuse.without_file(row)
            if done is None:
                raise
            return done
        row, source = opened.row, opened.source
        progress = UploadProgress(row.id, row.size, row.sent_bytes)
        self.live[row.id] = progress
        try:
            await self._learner.ready()
            await self._plan.link.load()
            if self._bucket_failed:
                await self._s3.page(row.key, limit=1)  # no body travels to learn it once more
            done = await self._bring(claim, row, Transfer(source, progress, opened.whole))
            self._plan.link.passed()
        except Offline:
            self._plan.link.broke()
            raise
        except S3BucketError as error:
            self._bucket_failed = error.code == "bucket"
            raise
        except OSError as error:
            raise _unreadable(row, error) from error
        finally:
            del self.live[row.id]
            source.close()
            with contextlib.suppress(S3IntegrationError):  # what is not kept is learnt again
                await self._learner.keep()
                await self._plan.link.keep()
        self._bucket_failed = False
        return done

    async def _open(self, row: Row) -> Opened:
        """Open the file; one that is to travel in one request is read in the same turn."""
        fresh = row.upload_id is None and row.stored_at is None

        def look(source: SourceFile) -> Digest | None:
            if not fresh or source.size > self.whole_bytes:
                return None
            return self._bodies.read(source, 0, source.size)

        try:
            return await self._opener.open(row, look)
        except OSError as error:
            raise _unreadable(row, error) from error

    async def _bring(self, claim: Claim, row: Row, transfer: Transfer) -> Row:
        was_begun = row.upload_id is not None or row.stored_at is not None
        row = await self._go_on(row, transfer)
        if row.state == "verified":
            return row
        if was_begun:  # to go on may have shown what stands at the key
            known = await self._outbox(remote_objects.known, row.key, row.size)
            claim = replace(claim, known=known)
        # Where S3's answer to a Create was lost, an upload is open to which nothing was sent:
        # it goes before the row becomes another key, another part size, or a duplicate of another.
        await abandon_patiently(self._s3, self._outbox, row)
        source = transfer.source
        small = source.size <= self._plan.part_size_of(source.size, self._s3.round_trip_s)
        condition: Feature = "put_condition" if small else "complete_condition"
        expected = self._receipts.bytes_of(source, transfer.whole)
        found = await self.duplicates.find(row, source, condition, claim, expected)
        if isinstance(found, Duplicate):
            return await self._reuse.adopt(row, source, found)
        if found.key != row.key:
            row = await self._outbox(transitions.change_key, row, found.key)
        if small:
            return await self._small.put(row, transfer, replace=found.wrong)
        row = await self._multipart.begin(row)
        return await self._multipart.finish(row, transfer, {}, replace=found.wrong)

    async def _go_on(self, row: Row, transfer: Transfer) -> Row:
        """Go on with what was begun before; the row, verified or with nothing begun."""
        source, awaited = transfer.source, False
        if row.stored_at is not None:
            info = await self._receipts.seen(row)
            if info is not None and not self._receipts.is_wrong(row, info):
                done = await self._proven(row, source, info)
                # Other bytes stand at the key: what was sent must not be joined over them.
                return await self._multipart.forget(row) if done is None else done
            awaited = info is None
        if row.upload_id is None:
            self._wait_for_it(row, awaited=awaited)
            return (
                row if row.stored_at is None else await self._outbox(transitions.forget_upload, row)
            )
        if self._receipts.is_of_another(row):
            if await self.duplicates.elsewhere(row, source):
                return await self._multipart.forget(row)  # it became a copy of a proven log
            row = await self._outbox(transitions.compared, row)
        return await self._resume(row, transfer, awaited=awaited)

    async def _resume(self, row: Row, transfer: Transfer, *, awaited: bool) -> Row:
        try:
            return await self._multipart.resume(row, transfer)
        except UploadGone as error:
            told = error.code != UNLISTED
            if told and (transfer.progress.sent or await self._multipart.lacks_parts(row)):
                raise  # the next attempt sends what S3 has not, and nothing else
            unjoined = error.told is not None and error.told.status == 400
            self._wait_for_it(row, awaited=awaited and not unjoined)
            # S3 forgot the upload. It may be complete: then a duplicate is found; else it begins
            # anew.
            log.warning("upload forgotten by S3 key=%s reason=%s", row.key, error.message)
            return await self._multipart.forget(row)

    async def _proven(self, row: Row, source: SourceFile, info: ObjectInfo) -> Row | None:
        """Prove what S3 was asked to store before; none where other bytes stand there."""
        expected = self._receipts.bytes_of(source)
        try:
            receipt = await self._receipts.receipt(row, source, expected)
        except Mismatch:
            # It may be another's: the key is looked at before anything is sent there.
            await self._outbox(remote_objects.add, info.key, info.size, info.etag)
            return None
        # Where another process brought the same bytes, ours is still open.
        await abandon_patiently(self._s3, self._outbox, row)
        return await self._receipts.settle(row, receipt)

    def _wait_for_it(self, row: Row, *, awaited: bool) -> None:
        """What S3 stored and does not show at once must not travel again for that."""
        stored_at = row.stored_at if awaited else None
        if stored_at is not None and 0 <= self._receipts.server_time() - stored_at < BLIND_S:
            raise not_yet_there(row.key)


def _unreadable(row: Row, error: OSError) -> SourceAway:
    return SourceAway(f"The file {row.name} cannot be read now ({error.strerror}).")
