"""Know a proven file again that has another time or inode: its bytes are compared, once."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from petal_s3.core.threads import run_in
from petal_s3.errors import S3IntegrationError
from petal_s3.logs.opening import Identity, open_log
from petal_s3.objects.local_bytes import holds
from petal_s3.outbox import identities, queries
from petal_s3.outbox.rows import Row
from petal_s3.outbox.thread import OutboxThread

log = logging.getLogger("petal_s3")


async def known_again(
    outbox: OutboxThread, files: Executor, path: str, identity: Identity, *, part_size: int | None
) -> bool:
    """Whether the file at ``path`` holds the bytes of a proven one; then its row knows it.

    The file is read, on a thread of ``files``, only where time or inode differ from the row's.
    ``part_size``: the one that is set, if one is; the object may have been cut by it before the
    outbox was lost.
    Raises :class:`LocalStorageError`.
    """
    row = await outbox(identities.proven_at, path, identity.size)
    if row is None or row.identity == identity:
        return row is not None
    origin = row if row.same_as is None else await outbox(queries.get, row.same_as)
    known = (row.part_size, origin.part_size, part_size)
    if not await run_in(files, _is_still, row, identity, known):
        return False
    await outbox(identities.update_identity, row, identity)
    log.info("proven file known again path=%s key=%s", ascii(path), row.key)
    return True


def _is_still(row: Row, identity: Identity, known: Sequence[int | None]) -> bool:
    """Whether the file is ``identity``, and holds the bytes that ``row`` was proven by.

    ``known``: part sizes by which the object may have been brought.
    """
    assert row.receipt is not None
    try:
        fd = open_log(Path(row.path), real=True)
    except S3IntegrationError:
        return False  # found out again, and said, when the file is entered
    try:
        same = holds(fd, row.receipt, known)
        return same and Identity.of(os.fstat(fd)) == identity
    except (OSError, S3IntegrationError):
        return False
    finally:
        os.close(fd)
