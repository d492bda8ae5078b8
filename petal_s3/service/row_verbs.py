"""What a person may do to rows: each verb does it, or says in one sentence why it did nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from petal_s3.errors import Conflict, S3FileNotFoundError, S3IntegrationError
from petal_s3.outbox import queries, requests
from petal_s3.outbox.rows import Row

if TYPE_CHECKING:
    from petal_s3.service.service import Service

ALREADY_SO = "already_so"
"""Code of a verb that found everything as it was asked for: nothing was changed."""

_NOT_RETRIED = (
    "Row {id} is proven: nothing was tried again. Where its object is gone from the bucket,"
    " `petal-s3 resend {id}` sends it again."
)
_NOT_CANCELLED = "Row {id} is proven: there is nothing to cancel. `petal-s3 rm` deletes an object."


def is_so(error: S3IntegrationError) -> bool:
    """Whether a verb did nothing because everything is as it was asked for."""
    return error.code == ALREADY_SO


async def retry(service: Service, row_id: int) -> Row:
    """Try a waiting row now, a dead or cancelled one again.

    Raises :class:`S3FileNotFoundError`, and :class:`Conflict` for a row that is proven
    (``proven``) or on its way (``already_so``).
    """
    row = await service.outbox(queries.get, row_id)
    if row.state == "verified":
        raise Conflict(_NOT_RETRIED.format(id=row.id), code="proven")
    if row.state == "uploading":
        raise Conflict(f"Row {row.id} is on its way already.", code=ALREADY_SO)
    return await service.retry(row.id)


async def cancel(service: Service, row_id: int, *, purge: bool = False) -> Row:
    """Give a row up that is not proven; errors as of :func:`retry`.

    Its copy in the spool stays for a day, unless ``purge``: that takes also the copy of a row that
    was cancelled before.
    """
    row = await service.outbox(queries.get, row_id)
    if row.state == "verified":
        raise Conflict(_NOT_CANCELLED.format(id=row.id), code="proven")
    if row.state == "cancelled" and not (purge and row.has_copy):
        raise Conflict(f"Row {row.id} is cancelled already.", code=ALREADY_SO)
    return await service.cancel(row.id, purge=purge)


async def pin(service: Service, row_id: int) -> Row:
    """Have retention keep the file of a row.

    Raises :class:`S3FileNotFoundError`, and :class:`Conflict` where it is kept already
    (``already_so``) or was deleted before (``source_gone``).
    """
    row = await service.outbox(queries.get, row_id)
    if row.pinned:
        raise Conflict(f"Row {row.id} is pinned already.", code=ALREADY_SO)
    if row.local == "deleted":
        raise Conflict(
            f"Row {row.id} cannot be pinned: its file was deleted, after it was proven.",
            code="source_gone",
        )
    return await service.pin(row.id, pinned=True)


async def unpin(service: Service, row_id: int) -> Row:
    """Let retention have the file of a row again; errors as of :func:`pin`."""
    row = await service.outbox(queries.get, row_id)
    if not row.pinned:
        raise Conflict(f"Row {row.id} is not pinned.", code=ALREADY_SO)
    return await service.pin(row.id, pinned=False)


async def dismiss(service: Service, row_ids: Sequence[int]) -> int:
    """Count and show these dead rows no longer, all or none; their files stay. Return how many.

    Raises :class:`S3FileNotFoundError`, and :class:`Conflict` for a row that is not dead
    (``not_dead``), or where all are dismissed already (``already_so``).
    """
    shown = await service.outbox(requests.dismiss, row_ids)
    if not shown:
        one = len(set(row_ids)) == 1
        said = f"Row {row_ids[0]} is dismissed already." if one else "They are dismissed already."
        raise Conflict(said, code=ALREADY_SO)
    return shown


async def dismiss_dead(service: Service) -> int:
    """Count and show no dead row any longer; raises :class:`Conflict` where there is none."""
    shown = await service.outbox(requests.dismiss_dead)
    if not shown:
        raise Conflict("No row is dead: nothing was dismissed.", code=ALREADY_SO)
    return shown


async def delete_object(service: Service, key: str) -> str:
    """Delete an object that is there; its row becomes cancelled. Return its plain key.

    One that vanished, but that the outbox calls proven, counts as there. Raises
    :class:`S3FileNotFoundError` where there is none, and as ``Objects.delete``.
    """
    key = service.objects.own(key)
    try:
        await service.objects.head(key)
    except S3FileNotFoundError:
        await service.s3.page(key, limit=1)  # the bucket may be missing: a HEAD has no words
        if not any(row.receipt for row in await service.outbox(queries.at_key, key)):
            raise
    return await service.objects.delete(key)
