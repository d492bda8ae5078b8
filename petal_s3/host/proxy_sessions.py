"""``bucket.sessions``: diagnosis sessions in the dialect of the bucket proxy."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Protocol

from petal_s3.errors import S3UploadError
from petal_s3.host.proxy_answers import Answering, answered
from petal_s3.service import sessions, temporary_files
from petal_s3.service.file_names import original_names
from petal_s3.service.service import Service
from petal_s3.service.views.objects import (
    PresignUploadView,
    SessionEndView,
    SessionFileView,
    SessionLogsView,
    file_view,
)
from petal_s3.service.views.sessions import CompleteUploadView, SessionLogView


class _Proxy(Answering, Protocol):
    service: Service


class SessionsProxy:
    """Logs, results and temporary files of sessions; failures as those of the proxy."""

    def __init__(self, proxy: _Proxy) -> None:
        self.fail = proxy.fail
        self.ensure_started = proxy.ensure_started
        self._service = proxy.service

    @answered(S3UploadError.of)
    async def upload_log(
        self, file_path: Path | str, session_id: str, description: str = ""
    ) -> SessionLogView:
        """Upload a text log; the fields of ``S3LogMetadata`` when it is proven.

        The file may be written to meanwhile: what it held when this was called is sent.
        """
        log = await sessions.upload_log(self._service, file_path, session_id, description)
        return SessionLogView(**log.model_dump())

    @answered(S3UploadError.of)
    async def save_result(
        self, session_id: str, result: Mapping[str, object], name: str = "analysis"
    ) -> SessionLogView:
        """Upload the result of an analysis as JSON, as :meth:`upload_log` does."""
        log = await sessions.save_result(self._service, session_id, result, name)
        return SessionLogView(**log.model_dump())

    @answered()
    async def list_logs(self, session_id: str) -> SessionLogsView:
        """``files`` of a session that are in the bucket, each with its original ``file_name``."""
        found = await sessions.list_logs(self._service, session_id)
        names = await original_names(self._service, session_id, found)
        files = [
            SessionFileView(
                **file_view(self._service.settings, item).model_dump(), file_name=file_name
            )
            for item, file_name in zip(found, names, strict=True)
        ]
        return SessionLogsView(session_id=session_id, files=files)

    @answered()
    async def presign_upload(
        self, session_id: str, name: str, size: int, type: str | None = None
    ) -> PresignUploadView:
        """A ``url`` and ``headers`` to put a large file to, and its ``s3_key``."""
        return await temporary_files.begin(self._service, session_id, name, size, type)

    @answered()
    async def complete_upload(
        self, session_id: str, s3_key: str, *, index: int = 0, page_count: int | None = None
    ) -> CompleteUploadView:
        """The fields of ``FileUploadMetadata`` of what was put to its URL."""
        file = await temporary_files.complete(
            self._service, session_id, s3_key, index=index, page_count=page_count
        )
        return CompleteUploadView(**file.model_dump())

    @contextlib.asynccontextmanager
    async def processing(self, s3_key: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of a temporary file; it is deleted afterwards. Raises on failure."""
        await self._service.open()
        async with temporary_files.processing(self._service, s3_key) as (_, blocks):
            yield blocks

    @answered()
    async def end(self, session_id: str) -> SessionEndView:
        """End a session: ``deleted`` temporary files were in it."""
        deleted = await temporary_files.end(self._service, session_id)
        return SessionEndView(session_id=session_id, deleted=deleted)
