"""``bucket.sessions``: diagnosis sessions in the dialect of the bucket proxy."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from petal_s3.errors import S3UploadError
from petal_s3.service import sessions
from petal_s3.service import temporary_files as handover
from petal_s3.service.service import Service
from petal_s3.service.views.objects import SessionEndView, SessionLogsView, file_view
from petal_s3.service.views.sessions import CompleteUploadView, SessionLogView

Answer = dict[str, Any]
Answered = Callable[..., Awaitable[Answer]]


class Sessions:
    """Logs, results and handed-over files of sessions; failures as those of the proxy."""

    def __init__(self, service: Service, answered: Answered) -> None:
        """``answered`` turns what a call gives, or its failure, into what the proxy answers."""
        self._service = service
        self._answered = answered

    async def upload_log(
        self, file_path: Path | str, session_id: str, description: str = ""
    ) -> Answer:
        """Bring a text log into the bucket; the fields of ``S3LogMetadata`` when it is proven.

        The file may be written to meanwhile: what it held when this was called is sent.
        """

        async def sent() -> SessionLogView:
            log = await sessions.upload_log(self._service, file_path, session_id, description)
            return SessionLogView(**log.model_dump())

        return await self._answered(sent(), S3UploadError.of)

    async def save_result(
        self, session_id: str, result: Mapping[str, Any], name: str = "analysis"
    ) -> Answer:
        """Bring the result of an analysis into the bucket as JSON, as :meth:`upload_log`."""

        async def sent() -> SessionLogView:
            log = await sessions.save_result(self._service, session_id, result, name)
            return SessionLogView(**log.model_dump())

        return await self._answered(sent(), S3UploadError.of)

    async def list_logs(self, session_id: str) -> Answer:
        """``files`` of a session that are in the bucket."""

        async def listed() -> SessionLogsView:
            found = await sessions.list_logs(self._service, session_id)
            files = [file_view(self._service.settings, item) for item in found]
            return SessionLogsView(session_id=session_id, files=files)

        return await self._answered(listed())

    async def presign_upload(
        self, session_id: str, name: str, size: int, type: str | None = None
    ) -> Answer:
        """A ``url`` and ``headers`` to put a large file to, and its ``s3_key``."""
        return await self._answered(handover.begin(self._service, session_id, name, size, type))

    async def complete_upload(
        self, session_id: str, s3_key: str, *, index: int = 0, page_count: int | None = None
    ) -> Answer:
        """The fields of ``FileUploadMetadata`` of what was put to its URL."""

        async def completed() -> CompleteUploadView:
            file = await handover.complete(
                self._service, session_id, s3_key, index=index, page_count=page_count
            )
            return CompleteUploadView(**file.model_dump())

        return await self._answered(completed())

    @contextlib.asynccontextmanager
    async def processing(self, s3_key: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of a file that was handed over; it is deleted afterwards. Raises on failure."""
        await self._service.open()
        async with handover.processing(self._service, s3_key) as (_, blocks):
            yield blocks

    async def end(self, session_id: str) -> Answer:
        """A session has ended: ``deleted`` objects were handed over in it."""

        async def ended() -> SessionEndView:
            deleted = await handover.end(self._service, session_id)
            return SessionEndView(session_id=session_id, deleted=deleted)

        return await self._answered(ended())
