"""``S3BucketProxy``: the service's verbs in the dialect of the host's bucket proxy."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from . import clock, config
from .errors import (
    BadInput,
    Offline,
    S3CredentialsError,
    S3DownloadError,
    S3FileNotFoundError,
    S3IntegrationError,
    S3UploadError,
    as_json,
)
from .flightlog import CONTENT_TYPES, LOG_SUFFIXES
from .outbox import Outbox
from .row import Row
from .service import Service

log = logging.getLogger("petal_s3")

Answer = dict[str, Any]
Fail = Callable[[S3IntegrationError], Mapping[str, Any]]


class S3BucketProxy:
    """A bucket for flight logs; upload goes through the outbox and returns when proven.

    Made with a :class:`~petal_s3.service.Service` (the petal does that) or with the arguments
    of the host's own proxy, then it builds a service of its own at ``start``.
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
                config.load(
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
        self._loop: asyncio.AbstractEventLoop | None = None
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
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Answer:
        """Enter a log into the outbox and return when S3 has proven it.

        ``on_progress`` gets bytes moved and size. A caller who is cancelled gives the upload
        up, unless the log was in the outbox before it asked. Fails truthfully: a log that
        cannot be sent now is a failure with status 503 and the row's ``id``; the row stays.
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
        on_progress: Callable[[int, int], None] | None,
    ) -> Answer:
        if machine_id is not None and machine_id not in self.service.territory.machine_ids:
            raise BadInput(f"This machine is not {machine_id!r}.", code="not_allowed", status=403)
        newest = await self.service.outbox(Outbox.rows, None, 1)
        row = await self.service.enqueue(file_path, key=key, name=name)
        try:
            done = await self.service.wait(row.id, on_progress=on_progress)
        except asyncio.CancelledError:
            ours = not newest or row.id > newest[0].id
            if ours and not self.service.stopping:
                await asyncio.shield(self.service.cancel(row.id, "The caller gave the upload up."))
            raise
        return self._uploaded(done)

    def _uploaded(self, row: Row) -> Answer:
        if row.state != "verified":
            raise S3UploadError(row.reason, code=row.code or row.state, status=409)
        return {
            "success": True,
            "s3_key": row.key,
            "file_url": self._url(row.key),
            "file_size": row.size,
            "content_type": CONTENT_TYPES.get(row.kind, "application/octet-stream"),
            "id": row.id,
        }

    async def list_files(self, prefix: str | None = None, max_keys: int = 100) -> Answer:
        """One page of this machine's objects; ``prefix`` relative to its home, or whole."""
        return await self._answer(self._list(prefix, max_keys))

    async def _list(self, prefix: str | None, max_keys: int) -> Answer:
        whole, page = await self.service.objects.page(prefix, limit=max_keys)
        files = [
            {
                "key": item.key,
                "size": item.size,
                "last_modified": item.last_modified.isoformat() if item.last_modified else None,
                "url": self._url(item.key),
            }
            for item in page.objects
        ]
        return {
            "success": True,
            "files": files,
            "total_count": len(files),
            "is_truncated": page.next_token is not None,
            "prefix": whole,
            "next_token": page.next_token,
        }

    async def download_file(self, s3_key: str, local_path: Path | str) -> Answer:
        """Bring an object to ``local_path``, whole or not at all."""
        return await self._answer(self._download(s3_key, Path(local_path)), S3DownloadError.of)

    async def _download(self, s3_key: str, local_path: Path) -> Answer:
        try:
            size = await self.service.objects.download(s3_key, local_path)
        except S3FileNotFoundError as error:
            raise S3FileNotFoundError("File not found") from error
        return {
            "success": True,
            "local_path": str(local_path),
            "file_size": size,
            "s3_key": s3_key,
        }

    async def delete_file(self, s3_key: str) -> Answer:
        """Delete an object of this machine; its row becomes cancelled."""

        async def delete() -> Answer:
            await self.service.objects.delete(s3_key)
            return {"success": True, "s3_key": s3_key, "message": "File deleted"}

        return await self._answer(delete())

    async def move_file(self, source_key: str, dest_key: str) -> Answer:
        """Rename an object of this machine; its row follows."""

        async def move() -> Answer:
            await self.service.objects.move(source_key, dest_key)
            return {
                "success": True,
                "source_key": source_key,
                "dest_key": dest_key,
                "message": "File moved",
            }

        return await self._answer(move())

    async def head_object(self, s3_key: str) -> Answer:
        """Metadata of an object; a missing one is the dict ``{"error": "File not found"}``."""
        return await self._answer(self._head(s3_key))

    async def _head(self, s3_key: str) -> Answer:
        info = await self.service.objects.head(s3_key)
        return {
            "success": True,
            "s3_key": s3_key,
            "metadata": dict(info.metadata),
            "content_length": info.size,
            "content_type": info.content_type,
            "last_modified": info.last_modified.isoformat() if info.last_modified else None,
            "etag": info.etag,
        }

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
            await self.service.objects.head(key)
        except S3FileNotFoundError:
            return False
        return True

    def stream_download(self, key: str) -> AsyncIterator[bytes]:
        """The bytes of an object, block by block."""
        return self._stream(key)

    async def _stream(self, key: str) -> AsyncIterator[bytes]:
        async with self.service.objects.read(key) as (_, blocks):
            async for block in blocks:
                yield block

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

    def _url(self, key: str) -> str:
        endpoint = self.service.settings.endpoint_url
        if endpoint:
            return f"{endpoint.rstrip('/')}/{self.bucket_name}/{key}"
        return f"https://{self.bucket_name}.s3.amazonaws.com/{key}"


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
