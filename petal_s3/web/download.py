"""Stream an object, whole or in part (the header ``Range``: RFC 9110, 14.1 and 14.2)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from urllib.parse import quote

from petal_s3.s3.responses import ObjectInfo
from petal_s3.service.service import Service
from petal_s3.web.requests import KeyAsk
from petal_s3.web.routing import Call, NoSuchRange, Reply, joined

_ONE = re.compile(r"bytes=\s*(\d{0,40})-(\d{0,40})\s*", re.IGNORECASE | re.ASCII)
_SAFE_NAME = "attachment; filename*=UTF-8''"


def parse_range(
    headers: Mapping[str, str], size: int, etag: str
) -> tuple[int, int] | tuple[None, int]:
    """First and last byte that are asked for; none and the last where the whole object is.

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


async def download(service: Service, ask: KeyAsk, call: Call) -> Reply:
    """Stream an object, or the part of it that the header ``Range`` names (RFC 9110, 14)."""
    info = await service.objects.head(ask.s3_key)
    first, last = parse_range(call.headers, info.size, info.etag)
    headers = _headers(info, first, last)
    if first is None and not info.size:
        return Reply(b"", headers=headers, content_type="application/octet-stream")
    stack = contextlib.AsyncExitStack()
    wanted = {} if first is None else {"first": first, "last": last}
    # Opened before anything is answered: until then a failure can still be answered as one.
    _, blocks = await stack.enter_async_context(
        service.objects.read(info.key, etag=info.etag, **wanted)
    )
    coming = _closing(stack, blocks)
    begun = await anext(coming, b"")  # one that has begun gives its connection back, whatever comes
    return Reply(
        joined(begun, coming),
        status=200 if first is None else 206,
        headers=headers,
        content_type=_header(info.content_type) or "application/octet-stream",
    )


def _headers(info: ObjectInfo, first: int | None, last: int) -> dict[str, str]:
    name = quote(info.key.rpartition("/")[2], safe="")
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": f'"{info.etag}"',
        "Content-Disposition": f"{_SAFE_NAME}{name}",
        "Content-Length": str(info.size if first is None else last - first + 1),
    }
    if first is not None:
        headers["Content-Range"] = f"bytes {first}-{last}/{info.size}"
    return headers


def _header(text: str) -> str:
    """``text`` where it may stand in a header; the program that stored the object chose it."""
    return text if text.isascii() and text.isprintable() else ""


async def _closing(
    stack: contextlib.AsyncExitStack, blocks: AsyncIterator[bytes]
) -> AsyncGenerator[bytes, None]:
    async with stack:
        async for block in blocks:
            yield block
