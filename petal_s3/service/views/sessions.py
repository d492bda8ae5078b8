"""Logs and handed-over files of a diagnosis session, as they are shown."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from petal_s3.service.views.view import View


class S3LogMetadata(View):
    """A log of a session that S3 has proven; sizes in bytes, times as ISO 8601 in UTC."""

    s3_uri: str
    bucket: str
    key: str
    file_name: str
    file_size: int
    upload_timestamp: str
    session_id: str
    content_type: str
    presigned_url: str | None
    etag: str


class SessionLogView(S3LogMetadata):
    """The same, as an answer of the proxy."""

    success: Literal[True] = True


class FileUploadMetadata(View):
    """A file that was handed over; ``size`` in bytes, ``extension`` with its dot."""

    name: str
    type: str
    extension: str
    size: int = Field(ge=0)
    index: int = Field(0, ge=0)
    file_id: str
    page_count: int | None = Field(None, ge=0)
    s3Key: str  # noqa: N815 - the name that its readers know
    s3Url: str  # noqa: N815


class CompleteUploadView(FileUploadMetadata):
    """The same, as an answer."""

    success: Literal[True] = True
