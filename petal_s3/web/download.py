"""Understand the header ``Range`` (RFC 9110, 14.1 and 14.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from petal_s3.errors import BadInput

_ONE = re.compile(r"bytes=\s*(\d{0,40})-(\d{0,40})\s*", re.IGNORECASE | re.ASCII)


class NoSuchRange(BadInput):
    """Nothing of the object lies in the range; ``size`` is that of the object."""

    code = "no_such_range"
    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"The object has {size} bytes; nothing of it lies in this range.")
        self.size = size


def stretch(headers: Mapping[str, str], size: int, etag: str) -> tuple[int, int] | tuple[None, int]:
    """First and last byte that are asked for; none where the whole object is.

    What cannot be read as one range is ignored, as RFC 9110 wants it, and so is a range of
    another version (``If-Range``). Raises :class:`NoSuchRange` (416).
    """
    found = _ONE.fullmatch(headers.get("range", ""))
    if found is None or found[1] == found[2] == "":
        return None, size - 1
    if headers.get("if-range", f'"{etag}"') != f'"{etag}"':
        return None, size - 1
    if not found[1]:
        first, last = max(0, size - int(found[2])), size - 1
    else:
        first, last = int(found[1]), min(size - 1, int(found[2] or size - 1))
        if found[2] and int(found[2]) < first:
            return None, size - 1
    if first >= size or last < first:
        raise NoSuchRange(size)
    return first, last
