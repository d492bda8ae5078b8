"""What really came as an answer: noted beside what was parsed of it, and put into words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from petal_s3.s3.shapes import Answer

_ROOT = "Root"
_BEGINS = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<[?!][^>]*>\s*)*<(?:[\w.-]+:)?([\w.-]+)")
_BOOLEAN = re.compile(rb"<(?:[\w.-]+:)?(\w+)>\s*(true|false)\s*<", re.IGNORECASE)
_OF_SWITCHES = ("PolicyStatus", "PublicAccessBlockConfiguration")
_IN_WORDS = {"": "nothing", "html": "a web page", "ListBucketResult": "a listing of the bucket"}


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


def note_booleans(
    response_dict: Answer | None = None,
    parsed_response: Answer | None = None,
    **_: object,
) -> None:
    """Read TRUE as true, which MinIO writes and the parser takes for false; drop what is neither.

    For botocore's event ``response-received``, as above.
    """
    body = (response_dict or {}).get("body")
    for name in _OF_SWITCHES:
        told = (parsed_response or {}).get(name)
        if isinstance(told, dict) and isinstance(body, bytes | bytearray):
            found = {one.decode(): said.lower() == b"true" for one, said in _BOOLEAN.findall(body)}
            known = {one: said for one, said in found.items() if one in told}
            told.clear()
            told.update(known)


def root_of(answer: Answer) -> str:
    """The outermost element of an answer; ``text`` where it is none, empty for nothing at all."""
    return str(answer.get("ResponseMetadata", {}).get(_ROOT, ""))


def bears_marks(answer: Answer, headers: Mapping[str, str]) -> bool:
    """Whether an answer has what S3 alone puts there: a header of its own, or its XML."""
    if is_page(answer):
        return False
    named = any(name.lower().startswith("x-amz") for name in headers)
    return named or root_of(answer) not in {"", "html", "text"}


def is_page(answer: Answer) -> bool:
    """Whether a web page came: a body that is called HTML, or begins like it. An empty one is none,
    whatever it is called (moto's refusals by a policy)."""
    meta = answer.get("ResponseMetadata", {})
    called = "html" in str((meta.get("HTTPHeaders") or {}).get("content-type", ""))
    return root_of(answer) == "html" or (called and meta.get(_ROOT) != "")


def came(answer: Answer) -> str:
    """What an answer was, for a sentence: ``200 and a listing of the bucket``."""
    root = root_of(answer)
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", "an answer")
    return f"{status} and {_IN_WORDS.get(root, root)}"


def short_line(text: object) -> str:
    """One short line of printable text out of what a server or library said."""
    return re.sub(r"[^\x20-\x7e]+", " ", str(text or "no reason given"))[:200]
