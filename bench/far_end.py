"""An S3 server for the far end of a path: prints its address, its token service's, and serves."""

from __future__ import annotations

import asyncio
import sys

from tests.support.server import FaultServer


async def main(host: str) -> None:
    """Serve until standard input ends."""
    server = FaultServer()
    await server.start(host=host)
    url = server.url.replace("127.0.0.1", host)
    print(url, url + server.token_url.removeprefix(server.url), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
