"""What an error means that S3 answered with, by its code, its status and the operation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from petal_s3.errors import NotS3, S3FileNotFoundError, S3IntegrationError, Told, Transient
from petal_s3.s3.error_codes import NO, STATUSES, TABLE, UNWELL, Meaning
from petal_s3.s3.evidence import is_page, short_line
from petal_s3.s3.server_time import FROM_CACHE, from_cache, retry_after_s
from petal_s3.s3.shapes import Answer

if TYPE_CHECKING:
    from botocore import exceptions as boto

_LOGIN = {407, 511}
# Nothing depends on these; a server without them may say so in its own way.
_OPTIONAL = {
    "ListMultipartUploads",
    "GetBucketPolicyStatus",
    "GetPublicAccessBlock",
    "PutPublicAccessBlock",
    *(
        f"{verb}Bucket{setting}"
        for verb in ("Get", "Put", "Delete")
        for setting in (
            "Versioning",
            "Encryption",
            "Logging",
            "LifecycleConfiguration",
            "Cors",
            "Policy",
        )
    ),
}
# Their answers have no body, and so no code.
_HEADS = {"HeadObject", "HeadBucket"}
_CLOCK_WORDS = re.compile(r"\bdate\b|signature expired|not yet current", re.IGNORECASE)
_NO_CODE = "An answer came in which S3 would name a code ({told})."
_LOGIN_PAGE = "A web page came instead of an answer of S3 ({told}): the network may need a login."
_WITHOUT_TLS = (
    "PETAL_S3_ENDPOINT_URL is http://: a TLS-only policy of the bucket refuses every request there."
)
_WORDLESS = "S3 did not say why ({told}); it is tried again."
# A 404 to what names an upload is about the upload, whatever the code says (Ceph: NoSuchKey).
_OF_AN_UPLOAD = {
    "UploadPart",
    "UploadPartCopy",
    "ListParts",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
}


def answered(
    error: boto.ClientError, options: str, *, over_http: bool = False
) -> S3IntegrationError:
    """Our error for an answer that is an error; ``options``: what the request carried, in words.

    ``over_http``: it went without TLS, which a bucket's policy may refuse.
    """
    answer: Answer = error.response
    details = answer.get("Error", {})
    meta = answer.get("ResponseMetadata", {})
    code, status = str(details.get("Code") or ""), int(meta.get("HTTPStatusCode") or 0)
    headers = meta.get("HTTPHeaders") or {}
    if from_cache(headers):
        return NotS3(FROM_CACHE)
    told = _told(error, status, options)
    # The empty answer to a HEAD does not show what answers, and some servers label it HTML.
    wordless = error.operation_name in _HEADS
    kind, our_code, sentence = _meaning(error.operation_name, code, told)
    if code not in TABLE and not wordless and status not in _LOGIN:
        if is_page(answer):
            return login_page(told)
        if not code:
            kind, our_code, sentence = NotS3, "not_s3", _NO_CODE
    if our_code == "not_implemented" and "server-side-encryption" in told.asked:
        sentence = f"{sentence} If that is its encryption, set PETAL_S3_SSE."
    if our_code == "forbidden" and over_http:
        sentence = f"{sentence} {_WITHOUT_TLS}"
    found = kind(sentence.format(told=told), code=our_code, retry_after_s=retry_after_s(headers))
    found.told = told
    return found


def login_page(told: Told) -> NotS3:
    """The error for a web page in place of an answer: it shows nothing of S3."""
    error = NotS3(_LOGIN_PAGE.format(told=told))
    error.page = told
    return error


def _told(error: boto.ClientError, status: int, options: str) -> Told:
    details = error.response.get("Error", {})
    code = str(details.get("Code") or "")
    # botocore puts the status in place of a code that is not there.
    code = "" if code == str(status) else short_line(code)[:80] if code else ""
    message = str(details.get("Message") or "") if code else ""
    asked = f"{error.operation_name} with {options}" if options else error.operation_name
    return Told(asked, status, code, short_line(message)[:120] if message else "")


def _meaning(operation: str, code: str, told: Told) -> Meaning:
    if code.startswith("KMS."):
        denied = "AccessDenied" in code
        code = "AccessDenied" if denied else "InvalidEncryptionAlgorithmError"
    if told.status == 404 and operation in _OF_AN_UPLOAD and code != "NoSuchBucket":
        code = "NoSuchUpload"
    if told.status == 405 and operation in _OPTIONAL:
        code = "NotImplemented"
    if code == "NoSuchUpload" and operation == "ListMultipartUploads":
        return S3FileNotFoundError, "no_uploads", "There are no open uploads ({told})."  # rclone
    if code in {"AuthorizationHeaderMalformed", "SignatureDoesNotMatch"}:
        code = "RequestTimeTooSkewed" if _CLOCK_WORDS.search(told.message) else code
    if code in TABLE:
        return TABLE[code]
    unknown = UNWELL if told.code else _WORDLESS
    if told.code and told.status == 400:
        return Transient, "s3_refused", NO  # its own words say more than we know
    return STATUSES.get(told.status) or (Transient, "s3_unwell", unknown)
