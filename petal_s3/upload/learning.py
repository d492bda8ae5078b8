"""Learn what a server offers, with requests of a byte at one fixed temporary key.

Before the first upload to a bucket, once a day, and when an answer contradicts what is known:
a log's own bytes are never the trial.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.errors import (
    Conflict,
    S3BucketError,
    S3IntegrationError,
    UploadGone,
)
from petal_s3.objects.ownership import temporary_folder
from petal_s3.outbox import capabilities as kept
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3 import multipart, trials
from petal_s3.s3.capabilities import Capabilities, Feature, read, written
from petal_s3.s3.checksums import Digest, digest_of, multipart_etag
from petal_s3.s3.client import S3
from petal_s3.s3.options import is_vague, may_be_refusal
from petal_s3.s3.responses import HeldPart, ObjectInfo

log = logging.getLogger("petal_s3")

_BYTE = b"\0"
_TYPE = "application/octet-stream"
_NAME = "capabilities"
_PAUSE_S = 600.0


class Learner:
    """Keeps what is known of a bucket's server: in ``s3`` while the process lives, in the outbox.

    ``bucket``: endpoint and name. ``given``: known from elsewhere, so that nothing is tried.
    """

    def __init__(
        self,
        s3: S3,
        outbox: OutboxThread,
        home: str,
        *,
        bucket: str,
        given: Capabilities | None = None,
        now: Clock = clock.now,
    ) -> None:
        self._steady = now
        self._again_at = float("-inf")
        self._s3 = s3
        self._outbox = outbox
        self._key = f"{temporary_folder(home)}{_NAME}"
        self._bucket = bucket
        self._given = given is not None
        self._kept: Capabilities | None = None
        self._untidy = False  # a trial has left something
        self._owed = False  # an answer contradicts what is known, and no trial came to its end
        self._one = asyncio.Lock()
        if given is not None:
            s3.server.adopt(given)

    async def ready(self) -> None:
        """Know what the server offers; raises what the link raises, and where it cannot encrypt.

        What cannot be tried is left open: uploads then do without knowing it.
        """
        if self._given:
            return
        async with self._one:
            unencrypted = self._s3.server.encrypts and self._s3.capabilities.lacks("encryption")
            rested = self._steady() >= self._again_at
            if unencrypted or self._owed or (rested and await self._is_due()):
                await self._try_all()
            elif self._untidy:
                await self._tidy()

    async def _is_due(self) -> bool:
        if self._s3.clock.offset_s is None and self._s3.capabilities.asked_at:
            await self._s3.head(self._key)  # S3's time; the device's may be years away
        return self._s3.capabilities.due(self._now())

    async def again(self) -> bool:
        """Try everything because an answer contradicts what is known; whether that changed it."""
        if self._given:
            return False
        before = self._s3.capabilities
        async with self._one:
            if _offered(self._s3.capabilities) == _offered(before):
                self._owed = True  # else the next body would travel to hear the same
                await self._try_all()
        return _offered(self._s3.capabilities) != _offered(before)

    async def keep(self) -> None:
        """Write down what was learnt since."""
        if not self._given and self._s3.capabilities != self._kept:
            await self._outbox(kept.keep, self._bucket, written(self._s3.capabilities))
            self._kept = self._s3.capabilities

    async def load(self) -> None:
        """Take in what the outbox has kept."""
        if self._given:
            return
        self._kept = read(await self._outbox(kept.known_of, self._bucket))
        self._untidy = bool(await self._outbox(kept.known_of, f"{self._bucket} trial"))
        # What this process has seen meanwhile is newer.
        known = {**self._kept.known, **self._s3.capabilities.known}
        self._s3.server.adopt(replace(self._kept, known=known))

    def _now(self) -> int:
        return int(self._s3.clock.utcnow().timestamp())

    # -- the trial

    async def _try_all(self) -> None:
        before = self._s3.capabilities
        self._s3.server.capabilities = Capabilities(
            {name: one for name, one in before.known.items() if name in _NOT_TRIED}
        )
        try:
            await self._trial()
        except S3IntegrationError as error:
            known = {**before.known, **self._s3.capabilities.known}
            self._s3.server.capabilities = replace(before, known=known)
            if error.blocks_drain or error.told is None:
                # On a link that breaks all the time logs come first.
                self._again_at = self._steady() + _PAUSE_S
                raise
            log.warning("server not wholly tried reason=%s", error.message)
        finally:
            await self._tidy()
        self._owed = False
        self._s3.server.capabilities = replace(self._s3.capabilities, asked_at=self._now())
        for feature, one in self._s3.capabilities.missing():
            log.info("server lacks feature=%s by=%s", feature, one.by)
        await self.keep()

    async def _trial(self) -> None:
        await self._tidy()
        for lost in await multipart.uploads(self._s3, self._key):  # its id was never heard
            await multipart.abort(self._s3, self._key, lost)
        deletes = await self._may_delete()
        upload_id = await self._begin()
        part = await self._part(upload_id)
        if not deletes:
            return
        await self._put()
        await self._delete()
        await self._join(upload_id, part)
        info = await self._stored()
        if info is None:
            return  # what is not seen to stand shows nothing about conditions
        if not self._proves_by_etag():
            await self._false_checksum()
        await self._join_again()

    async def _may_delete(self) -> bool:
        try:
            marker = await self._s3.delete(self._key)
        except S3IntegrationError as error:
            if error.told is None or error.told.status not in {403, 405, 501}:
                raise
            self._learn("deletion", False, str(error.told))
            return False
        if marker:
            await self._forget_version(marker)
        self._learn("deletion", True, "DeleteObject was accepted")
        return True

    async def _forget_version(self, version: str) -> bool:
        """In a bucket that keeps versions nothing of a trial stays, where that is allowed."""
        try:
            await self._s3.delete(self._key, version=version)
        except S3BucketError:
            return False
        return True

    async def _begin(self) -> str:
        try:
            upload_id, _ = await multipart.begin(
                self._s3, self._key, content_type=_TYPE, metadata={}
            )
        except S3IntegrationError as error:
            if not self._s3.server.encrypts or not may_be_refusal(error):
                raise
            raise await self._unencrypted(error) from error
        await self._outbox(kept.keep, f"{self._bucket} trial", upload_id)
        return upload_id

    async def _unencrypted(self, refusal: S3IntegrationError) -> S3IntegrationError:
        """Whether it is the encryption that the server refuses: what to say then."""
        try:
            upload_id = await trials.begin(self._s3, self._key, encrypted=False)
        except S3IntegrationError:
            return refusal
        await multipart.abort(self._s3, self._key, upload_id)
        if is_vague(refusal):
            with contextlib.suppress(S3IntegrationError):
                await multipart.abort(
                    self._s3, self._key, await trials.begin(self._s3, self._key, encrypted=True)
                )
                return refusal  # it was in trouble for a moment
        self._learn("encryption", False, str(refusal.told))
        return no_encryption(f"{refusal.told}, and without it was accepted")

    async def _part(self, upload_id: str) -> HeldPart:
        part = await trials.send_part(self._s3, self._key, upload_id, _BYTE, _DIGEST.crc32)
        if not self._s3.capabilities.lacks("body_checksums"):
            self._learn("body_checksums", True, "UploadPart with a checksum was accepted")
        md5 = part.etag == _DIGEST.etag
        self._learn("part_etags", md5, f"a part of one byte got the ETag {part.etag}")
        return part

    async def _join(self, upload_id: str, part: HeldPart) -> None:
        checked = not self._s3.capabilities.lacks("full_checksums")
        await multipart.complete(
            self._s3, self._key, upload_id, [part], crc32=_DIGEST.crc32 if checked else None, size=1
        )

    async def _stored(self) -> ObjectInfo | None:
        info = await self._s3.head(self._key)
        if info is None:
            self._learn("prompt_reads", False, _BLIND)
            return None
        known = self._s3.capabilities
        if not known.lacks("full_checksums") and not known.lacks("told_checksums"):
            told = info.crc32 == _DIGEST.crc32_base64
            by = "HeadObject names the CRC32" if told else "HeadObject names no CRC32 of the whole"
            self._learn("full_checksums", told, by)
        joined = info.etag == multipart_etag([_DIGEST.md5])
        self._learn("joined_etags", joined, f"one joined part got the ETag {info.etag}")
        return info

    async def _put(self) -> None:
        """Store a body where nothing stands, and once more where it stands."""
        etag = await trials.put(self._s3, self._key, _BYTE)
        self._learn("md5_etags", etag == _DIGEST.etag, f"a body of one byte got the ETag {etag}")
        if self._s3.server.encrypts and not self._s3.capabilities.offers("encryption"):
            # A HEAD is no evidence: some servers tell there whatever they were told.
            by = "PutObject with x-amz-server-side-encryption was answered without naming it"
            self._learn("encryption", False, by)
            raise no_encryption(by)
        stands = await self._s3.head(self._key) is not None
        if not stands:  # known before a condition is judged by it
            self._learn("prompt_reads", False, _BLIND)
        try:
            await trials.put(self._s3, self._key, _BYTE, taken=True)
        except Conflict as error:
            self._learn("put_condition", True, str(error.told))
            return
        if stands and not self._s3.capabilities.lacks("put_condition"):
            by = "PutObject with If-None-Match was accepted where an object stood"
            self._learn("put_condition", False, by)

    def _proves_by_etag(self) -> bool:
        known = self._s3.capabilities
        return known.offers("md5_etags") and known.offers("joined_etags")

    async def _false_checksum(self) -> None:
        """Whether a checksum that is told is the server's own: it refuses a false one."""
        if self._s3.capabilities.lacks("body_checksums"):
            return
        upload_id = await self._begin()
        try:
            await trials.send_false_part(self._s3, self._key, upload_id, _BYTE)
        except S3IntegrationError as error:
            if not may_be_refusal(error):
                raise
            self._learn("checked_checksums", True, str(error.told))
        else:
            self._learn("checked_checksums", False, "UploadPart with a false CRC32 was accepted")
        await multipart.abort(self._s3, self._key, upload_id)

    async def _join_again(self) -> None:
        """Whether joining parts refuses to overwrite, as storing a body does."""
        if self._s3.capabilities.lacks("complete_condition"):
            return
        upload_id = await self._begin()
        part = await self._part(upload_id)
        try:
            await self._join(upload_id, part)
        except Conflict as error:
            self._learn("complete_condition", True, str(error.told))
            return
        if not self._s3.capabilities.lacks("complete_condition"):
            by = "CompleteMultipartUpload with If-None-Match was accepted where an object stood"
            self._learn("complete_condition", False, by)

    async def _tidy(self) -> None:
        """Abort and delete what a trial has left, in this process or one before."""
        left = await self._outbox(kept.known_of, f"{self._bucket} trial")
        self._untidy = bool(left)
        if not left:
            return
        with contextlib.suppress(S3IntegrationError):  # then before the next log
            with contextlib.suppress(UploadGone):
                await multipart.abort(self._s3, self._key, left)
            if self._s3.capabilities.offers("deletion"):
                await self._delete()
            await self._outbox(kept.keep, f"{self._bucket} trial", "")
            self._untidy = False

    async def _delete(self) -> None:
        info = await self._s3.head(self._key)  # none where it is not shown yet
        if info is not None and info.version and await self._forget_version(info.version):
            return
        marker = await self._s3.delete(self._key)
        if marker:
            await self._forget_version(marker)

    def _learn(self, feature: Feature, offered: bool, by: str) -> None:
        self._s3.learn(feature, offered=offered, by=by)


def _offered(capabilities: Capabilities) -> dict[Feature, bool]:
    return {feature: one.offered for feature, one in capabilities.known.items()}


_BLIND = "HeadObject was answered 404 after a store"
_DIGEST: Digest = digest_of(_BYTE)
# Met on the way of real requests alone.
_NOT_TRIED = {
    "path_addresses",
    "copy_condition",
    "copy_metadata",
    "read_condition",
    "list_parts",
    "list_uploads",
}


def no_encryption(seen: str) -> S3BucketError:
    """What to say where objects would be stored otherwise than PETAL_S3_SSE asks."""
    return S3BucketError(
        f"The server does not encrypt as it is asked to ({seen}): set PETAL_S3_SSE to what it"
        " offers, or to none.",
        code="encryption",
    )
