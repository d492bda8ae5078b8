"""Streams for plain code: bodies that are read, and uploads that are fed, over a loop's thread."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import BinaryIO, cast

from petal_s3.core.kinds import ALL_KINDS
from petal_s3.core.loop_thread import LoopThread
from petal_s3.core.tasks import cancel_and_wait
from petal_s3.errors import BadInput, S3DownloadError, S3UploadError
from petal_s3.host.local_service import asked
from petal_s3.objects.objects import Objects
from petal_s3.objects.streaming_body import StreamingBody
from petal_s3.outbox.rows import Row
from petal_s3.service.service import Service

_PIECE_BYTES = 1024 * 1024


class LocalBody:
    """The open body of an object: read it like a file, or iterate over its blocks; close it.

    ``with`` closes it, and so does dropping it. Raises :class:`S3DownloadError`.
    """

    def __init__(self, thread: LoopThread, body: StreamingBody) -> None:
        self.content_length = body.content_length
        self.content_type = body.content_type
        self.etag = body.etag
        self.metadata = body.metadata
        self._thread = thread
        self._body = body
        self._dropped = weakref.finalize(self, _leave, thread, body)
        self._dropped.atexit = False  # the thread ends by then, and closes every connection

    @classmethod
    def open(cls, thread: LoopThread, objects: Objects, key: str) -> LocalBody:
        """Ask for the object; raises :class:`S3FileNotFoundError` too."""
        return cls(thread, asked(thread, StreamingBody.open(objects, key), S3DownloadError))

    @property
    def closed(self) -> bool:
        """Whether nothing more can be read."""
        return not self._dropped.alive

    def read(self, size: int | None = -1) -> bytes:
        """Up to ``size`` bytes, all that is left without it; empty at the end."""
        self._check_open()
        size = -1 if size is None else size
        return asked(self._thread, self._body.read(size), S3DownloadError)

    def __iter__(self) -> Iterator[bytes]:
        """Blocks as they come."""
        while block := self._next():
            yield block

    def _next(self) -> bytes:
        self._check_open()
        return asked(self._thread, self._body.next_block(), S3DownloadError)

    def _check_open(self) -> None:
        if self.closed:
            raise BadInput("This body is closed: open another.", code="closed")

    def close(self) -> None:
        """Give the connection back; safe to call twice."""
        if self._dropped.detach() is None or not self._thread.is_alive:
            return
        try:
            self._thread.run(self._body.close())
        except RuntimeError:  # the garbage collector came along in the thread itself
            _leave(self._thread, self._body)

    def __enter__(self) -> LocalBody:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _leave(thread: LoopThread, body: StreamingBody) -> None:
    thread.leave(body.close())


def blocks_of(body: LocalBody) -> Iterator[bytes]:
    """The blocks of a body, which is closed at the end, and where the iterator is dropped."""
    with body:
        yield from body


# -- up


class _Incoming:
    """A log that is received from pieces which another thread brings; it lives in the loop."""

    def __init__(self, service: Service, filename: str, key: str | None) -> None:
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._task = asyncio.ensure_future(
            service.receive(self._coming(), filename, key=key, kinds=ALL_KINDS)
        )

    @classmethod
    async def begin(
        cls, opened: Callable[[], Awaitable[Service]], filename: str, key: str | None
    ) -> _Incoming:
        return cls(await opened(), filename, key)

    async def _coming(self) -> AsyncIterator[bytes]:
        while (piece := await self._pieces.get()) is not None:
            yield piece

    async def put(self, piece: bytes | None) -> bool:
        """Hand a piece over, none at the end; false where no more is taken."""
        putting = asyncio.ensure_future(self._pieces.put(piece))
        await asyncio.wait({putting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not self._task.done():
            return True
        await cancel_and_wait(putting)
        return False

    async def end(self) -> Row:
        await self.put(None)
        return await self._task

    async def give_up(self) -> None:
        await cancel_and_wait(self._task)


def receive_from(
    thread: LoopThread,
    opened: Callable[[], Awaitable[Service]],
    chunks: Iterable[bytes] | BinaryIO,
    filename: str,
    key: str | None,
) -> Row:
    """Enter a log that comes in pieces, taken in this thread, or is read from an open file.

    Memory stays flat. Raises what ``chunks`` raises, and :class:`S3UploadError`; then nothing of
    it is left.
    """
    incoming = asked(thread, _Incoming.begin(opened, filename, key), S3UploadError)
    with ExitStack() as on_error:
        on_error.callback(_give_up, thread, incoming)
        for piece in _pieces(chunks):
            if not asked(thread, incoming.put(piece)):
                break
        row = asked(thread, incoming.end(), S3UploadError)
        on_error.pop_all()
    return row


def _give_up(thread: LoopThread, incoming: _Incoming) -> None:
    if thread.is_alive:
        thread.run(incoming.give_up())


def _pieces(chunks: Iterable[bytes] | BinaryIO) -> Iterator[bytes]:
    read = getattr(chunks, "read", None)
    coming = iter(lambda: read(_PIECE_BYTES), b"") if read is not None else chunks
    for piece in cast("Iterable[bytes]", coming):
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise BadInput("Pieces of bytes are expected, or a file that is open for bytes.")
        yield bytes(piece)
