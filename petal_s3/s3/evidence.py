"""What really came as an answer: noted beside what was parsed of it, and put into words."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

from petal_s3.s3.shapes import Answer, Params

if TYPE_CHECKING:
    from botocore.model import OperationModel

_ROOT = "Root"
_BEGINS = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<[?!][^>]*>\s*)*<(?:[\w.-]+:)?([\w.-]+)")
_IN_WORDS = {"": "nothing", "html": "a web page", "ListBucketResult": "a listing of the bucket"}


def send_md5(model: OperationModel, params: Params, **_: object) -> None:
    """Send the md5 of a setting beside the CRC32 that botocore sends.

    Ceph and others know only ``Content-MD5``, and refuse a lifecycle without it; botocore has
    left it out since 1.36. For its event ``before-call``.
    """
    body = params.get("body")
    if model.http_checksum.get("requestChecksumRequired") and isinstance(body, bytes):
        md5 = hashlib.md5(body, usedforsecurity=False).digest()
        params["headers"].setdefault("Content-MD5", base64.b64encode(md5).decode())


def note_root(
    response_dict: Answer | None = None,
    parsed_response: Answer | None = None,
    **_: object,
) -> None:
    """Keep the name of the answer's outermost element: the parser takes any for the right one.

    For botocore's event ``response-received``.
    """
    body = (response_dict or {}).get("body")
    if parsed_response is not None and isinstance(body, bytes | bytearray):
        found = _BEGINS.match(body)
        name = found[1].decode() if found else "text" if body.strip() else ""
        parsed_response["ResponseMetadata"][_ROOT] = "html" if name.lower() == "html" else name


def root_of(answer: Answer) -> str:
    """The outermost element of an answer; ``text`` where it is none, empty for nothing at all."""
    return str(answer.get("ResponseMetadata", {}).get(_ROOT, ""))


def came(answer: Answer) -> str:
    """What an answer was, for a sentence: ``200 and a listing of the bucket``."""
    root = root_of(answer)
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", "an answer")
    return f"{status} and {_IN_WORDS.get(root, root)}"
