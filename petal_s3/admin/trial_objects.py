"""Objects of a few bytes, to try an upload's requests with: stored, read, copied, deleted again."""

from __future__ import annotations

import contextlib
import secrets

from petal_s3.errors import (
    Conflict,
    Mismatch,
    NotS3,
    Refused,
    S3BucketError,
    S3FileNotFoundError,
    S3IntegrationError,
)
from petal_s3.objects.key_names import temporary_folder
from petal_s3.s3 import multipart, trials
from petal_s3.s3.checksums import digest_of
from petal_s3.s3.client import S3
from petal_s3.s3.options import may_be_refusal
from petal_s3.s3.responses import ObjectInfo

_BODY = b"0123456789"
_BEFORE, _AFTER = {"trial": "stored"}, {"trial": "copied"}


class TrialObjects:
    """A folder of its own below ``tmp/``, and what is left there in spite of all."""

    def __init__(self, s3: S3, home: str) -> None:
        self._s3 = s3
        self.folder = f"{temporary_folder(home)}check-{secrets.token_hex(8)}/"
        self.key = f"{self.folder}object"
        self.stays = ""
        """The answer by which a version stays, once one was not to be deleted."""
        self._stored: set[str] = set()
        self._hidden = ""
        """The version of a copy that another copy has replaced."""

    async def delete_nothing(self) -> None:
        """Delete what is not there; where that leaves a marker, delete the marker.

        Raises what S3 raises, also that nothing is there.
        """
        try:
            marker = await self._s3.delete(self.key, if_there=True)
        except S3IntegrationError as error:
            if isinstance(error, Conflict) or not may_be_refusal(error):
                raise
            marker = await self._s3.delete(self.key)
        await self._forget(self.key, marker)

    async def list_part(self, upload_id: str) -> str:
        """Send one part of an upload and list it; the answer by which none is listed, or empty.

        Raises what S3 raises where it says that this machine may not.
        """
        await trials.send_part(self._s3, self.key, upload_id, _BODY, digest_of(_BODY).crc32)
        by = "ListParts did not name a part that was sent"
        try:
            if await multipart.parts(self._s3, self.key, upload_id):
                return ""
        except S3IntegrationError as error:
            if error.code not in {"not_implemented", "upload_gone"}:
                raise
            by = str(error.told)
        self._s3.learn("list_parts", offered=False, by=by)
        return by

    async def look_for_upload(self, upload_id: str) -> None:
        """Look for an open upload in the list of all, where that is allowed: few need it."""
        by = "ListMultipartUploads did not name one that was open"
        try:
            found = await multipart.uploads_below(self._s3, self.key)
        except S3BucketError as error:
            if error.code != "not_implemented":
                return
            found, by = [], str(error.told)
        except NotS3 as error:
            found, by = [], error.message.rstrip(".")
        if upload_id not in {one.upload_id for one in found}:
            self._s3.learn("list_uploads", offered=False, by=by)

    async def begins_plain(self) -> bool:
        """Whether an upload can be begun that is not to be encrypted; it is aborted."""
        with contextlib.suppress(S3IntegrationError):
            upload_id = await trials.begin(self._s3, self.key, encrypted=False)
            await multipart.abort(self._s3, self.key, upload_id)
            return True
        return False

    async def try_one(self) -> str:
        """Store a few bytes, read a range of them, copy them, and delete both objects again.

        Returns what is wrong with reading it, in a sentence; empty for nothing. Raises what S3
        raises.
        """
        copied = f"{self.folder}copy"
        try:
            self._stored.add(self.key)  # also where only the answer is lost
            with contextlib.suppress(Mismatch):  # it is there, with an ETag of the server's own
                await self._s3.put_bytes(
                    self.key, _BODY, content_type="application/octet-stream", metadata=_BEFORE
                )
            info = await self._s3.head(self.key)
            wrong = await self._ranged(info.etag if info is not None else "")
            if info is not None:
                await self._copied(info, copied)
            return wrong
        finally:
            with contextlib.suppress(S3IntegrationError):
                await self._remove(self.key)
                await self._remove(copied)
                await self._forget(copied, self._hidden)

    async def _ranged(self, etag: str) -> str:
        try:
            async with self._s3.read(self.key, first=3, last=6, etag=etag) as (_, blocks):
                came = b"".join([block async for block in blocks])
        except S3FileNotFoundError:
            by = "GetObject was answered 404 after a store"
            self._s3.learn("prompt_reads", offered=False, by=by)
            return "What was just stored could not be read yet."
        except (NotS3, Refused) as error:
            odd = isinstance(error, NotS3) and error.told is None  # one answer, and S3 is there
            if not odd and error.code != "archived":
                raise
            return error.message
        return "" if came == _BODY[3:7] else "The answer to a range read holds other bytes."

    async def _copied(self, info: ObjectInfo, copied: str) -> None:
        """Copy it with other metadata to a free key, and once more where the copy stands."""
        learn = self._s3.learn
        self._stored.add(copied)
        await self._s3.copy(info, copied, _AFTER)
        copy = await self._s3.head(copied)
        told = dict(copy.metadata) if copy is not None else {}
        if told in (_BEFORE, _AFTER):  # some answers tell no metadata
            by = "replaced" if told == _AFTER else "kept"
            by = f"CopyObject with x-amz-metadata-directive {by} the metadata"
            learn("copy_metadata", offered=told == _AFTER, by=by)
        try:
            await self._s3.copy(info, copied, _AFTER)
        except Conflict as error:
            learn("copy_condition", offered=True, by=str(error.told))
            return
        self._hidden = copy.version if copy is not None else ""
        if not self._s3.capabilities.lacks("copy_condition"):
            by = "CopyObject with If-None-Match was accepted where an object stood"
            learn("copy_condition", offered=False, by=by)

    async def _remove(self, key: str) -> None:
        if key not in self._stored:
            return
        info = await self._s3.head(key)  # none where it is not shown yet
        version = info.version if info is not None else ""
        await self._forget(key, version)
        if self.stays or not version:
            await self._forget(key, await self._s3.delete(key))

    async def _forget(self, key: str, version: str) -> None:
        """In a bucket that keeps versions, delete this one itself, where that is allowed."""
        if not version:
            return
        try:
            await self._s3.delete(key, version=version)
        except S3BucketError as error:
            self.stays = str(error.told)
