"""A server that closes in the middle of a body, while the window is full, is heard at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from petal_s3.core.settings import MIB
from petal_s3.errors import Offline, S3IntegrationError, Throttled
from petal_s3.s3 import multipart
from petal_s3.s3.checksums import digest
from petal_s3.s3.client import S3
from petal_s3.s3.request_body import FilePart
from petal_s3.s3.s3_settings import S3Settings
from petal_s3.s3.stalls import Patience
from tests.support.known import KNOWN

SIZE = 16 * MIB  # more than all buffers on the way
SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: 57\r\n"
    b"Connection: close\r\n\r\n<Error><Code>SlowDown</Code><Message>no</Message></Error>"
)


@contextlib.asynccontextmanager
async def closing_server(answer: bytes) -> AsyncIterator[str]:
    """A server that reads a little, says ``answer``, ends its side, and reads no more."""
    held: list[socket.socket] = []

    async def serve(wire: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(wire)
            held.append(connection)
            connection.setblocking(False)
            await loop.sock_recv(connection, 64 * 1024)
            if answer:
                await loop.sock_sendall(connection, answer)
            connection.shutdown(socket.SHUT_WR)

    with socket.create_server(("127.0.0.1", 0)) as wire:
        wire.setblocking(False)
        task = asyncio.create_task(serve(wire))
        try:
            yield f"http://127.0.0.1:{wire.getsockname()[1]}"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for connection in held:
                connection.close()


@pytest.mark.parametrize(
    ("answer", "error"), [(b"", Offline), (SLOW_DOWN, Throttled)], ids=["silent", "refusing"]
)
async def test_a_peer_that_ends_its_side_in_the_middle_of_a_body_is_heard_before_any_stall(
    answer: bytes,
    error: type[S3IntegrationError],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "opens-nothing")
    path = tmp_path / "log.ulg"
    path.write_bytes(bytes(SIZE))
    fd = os.open(path, os.O_RDONLY)
    async with closing_server(answer) as url:
        s3 = S3(S3Settings("logs", endpoint_url=url, patience=Patience(stall_s=3600.0)), None)
        s3.server.adopt(KNOWN)
        try:
            whole = digest(fd, 0, SIZE, sha256=True)
            window = FilePart(fd, 0, whole)
            send = multipart.upload_part(s3, "flight_logs/d/log.ulg", "upload-1", 1, window)
            with pytest.raises(error):
                await asyncio.wait_for(send, 60.0)  # an hour would pass for a stall
        finally:
            await s3.close()
            os.close(fd)
