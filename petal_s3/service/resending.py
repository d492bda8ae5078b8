"""Send a proven log again whose object is gone from the bucket, or is another one."""

from __future__ import annotations

import os
from pathlib import Path

from petal_s3.errors import Conflict, SourceAway, SourceChanged, SourceGone
from petal_s3.logs.opening import Identity
from petal_s3.objects.file_bytes import FileBytes
from petal_s3.objects.local_bytes import holds
from petal_s3.objects.proof import judge, still_proven
from petal_s3.outbox import proven_objects, queries, remote_objects
from petal_s3.outbox.rows import Receipt, Row
from petal_s3.s3.responses import ObjectInfo
from petal_s3.service.service import Service
from petal_s3.upload.duplicates import still_there
from petal_s3.upload.source_file import SourceFile

HOLDS = "object_holds"
GONE = "source_gone"
NOT_THERE = "It is not in the bucket any more."
OTHER = "The object is not the one that was proven."

_NOT_PROVEN = {
    "queued": "is not up yet, and waits to be sent",
    "uploading": "is not up yet, and is being sent",
    "dead": "was never up: it is dead, and `petal-s3 retry {id}` examines its file again",
    "cancelled": "is cancelled: `petal-s3 retry {id}` sends its file again",
}

_GIVEN_UP = {
    "dead": "was never up: it is dead, and its file is not on this disk any more",
    "cancelled": "is cancelled, and its file is not on this disk any more",
}


async def resend(service: Service, row_id: int) -> Row:
    """Queue a proven row again whose object S3 holds no longer as it was proven; asked of S3 now.

    Its file must still hold the proven bytes. Raises :class:`S3FileNotFoundError` for an unknown
    row, :class:`Conflict` where nothing is to be sent (``not_proven``, ``object_holds``) or nothing
    can be (``source_gone``, ``source_changed``), :class:`NotAllowed` for a key of another
    machine, and what the link raises.
    """
    row = await service.outbox(queries.get, row_id)
    if row.state != "verified" or row.receipt is None:
        lies = row.state not in _GIVEN_UP or await service.files.run(os.path.lexists, row.path)
        why = (_NOT_PROVEN if lies else _GIVEN_UP)[row.state].format(id=row.id)
        raise Conflict(f"Row {row.id} {why}.", code="not_proven")
    there = await still_there(service.s3, service.objects.own(row.receipt.key))
    if there is not None and still_proven(there, row.receipt):
        await service.outbox(proven_objects.note_object, row, "")
        raise _holds(row)
    if there is None:
        await service.s3.page(row.receipt.key, limit=1)  # the bucket may be: a HEAD has no words
    await service.outbox(proven_objects.note_object, row, NOT_THERE if there is None else OTHER)
    source = await _source(service, row)
    try:
        expected = service.files.bytes_of(source.fd, source.size)
        known = (row.part_size, service.settings.set_part_size)
        await _check_file(service, row, source, expected, known)
        if there is not None:
            await _refuse_same(service, row, there, expected)
        source.check()
    except OSError as error:
        raise _unreadable(row, error) from error
    finally:
        source.close()
    await _remember(service, row.receipt.key, there)
    queued = await service.outbox(proven_objects.resend, row, source.identity)
    await service.drainer.pause.retry_now()
    return queued


def _holds(row: Row) -> Conflict:
    return Conflict(
        f"Row {row.id} is proven, and its object still holds: nothing is sent again.", code=HOLDS
    )


async def _source(service: Service, row: Row) -> SourceFile:
    """The file of a proven row, open; raises :class:`Conflict` where it is gone."""
    try:
        return await service.files.run(_opened, row)
    except Conflict as error:
        if row.spooled and error.code == GONE:
            await service.outbox(proven_objects.lose_copy, row)
        raise


def _opened(row: Row) -> SourceFile:
    """The file of a proven row, whatever it holds now; blocking. Raises why there is none."""
    path = Path(row.path)
    try:
        try:
            return SourceFile(path, row.identity, real=True)
        except SourceChanged:
            return SourceFile(path, Identity.of(os.lstat(path)), real=True)
    except (FileNotFoundError, SourceGone) as error:
        raise Conflict(_without_file(row), code=GONE) from error
    except OSError as error:
        raise _unreadable(row, error) from error


def _unreadable(row: Row, error: OSError) -> SourceAway:
    return SourceAway(f"The file {row.name} cannot be read now ({error.strerror}).")


def _without_file(row: Row) -> str:
    if row.spooled:
        return (
            f"Row {row.id} was sent from a copy of {row.name} that went when it was proven: enqueue"
            " the file itself again, wherever it lies."
        )
    return (
        f"The file {row.name} is not on this disk any more: there is nothing that could be sent"
        " again."
    )


async def _check_file(
    service: Service,
    row: Row,
    source: SourceFile,
    expected: FileBytes,
    part_sizes: tuple[int | None, ...],
) -> None:
    """Raise :class:`Conflict` unless the file holds the bytes that were proven."""
    receipt = row.receipt
    assert receipt is not None
    same = source.size == receipt.size
    if same and (source.identity.mtime_ns == row.mtime_ns):
        same = f"crc32:{await expected.crc32()}" == receipt.checksum
    elif same:  # touched, or on another mount: then a checksum of 32 bits does not tell enough
        same = await service.files.run(holds, source.fd, receipt, part_sizes)
    if not same:
        raise Conflict(
            f"The file {row.name} on this disk holds other bytes now than those that were proven:"
            " they cannot be sent again, and what it holds now is a log of its own.",
            code="source_changed",
        )


async def _refuse_same(service: Service, row: Row, there: ObjectInfo, expected: FileBytes) -> None:
    """Raise :class:`Conflict` where another object stands there that holds the same bytes."""
    judgement = await judge(there, expected, service.s3.capabilities)
    if not judgement.proof:
        return
    assert row.receipt is not None
    receipt = Receipt(
        key=there.key,
        etag=there.etag,
        checksum=row.receipt.checksum,
        size=there.size,
        proof=judgement.proof,
        verified_at=service.s3.clock.seconds(),
    )
    await service.outbox(proven_objects.prove_again, row, receipt)
    raise _holds(row)


async def _remember(service: Service, key: str, there: ObjectInfo | None) -> None:
    """What stands at the key is looked at before anything is sent there: it is never replaced."""
    if there is None:
        await service.outbox(remote_objects.remove, key)
    else:
        await service.outbox(remote_objects.add, key, there.size, there.etag)
