"""Temporary objects of a session: a URL to put a large file to, what it is, and its end."""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import mimetypes
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import PurePath
from urllib.parse import unquote

from petal_s3.core.tasks import to_end
from petal_s3.errors import BadInput, Conflict, NotAllowed, S3FileNotFoundError, S3IntegrationError
from petal_s3.objects.key_names import key_name, temporary_folder
from petal_s3.objects.user_metadata import ORIGINAL_NAME, RECEIVED_BY, metadata
from petal_s3.s3.responses import ObjectInfo
from petal_s3.service import signing
from petal_s3.service.service import Service
from petal_s3.service.views.objects import PresignUploadView, presign_view, url_of
from petal_s3.service.views.sessions import FileUploadMetadata

log = logging.getLogger("petal_s3")

INLINE_BYTES = 100 * 1024
URL_S = 3600
_NAME_BYTES = 255
_LARGEST_PUT = 5 * 1024**3  # S3 User Guide, "Uploading objects": a single PUT
_SIZE = "declared-size"
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,60}/[A-Za-z0-9.+-]{1,60}")
_FILE_ID = re.compile(r"([0-9a-f]{32})_")


async def begin(
    service: Service, session_id: str, name: str, size: int, media_type: str | None = None
) -> PresignUploadView:
    """Sign a URL to put a file to, and name its key; the object is deleted after a day.

    The URL takes ``size`` bytes, no more and no less. Raises :class:`BadInput`.
    """
    limit = min(_LARGEST_PUT, int(service.settings.max_file_size))
    if size <= 0:
        raise BadInput("The file is empty.", code="empty")
    if size > limit:
        raise BadInput(
            f"The file is too large: the limit is {limit} bytes.", code="too_large", status=413
        )
    file_id, kind, about = _about(service, name, size, media_type)
    key = _key(service, session_id, file_id, name)
    made = await service.objects.presign_put(
        key, URL_S, size=size, content_type=kind, metadata=about
    )
    until = signing.ends_at(service, made)
    shown = presign_view(key, made, until)
    return PresignUploadView(**shown.model_dump(), file_id=file_id, name=name, size=size)


async def complete(
    service: Service, session_id: str, key: str, *, index: int = 0, page_count: int | None = None
) -> FileUploadMetadata:
    """Describe the file that was put under ``key``, as S3 has it.

    Raises :class:`NotAllowed` for a key of anything else than a file handed over in this session,
    :class:`S3FileNotFoundError` (``not_uploaded``), and :class:`Conflict` (``incomplete``) for
    other bytes than were announced: those are deleted.
    """
    key = service.objects.own(key)
    if not key.startswith(temporary_folder(service.ownership.machine_prefix, session_id)):
        raise NotAllowed("This key does not belong to a file that was handed over in this session.")
    try:
        info = await service.objects.head(key)
    except S3FileNotFoundError:
        raise S3FileNotFoundError(
            "Nothing stands at this key: put the file to its URL first.", code="not_uploaded"
        ) from None
    declared = info.metadata.get(_SIZE, "")
    if declared != str(info.size):
        await _forget(service, key)
        raise Conflict(
            f"{info.size} bytes came instead of the {declared or 'unknown number of'} announced:"
            " they were deleted; hand the file over again.",
            code="incomplete",
        )
    return _metadata(service, info, index, page_count)


async def take_inline(  # noqa: PLR0913 - a file and what is said of it
    service: Service,
    session_id: str,
    name: str,
    content: str,
    *,
    media_type: str | None = None,
    index: int = 0,
    page_count: int | None = None,
) -> FileUploadMetadata:
    """Take a file below 100 KB that comes with the request, as base64.

    Raises :class:`BadInput`. When anything fails, nothing stays in the bucket.
    """
    if len(content) > INLINE_BYTES * 2:
        raise _too_large()
    try:
        body = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput("content is the file as base64.") from None
    if len(body) >= INLINE_BYTES:
        raise _too_large()
    if not body:
        raise BadInput("The file is empty.", code="empty")
    file_id, kind, about = _about(service, name, len(body), media_type)
    key = _key(service, session_id, file_id, name)

    async def forget() -> None:
        await to_end(_forget(service, key))

    async with contextlib.AsyncExitStack() as undo:
        undo.push_async_callback(forget)
        await service.objects.put_bytes(key, body, content_type=kind, metadata=about)
        found = await complete(service, session_id, key, index=index, page_count=page_count)
        undo.pop_all()
    return found


def _too_large() -> BadInput:
    return BadInput(
        f"The file is too large to come with the request (below {INLINE_BYTES} bytes): ask for a"
        " URL with POST /bucket/presign-upload.",
        code="too_large",
        status=413,
    )


@contextlib.asynccontextmanager
async def processing(
    service: Service, key: str
) -> AsyncIterator[tuple[ObjectInfo, AsyncIterator[bytes]]]:
    """Read a temporary object; it is deleted afterwards, also after an error.

    Where it cannot be opened it stays, to be asked for again. Raises :class:`NotAllowed` for a
    key that is not a temporary one.
    """
    key = service.objects.own(key)
    if not service.ownership.is_temporary(key):
        raise NotAllowed("Only what was handed over is deleted after it was read.")
    opened = False
    try:
        async with service.objects.read(key) as found:
            opened = True
            yield found
    finally:
        if opened:
            await to_end(_forget(service, key))


async def end(service: Service, session_id: str) -> int:
    """Delete all temporary objects of a session; returns how many there were."""
    folder = temporary_folder(service.ownership.machine_prefix, session_id)
    keys = [item.key async for item in service.objects.walk(folder)]
    for key in keys:
        await service.objects.delete(key)
    return len(keys)


async def _forget(service: Service, key: str) -> None:
    """Delete an object that is no longer needed; where that fails, the daily clean-up does it."""
    try:
        await service.objects.delete(key)
    except S3IntegrationError as error:
        log.warning("temporary object stays key=%s reason=%s", key, error.message)


def _about(
    service: Service, name: str, size: int, media_type: str | None
) -> tuple[str, str, dict[str, str]]:
    """A new file id, the media type, and metadata with name and size."""
    named = name.isprintable() and PurePath(name).name == name != ".."
    if not named or not name.strip() or len(name.encode()) > _NAME_BYTES:
        raise BadInput("This is not a file name.", code="bad_name")
    kind = media_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
    if not _MEDIA_TYPE.fullmatch(kind):
        raise BadInput("type is a media type like application/pdf.", code="bad_type")
    minimal = service.settings.metadata == "minimal"
    told = [(RECEIVED_BY, "session"), (ORIGINAL_NAME, name), (_SIZE, str(size))]
    about = metadata(told, minimal=minimal)
    return secrets.token_hex(16), kind, about


def _key(service: Service, session_id: str, file_id: str, name: str) -> str:
    folder = temporary_folder(service.ownership.machine_prefix, session_id)
    return f"{folder}{file_id}_{key_name(name)}"


def _metadata(
    service: Service, info: ObjectInfo, index: int, page_count: int | None
) -> FileUploadMetadata:
    last = info.key.rpartition("/")[2]
    file_id = _FILE_ID.match(last)
    name = unquote(info.metadata.get(ORIGINAL_NAME, "")) or _FILE_ID.sub("", last, count=1)
    return FileUploadMetadata(
        name=name,
        type=info.content_type or "application/octet-stream",
        extension=PurePath(name).suffix.lower(),
        size=info.size,
        index=index,
        file_id=file_id[1] if file_id else last,
        page_count=page_count,
        s3Key=info.key,
        s3Url=url_of(service.settings, info.key),
    )
