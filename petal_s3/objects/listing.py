"""List objects below a prefix, page by page; the token of a page is of this very listing."""

from __future__ import annotations

import zlib

from petal_s3.errors import BadInput, NotS3
from petal_s3.s3.client import S3
from petal_s3.s3.responses import ObjectInfo, Page

PAGE = 1000
"""S3 gives at most so many objects at once."""

_LONGEST_TOKEN = 4096


def _told_by(mark: str, token: str) -> str:
    """S3's own token in a ``next_token`` of ours; raises :class:`BadInput` for any other.

    ``mark``: how tokens of this listing begin. To one that they did not make, some servers answer
    with a failure of their own.
    """
    known = token.isprintable() and len(token) <= _LONGEST_TOKEN and token.startswith(mark)
    if not known or token == mark:
        raise BadInput("token is not the next_token of the page before, of this very prefix.")
    return token.removeprefix(mark)


async def listed(s3: S3, prefix: str, limit: int, token: str | None) -> Page:
    """Up to ``limit`` objects below the whole ``prefix``: as many requests as that takes.

    ``token``: the ``next_token`` of the page before; raises :class:`BadInput` for any other.
    """
    mark = f"{zlib.crc32(prefix.encode()):08x}."
    following = None if token is None else _told_by(mark, token)
    found: list[ObjectInfo] = []
    while True:
        page = await s3.page(prefix, limit=max(1, min(PAGE, limit - len(found))), token=following)
        found += page.objects
        before, following = following, page.next_token
        if following is not None and following == before:
            raise NotS3("A listing does not end: its next page is the same one.")
        if following is None or len(found) >= limit:
            return Page(found, None if following is None else mark + following)
