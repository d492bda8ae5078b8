"""Encode what is written beside an object: its user metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

DESCRIPTION = "description"
RECEIVED_BY = "received-by"
ORIGINAL_NAME = "original-filename"
IDENTIFYING = frozenset({ORIGINAL_NAME, "sys-uuid", "ver-hw"})
"""What PETAL_S3_METADATA=minimal leaves out: the name of the file, the ids of the hardware."""
_CUT_ESCAPE = re.compile(r"%[0-9A-F]?\Z")
_MAX_BYTES = 2048  # S3 User Guide, "User-defined object metadata"


def header_value(text: str) -> str:
    """Percent-encode ``text`` so that it may travel as user metadata (US-ASCII headers)."""
    encoded = quote(text.encode("utf-8", "surrogateescape"), safe="/:+,=@")
    return _CUT_ESCAPE.sub("", encoded[:1024])


def metadata(pairs: Iterable[tuple[str, str]], *, minimal: bool = False) -> dict[str, str]:
    """Encode user metadata; empty values are left out, S3's limit of 2 KB in all is kept.

    ``minimal``: without what is :data:`IDENTIFYING`.
    A ``description`` is cut where it does not fit; any other value would then say another thing,
    and is left out. Of two values of one name the first counts.
    """
    encoded: dict[str, str] = {}
    left = _MAX_BYTES
    for name, value in pairs:
        if minimal and name in IDENTIFYING:
            continue
        text = header_value(value)
        if name == DESCRIPTION:
            text = _CUT_ESCAPE.sub("", text[: max(0, left - len(name))])
        size = len(name) + len(text)
        if text and size <= left and name not in encoded:
            encoded[name] = text
            left -= size
    return encoded
