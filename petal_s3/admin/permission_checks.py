"""Try each permission that a machine needs, and what an upload uses; delete it all again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable

from petal_s3.admin import bucket_checks
from petal_s3.admin.bucket_checks import PUBLIC, STALE
from petal_s3.admin.feature_checks import kept, lacks, learn
from petal_s3.admin.finding import Finding
from petal_s3.admin.permission_advice import Advisor
from petal_s3.admin.trial_objects import TrialObjects
from petal_s3.errors import BadInput, Conflict, S3FileNotFoundError, S3IntegrationError
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.s3 import multipart
from petal_s3.s3.client import S3
from petal_s3.s3.options import may_be_refusal
from petal_s3.upload import encryption

PUT, GET, DELETE = "s3:PutObject", "s3:GetObject", "s3:DeleteObject"
PARTS, ABORT = "s3:ListMultipartUploadParts", "s3:AbortMultipartUpload"
ENCRYPTION, FEATURES = "encryption", "server features"
CHECKS = (
    *("bucket", "s3:ListBucket", ENCRYPTION, PUT, PARTS, ABORT, GET, DELETE, FEATURES),
    *(STALE, PUBLIC),
)
_TYPE = "application/octet-stream"


async def try_all(
    s3: S3, ownership: KeyOwnership, *, region: str, sse: str, over_http: bool = False
) -> AsyncIterator[Finding]:
    """Check the bucket, then each permission in the machine's folder.

    ``over_http``: S3 is asked without TLS.
    A check that needs another one is skipped when that failed. Raises nothing but cancellation.
    """
    advise = Advisor(region, ownership.bucket, ownership.machine_prefix, over_http=over_http)
    trial = _Trial(s3, ownership, sse, advise)
    left = list(CHECKS)
    steps = (trial.bucket, trial.uploads, trial.delete, trial.get, trial.features, trial.settings)
    for step in steps:
        findings = await step()
        for finding in findings:
            if finding.check in left:
                left.remove(finding.check)
            trial.states[finding.check] = finding.state
            yield finding
        unasked = findings[0].check == "bucket" and findings[0].state != "ok"
        if unasked or trial.ended:
            break  # each of the others would only wait for its time to run out
    for check in left:
        yield Finding(check, "skipped", "the bucket could not be asked")


class _Trial:
    """One run: a key of its own below ``tmp/``, and the object that a listing has shown."""

    def __init__(self, s3: S3, ownership: KeyOwnership, sse: str, advise: Advisor) -> None:
        self._s3 = s3
        self._home = ownership.machine_prefix
        self._advise = advise
        self._sse = sse
        self._tried = TrialObjects(s3, ownership.machine_prefix)
        self._key = self._tried.key
        self._stands = ""
        """A key that is taken."""
        self.states: dict[str, str] = {}
        """What the checks so far have found."""

    @property
    def ended(self) -> bool:
        """Whether S3 cannot be asked any more for now."""
        return self._advise.ended

    async def bucket(self) -> list[Finding]:
        """Whether there is one that answers, and whether it lets itself be listed."""
        check, name = "s3:ListBucket", self._s3.bucket
        fine = Finding("bucket", "ok", f"{name} answers")
        try:
            page = await self._s3.page(self._home, limit=1)
        except S3IntegrationError as error:
            if error.code == "forbidden":
                where = f'{self._advise.arn} where s3:prefix is like "{self._home}*"'
                return [fine, self._advise.refused(check, error, where)]
            advice = "" if error.waiting_helps else "Check PETAL_S3_BUCKET_NAME."
            if error.told is not None and error.told.code == "NoSuchBucket":
                advice = "An administrator makes it with: petal-s3 bucket setup"
            return [self._advise.trouble("bucket", error, advice)]
        self._stands = page.objects[0].key if page.objects else ""
        return [fine, Finding(check, "ok", f"{self._home} can be listed")]

    async def uploads(self) -> list[Finding]:
        """Begin a multipart upload as a log would be, list its one part, abort it."""
        try:
            upload_id, _ = await multipart.begin(
                self._s3, self._key, content_type=_TYPE, metadata={}
            )
        except S3IntegrationError as error:
            later = [Finding(one, "skipped", f"needs {PUT}") for one in (PARTS, ABORT)]
            return [*await self._not_begun(error), *later]
        found = [Finding(PUT, "ok", "an upload can be begun")]
        try:
            found.append(await self._listed(upload_id))
        finally:  # also after Ctrl-C
            found.append(await self._abort(upload_id))
        return found

    async def _listed(self, upload_id: str) -> Finding:
        try:
            why_not = await self._tried.list_part(upload_id)
            await self._tried.look_for_upload(upload_id)
        except S3IntegrationError as error:
            return self._advise.objects(PARTS, error)
        if why_not:
            return Finding(PARTS, "skipped", f"the server does not list parts ({why_not})")
        return Finding(PARTS, "ok", "its parts can be listed")

    async def _abort(self, upload_id: str) -> Finding:
        try:
            await multipart.abort(self._s3, self._key, upload_id)
        except S3IntegrationError as error:
            left = " One empty upload was left, which a lifecycle rule collects."
            return self._advise.objects(ABORT, error, left)
        return Finding(ABORT, "ok", "it can be aborted; nothing was left")

    async def _not_begun(self, error: S3IntegrationError) -> list[Finding]:
        """What it was that the server refused: the encryption, where it takes one without."""
        if self._s3.server.encrypts and may_be_refusal(error) and await self._tried.begins_plain():
            refused = encryption.lacking(f"{error.told}, and without it was accepted")
            self._s3.learn("encryption", offered=False, by=str(error.told))
            return [
                self._encryption(refused),
                Finding(PUT, "skipped", "the request was not taken as it is"),
            ]
        key = ""
        if self._sse.startswith("aws:kms"):
            key = (
                f" Or it may not use the key of PETAL_S3_SSE ({self._sse}): allow"
                " kms:GenerateDataKey and kms:Decrypt on it."
            )
        return [
            Finding(ENCRYPTION, "skipped", f"needs {PUT}"),
            self._advise.objects(PUT, error, key),
        ]

    def _encryption(self, refused: S3IntegrationError) -> Finding:
        advice = f"PETAL_S3_SSE is {self._sse}; nothing is sent otherwise than it says."
        return self._advise.trouble(ENCRYPTION, refused, advice)

    async def delete(self) -> list[Finding]:
        """Delete what is not there."""
        try:
            await self._tried.delete_nothing()
        except (S3FileNotFoundError, Conflict):
            pass
        except S3IntegrationError as error:
            if error.code not in {"forbidden", "not_implemented"}:
                return [self._advise.trouble(DELETE, error)]
            advice = "Only to delete and move it is needed"
            allow = f"; {self._advise.allow(DELETE, self._advise.below)}"
            advice += allow if error.code == "forbidden" else "."
            return [Finding(DELETE, "warning", error.message, advice)]
        return [Finding(DELETE, "ok", "objects can be deleted and moved")]

    async def get(self) -> list[Finding]:
        """Read a range of a small object of its own, where that can be deleted again."""
        if self.states.get(PUT) != "ok" or self.states.get(DELETE) != "ok":
            return [await self._get_what_stands()]
        try:
            wrong = await self._tried.try_one()
        except S3IntegrationError as error:
            return [self._advise.objects(GET, error)]
        if wrong:
            advice = "Uploads do without; only downloads, and proofs by reading back, need it."
            return [Finding(GET, "warning", wrong, advice)]
        return [Finding(GET, "ok", "objects can be read, and ranges of them")]

    async def _get_what_stands(self) -> Finding:
        """Read the first byte of an object, or ask for one that is not there."""
        try:
            async with self._s3.read(self._stands or self._key, first=0, last=0):
                pass
        except (S3FileNotFoundError, BadInput):  # an empty object has no first byte
            pass
        except S3IntegrationError as error:
            if error.code == "archived":
                return Finding(GET, "ok", f"objects can be read; {self._stands} is archived")
            if error.code == "forbidden" and not self._stands:
                # AWS says "not found" only to users who may list without any condition.
                found = "it cannot be told: S3 refuses also what is not there"
                return Finding(GET, "warning", found, "Check again when the first log is up.")
            return self._advise.objects(GET, error)
        return Finding(GET, "ok", "objects can be read")

    async def features(self) -> list[Finding]:
        """Try what an upload uses where nothing of it stays, and name what is missing."""
        fine = {PUT: {"ok"}, ABORT: {"ok"}, DELETE: {"ok"}, GET: {"ok", "warning"}}
        needed = [one for one, states in fine.items() if self.states.get(one) not in states]
        found = self._not_tried(needed) if needed else await self._learnt()
        if self._tried.stays:
            found.append(kept(self._tried.stays, self._tried.folder))
        return [*found, *lacks(self._s3.capabilities)]

    def _not_tried(self, needed: list[str]) -> list[Finding]:
        found = [Finding(FEATURES, "skipped", f"needs {' and '.join(needed)}")]
        if ENCRYPTION not in self.states:
            said = f"PETAL_S3_SSE is {self._sse}, and an upload can be begun with it"
            found.append(Finding(ENCRYPTION, "ok", said))
        return found

    async def _learnt(self) -> list[Finding]:
        try:
            await learn(self._s3, self._tried.folder)
        except S3IntegrationError as error:
            if error.code != "encryption":
                return [self._advise.trouble(FEATURES, error)]
            return [self._encryption(error), Finding(FEATURES, "skipped", f"needs {ENCRYPTION}")]
        takes = "and the bucket takes it" if self._s3.server.encrypts else "and none is asked for"
        return [
            Finding(ENCRYPTION, "ok", f"PETAL_S3_SSE is {self._sse}, {takes}"),
            Finding(FEATURES, "ok", "a multipart upload, a body, a range and a copy were tried"),
        ]

    async def settings(self) -> list[Finding]:
        """How the bucket is set, where it tells a machine."""
        found = [await self._seen(STALE, bucket_checks.stale_uploads(self._s3, self._home))]
        if not self.ended:
            found.append(await self._seen(PUBLIC, bucket_checks.public(self._s3)))
        return found

    async def _seen(self, check: str, coming: Awaitable[Finding]) -> Finding:
        try:
            return await coming
        except S3IntegrationError as error:
            return self._advise.trouble(check, error)
