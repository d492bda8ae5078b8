"""Keep the logs and results of a diagnosis session: text through the outbox, found by session."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from petal_s3.core.kinds import TEXT_KINDS
from petal_s3.errors import BadInput, S3FileNotFoundError, S3IntegrationError
from petal_s3.intake.enqueue import locate
from petal_s3.logs.log_time import log_time
from petal_s3.logs.opening import open_log
from petal_s3.logs.sniff import kind_of, refused, shown_name
from petal_s3.objects.key_names import session_folder, stamped
from petal_s3.objects.user_metadata import DESCRIPTION
from petal_s3.outbox import queries
from petal_s3.outbox.rows import Row
from petal_s3.s3.responses import ObjectInfo
from petal_s3.service import signing
from petal_s3.service.service import Service
from petal_s3.service.views.objects import upload_view
from petal_s3.service.views.sessions import S3LogMetadata

MIB = 1024 * 1024
MAX_TEXT_BYTES = 500 * MIB
MAX_RESULT_BYTES = 16 * MIB
_DESCRIPTION_CHARS = 1024
_BLOCK_BYTES = 1024 * 1024
_URL_S = 3600
_RESULT_NAME = re.compile(r"[A-Za-z0-9_ -][A-Za-z0-9._ -]{0,99}")


def megabytes(size: int) -> float:
    """Bytes in megabytes of 1024 * 1024."""
    return size / MIB


def check_text(name: str, size: int) -> None:
    """Raise :class:`NotAFlightLog` unless a file of this name and size may be a session's log."""
    kind_of(name, shown_name(name), TEXT_KINDS)
    if size > MAX_TEXT_BYTES:
        raise refused(
            "too_large",
            f"File too large: {megabytes(size):.1f}MB (max: {MAX_TEXT_BYTES // MIB}MB).",
        )


async def enter_log(
    service: Service,
    path: str | os.PathLike[str],
    session_id: str,
    *,
    description: str = "",
    inside_only: bool = False,
    **more: Any,
) -> Row:
    """Enter a text log into the outbox for a session, durably; returns at once.

    What is sent is the file as it is now: it may be written to meanwhile, as the log of a running
    program is. The same file asked for again, unchanged, gives the same row while it waits, and
    the same object ever after. ``more``: ``name``, ``priority``. Raises
    :class:`BadInput` (``bad_session``), :class:`NotAFlightLog`, :class:`NotAllowed`,
    :class:`S3FileNotFoundError`, :class:`LocalStorageError`.
    """
    session_folder(service.ownership.machine_prefix, session_id)
    real, _ = await service.files.run(
        lambda: locate(path, service.intake.directories, inside_only=inside_only)
    )
    name = Path(more.pop("name", None) or os.fspath(path)).name
    status = await service.files.run(_status, real)
    check_text(name, status.st_size)
    moment = log_time(real.with_name(name), status.st_mtime_ns, compact=True)
    folder = session_folder(service.ownership.machine_prefix, session_id, "logs")
    async with contextlib.aclosing(read_blocks(service, real, status.st_size)) as blocks:
        return await service.receive(
            blocks,
            name,
            key=f"{folder}{stamped(name, moment)}",
            announced=status.st_size,
            kinds=TEXT_KINDS,
            session_id=session_id,
            facts={DESCRIPTION: _said(description)} if description else {},
            **more,
        )


def _said(description: str) -> str:
    """A description as a row keeps it: cut to what metadata hold, never inside a character."""
    text = description[:_DESCRIPTION_CHARS]
    return text.encode("utf-8", "backslashreplace").decode()


def _status(real: Path) -> os.stat_result:
    fd = open_log(real, real=True)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


async def read_blocks(service: Service, real: Path, size: int) -> AsyncGenerator[bytes, None]:
    """The first ``size`` bytes of a file; what is added meanwhile is left for the next upload."""
    fd = await service.files.run(lambda: open_log(real, real=True))
    try:
        at = 0
        while at < size:
            block = await service.files.run(os.pread, fd, min(_BLOCK_BYTES, size - at), at)
            if not block:
                return  # it was cut off: what is there is what it is now
            at += len(block)
            yield block
    finally:
        await service.files.run(os.close, fd)


async def upload_log(
    service: Service, path: str | os.PathLike[str], session_id: str, description: str = ""
) -> S3LogMetadata:
    """Upload a text log and return when it is proven.

    Raises as :func:`enter_log`; :class:`NotNow` when nothing can be sent now: it stays in the
    outbox and is sent later.
    """
    row = await enter_log(service, path, session_id, description=description)
    return await metadata_of(service, await service.wait(row.id, while_blocked=False))


async def save_result(
    service: Service, session_id: str, result: Mapping[str, object], name: str = "analysis"
) -> S3LogMetadata:
    """As :func:`enter_result`, and return when it is proven, as :func:`upload_log` does."""
    row = await enter_result(service, session_id, result, name)
    return await metadata_of(service, await service.wait(row.id, while_blocked=False))


async def enter_result(
    service: Service, session_id: str, result: Mapping[str, object], name: str = "analysis"
) -> Row:
    """Enter the result of an analysis into the outbox as JSON, durably; returns at once.

    It stands at ``…/sessions/{session_id}/analysis/{time of receipt}_{name}.json``. Raises
    :class:`BadInput` for what is no JSON or larger than 16 MiB, else as :func:`enter_log`.
    """
    folder = session_folder(service.ownership.machine_prefix, session_id, "analysis")
    if not _RESULT_NAME.fullmatch(name):
        raise BadInput(
            "The name of a result has 1 to 100 letters, digits, spaces, dots, - and _, and does not"
            " begin with a dot.",
            code="bad_name",
        )
    body = await service.files.run(_as_json, result)
    file = f"{name.removesuffix('.json')}.json"
    return await service.receive(
        _once(body),
        file,
        key=f"{folder}{stamped(file, service.s3.clock.utcnow())}",
        announced=len(body),
        kinds=frozenset({"json"}),
        session_id=session_id,
    )


def _as_json(result: Mapping[str, object]) -> bytes:
    try:
        text = json.dumps(dict(result), ensure_ascii=False, allow_nan=False, indent=1)
        body = text.encode()
    except (TypeError, ValueError, RecursionError, RuntimeError) as error:
        raise BadInput(
            "The result is no JSON: it holds what JSON has no word for, or a number that is none.",
            code="no_json",
        ) from error
    if len(body) > MAX_RESULT_BYTES:
        raise BadInput(
            f"The result is too large: {megabytes(len(body)):.1f}MB"
            f" (max: {MAX_RESULT_BYTES // MIB}MB).",
            code="too_large",
            status=413,
        )
    return body


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def metadata_of(service: Service, done: Row) -> S3LogMetadata:
    """Describe the proven log of a settled row; raises :class:`S3UploadError` if it is not proven.

    Without a URL where none can be signed now: the log is proven all the same.
    """
    sent = upload_view(service.settings, done)
    assert done.receipt is not None
    bucket = service.settings.bucket_name
    url: str | None = None
    with contextlib.suppress(S3IntegrationError):
        url = (await signing.presign(service, done.key, _URL_S)).url
    at = datetime.fromtimestamp(done.receipt.verified_at, timezone.utc)
    return S3LogMetadata(
        s3_uri=f"s3://{bucket}/{done.key}",
        bucket=bucket,
        key=done.key,
        file_name=done.name,
        file_size=done.size,
        upload_timestamp=at.isoformat(),
        session_id=done.session_id or "",
        content_type=sent.content_type,
        presigned_url=url,
        etag=done.receipt.etag,
    )


async def list_logs(service: Service, session_id: str) -> list[ObjectInfo]:
    """The logs of a session that are in the bucket, by key.

    Raises :class:`S3FileNotFoundError` (``no_session``) for a session of which neither bucket nor
    outbox know anything.
    """
    folder = session_folder(service.ownership.machine_prefix, session_id)
    found = [item async for item in service.objects.walk(f"{folder}logs/")]
    if not found and not await waiting(service, session_id):
        _, page = await service.objects.page(folder, limit=1)
        if not page.objects:
            raise S3FileNotFoundError(
                f"There is no session {session_id}: nothing was uploaded under it by this machine.",
                code="no_session",
            )
    return found


async def waiting(service: Service, session_id: str) -> list[Row]:
    """Rows of a session that are not up yet; none where there is no outbox."""
    if not service.outbox.is_open:
        if not await service.files.run(service.settings.outbox_path.is_file):
            return []
        await service.open()
    rows = await service.outbox(queries.of_session, session_id)
    return [row for row in rows if not row.settled]
