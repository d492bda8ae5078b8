"""``S3BucketProxy``: the service's verbs in the dialect of the host's bucket proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from petal_s3.core.kinds import LOG_SUFFIXES
from petal_s3.core.settings_loading import load_settings
from petal_s3.core.urls import shown
from petal_s3.errors import S3DownloadError, S3UploadError, as_json
from petal_s3.host import health
from petal_s3.host.proxy_answers import Fail, answered, raised
from petal_s3.host.proxy_defaults import PREFIX, REGION, TIMEOUT_S, given
from petal_s3.host.proxy_sessions import SessionsProxy
from petal_s3.host.proxy_uploads import AwaitedUploads, Progress
from petal_s3.objects.streaming_body import StreamingBody
from petal_s3.s3.responses import url_life_s
from petal_s3.service import row_verbs, signing
from petal_s3.service.file_info import exists
from petal_s3.service.service import Service
from petal_s3.service.views import objects as views
from petal_s3.service.views.rows import RowView
from petal_s3.service.views.status import StatusView


class S3BucketProxy:
    """A bucket for flight logs; upload goes through the outbox and returns when proven.

    Made with a :class:`~petal_s3.service.service.Service` (the petal does that) or with the
    arguments of the host's own proxy, then it builds a service of its own at ``start``.
    """

    ALLOWED_EXTENSIONS = LOG_SUFFIXES

    def __init__(  # noqa: PLR0913 - the arguments of the host's own proxy
        self,
        session_token_url: str | None = None,
        bucket_name: str = "",
        region: str = REGION,
        upload_prefix: str = PREFIX,
        debug: bool = False,
        request_timeout: float = TIMEOUT_S,
        *,
        service: Service | None = None,
        fail: Fail = as_json,
        **settings: object,
    ) -> None:
        """``settings``: any other setting by its lower-case name. ``fail`` turns an error into
        what a method answers, or raises. No default hides the environment or the YAML file."""
        self._own = service is None
        if service is None:
            named = {"session_token_url": session_token_url, "bucket_name": bucket_name}
            named |= {"region": region, "upload_prefix": upload_prefix}
            settings |= given({**named, "request_timeout": request_timeout})
            service = Service(load_settings(**settings))
        self.service = service
        self.bucket_name = service.settings.bucket_name
        self.region = service.settings.region
        self.upload_prefix = service.settings.upload_prefix
        self.session_token_url = shown(service.settings.session_token_url or "")
        self.request_timeout = service.settings.request_timeout
        self.debug = debug
        self.s3_client = health.HealthClient(service)
        self.fail = fail
        self.sessions = SessionsProxy(self)
        self._uploads = AwaitedUploads(service)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._exe = health.probe_thread()

    # -- starting and stopping

    async def start(self) -> None:
        """Start the service when it is our own; quick, whatever the network does."""
        first, self._loop = not self.is_ready, asyncio.get_running_loop()
        if self._own and first:
            await self.service.start(watch=False)

    async def stop(self) -> None:
        """Stop; the outbox keeps what is not proven yet. Safe to call twice."""
        self._exe.shutdown(wait=False)
        await self.service.stop()

    @property
    def is_ready(self) -> bool:
        """Whether ``start`` was called."""
        return self._loop is not None

    async def ensure_started(self) -> None:
        """Start, unless that was done: the host does not start a proxy that replaces its own."""
        if not self.is_ready:
            await self.start()

    async def wait_until_ready(self, timeout: float = 30.0) -> bool:
        """Start, unless that was done, within ``timeout`` seconds."""
        await asyncio.wait_for(self.ensure_started(), timeout)
        return True

    # -- the host's dialect

    @answered(S3UploadError.of)
    async def upload_file(
        self,
        file_path: Path | str,
        custom_filename: str | None = None,
        custom_s3_key: str | None = None,
        *,
        machine_id: str | None = None,
        on_progress: Progress | None = None,
    ) -> views.UploadView:
        """Enter a log into the outbox and return when S3 has proven it.

        ``on_progress`` gets bytes moved, size, and bytes per second. A caller that is cancelled
        cancels the upload, unless the log was in the outbox before. Fails truthfully: a log that
        cannot be sent now is a failure with status 503 and the row's ``id``; the row stays.
        """
        row = await self._uploads.file(
            file_path,
            name=custom_filename,
            key=custom_s3_key,
            machine_id=machine_id,
            on_progress=on_progress,
        )
        return views.upload_view(self.service.settings, row)

    @answered()
    async def list_files(
        self,
        prefix: str | None = None,
        max_keys: int = 100,
        *,
        token: str | None = None,
        machine_id: str | None = None,
    ) -> views.ListView:
        """Up to ``max_keys`` objects of this machine; ``prefix`` relative to its folder, or whole.

        ``token``: the ``next_token`` of the answer before. ``machine_id``: an id of this machine.
        """
        whole, page = await self.service.objects.page(
            prefix, limit=max_keys, token=token, machine_id=machine_id
        )
        return views.list_view(self.service.settings, whole, page)

    @answered(S3DownloadError.of)
    async def download_file(self, s3_key: str, local_path: Path | str) -> views.DownloadView:
        """Download an object and verify its checksum; nothing is kept if it does not match.

        ``proof`` in the answer says what was compared; empty: the size alone.
        """
        size, proof = await self.service.objects.download(s3_key, Path(local_path))
        return views.DownloadView(
            local_path=str(local_path), file_size=size, s3_key=s3_key, proof=proof
        )

    @answered()
    async def delete_file(self, s3_key: str) -> views.DeleteView:
        """Delete an object of this machine; its row becomes cancelled.

        A missing one has the error ``File not found``.
        """
        return views.DeleteView(s3_key=await row_verbs.delete_object(self.service, s3_key))

    @answered()
    async def move_file(self, source_key: str, dest_key: str) -> views.MoveView:
        """Rename an object of this machine; its row follows."""
        await self.service.objects.move(source_key, dest_key)
        return views.MoveView(source_key=source_key, dest_key=dest_key)

    @answered()
    async def head_object(self, s3_key: str) -> views.HeadView:
        """Metadata of an object; a missing one has the error ``File not found``."""
        return views.head_view(await self.service.objects.head(s3_key))

    # -- the outbox

    @answered()
    async def enqueue(self, /, path: Path | str, **more: Any) -> RowView:
        """Enter a log into the outbox, durably, and return its row at once."""
        row = await self.service.enqueue(path, **{**more, "received_by": "proxy"})
        return await self.service.row(row.id)

    @answered()
    async def status(self, id: int | None = None) -> StatusView | RowView:
        """The state of the whole service, or one row."""
        return await (self.service.row(id) if id is not None else self.service.status())

    @answered()
    async def wait(self, id: int) -> RowView:
        """Return the row once it is settled, however long that takes."""
        row = await self.service.wait(id, patience_s=float("inf"))
        return await self.service.row(row.id)

    @answered()
    async def cancel(self, id: int, *, purge: bool = False) -> RowView:
        """Cancel a row; its copy in the spool stays for a day, unless ``purge``."""
        row = await self.service.cancel(id, purge=purge)
        return await self.service.row(row.id)

    # -- more about objects

    async def file_exists(self, key: str) -> bool:
        """Whether this machine has such an object; of another's key it is false, unasked."""
        return await raised(self, exists(self.service.objects, key))

    @answered()
    async def generate_presigned_url(
        self, key: str, expiration_hours: float = 1, *, method: str = "GET"
    ) -> views.PresignView:
        """A ``url`` to read an object, or with ``method="PUT"`` to add one where none stands.

        It ends at ``expires_at``, never after what signs it; ``headers`` must be sent along."""
        life_s = url_life_s(expiration_hours)
        return await signing.presign(self.service, key, life_s, method=method, received_by="proxy")

    async def get_file_range(self, key: str, start: int, end: int) -> bytes:
        """As :meth:`S3Client.get_file_range`; raises on failure."""
        return await raised(self, self.service.objects.range(key, start, end))

    async def get_streaming_body(self, key: str) -> StreamingBody:
        """The open body of an object: iterate over it or ``read`` it, and close it."""
        return await raised(self, StreamingBody.open(self.service.objects, key))

    async def stream_download(self, key: str) -> AsyncIterator[bytes]:
        """The bytes of an object, block by block, through breaks of the link."""
        async with await self.get_streaming_body(key) as body:
            while block := await raised(self, body.next_block()):
                yield block

    @answered(S3UploadError.of)
    async def stream_upload(
        self, chunks: AsyncIterable[bytes], filename: str, *, custom_s3_key: str | None = None
    ) -> views.UploadView:
        """Receive a log piece by piece, and return when S3 has proven it.

        Memory stays flat at any size. Once received whole it stays in the outbox, also when its
        caller is cancelled, and fails as :meth:`upload_file`. A stream cut short leaves nothing.
        """
        row = await self._uploads.stream(chunks, filename, custom_s3_key)
        return views.upload_view(self.service.settings, row)

    # -- what the host's health service and /test/bucket/info read, by these names

    async def _get_session_credentials(self) -> Mapping[str, str]:
        return health.session_credentials(self.service)

    @property
    def _session_cache(self) -> Mapping[str, object]:
        return health.session_cache(self.service)
