#!/usr/bin/env bash
# Guess: of a file that grows while it is served the bytes of Content-Length arrive, and no more;
#   at worst the bytes beyond are cut off and the connection is closed.
# Really: FileResponse reads to the end of the file, and the read that goes beyond Content-Length is
#   refused by uvicorn as a whole. One byte more loses up to 64 KiB that were announced, and of a
#   file below 64 KiB every byte, after a status 200. With a Range all of them arrive.
# Version: starlette 1.10.0 and uvicorn 0.54.0, with h11 0.16.0 and with httptools 0.9.0. Seen: 2026-11-30.
# Hurt: who fetches a log that is still being written from a FastAPI application, such as
#   petal-app-manager's.
. "$(dirname "$0")/lib.sh"
install_alone starlette==1.10.0 uvicorn==0.54.0 anyio==4.16.0 idna==3.20 click==8.5.1 h11==0.16.0 \
  httptools==0.9.0 typing_extensions==4.16.0
cd "$TEMP" && "$BIN/python" - <<'PYTHON'
import asyncio, http.client, socket, sys, threading, time

import uvicorn
from starlette.responses import FileResponse


async def served(scope, receive, send):
    """The file; one byte is appended to it between the headers and the body."""

    async def growing(message):
        if message["type"] == "http.response.start":
            with open("flight.ulg", "ab") as log:
                log.write(b"+")
        await send(message)

    await FileResponse("flight.ulg")(scope, receive, growing)


def fetched(port, size, **headers):
    with open("flight.ulg", "wb") as log:
        log.write(b"u" * size)
    wire = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    wire.request("GET", "/", headers=headers)
    answer = wire.getresponse()
    try:
        got = answer.read()
    except http.client.IncompleteRead as error:
        got = error.partial
    return answer.status, int(answer.headers["Content-Length"]), len(got)


holds = True
for parser in ("h11", "httptools"):
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(served, http=parser, log_level="critical", lifespan="off"))
    runs = threading.Thread(target=server.run, args=([listening],))
    runs.start()
    while not server.started:
        time.sleep(0.05)
    port = listening.getsockname()[1]
    for size in (60_000, 200_000):
        whole = fetched(port, size)
        part = fetched(port, size, Range="bytes=0-")
        print(f"{parser}, {size} bytes and one more: status, Content-Length, bytes that came: {whole};"
              f" with a Range: {part}")
        lost = size if size < 65536 else size % 65536
        holds &= whole == (200, size, size - lost) and part == (206, size, size)
    server.should_exit = True
    runs.join()
print("SEEN" if holds else "CHANGED", ": one byte that is appended meanwhile loses up to 64 KiB")
sys.exit(0 if holds else 1)
PYTHON
