"""Try each permission that a machine needs, with calls that leave nothing behind."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

from petal_s3.admin.finding import Finding, trouble
from petal_s3.admin.iam_policy import partition
from petal_s3.errors import (
    BadInput,
    Conflict,
    Refused,
    S3BucketError,
    S3FileNotFoundError,
    S3IntegrationError,
)
from petal_s3.objects.ownership import Territory, temporary_folder
from petal_s3.s3.client import S3

CHECKS = (
    "bucket", "s3:ListBucket", "encryption", "s3:PutObject", "s3:ListMultipartUploadParts",
    "s3:AbortMultipartUpload", "s3:GetObject", "s3:DeleteObject", "stale uploads",
)  # fmt: skip


async def try_all(s3: S3, territory: Territory, *, region: str, sse: str) -> AsyncIterator[Finding]:
    """The bucket, then each permission in its home; a later one is skipped when it needs another.

    Raises nothing but cancellation.
    """
    trial = _Trial(s3, territory, region, sse)
    left = list(CHECKS)
    for step in (trial.bucket, trial.uploads, trial.get, trial.delete, trial.stale_uploads):
        findings = await step()
        for finding in findings:
            left.remove(finding.check)
            yield finding
        unasked = findings[0].check == "bucket" and findings[0].state != "ok"
        if unasked or any(finding.not_now for finding in findings):
            break  # each of the others would only wait for its time to run out
    for check in left:
        yield Finding(check, "skipped", "the bucket could not be asked")


class _Trial:
    """One run: a key of its own below ``tmp/``, and the object that a listing has shown."""

    def __init__(self, s3: S3, territory: Territory, region: str, sse: str) -> None:
        self._s3 = s3
        self._home = territory.home
        self._arn = f"arn:{partition(region)}:s3:::{territory.bucket}"
        self._sse = sse
        self._key = f"{temporary_folder(territory.home)}check-{secrets.token_hex(8)}"
        self._stands = ""
        """A key that is taken."""

    async def bucket(self) -> list[Finding]:
        """Whether there is one that answers, and whether it lets itself be listed."""
        check, name = "s3:ListBucket", self._s3.bucket
        fine = Finding("bucket", "ok", f"{name} answers")
        try:
            page = await self._s3.page(self._home, limit=1)
        except S3IntegrationError as error:
            if error.code == "forbidden":
                where = f'{self._arn} where s3:prefix is like "{self._home}*"'
                return [fine, self._refused(check, error, where)]
            advice = "" if error.waiting_helps else "Check PETAL_S3_BUCKET_NAME."
            if isinstance(error, S3BucketError):
                advice = "An administrator makes it with: petal-s3 bucket setup"
            return [trouble("bucket", error, advice)]
        self._stands = page.objects[0].key if page.objects else ""
        return [fine, Finding(check, "ok", f"{self._home} can be listed")]

    async def uploads(self) -> list[Finding]:
        """Begin a multipart upload as a log would be, list its parts, abort it."""
        encryption, put, parts, abort = CHECKS[2:6]
        try:
            upload_id, _ = await self._s3.begin(
                self._key, content_type="application/octet-stream", metadata={}
            )
        except S3IntegrationError as error:
            later = [Finding(one, "skipped", f"needs {put}") for one in (parts, abort)]
            return [*self._not_begun(error), *later]
        found = [
            Finding(encryption, "ok", f"PETAL_S3_SSE is {self._sse}, and the bucket takes it"),
            Finding(put, "ok", "an upload can be begun"),
        ]
        try:
            await self._s3.parts(self._key, upload_id)
            found.append(Finding(parts, "ok", "its parts can be listed"))
        except S3IntegrationError as error:
            found.append(self._objects(parts, error))
        finally:  # also when somebody presses Ctrl-C
            found.append(await self._abort(abort, upload_id))
        return found

    async def _abort(self, check: str, upload_id: str) -> Finding:
        try:
            await self._s3.abort(self._key, upload_id)
        except S3IntegrationError as error:
            left = " One empty upload was left, which a lifecycle rule collects."
            return self._objects(check, error, left)
        return Finding(check, "ok", "it can be aborted; nothing was left")

    def _not_begun(self, error: S3IntegrationError) -> list[Finding]:
        encryption, put = CHECKS[2:4]
        if error.code == "not_implemented" or isinstance(error, Refused):
            advice = f"PETAL_S3_SSE is {self._sse}: set it to what this server offers, or to none."
            return [
                trouble(encryption, error, advice),
                Finding(put, "skipped", "the request was not taken as it is"),
            ]
        key = ""
        if self._sse.startswith("aws:kms"):
            key = (
                f" Or it may not use the key of PETAL_S3_SSE ({self._sse}): allow"
                " kms:GenerateDataKey and kms:Decrypt on it."
            )
        return [Finding(encryption, "skipped", f"needs {put}"), self._objects(put, error, key)]

    async def get(self) -> list[Finding]:
        """Read the first byte of an object, or ask for one that is not there."""
        check = "s3:GetObject"
        try:
            async with self._s3.read(self._stands or self._key, first=0, last=0):
                pass
        except (S3FileNotFoundError, BadInput):  # an empty object has no first byte
            pass
        except S3IntegrationError as error:
            if error.code == "forbidden" and not self._stands:
                # AWS says "not found" only to who may list without any condition.
                found = "it cannot be told: S3 refuses also what is not there"
                return [Finding(check, "warning", found, "Check again when the first log is up.")]
            return [self._objects(check, error)]
        return [Finding(check, "ok", "objects can be read")]

    async def delete(self) -> list[Finding]:
        """Delete what is not there."""
        check = "s3:DeleteObject"
        try:
            try:
                await self._s3.delete(self._key, if_there=True)
            except S3BucketError as error:
                if error.code != "not_implemented":
                    raise
                await self._s3.delete(self._key)
        except (S3FileNotFoundError, Conflict):
            pass
        except S3IntegrationError as error:
            if error.code != "forbidden":
                return [trouble(check, error)]
            advice = f"Only to delete and move it is needed; {self._allow(check, self._below)}"
            return [Finding(check, "warning", error.message, advice)]
        return [Finding(check, "ok", "objects can be deleted and moved")]

    async def stale_uploads(self) -> list[Finding]:
        """Whether the bucket collects what is never completed."""
        check = "stale uploads"
        try:
            told = await self._s3.stale_upload_rule(self._home)
        except S3IntegrationError as error:
            return [trouble(check, error)]
        fine = "a lifecycle rule collects uploads that are never completed"
        if told is None:
            return [Finding(check, "skipped", "the bucket does not tell a machine its rules")]
        if told:
            return [Finding(check, "ok", fine)]
        advice = "An administrator sets one with: petal-s3 bucket setup"
        return [Finding(check, "warning", f"no{fine[1:]}", advice)]

    @property
    def _below(self) -> str:
        return f"{self._arn}/{self._home}*"

    def _objects(self, check: str, error: S3IntegrationError, more: str = "") -> Finding:
        """A permission on the machine's objects that is missing, or could not be tried."""
        if error.code != "forbidden":
            return trouble(check, error)
        return self._refused(check, error, self._below, more)

    def _refused(
        self, check: str, error: S3IntegrationError, where: str, more: str = ""
    ) -> Finding:
        return trouble(check, error, f"A{self._allow(check, where)[1:]}{more}")

    def _allow(self, check: str, where: str) -> str:
        return f"allow {check} on {where}; petal-s3 bucket policy prints all that is needed."
