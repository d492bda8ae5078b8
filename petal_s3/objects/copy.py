"""Copy an object inside the bucket, in one request or by ranges, and prove the copy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from petal_s3.core.settings import MIB
from petal_s3.errors import Mismatch, Transient
from petal_s3.objects.abort import abort_quietly
from petal_s3.objects.proof import copied_etag, copy_differs
from petal_s3.objects.user_metadata import IDENTIFYING, RECEIVED_BY, header_value
from petal_s3.s3 import multipart
from petal_s3.s3.capabilities import Capabilities
from petal_s3.s3.checksums import etag_parts
from petal_s3.s3.client import S3
from petal_s3.s3.responses import ObjectInfo

# S3 User Guide, "Copying objects": one request copies up to 5 GB; ranges of 5 MiB to 5 GiB
# may be parts, at most 10,000.
MAX_COPY_BYTES = 5_000_000_000
MAX_PARTS = 10_000
_MOVED_FROM = "moved-from"
_MOVED_ETAG = "moved-etag"
LATE_S = (1, 2, 4, 8, 15, 30, 30, 30, 0)  # two minutes, as public reports ask for 25 s
_LEAST_BYTES = 5 * MIB
_RANGE_BYTES = 256 * MIB  # copied within the deadline of a slow request
METADATA_BYTES = 2048 - len("part-size") - 12  # S3 User Guide, "User-defined object metadata"


@dataclass(frozen=True)
class Copier:
    """Copies objects of one bucket; ``limit``: above it a copy is made by ranges, bytes.

    ``late_s``: the pauses in which a copy that was made is waited for, seconds. ``minimal``: of the
    metadata of a source a copy keeps none that identify.
    """

    s3: S3
    limit: int = MAX_COPY_BYTES
    late_s: Sequence[float] = LATE_S
    minimal: bool = False

    async def copy(
        self, source: ObjectInfo, target: str, more: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        """Copy ``source`` with ``more`` metadata; return what stands at ``target`` then.

        Raises :class:`Conflict` when the target is taken, on servers that know how to tell, and
        :class:`Mismatch` when the copy cannot be told to be equal.
        """
        more = more or {}
        about = _fitting(source, more, IDENTIFYING if self.minimal else frozenset())
        expected = ""
        if source.size <= self.limit:
            await self.s3.copy(about, target, {})
        else:
            expected = await self._by_ranges(about, target)
        there = await self._shown(target)
        if copy_differs(source, there, self.s3.capabilities, expected):
            raise Mismatch("The copy in S3 is not what was copied; the source is kept.")
        if any(there.metadata.get(name) != value for name, value in more.items()):
            by = f"the copy {target} has the metadata of its source"
            self.s3.learn("copy_metadata", offered=False, by=by)
        return there

    async def _shown(self, target: str) -> ObjectInfo:
        """What S3 says of a copy that it has made; it may show it late."""
        for pause_s in self.late_s:
            there = await self.s3.head(target)
            if there is not None:
                return there
            await asyncio.sleep(pause_s)
        raise Transient(
            f"S3 answered that it made the copy {target}, and does not show it.",
            code="not_yet_there",
        )

    async def _by_ranges(self, source: ObjectInfo, target: str) -> str:
        """Copy range by range; return the ETag that the copy must have."""
        part_size = _part_size(source)
        upload_id, checksummed = await multipart.begin(
            self.s3,
            target,
            content_type=source.content_type or "application/octet-stream",
            metadata={**source.metadata, "part-size": str(part_size)},
        )
        async with contextlib.AsyncExitStack() as on_failure:
            on_failure.push_async_callback(abort_quietly, self.s3, target, upload_id)
            parts = [
                await multipart.copy_part(
                    self.s3, source, target, upload_id, number, range(first, last + 1)
                )
                for number, first, last in _ranges(source.size, part_size)
            ]
            if not all(part.crc32 for part in parts):
                # moto and some others tell no checksum of a copied part, and yet want it named.
                checksummed = False
                parts = [replace(part, crc32="") for part in parts]
            await multipart.complete(
                self.s3,
                target,
                upload_id,
                parts,
                crc32=None,
                size=source.size,
                checksummed=checksummed,
            )
            on_failure.pop_all()
        return copied_etag(source, part_size, parts)


def move_marks(source: ObjectInfo) -> dict[str, str]:
    """The metadata by which the copy that a move makes of ``source`` is known again."""
    return {_MOVED_FROM: header_value(source.key), _MOVED_ETAG: source.etag}


def was_moved_from(there: ObjectInfo, key: str) -> bool:
    """Whether an object says that a move made it of the object at ``key``."""
    return there.metadata.get(_MOVED_FROM) == header_value(key)


def is_own_copy(source: ObjectInfo, there: ObjectInfo, capabilities: Capabilities) -> bool:
    """Whether an object is a copy that an earlier move made of ``source``, its answer lost."""
    marks = move_marks(source)
    marked = all(there.metadata.get(name) == value for name, value in marks.items())
    # Where a copy keeps the metadata of its source, the same bytes have to do.
    unmarked = capabilities.lacks("copy_metadata") and there.etag == source.etag
    return (marked or unmarked) and not copy_differs(source, there, capabilities)


def _part_size(source: ObjectInfo) -> int:
    """That of the source where it is known: then the ETag stays the same and proves the copy."""
    least = max(_LEAST_BYTES, -(-source.size // MAX_PARTS))
    known = source.part_size or 0
    parts = etag_parts(source.etag) or 0
    if known >= least and parts == -(-source.size // known):
        return known
    return max(_RANGE_BYTES, -(-least // MIB) * MIB)


def _ranges(size: int, part_size: int) -> Iterator[tuple[int, int, int]]:
    for number, first in enumerate(range(0, size, part_size), start=1):
        yield number, first, min(first + part_size, size) - 1


def _fitting(
    source: ObjectInfo, more: Mapping[str, str], without: frozenset[str] = frozenset()
) -> ObjectInfo:
    """``source`` with ``more`` metadata; of its own, ``without`` some, stays what then fits into
    S3's 2 KB."""
    about = dict(more)
    left = METADATA_BYTES - sum(len(name) + len(value) for name, value in about.items())
    # How it came in is told of it wherever it goes.
    for name, value in sorted(source.metadata.items(), key=lambda item: item[0] != RECEIVED_BY):
        size = len(name) + len(value)
        if name not in about and name not in without and size <= left:
            about[name] = value
            left -= size
    return replace(source, metadata=about)
