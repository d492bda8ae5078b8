"""Objects, uploads and URLs as they are shown."""

from __future__ import annotations

from datetime import timezone
from typing import Literal
from urllib.parse import quote

from pydantic import Field

from petal_s3.core.settings import Settings
from petal_s3.core.urls import bare
from petal_s3.errors import S3UploadError
from petal_s3.outbox.rows import Row
from petal_s3.s3.responses import ObjectInfo, Page, Presigned
from petal_s3.service.views.view import View


class UploadView(View):
    """A proven upload."""

    success: Literal[True] = True
    s3_key: str
    file_url: str = Field(description="opens nothing without a signature")
    file_size: int
    content_type: str
    id: int = Field(description="id of the row")


class FileView(View):
    """One object of a listing."""

    key: str
    size: int
    last_modified: str | None = Field(description="ISO 8601, UTC")
    url: str = Field(description="opens nothing without a signature")
    storage_class: str


class ListView(View):
    """A page of objects."""

    success: Literal[True] = True
    files: list[FileView]
    total_count: int = Field(description="files of this page")
    is_truncated: bool
    prefix: str = Field(description="the whole prefix that was listed")
    next_token: str | None


class ObjectView(View):
    """One object, for programs that list."""

    key: str
    size: int
    last_modified: str | None
    etag: str
    storage_class: str


class HeadView(View):
    """What S3 knows of an object."""

    success: Literal[True] = True
    s3_key: str
    metadata: dict[str, str]
    content_length: int
    content_type: str
    last_modified: str | None = Field(description="ISO 8601, UTC")
    etag: str
    storage_class: str


class PresignView(View):
    """A URL, and how long it really lives."""

    success: Literal[True] = True
    s3_key: str
    url: str
    method: Literal["GET", "PUT"]
    headers: dict[str, str] = Field(description="to be sent along")
    expires_in: int = Field(description="seconds")
    expires_at: str = Field(description="ISO 8601, UTC, by S3's clock")


class PresignUploadView(PresignView):
    """A URL to put a file to, and what to say of it afterwards."""

    file_id: str
    name: str
    size: int


class MoveView(View):
    """A finished rename."""

    success: Literal[True] = True
    source_key: str
    dest_key: str
    message: str = "File moved"


class DeleteView(View):
    """A finished deletion."""

    success: Literal[True] = True
    s3_key: str
    message: str = "File deleted"


class DownloadView(View):
    """A finished download; an empty ``proof`` means that the size alone was compared."""

    success: Literal[True] = True
    local_path: str
    file_size: int
    s3_key: str
    proof: str


class SessionFileView(FileView):
    """One log of a session."""

    file_name: str = Field(description="the name of the file that it was")


class SessionLogsView(View):
    """The logs of a session that are in the bucket."""

    success: Literal[True] = True
    session_id: str
    files: list[SessionFileView]


class SessionEndView(View):
    """How many temporary objects of a session were deleted."""

    success: Literal[True] = True
    session_id: str
    deleted: int


def url_of(settings: Settings, key: str) -> str:
    """Where the object lies; without a signature it opens nothing. Holds no password."""
    path = quote(key, safe="/-_.~")
    if settings.endpoint_url:
        return f"{bare(settings.endpoint_url).rstrip('/')}/{settings.bucket_name}/{path}"
    return f"https://{settings.bucket_name}.s3.amazonaws.com/{path}"


def upload_view(settings: Settings, row: Row) -> UploadView:
    """A settled row as the answer to an upload; raises :class:`S3UploadError` when not proven."""
    if row.state != "verified":
        raise S3UploadError(row.reason, code=row.code or row.state, status=409)
    return UploadView(
        s3_key=row.key,
        file_url=url_of(settings, row.key),
        file_size=row.size,
        content_type=row.media_type,
        id=row.id,
    )


def list_view(settings: Settings, prefix: str, page: Page) -> ListView:
    """A page of objects below the whole ``prefix``."""
    files = [file_view(settings, item) for item in page.objects]
    return ListView(
        files=files,
        total_count=len(files),
        is_truncated=page.next_token is not None,
        prefix=prefix,
        next_token=page.next_token,
    )


def file_view(settings: Settings, item: ObjectInfo) -> FileView:
    """One object of a listing."""
    return FileView(
        key=item.key,
        size=item.size,
        last_modified=_moment(item),
        url=url_of(settings, item.key),
        storage_class=item.storage_class,
    )


def object_view(info: ObjectInfo) -> ObjectView:
    """One object, for programs that list."""
    return ObjectView(
        key=info.key,
        size=info.size,
        last_modified=_moment(info),
        etag=info.etag,
        storage_class=info.storage_class,
    )


def head_view(info: ObjectInfo) -> HeadView:
    """What S3 knows of an object."""
    return HeadView(
        s3_key=info.key,
        metadata=dict(info.metadata),
        content_length=info.size,
        content_type=info.content_type,
        last_modified=_moment(info),
        etag=info.etag,
        storage_class=info.storage_class,
    )


def presign_view(key: str, made: Presigned, expires_at: str) -> PresignView:
    """A URL that was signed for ``key``; ``expires_at``: ISO 8601."""
    return PresignView(
        s3_key=key,
        url=made.url,
        method="PUT" if made.method == "PUT" else "GET",
        headers=dict(made.headers),
        expires_in=made.expires_s,
        expires_at=expires_at,
    )


def _moment(info: ObjectInfo) -> str | None:
    moment = info.last_modified
    return moment.astimezone(timezone.utc).isoformat() if moment else None
