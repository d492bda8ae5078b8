"""``S3BucketProxy``: the service's verbs in the dialect of the host's bucket proxy."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import time
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from petal_s3.core import clock
from petal_s3.core.settings_loading import load_settings
from petal_s3.errors import (
    BadInput,
    Offline,
    S3CredentialsError,
    S3DownloadError,
    S3FileNotFoundError,
    S3IntegrationError,
    S3UploadError,
    as_json,
)
from petal_s3.host.proxy_sessions import Sessions
from petal_s3.logs.log_file import LOG_SUFFIXES
from petal_s3.objects.objects import Objects
from petal_s3.objects.streaming_body import StreamingBody
from petal_s3.outbox import queries
from petal_s3.s3.responses import url_life_s
from petal_s3.service import views
from petal_s3.service.service import Service

log = logging.getLogger("petal_s3")

Answer = dict[str, Any]
Fail = Callable[[S3IntegrationError], Mapping[str, Any]]
Progress = Callable[[int, int, float], None]
T = TypeVar("T")


class S3BucketProxy:
    """A bucket for flight logs; upload goes through the outbox and returns when proven.

    Made with a :class:`~petal_s3.service.service.Service` (the petal does that) or with the
    arguments of the host's own proxy, then it builds a service of its own at ``start``.
    """

    ALLOWED_EXTENSIONS = LOG_SUFFIXES

    def __init__(  # noqa: PLR0913
        self,
        session_token_url: str | None = None,
        bucket_name: str = "",
        region: str = "us-east-1",
        upload_prefix: str = "flight_logs/",
        debug: bool = False,
        request_timeout: float = 30,
        *,
        service: Service | None = None,
        fail: Fail = as_json,
        **settings: Any,
    ) -> None:
        """``settings``: any other setting by its lower-case name; ``fail`` turns an error into
        what a method answers (or raises)."""
        self._own = service is None
        if service is None:
            service = Service(
                load_settings(
                    session_token_url=session_token_url,
                    bucket_name=bucket_name,
                    region=region,
                    upload_prefix=upload_prefix,
                    request_timeout=request_timeout,
                    **settings,
                )
            )
        self.service = service
        self.bucket_name = service.settings.bucket_name
        self.upload_prefix = service.settings.upload_prefix
        self.session_token_url = service.settings.session_token_url or ""
        self.request_timeout = service.settings.request_timeout
        self.debug = debug
        self.s3_client = _HealthClient(service)
        self._fail = fail
        self.sessions = Sessions(service, self._answer)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: Counter[int] = Counter()
        """How many callers wait for a row."""
        # For the host's health probe alone: it must not wait behind a transfer.
        self._exe = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="petal-s3-health")
        self._started = False

    # -- life

    async def start(self) -> None:
        """Start the service when it is our own; quick, whatever the network does."""
        self._loop = asyncio.get_running_loop()
        if self._own and not self._started:
            self._started = True
            await self.service.start(watch=False)

    async def stop(self) -> None:
        """Stop; the outbox keeps what is not proven yet. Safe to call twice."""
        self._exe.shutdown(wait=False)
        await self.service.stop()

    @property
    def is_ready(self) -> bool:
        """Whether ``start`` was called."""
        return self._loop is not None

    async def wait_until_ready(self, timeout: float = 30.0) -> bool:
        """Start when nobody did; ready at once."""
        if not self.is_ready:
            await asyncio.wait_for(self.start(), timeout)
        return True

    # -- the host's dialect

    async def upload_file(
        self,
        file_path: Path | str,
        custom_filename: str | None = None,
        custom_s3_key: str | None = None,
        *,
        machine_id: str | None = None,
        on_progress: Progress | None = None,
    ) -> Answer:
        """Enter a log into the outbox and return when S3 has proven it.

        ``on_progress`` gets bytes moved, size, and bytes per second. A caller who is cancelled
        gives the upload up, unless the log was in the outbox before it asked. Fails truthfully: a
        log that cannot be sent now is a failure with status 503 and the row's ``id``; the row
        stays.
        """
        return await self._answer(
            self._upload(file_path, custom_filename, custom_s3_key, machine_id, on_progress),
            S3UploadError.of,
        )

    async def _upload(
        self,
        file_path: Path | str,
        name: str | None,
        key: str | None,
        machine_id: str | None,
        on_progress: Progress | None,
    ) -> Answer:
        if machine_id is not None and machine_id not in self.service.ownership.machine_ids:
            raise BadInput(f"This machine is not {machine_id!r}.", code="not_allowed", status=403)
        newest = await self.service.outbox(queries.rows, None, 1)
        entering = asyncio.ensure_future(self.service.enqueue(file_path, key=key, name=name))
        given_up = await _cancelled_meanwhile(entering)
        row = entering.result()
        self._waiting[row.id] += 1
        try:
            if given_up:
                raise asyncio.CancelledError  # noqa: TRY301 - handled as if it came now
            done = await self.service.wait(row.id, on_progress=on_progress)
        except asyncio.CancelledError:
            ours = not newest or row.id > newest[0].id
            if ours and self._waiting[row.id] == 1 and not self.service.stopping:
                await asyncio.shield(self.service.cancel(row.id, "The caller gave the upload up."))
            raise
        finally:
            self._waiting[row.id] -= 1
            self._waiting += Counter()  # forget those for whom nobody waits
        return views.uploaded(self.service.settings, done)

    async def list_files(
        self, prefix: str | None = None, max_keys: int = 100, *, token: str | None = None
    ) -> Answer:
        """Up to ``max_keys`` of this machine's objects; ``prefix`` relative to its home, or whole.

        ``token``: the ``next_token`` of the answer before.
        """

        async def listed() -> Answer:
            whole, page = await self._objects.page(prefix, limit=max_keys, token=token)
            return views.listing(self.service.settings, whole, page)

        return await self._answer(listed())

    async def download_file(self, s3_key: str, local_path: Path | str) -> Answer:
        """Bring an object to ``local_path``, whole and compared with its checksum, or not at all.

        ``proof`` in the answer says what was compared; empty: the size alone.
        """

        async def downloaded() -> Answer:
            size, proof = await self._objects.download(s3_key, Path(local_path))
            return {
                "success": True,
                "local_path": str(local_path),
                "file_size": size,
                "s3_key": s3_key,
                "proof": proof,
            }

        return await self._answer(downloaded(), S3DownloadError.of)

    async def delete_file(self, s3_key: str) -> Answer:
        """Delete an object of this machine; its row becomes cancelled."""

        async def delete() -> Answer:
            return views.deleted(await self._objects.delete(s3_key))

        return await self._answer(delete())

    async def move_file(self, source_key: str, dest_key: str) -> Answer:
        """Rename an object of this machine; its row follows."""

        async def move() -> Answer:
            await self._objects.move(source_key, dest_key)
            return views.moved(source_key, dest_key)

        return await self._answer(move())

    async def head_object(self, s3_key: str) -> Answer:
        """Metadata of an object; a missing one is the dict ``{"error": "File not found"}``."""

        async def head() -> Answer:
            return views.head(await self._objects.head(s3_key))

        return await self._answer(head())

    # -- more

    async def enqueue(self, path: Path | str, **more: Any) -> Answer:
        """Enter a log into the outbox, durably, and return its row at once."""

        async def enter() -> Answer:
            row = await self.service.enqueue(path, **more)
            return await self.service.row(row.id)

        return await self._answer(enter())

    async def status(self, id: int | None = None) -> Answer:
        """How things are, or one row."""
        return await self._answer(self.service.status() if id is None else self.service.row(id))

    async def wait(self, id: int) -> Answer:
        """Return the row once it is settled, however long that takes."""

        async def settled() -> Answer:
            row = await self.service.wait(id, patience_s=float("inf"))
            return await self.service.row(row.id)

        return await self._answer(settled())

    async def cancel(self, id: int) -> Answer:
        """Give a row up."""

        async def give_up() -> Answer:
            row = await self.service.cancel(id)
            return await self.service.row(row.id)

        return await self._answer(give_up())

    async def file_exists(self, key: str) -> bool:
        """Whether there is such an object of this machine; raises when S3 cannot be asked."""
        try:
            await self._told(self._objects.head(key))
        except S3FileNotFoundError:
            return False
        return True

    async def generate_presigned_url(
        self, key: str, expiration_hours: float = 1, *, method: str = "GET"
    ) -> Answer:
        """A ``url`` to read an object, or with ``method="PUT"`` to add one where none stands.

        ``expires_in`` (s) and ``expires_at`` are true: a URL ends with the credentials that sign
        it. ``headers`` must be sent along.
        """

        async def signed() -> Answer:
            return await self.service.presign(key, url_life_s(expiration_hours), method=method)

        return await self._answer(signed())

    async def get_file_range(self, key: str, start: int, end: int) -> bytes:
        """The bytes ``start``..``end`` of an object, both included, in one request; at most 64 MiB.

        Fewer where the object ends before. Raises on failure.
        """
        return await self._told(self._objects.range(key, start, end))

    async def get_streaming_body(self, key: str) -> StreamingBody:
        """The open body of an object: iterate over it, or ``read`` it; close it, or use ``async
        with``. Raises on failure."""
        return await self._told(StreamingBody.open(self._objects, key))

    def stream_download(self, key: str) -> AsyncIterator[bytes]:
        """The bytes of an object, block by block, through breaks of the link."""
        return self._stream(key)

    async def _stream(self, key: str) -> AsyncIterator[bytes]:
        async with await self.get_streaming_body(key) as body:
            while block := await self._told(body.next_block()):
                yield block

    async def stream_upload(
        self, chunks: AsyncIterable[bytes], filename: str, *, custom_s3_key: str | None = None
    ) -> Answer:
        """Take a log in, piece by piece, and return when S3 has proven it.

        Memory stays flat at any size. What has come whole is as safe as any other log: it fails
        as :meth:`upload_file`, with the row's ``id``, and is sent also when its caller is
        cancelled, who may have had the only copy. What breaks off before leaves nothing.
        """

        async def sent() -> Answer:
            row = await self.service.receive(chunks, Path(filename).name, key=custom_s3_key)
            return views.uploaded(self.service.settings, await self.service.wait(row.id))

        return await self._answer(sent(), S3UploadError.of)

    # -- what the host's health service and /test/bucket/info read

    async def _get_session_credentials(self) -> Mapping[str, Any]:
        """Answer at once whether there are credentials: health must not wait for a service."""
        tokens = self.service.tokens
        if tokens is None:
            return {"source": "botocore"}
        held = tokens.current
        if held is not None:
            return {"accessKeyId": held.access_key_id}
        block = self.service.drainer.block
        if block is not None and block.code.startswith("token_service"):
            raise S3CredentialsError(block.reason)
        return {"source": "not fetched yet"}

    @property
    def _session_cache(self) -> Mapping[str, Any]:
        held = self.service.tokens.current if self.service.tokens is not None else None
        if held is None:
            return {"credentials": None, "expires_at": 0}
        left_s = max(0.0, held.expires_at - clock.now())
        return {
            "credentials": {"accessKeyId": held.access_key_id},
            "expires_at": time.time() + left_s,
        }

    @property
    def _objects(self) -> Objects:
        return self.service.objects

    async def _told(self, work: Awaitable[T]) -> T:
        """What is no dict cannot hold an error: it raises, as the host understands it."""
        try:
            if not self.is_ready:
                await self.start()
            return await work
        except S3FileNotFoundError:
            raise
        except S3IntegrationError as error:
            self._fail(error)
            raise

    async def _answer(
        self,
        work: Awaitable[Answer],
        wrap: Callable[[S3IntegrationError], S3IntegrationError] | None = None,
    ) -> Answer:
        try:
            if not self.is_ready:
                await self.start()
            return await work
        except S3FileNotFoundError as error:
            if error.message == "File not found":
                return {"error": "File not found"}
            return dict(self._fail(error))
        except S3IntegrationError as error:
            log.info("proxy call failed code=%s reason=%s", error.code, error.message)
            return dict(self._fail(wrap(error) if wrap is not None else error))


async def _cancelled_meanwhile(work: asyncio.Future[Any]) -> bool:
    """Let ``work`` end, and say whether its caller was cancelled while it went on."""
    given_up = False
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:
            given_up = True
    if given_up and work.exception() is not None:
        raise asyncio.CancelledError
    return given_up


class _HealthClient:
    """What the host's health probe asks instead of S3: the verdict of the drain, at no cost.

    The host would list the bucket every 3 seconds, for ever.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def list_objects_v2(self, **_: Any) -> Answer:
        """Say nothing when the link works, raise the reason when it does not."""
        block = self._service.drainer.block
        if block is not None:
            raise Offline(block.reason, code=block.code)
        return {"KeyCount": 0}
