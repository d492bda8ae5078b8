"""Try what a server offers, with requests of a byte at one fixed temporary key."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from petal_s3.errors import Conflict, S3BucketError, S3IntegrationError, UploadGone
from petal_s3.outbox import capabilities as kept
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3 import multipart, trials
from petal_s3.s3.capabilities import Capabilities, Feature
from petal_s3.s3.checksums import Digest, digest_of, multipart_etag
from petal_s3.s3.client import S3
from petal_s3.s3.options import is_vague, may_be_refusal
from petal_s3.s3.responses import HeldPart, ObjectInfo

_BYTE = b"\0"
_TYPE = "application/octet-stream"
_BLIND = "HeadObject was answered 404 after a store"
_DIGEST: Digest = digest_of(_BYTE)
# Met on the way of real requests alone.
NOT_TRIED: frozenset[Feature] = frozenset(
    {
        "path_addresses",
        "echoed_checksums",
        "copy_condition",
        "copy_metadata",
        "read_condition",
        "list_parts",
        "list_uploads",
    }
)


@dataclass
class Trial:
    """A trial of one bucket at ``key``; ``bucket``: endpoint and name, as the outbox knows it."""

    s3: S3
    outbox: OutboxThread
    key: str
    bucket: str
    untidy: bool = False
    """Whether a trial has left something, in this process or one before."""

    async def load(self) -> None:
        """Learn from the outbox whether an earlier trial has left something."""
        self.untidy = bool(await self.outbox(kept.known_of, self._fact))

    @property
    def _fact(self) -> str:
        return f"{self.bucket} trial"

    async def run(self) -> None:
        """Try everything in turn; raises what the link raises, and where it cannot encrypt.

        What was learnt before that stays in ``s3.capabilities``.
        """
        await self.tidy()
        for lost in await multipart.uploads(self.s3, self.key):  # its id was never heard
            await multipart.abort(self.s3, self.key, lost)
        deletes = await self._may_delete()
        upload_id = await self._begin()
        part = await self._part(upload_id)
        if not deletes:
            return
        await self._put()
        await self._delete()
        await self._join_free(upload_id, part)
        if await self._stored() is None:
            return  # what is not seen to stand shows nothing about conditions
        await self._false_checksum()
        await self._join_again()

    async def _may_delete(self) -> bool:
        try:
            marker = await self.s3.delete(self.key)
        except S3IntegrationError as error:
            if error.told is None or error.told.status not in {403, 405, 501}:
                raise
            self._learn("deletion", False, str(error.told))
            return False
        await self._forget_version(marker)
        self._learn("deletion", True, "DeleteObject was accepted")
        return True

    async def _forget_version(self, version: str) -> bool:
        """In a bucket that keeps versions nothing of a trial stays, where that is allowed."""
        if not version:
            return False
        try:
            await self.s3.delete(self.key, version=version)
        except S3BucketError:
            return False
        return True

    async def _begin(self) -> str:
        try:
            upload_id, _ = await multipart.begin(self.s3, self.key, content_type=_TYPE, metadata={})
        except S3IntegrationError as error:
            if not self.s3.server.encrypts or not may_be_refusal(error):
                raise
            from petal_s3.upload import encryption  # noqa: PLC0415 - only where it is lacking

            raise await encryption.refused(self.s3, self.key, error) from error
        await self.outbox(kept.keep, self._fact, upload_id)
        return upload_id

    async def _part(self, upload_id: str) -> HeldPart:
        part = await trials.send_part(self.s3, self.key, upload_id, _BYTE, _DIGEST.crc32)
        if not self.s3.capabilities.lacks("body_checksums"):
            self._learn("body_checksums", True, "UploadPart with a checksum was accepted")
        md5 = part.etag == _DIGEST.etag
        self._learn("part_etags", md5, f"a part of one byte got the ETag {part.etag}")
        return part

    async def _join(self, upload_id: str, part: HeldPart) -> str:
        checked = not self.s3.capabilities.lacks("full_checksums")
        return await multipart.complete(
            self.s3, self.key, upload_id, [part], crc32=_DIGEST.crc32 if checked else None, size=1
        )

    async def _join_free(self, upload_id: str, part: HeldPart) -> None:
        """Join a part where nothing stands; once more where an option was refused for that."""
        before = self.s3.capabilities
        await self._join(upload_id, part)
        if self._gave_up(before, "full_checksums", "complete_condition"):
            await self._delete()
            upload_id = await self._begin()
            part = await self._part(upload_id)
            with contextlib.suppress(Conflict):  # it is honoured, what was deleted still seen
                await self._join(upload_id, part)

    def _gave_up(self, before: Capabilities, *features: Feature) -> bool:
        """Whether a refusal since ``before`` has shown that a feature is lacking; it is forgotten.

        Servers in trouble refuse, too, and without a condition another's object may be lost: so
        it has to be shown twice.
        """
        new = [one for one in features if self.s3.capabilities.lacks(one) and not before.lacks(one)]
        for feature in new:
            self.s3.server.forget(feature)
        return bool(new)

    async def _stored(self) -> ObjectInfo | None:
        info = await self.s3.head(self.key)
        if info is None:
            self._learn("prompt_reads", False, _BLIND)
            return None
        known = self.s3.capabilities
        if not known.lacks("full_checksums") and not known.lacks("told_checksums"):
            told = info.crc32 == _DIGEST.crc32_base64
            by = "HeadObject names the CRC32" if told else "HeadObject names no CRC32 of the whole"
            self._learn("full_checksums", told, by)
        joined = info.etag == multipart_etag([_DIGEST.md5])
        self._learn("joined_etags", joined, f"one joined part got the ETag {info.etag}")
        return info

    async def _put(self) -> None:
        """Store a body where nothing stands, and once more where it stands."""
        etag = await self._put_free()
        self._learn("md5_etags", etag == _DIGEST.etag, f"a body of one byte got the ETag {etag}")
        if self.s3.server.encrypts and not self.s3.capabilities.offers("encryption"):
            # A HEAD is no evidence: some servers tell there whatever they were told.
            by = "PutObject with x-amz-server-side-encryption was answered without naming it"
            self._learn("encryption", False, by)
            from petal_s3.upload import encryption  # noqa: PLC0415 - only where it is lacking

            raise encryption.lacking(by)
        stands = await self.s3.head(self.key) is not None
        if not stands:  # known before a condition is judged by it
            self._learn("prompt_reads", False, _BLIND)
        await self._put_again(stands=stands)

    async def _put_again(self, *, stands: bool) -> None:
        try:
            await trials.put(self.s3, self.key, _BYTE, taken=True)
        except Conflict as error:
            self._learn("put_condition", True, str(error.told))
            return
        if stands and not self.s3.capabilities.lacks("put_condition"):
            by = "PutObject with If-None-Match was accepted where an object stood"
            self._learn("put_condition", False, by)

    async def _put_free(self) -> str:
        """Store a body where nothing stands; once more where an option was refused for that."""
        before = self.s3.capabilities
        etag = await trials.put(self.s3, self.key, _BYTE)
        if self._gave_up(before, "body_checksums", "put_condition"):
            await self._delete()
            with contextlib.suppress(Conflict):  # it is honoured, what was deleted still seen
                etag = await trials.put(self.s3, self.key, _BYTE)
        return etag

    async def _false_checksum(self) -> None:
        """Whether a checksum that is told is the server's own: it refuses a false one."""
        if self.s3.capabilities.lacks("body_checksums"):
            return
        upload_id = await self._begin()
        try:
            await trials.send_false_part(self.s3, self.key, upload_id, _BYTE)
        except S3IntegrationError as error:
            if not may_be_refusal(error):
                raise
            if not is_vague(error):  # else it may be in trouble for a moment: that stays open
                self._learn("checked_checksums", True, str(error.told))
        else:
            self._learn("checked_checksums", False, "UploadPart with a false CRC32 was accepted")
        await multipart.abort(self.s3, self.key, upload_id)

    async def _join_again(self) -> None:
        """Whether joining parts refuses to overwrite, as storing a body does."""
        if self.s3.capabilities.lacks("complete_condition"):
            return
        upload_id = await self._begin()
        part = await self._part(upload_id)
        try:
            etag = await self._join(upload_id, part)
        except Conflict as error:
            self._learn("complete_condition", True, str(error.told))
            return
        # An answer that names nothing may come from something on the way.
        if etag and not self.s3.capabilities.lacks("complete_condition"):
            by = "CompleteMultipartUpload with If-None-Match was accepted where an object stood"
            self._learn("complete_condition", False, by)
            await self._put_again(stands=True)  # it may have become another one meanwhile

    async def tidy(self) -> None:
        """Abort and delete what a trial has left, in this process or one before."""
        left = await self.outbox(kept.known_of, self._fact)
        self.untidy = bool(left)
        if not left:
            return
        with contextlib.suppress(S3IntegrationError):  # then before the next log
            with contextlib.suppress(UploadGone):
                await multipart.abort(self.s3, self.key, left)
            if self.s3.capabilities.offers("deletion"):
                await self._delete()
            await self.outbox(kept.keep, self._fact, "")
            self.untidy = False

    async def _delete(self) -> None:
        info = await self.s3.head(self.key)  # none where it is not shown yet
        if info is not None and await self._forget_version(info.version):
            return
        await self._forget_version(await self.s3.delete(self.key))

    def _learn(self, feature: Feature, offered: bool, by: str) -> None:
        self.s3.learn(feature, offered=offered, by=by)
