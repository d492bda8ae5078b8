"""Compare disk, outbox and bucket once more, log by log; queue again what the bucket lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from petal_s3.errors import (
    Conflict,
    NotAllowed,
    S3FileNotFoundError,
    SourceAway,
    SourceChanged,
    SourceGone,
)
from petal_s3.objects.proof import judge, still_proven
from petal_s3.outbox import proven_objects, queries
from petal_s3.outbox.rows import Receipt, Row
from petal_s3.s3.responses import ObjectInfo
from petal_s3.service.resending import NOT_THERE, resend
from petal_s3.service.service import Service
from petal_s3.upload.source_file import SourceFile

_PAGE = 500


@dataclass(frozen=True)
class Compared:
    """What became of one log; ``differs`` is one sentence, empty where all agree.

    ``disk``: whether its file lies here still and was read to its end. ``row_id``: its row, where
    it has one that is proven. ``queued``: it is queued again; ``not_queued``: why it is not.
    """

    key: str
    disk: bool = False
    differs: str = ""
    row_id: int | None = None
    queued: bool = False
    not_queued: str = ""


async def verify(
    service: Service, keys: Sequence[str] = (), *, repair: bool = False
) -> AsyncIterator[Compared]:
    """Compare the logs that the outbox calls proven: those of ``keys``, or all, the latest first.

    Of each the object is asked for, and the file is read where it still lies on the disk.
    ``repair``: what differs is queued again where :func:`petal_s3.service.resending.resend` can.
    Raises what the link, the credentials or the disk raise, :class:`NotAllowed` for a key that was
    named, and :class:`BadInput`.
    """
    async for one in _all_compared(service, keys):
        yield await _repaired(service, one) if repair and one.differs else one


async def _repaired(service: Service, one: Compared) -> Compared:
    if one.row_id is None:
        return one
    try:
        await resend(service, one.row_id)
    except (Conflict, NotAllowed, SourceAway) as error:
        return replace(one, not_queued=error.message)
    return replace(one, queued=True)


async def _all_compared(service: Service, keys: Sequence[str]) -> AsyncIterator[Compared]:
    if not keys:
        async for row in _proven(service):
            yield await _compared(service, row)
        return
    for key in dict.fromkeys(service.objects.own(key) for key in keys):
        rows = await service.outbox(queries.at_key, key)
        proven = [row for row in rows if row.state == "verified"]
        for row in proven:
            yield await _compared(service, row)
        if not proven:
            yield Compared(key, differs=await _unknown(service, key, rows))


async def _proven(service: Service) -> AsyncIterator[Row]:
    before: int | None = None
    while rows := await service.outbox(queries.rows, "verified", _PAGE, before):
        for row in rows:
            yield row
        before = rows[-1].id


async def _unknown(service: Service, key: str, rows: Sequence[Row]) -> str:
    """What is wrong with a key that no proven log has."""
    try:
        await service.objects.head(key)
    except S3FileNotFoundError:
        await service.s3.page(key, limit=1)  # as below
        if rows:
            return f"It is not up: its row {rows[0].id} is {rows[0].state}."
        return "Neither the bucket nor this outbox knows it."
    if rows:
        return f"It is in the bucket, but its row {rows[0].id} is {rows[0].state}."
    return "It is in the bucket, but this outbox does not know it."


async def _compared(service: Service, row: Row) -> Compared:
    assert row.receipt is not None
    found = Compared(row.key, row_id=row.id)
    try:
        info = await service.objects.head(row.key)
    except NotAllowed as error:  # brought under an id that this machine has no longer
        return replace(found, differs=error.message)
    except S3FileNotFoundError:
        await service.s3.page(row.key, limit=1)  # the bucket may be missing: a HEAD has no words
        await service.outbox(proven_objects.note_object, row, NOT_THERE)
        return replace(found, differs=NOT_THERE)
    differs = _with_receipt(info, row.receipt)
    await service.outbox(proven_objects.note_object, row, differs)
    if differs or row.spooled or row.local == "deleted":
        return replace(found, differs=differs)
    return await _compared_with_disk(service, row, info, row.receipt)


async def _compared_with_disk(
    service: Service, row: Row, info: ObjectInfo, receipt: Receipt
) -> Compared:
    found = Compared(row.key, row_id=row.id)
    try:
        source = await service.files.run(
            lambda: SourceFile(Path(row.path), row.identity, real=True)
        )
    except SourceGone:
        return found  # retention deleted it, with the proof
    except SourceChanged:
        return replace(found, differs=f"{row.name} on this disk is another file now.")
    except SourceAway as error:
        return replace(found, differs=error.message)
    try:
        differs = await _with_file(service, info, receipt, source)
        return replace(found, disk=True, differs=differs)
    except (OSError, SourceChanged) as error:
        why = error.strerror if isinstance(error, OSError) else error.message
        return replace(found, differs=f"{row.name} cannot be read to its end ({why}).")
    finally:
        source.close()


def _with_receipt(info: ObjectInfo, receipt: Receipt) -> str:
    if info.size != receipt.size:
        return f"The object has {info.size} bytes, and {receipt.size} were proven."
    if not still_proven(info, receipt):
        return "The object is not the one that was proven: its ETag or checksum is another."
    return ""


async def _with_file(
    service: Service, info: ObjectInfo, receipt: Receipt, source: SourceFile
) -> str:
    """Read the file and say how the object, which its receipt still fits, differs from it."""
    expected = service.files.bytes_of(source.fd, source.size)
    same = f"crc32:{await expected.crc32()}" == receipt.checksum
    judgement = await judge(info, expected, service.s3.capabilities, presume=True)
    source.check()
    if not same or judgement.differs:
        return f"{source.path.name} on this disk holds other bytes than the object."
    return ""
