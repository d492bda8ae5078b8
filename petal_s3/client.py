"""``S3Client``: the service's verbs for scripts that know no event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from petal_s3.core.kinds import ALL_KINDS
from petal_s3.core.loop_thread import LoopThread
from petal_s3.core.settings_loading import load_settings
from petal_s3.errors import (
    BadInput,
    NotNow,
    S3DownloadError,
    S3FileNotFoundError,
    S3IntegrationError,
    S3UploadError,
)
from petal_s3.host.local_service import local_service, stay_out
from petal_s3.outbox import queries, requests
from petal_s3.outbox.rows import Row
from petal_s3.s3.responses import ObjectInfo, url_life_s
from petal_s3.service import sessions, signing
from petal_s3.service import temporary_files as handover
from petal_s3.service.views.sessions import S3LogMetadata

_T = TypeVar("_T")
_Path = str | os.PathLike[str]


@dataclass(frozen=True)
class S3FileInfo:
    """One object; ``size`` in bytes, ``last_modified`` in UTC by S3's clock."""

    key: str
    size: int
    last_modified: datetime | None
    etag: str
    storage_class: str


class S3Client:
    """This machine's objects, for a script: plain calls, from any thread.

    It works in a thread of its own, also where an event loop runs already. Use it in a ``with``
    block or call :meth:`close`; a script that does neither ends all the same. A key may be given
    as ``s3://bucket/key``. Every failure is an :class:`~petal_s3.S3IntegrationError` with one
    sentence, ``code``, ``status`` and ``waiting_helps``.
    """

    def __init__(
        self,
        bucket_name: str | None = None,
        *,
        session_token_url: str | None = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        **settings: Any,
    ) -> None:
        """``settings``: any other setting by its lower-case name.

        What is not given comes from the environment or the YAML file. Raises
        :class:`~petal_s3.ConfigError`.
        """
        named = {
            "bucket_name": bucket_name,
            "session_token_url": session_token_url,
            "region": region,
            "endpoint_url": endpoint_url,
        }
        given = {name: value for name, value in named.items() if value is not None}
        self._service = local_service(load_settings(**given, **settings), only_reads=True)
        self._opening = asyncio.Lock()
        self._thread = LoopThread("petal-s3", at_end=self._service.stop)

    # -- life

    @property
    def bucket_name(self) -> str:
        """The bucket."""
        return self._service.settings.bucket_name

    @property
    def closed(self) -> bool:
        """Whether nothing can be asked any more: closed, or made before a fork."""
        return not self._thread.is_alive

    def close(self) -> None:
        """End what still runs and close every connection; safe to call twice."""
        self._thread.close()

    def __enter__(self) -> S3Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        if not self._thread.is_alive:
            work.close()
            raise BadInput(
                "This S3Client is closed, or was made before a fork: make another.", code="closed"
            )
        try:
            return self._thread.run(work)
        except CancelledError:
            raise BadInput("This S3Client was closed meanwhile.", code="closed") from None

    # -- logs

    def upload_file(self, local_path: _Path, s3_key: str | None = None) -> str:
        """Bring a log into the bucket and return its key when S3 has proven it.

        It goes through the outbox, and what stands in there is drained while this call waits, or
        watched where another process drains. Raises :class:`S3UploadError` as soon as nothing
        can be sent: with ``row_id`` the log is safe in the outbox, is sent later by whoever
        drains, and the same file asked for again finds it.
        """
        return self._run_upload(self._upload(local_path, s3_key))

    def _run_upload(self, work: Coroutine[Any, Any, _T]) -> _T:
        try:
            return self._run(work)
        except (S3UploadError, S3FileNotFoundError):
            raise
        except S3IntegrationError as error:
            raise S3UploadError.of(error) from error

    async def _upload(self, path: _Path, key: str | None) -> str:
        service = self._service
        await self._open_outbox()
        return (await self._brought(await service.enqueue(path, key=key, kinds=ALL_KINDS))).key

    async def _brought(self, row: Row) -> Row:
        """Drain, or watch who drains, until the row is proven."""
        service = self._service
        if row.failures and not row.settled:  # somebody asks: its backoff does not count
            row = await service.outbox(requests.retry, row.id)
            service.drainer.pause.new_log()
        if not row.settled:
            async with service.draining():
                row = await self._settled(row)
        if row.state == "verified":
            return row
        error = S3UploadError(row.reason, code=row.code or row.state, status=409)
        error.waiting_helps, error.row_id = False, row.id
        raise error

    def upload_session_log(
        self, local_path: _Path, session_id: str, description: str = ""
    ) -> S3LogMetadata:
        """Bring a text log of a diagnosis session into the bucket, as :meth:`upload_file`.

        It may be written to meanwhile: what it holds now is sent.
        """

        async def sent() -> S3LogMetadata:
            await self._open_outbox()
            row = await sessions.enter_log(
                self._service, local_path, session_id, description=description
            )
            return await sessions.metadata_of(self._service, await self._brought(row))

        return self._run_upload(sent())

    def save_session_result(
        self, session_id: str, result: Mapping[str, Any], name: str = "analysis"
    ) -> S3LogMetadata:
        """Bring the result of an analysis into the bucket as JSON, as :meth:`upload_file`."""

        async def sent() -> S3LogMetadata:
            await self._open_outbox()
            row = await sessions.enter_result(self._service, session_id, result, name)
            return await sessions.metadata_of(self._service, await self._brought(row))

        return self._run_upload(sent())

    def end_session(self, session_id: str) -> int:
        """Delete what was handed over by key in a session; how many objects that were."""

        async def end() -> int:
            await self._open_outbox()
            return await handover.end(self._service, session_id)

        return self._run(end())

    async def _settled(self, row: Row) -> Row:
        while True:
            try:
                return await self._service.wait(row.id, while_blocked=False)
            except NotNow:
                now = await self._service.outbox(queries.get, row.id)
                if not await self._service.waiting.is_sending(now):
                    raise

    async def _open_outbox(self) -> None:
        async with self._opening:
            stay_out(self._service.settings.state_dir)
            await self._service.open()

    # -- looking

    def list_files(self, prefix: str = "") -> list[S3FileInfo]:
        """All objects below ``prefix``: relative to the machine's folder, or whole."""

        async def everything() -> list[S3FileInfo]:
            return [_info(found) async for found in self._service.objects.walk(prefix)]

        return self._run(everything())

    def list_session_logs(self, session_id: str) -> tuple[list[S3FileInfo], int]:
        """The logs of a session that are in the bucket, and how many in the outbox are not yet.

        Raises :class:`S3FileNotFoundError` (``no_session``) where neither knows it.
        """

        async def listed() -> tuple[list[S3FileInfo], int]:
            found = await sessions.list_logs(self._service, session_id)
            waiting = await sessions.waiting(self._service, session_id)
            return [_info(one) for one in found], len(waiting)

        return self._run(listed())

    def head_object(self, s3_key: str) -> S3FileInfo:
        """What S3 knows of an object; raises :class:`S3FileNotFoundError`."""
        return _info(self._run(self._service.objects.head(s3_key)))

    def file_exists(self, s3_key: str) -> bool:
        """Whether there is such an object; raises when S3 cannot be asked."""
        try:
            self.head_object(s3_key)
        except S3FileNotFoundError:
            return False
        return True

    def download_file(self, s3_key: str, local_path: _Path) -> str:
        """Bring an object to ``local_path``, whole and compared or not at all; return that path.

        Raises :class:`S3FileNotFoundError`, or :class:`S3DownloadError`.
        """
        try:
            self._run(self._service.objects.download(s3_key, Path(local_path)))
        except S3FileNotFoundError:
            raise
        except S3IntegrationError as error:
            raise S3DownloadError.of(error) from error
        return os.fspath(local_path)

    def get_file_range(self, s3_key: str, start: int, end: int) -> bytes:
        """The bytes ``start``..``end``, both included, in one request; at most 64 MiB.

        Fewer where the object ends before.
        """
        return self._run(self._service.objects.range(s3_key, start, end))

    def read_file(self, s3_key: str) -> bytes:
        """All bytes of an object: they fit into memory, or use :meth:`download_file`."""

        async def read() -> bytes:
            async with self._service.objects.read(s3_key) as (_, blocks):
                return b"".join([block async for block in blocks])

        return self._run(read())

    def generate_presigned_url(
        self, s3_key: str, expiration_hours: float = 1, method: str = "GET"
    ) -> str:
        """A URL to read an object without credentials; it may end sooner, with what signs it.

        ``method="PUT"``: to add one; who uses it must send headers along: :meth:`presigned`.
        """
        return str(self.presigned(s3_key, expiration_hours, method)["url"])

    def presigned(
        self, s3_key: str, expiration_hours: float = 1, method: str = "GET"
    ) -> dict[str, Any]:
        """As :meth:`generate_presigned_url`, with all that is to be known of the URL.

        ``url``, ``method``, ``headers`` that must be sent along, ``expires_in`` (s) and
        ``expires_at`` (ISO 8601, UTC): the real end.
        """
        life_s = url_life_s(expiration_hours)
        made = self._run(signing.presign(self._service, s3_key, life_s, method=method))
        return made.model_dump()

    # -- changing

    def delete_file(self, s3_key: str) -> bool:
        """Delete an object; return whether there was one. Its row becomes cancelled."""
        return self.file_exists(s3_key) and self._run(self._delete(s3_key))

    async def _delete(self, key: str) -> bool:
        await self._open_outbox()
        await self._service.objects.delete(key)
        return True

    def move_file(self, source: str, dest: str) -> str:
        """Rename an object and return its new key; its row follows.

        Raises :class:`~petal_s3.Conflict` when another object stands there.
        """

        async def move() -> str:
            await self._open_outbox()
            await self._service.objects.move(source, dest)
            return self._service.objects.own(dest)

        return self._run(move())


def _info(found: ObjectInfo) -> S3FileInfo:
    moment = found.last_modified
    return S3FileInfo(
        found.key,
        found.size,
        moment.astimezone(timezone.utc) if moment else None,
        found.etag,
        found.storage_class,
    )
