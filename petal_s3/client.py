"""``S3Client``: the service's verbs for scripts that know no event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from . import config
from .answers import ObjectInfo, url_life_s
from .bridge import LoopThread
from .errors import (
    BadInput,
    NotNow,
    S3DownloadError,
    S3FileNotFoundError,
    S3IntegrationError,
    S3UploadError,
)
from .local import local_service, stay_out
from .outbox import Outbox
from .row import Row

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
        self._service = local_service(config.load(**given, **settings), only_reads=True)
        self._opening = asyncio.Lock()
        self._thread = LoopThread("petal-s3", at_end=self._service.stop)

    # -- life

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
        try:
            return self._run(self._upload(local_path, s3_key))
        except (S3UploadError, S3FileNotFoundError):
            raise
        except S3IntegrationError as error:
            raise S3UploadError.of(error) from error

    async def _upload(self, path: _Path, key: str | None) -> str:
        service = self._service
        await self._open_outbox()
        row = await service.enqueue(path, key=key)
        if row.failures and not row.settled:  # somebody asks: its backoff does not count
            row = await service.outbox(Outbox.retry, row.id)
            service.drainer.new_log()
        if not row.settled:
            async with service.draining():
                row = await self._settled(row)
        if row.state == "verified":
            return row.key
        error = S3UploadError(row.reason, code=row.code or row.state, status=409)
        error.waiting_helps, error.row_id = False, row.id
        raise error

    async def _settled(self, row: Row) -> Row:
        while True:
            try:
                return await self._service.wait(row.id, while_blocked=False)
            except NotNow:
                now = await self._service.outbox(Outbox.get, row.id)
                if not await self._service.is_sending(now):
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

    def generate_presigned_url(
        self, s3_key: str, expiration_hours: float = 1, method: str = "GET"
    ) -> str:
        """A URL to read an object without credentials; it may end sooner, with what signs it.

        ``method="PUT"``: to add one; who uses it must send the header ``If-None-Match: *``.
        """
        life_s = url_life_s(expiration_hours)
        return self._run(self._service.objects.presign(s3_key, life_s, method=method)).url

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
