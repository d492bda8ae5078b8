"""``S3Client``: the service's verbs for scripts without an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from petal_s3.core.kinds import ALL_KINDS
from petal_s3.core.loop_thread import LoopThread
from petal_s3.core.settings_loading import load_settings
from petal_s3.errors import S3DownloadError, S3FileNotFoundError, S3UploadError
from petal_s3.host.local_service import asked, local_service, prove, stay_out
from petal_s3.host.local_streams import LocalBody, blocks_of, receive_from
from petal_s3.outbox.rows import Row
from petal_s3.s3.responses import url_life_s
from petal_s3.service import row_verbs, sessions, signing, temporary_files
from petal_s3.service.file_info import S3FileInfo, exists, file_info
from petal_s3.service.file_names import logs_of
from petal_s3.service.service import Service
from petal_s3.service.views.sessions import FileUploadMetadata, S3LogMetadata

__all__ = ["FileUploadMetadata", "LocalBody", "S3Client", "S3FileInfo", "S3LogMetadata"]

_T = TypeVar("_T")
_Path = str | os.PathLike[str]
_Failure = type[S3UploadError | S3DownloadError] | None


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
        named = {"bucket_name": bucket_name, "session_token_url": session_token_url}
        named |= {"region": region, "endpoint_url": endpoint_url}
        given = {name: value for name, value in named.items() if value is not None}
        self._service = local_service(load_settings(**given, **settings), only_reads=True)
        self._opening = asyncio.Lock()
        self._thread = LoopThread("petal-s3", at_end=self._service.stop)

    # -- opening and closing

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

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, work: Coroutine[object, object, _T], kind: _Failure = None) -> _T:
        return asked(self._thread, work, kind)

    # -- logs

    def upload_file(self, local_path: _Path, s3_key: str | None = None) -> str:
        """Upload a log and return its key when S3 has proven it.

        It goes through the outbox, which is drained while this call waits, unless another process
        drains it. Raises :class:`S3UploadError` as soon as nothing can be sent: with ``row_id``
        the log is safe in the outbox and is sent later; the same file asked for again finds it.
        """
        about = partial(Service.enqueue, path=local_path, key=s3_key, received_by="cli")
        enter = partial(about, kinds=ALL_KINDS)
        return self._run(self._proven(enter), S3UploadError).key

    def stream_upload(
        self, chunks: Iterable[bytes] | BinaryIO, filename: str, s3_key: str | None = None
    ) -> str:
        """Upload a log that comes piece by piece, or is read from an open file; return its key.

        Memory stays flat at any size. Received whole it is safe in the outbox; cut short, or where
        ``chunks`` raises, nothing is left. Fails as :meth:`upload_file`.
        """
        row = receive_from(self._thread, self._opened, chunks, filename, s3_key)
        return self._run(prove(self._service, row), S3UploadError).key

    async def _proven(self, enter: Callable[[Service], Awaitable[Row]]) -> Row:
        service = await self._opened()
        return await prove(service, await enter(service))

    def upload_session_log(
        self, local_path: _Path, session_id: str, description: str = ""
    ) -> S3LogMetadata:
        """Upload a text log of a diagnosis session, as :meth:`upload_file` does.

        It may be written to meanwhile: what it holds now is sent.
        """
        enter = partial(
            sessions.enter_log, path=local_path, session_id=session_id, description=description
        )
        return self._run(self._upload_to_session(enter), S3UploadError)

    def save_session_result(
        self, session_id: str, result: Mapping[str, object], name: str = "analysis"
    ) -> S3LogMetadata:
        """Upload the result of an analysis as JSON, as :meth:`upload_file` does."""
        enter = partial(sessions.enter_result, session_id=session_id, result=result, name=name)
        return self._run(self._upload_to_session(enter), S3UploadError)

    async def _upload_to_session(self, enter: Callable[[Service], Awaitable[Row]]) -> S3LogMetadata:
        return await sessions.metadata_of(self._service, await self._proven(enter))

    def end_session(self, session_id: str) -> int:
        """Delete the temporary files of a session; return how many objects that were."""
        return self._run(self._end(session_id))

    async def _end(self, session_id: str) -> int:
        return await temporary_files.end(await self._opened(), session_id)

    async def _opened(self) -> Service:
        """The service with its outbox open; opened at the first call that needs it."""
        async with self._opening:
            stay_out(self._service.settings.state_dir)
            await self._service.open()
        return self._service

    # -- reading

    def list_files(self, prefix: str = "") -> list[S3FileInfo]:
        """All objects below ``prefix``: relative to the machine's folder, or whole."""
        return self._run(self._walked(prefix))

    async def _walked(self, prefix: str) -> list[S3FileInfo]:
        return [file_info(found) async for found in self._service.objects.walk(prefix)]

    def list_session_logs(self, session_id: str) -> tuple[list[S3FileInfo], int]:
        """The logs of a session that are in the bucket, and how many in the outbox are not yet.

        Raises :class:`S3FileNotFoundError` (``no_session``) where neither knows it.
        """
        return self._run(logs_of(self._service, session_id))

    def head_object(self, s3_key: str) -> S3FileInfo:
        """What S3 knows of an object; raises :class:`S3FileNotFoundError`."""
        return file_info(self._run(self._service.objects.head(s3_key)))

    def file_exists(self, s3_key: str) -> bool:
        """Whether there is such an object; raises when S3 cannot be asked.

        Of a key of another machine it is false, and S3 is not asked.
        """
        return self._run(exists(self._service.objects, s3_key))

    def download_file(self, s3_key: str, local_path: _Path) -> str:
        """Download an object, verify its checksum, and return ``local_path``.

        Nothing is kept if it does not match. Raises :class:`S3FileNotFoundError` or
        :class:`S3DownloadError`.
        """
        self._run(self._service.objects.download(s3_key, Path(local_path)), S3DownloadError)
        return os.fspath(local_path)

    def get_file_range(self, s3_key: str, start: int, end: int) -> bytes:
        """The bytes ``start``..``end``, both included, as far as there are any; at most 64 MiB."""
        return self._run(self._service.objects.range(s3_key, start, end))

    def read_file(self, s3_key: str) -> bytes:
        """All bytes of an object: they fit into memory, or use :meth:`stream_download`."""
        with self.get_streaming_body(s3_key) as body:
            return body.read()

    def stream_download(self, s3_key: str) -> Iterator[bytes]:
        """The bytes of an object, block by block, through breaks of the link.

        Its connection ends with the iterator, also where that is dropped half-way.
        """
        return blocks_of(self.get_streaming_body(s3_key))

    def get_streaming_body(self, s3_key: str) -> LocalBody:
        """The open body of an object: ``read(n)``, or iterate over it; use it in a ``with``."""
        return LocalBody.open(self._thread, self._service.objects, s3_key)

    def generate_presigned_url(
        self, s3_key: str, expiration_hours: float = 1, method: str = "GET"
    ) -> str:
        """A URL to read an object without credentials; it may end sooner, with what signs it.

        ``method="PUT"``: to add one; headers must be sent along: :meth:`presigned`.
        """
        return str(self.presigned(s3_key, expiration_hours, method)["url"])

    def presigned(
        self, s3_key: str, expiration_hours: float = 1, method: str = "GET"
    ) -> dict[str, Any]:
        """``url``, ``method``, ``headers`` that must be sent along, and the real end of the URL:
        ``expires_in`` (s) and ``expires_at`` (ISO 8601, UTC)."""
        life_s = url_life_s(expiration_hours)
        return self._run(
            signing.presign(self._service, s3_key, life_s, method=method, received_by="cli")
        ).model_dump()

    # -- changing

    def delete_file(self, s3_key: str) -> bool:
        """Delete an object; return whether there was one. Its row is cancelled, either way."""
        return self._run(self._delete(s3_key))

    async def _delete(self, key: str) -> bool:
        there = await exists(self._service.objects, self._service.objects.own(key))
        with contextlib.suppress(S3FileNotFoundError):  # nor does the outbox know it
            await row_verbs.delete_object(await self._opened(), key)
        return there

    def move_file(self, source: str, dest: str) -> str:
        """Rename an object and return its new key; its row follows.

        Raises :class:`~petal_s3.Conflict` when another object stands there.
        """
        return self._run(self._move(source, dest))

    async def _move(self, source: str, dest: str) -> str:
        objects = (await self._opened()).objects
        await objects.move(source, dest)
        return objects.own(dest)
