"""Know a proven file again that has another time or inode: its bytes are compared, once."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from petal_s3.core.threads import run_in
from petal_s3.errors import S3IntegrationError
from petal_s3.logs.opening import Identity, open_log
from petal_s3.objects.local_bytes import holds
from petal_s3.outbox import identities, queries
from petal_s3.outbox.rows import Receipt, Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.checksums import digest

log = logging.getLogger("petal_s3")


async def known_again(
    outbox: OutboxThread, files: Executor, path: str, identity: Identity, *, part_size: int | None
) -> bool:
    """Whether the file at ``path`` holds the bytes of a proven one; then its rows know it.

    The file is read, on a thread of ``files``, only where time or inode differ from a row's: also
    a row that missed an earlier change, while one for another key waited, is known again.
    ``part_size``: the one that is set, if one is; the object may have been cut by it before the
    outbox was lost.
    Raises :class:`LocalStorageError`.
    """
    rows = await outbox(identities.proven_at, path, identity.size)
    others = [row for row in rows if row.identity != identity]
    proven = [await _proven(outbox, row, part_size) for row in others]
    same = await run_in(files, _still, proven, identity) if proven else []
    for row in same:
        await outbox(identities.update_identity, row, identity)
        log.info("proven file known again path=%s key=%s", ascii(path), row.key)
    return bool(same) or len(others) < len(rows)


@dataclass(frozen=True)
class _Proven:
    """A proven row, what proves it, and part sizes by which its object may have been brought."""

    row: Row
    receipt: Receipt
    part_sizes: Sequence[int | None]


async def _proven(outbox: OutboxThread, row: Row, part_size: int | None) -> _Proven:
    assert row.receipt is not None
    origin = row if row.same_as is None else await outbox(queries.get, row.same_as)
    return _Proven(row, row.receipt, (row.part_size, origin.part_size, part_size))


def _still(proven: Sequence[_Proven], identity: Identity) -> list[Row]:
    """The rows whose bytes the file holds; none where it is not ``identity``."""
    try:
        fd = open_log(Path(proven[0].row.path), real=True)
    except S3IntegrationError:
        return []  # found out again, and said, when the file is entered
    try:
        same = list(_agreeing(fd, proven))
        return same if Identity.of(os.fstat(fd)) == identity else []
    except (OSError, S3IntegrationError):
        return []
    finally:
        os.close(fd)


def _agreeing(fd: int, proven: Sequence[_Proven]) -> Iterator[Row]:
    checksums = {one.receipt.checksum for one in proven}
    if len(checksums) > 1:  # one reading rules out all but one of them
        read = digest(fd, 0, proven[0].row.size, md5=False)
        checksums = {f"crc32:{read.crc32_base64}"}
    for one in proven:
        if one.receipt.checksum in checksums and holds(fd, one.receipt, one.part_sizes):
            yield one.row
