"""Abort multipart uploads that belong to no row, and have temporary objects deleted, daily."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from petal_s3.cleanup.ageing import note_ages
from petal_s3.cleanup.temporary_objects import delete_expired, is_older
from petal_s3.errors import S3BucketError, UploadGone
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.outbox import facts, queries
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3 import lifecycle, multipart
from petal_s3.s3.client import S3
from petal_s3.s3.responses import OpenUpload, withheld

log = logging.getLogger("petal_s3")

AGE_S = 24 * 3600.0
EVERY_S = 24 * 3600.0


@dataclass(frozen=True)
class Pass:
    """What one look found; ``refused``: S3 does not let this machine see or abort all of it."""

    listed: int
    aborted: int
    refused: bool


class Orphans:
    """Tidies up behind lost answers and lost outboxes. Nothing depends on it."""

    def __init__(
        self, s3: S3, outbox: OutboxThread, ownership: KeyOwnership, *, age_s: float = AGE_S
    ) -> None:
        """``age_s``: how long nothing must have been added to an upload, by S3's clock: another
        outbox may work under this machine's id.
        """
        self.aborted = 0
        self.advice: list[str] = []
        self._made = False
        self._s3 = s3
        self._outbox = outbox
        self.ownership = ownership
        self.age_s = age_s

    async def collect_if_due(self) -> float:
        """Make a pass, unless a process before this one made it within a day by S3's clock.

        Returns in how many seconds the next one is due. Raises as :meth:`collect`.
        """
        place = f"{self._s3.endpoint_url or ''} {self._s3.bucket} {self.ownership.machine_prefix}"
        fact = f"orphans {place}"
        if not self._made:
            left_s = await self._left_s(await self._outbox(facts.value, fact))
            if left_s > 0:
                return left_s
        await self.collect()
        self._made = True
        if self._s3.clock.offset_s is not None:
            made = {"at": self._s3.clock.seconds(), "advised": bool(self.advice)}
            await self._outbox(facts.keep, fact, json.dumps(made))
        return EVERY_S

    async def _left_s(self, told: str) -> float:
        """In how many seconds the next pass is due after the one that was told of."""
        if not told:
            return 0.0
        made = json.loads(told)
        if self._s3.clock.offset_s is None:
            await self._learn_time()
        since_s = self._s3.clock.seconds() - made["at"]
        if self._s3.clock.offset_s is None or not 0 <= since_s < EVERY_S:
            return 0.0
        self.advice = [_advice(self.ownership.prefix, made["at"])] if made["advised"] else []
        return float(EVERY_S - since_s)

    async def _learn_time(self) -> None:
        """Ask S3 for next to nothing: every answer brings its time, a refusal, too."""
        try:
            await self._s3.page(self.ownership.machine_prefix, limit=1)
        except S3BucketError as error:
            if not withheld(error):
                raise

    async def collect(self) -> Pass:
        """Make one pass, and look whether the bucket collects by itself what we cannot.

        Only while no attempt is made: an id that S3 has just given is not in its row yet.
        Raises what the link raises; cut at any point, it may be made again.
        """
        found, refused = await self._listed()
        if (await note_ages(self._outbox, self._s3.clock)).jumped:
            log.info("orphans not looked for: S3's clock has jumped within a day")
            return Pass(len(found), 0, refused)
        aborted, refused_too = await self._abort(await self._orphans(found))
        log.info("orphans looked for uploads=%d aborted=%d", len(found), aborted)
        await delete_expired(self._s3, self.ownership, self.age_s)
        await self._ask_for_rule()
        return Pass(len(found), aborted, refused or refused_too)

    async def _listed(self) -> tuple[list[OpenUpload], bool]:
        found: list[OpenUpload] = []
        refused = False
        for prefix in self.ownership.listed:
            try:
                found += await multipart.uploads_below(self._s3, prefix)
            except S3BucketError as error:
                if not withheld(error):
                    raise
                refused = True
        # Whatever a listing says: a key of another machine is never touched.
        return [upload for upload in found if self.ownership.owns(upload.key)], refused

    async def _orphans(self, found: Sequence[OpenUpload]) -> list[OpenUpload]:
        owned = await self._outbox(queries.upload_ids) if found else set()
        return [
            upload
            for upload in found
            if upload.upload_id not in owned
            and is_older(self._s3.clock, upload.begun_at, self.age_s)
        ]

    async def _abort(self, orphans: Sequence[OpenUpload]) -> tuple[int, bool]:
        aborted = 0
        try:
            for upload in orphans:
                if await self._rests(upload):
                    await multipart.abort(self._s3, upload.key, upload.upload_id)
                    log.warning("orphan aborted key=%s begun_at=%s", upload.key, upload.begun_at)
                    aborted += 1
                    self.aborted += 1
        except S3BucketError as error:
            if not withheld(error):
                raise
            log.warning("orphans stay reason=%s", error.message)
            return aborted, True
        return aborted, False

    async def _rests(self, upload: OpenUpload) -> bool:
        """Whether no part came lately either: a slow link takes days for one log."""
        try:
            parts = await multipart.parts(self._s3, upload.key, upload.upload_id)
        except UploadGone:
            return False  # its owner has just completed or aborted it
        return all(
            part.stored_at is None or is_older(self._s3.clock, part.stored_at, self.age_s)
            for part in parts
        )

    async def _ask_for_rule(self) -> None:
        has_rule = await lifecycle.stale_upload_rule(self._s3, self.ownership.machine_prefix)
        now = self._s3.clock.seconds()
        advice = [_advice(self.ownership.prefix, now)] if has_rule is False else []
        for sentence in advice:
            if sentence not in self.advice:
                log.warning("%s", sentence)
        self.advice = advice


def _advice(prefix: str, seen_at: int) -> str:
    """``seen_at``: in seconds since 1970; it is looked at once a day."""
    day = f"{datetime.fromtimestamp(seen_at, timezone.utc):%Y-%m-%d}"
    where = f"the prefix {prefix}" if prefix else "the whole bucket"
    return (
        "The bucket had no rule that aborts stale multipart uploads when it was last looked at"
        f" ({day}): parts of interrupted uploads stay and cost money. An administrator adds a"
        f" lifecycle rule for {where} that aborts"
        " incomplete multipart uploads 7 days after their initiation"
        " (AbortIncompleteMultipartUpload, DaysAfterInitiation 7): petal-s3 bucket setup does."
    )
