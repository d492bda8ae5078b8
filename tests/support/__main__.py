"""Run the fault server behind a bad link and misbehave on command: ``scripts/faults --help``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable

from petal_s3.demo.faults import Fault
from petal_s3.demo.ledger import Request
from petal_s3.demo.link import Link, Shape
from tests.support.server import FaultServer
from tests.support.wire import PORTAL, TROUBLE, TWISTS

FAULTS = {
    fault.name: fault
    for fault in (
        *PORTAL,
        *TWISTS,
        *TROUBLE,
        Fault("drop", drop=True),
        Fault("deaf", deaf=True),
        Fault("hang", hang=True),
        Fault("late", delay_s=20.0),
        Fault("cut", cut_at=100_000),
    )
}

_HELP = """\
  plan OP FAULT [TIMES]   the next requests of OP meet FAULT (OP as S3 names it, * for any)
  always OP FAULT         every request of OP does
  cut | forward | black-hole | silence | go-on | reset | heal
  expire | revoke | restore | life SECONDS      the session tokens
  collect | vanish | return                     stale uploads are aborted; the bucket goes, is back
  rate BYTES_PER_S | die UP_S DOWN_S            the link
  seen                    what has arrived so far
  quit
"""


class Console:
    """Translates one typed line into one verb of the server or the link."""

    def __init__(self, server: FaultServer, link: Link) -> None:
        self._server = server
        self._link = link
        tokens, mind = server.tokens, server.mind
        self._plain: dict[str, Callable[[], object]] = {
            "cut": link.cut,
            "forward": link.forward,
            "black-hole": link.black_hole,
            "silence": link.silence,
            "go-on": link.go_on,
            "reset": link.reset,
            "heal": self._heal,
            "expire": tokens.expire,
            "revoke": lambda: setattr(tokens, "revoked", True),
            "restore": lambda: setattr(tokens, "revoked", False),
            "collect": lambda: mind.collect(0),
            "vanish": lambda: setattr(mind, "exists", False),
            "return": lambda: setattr(mind, "exists", True),
        }

    def _heal(self) -> None:
        self._server.heal()
        self._link.heal()

    def obey(self, line: str) -> str:
        """Do what the line says; return what to tell."""
        words = line.split()
        if not words:
            return ""
        if words[0] in self._plain and len(words) == 1:
            self._plain[words[0]]()
            return "done"
        try:
            return self._with_arguments(*words)
        except (TypeError, ValueError, KeyError):
            return _HELP + f"  faults: {' '.join(FAULTS)}"

    def _with_arguments(self, verb: str, *given: str) -> str:
        if verb == "plan":
            times = int(given[2]) if len(given) > 2 else 1
            self._server.plan(given[0], FAULTS[given[1]], times=times)
        elif verb == "always":
            self._server.always(given[0], FAULTS[given[1]])
        elif verb == "life":
            self._server.tokens.life_s = float(given[0])
        elif verb == "rate":
            self._link.shape(Shape(up_bytes_s=float(given[0])))
        elif verb == "die":
            self._link.schedule(up_s=float(given[0]), down_s=float(given[1]))
        elif verb == "seen":
            return "\n".join(told(one) for one in self._server.ledger.requests())
        else:
            raise KeyError(verb)
        return "done"


def told(one: Request) -> str:
    """One request in one line."""
    part = f" part {one.part}" if one.part else ""
    fault = f"  <- {one.fault}" if one.fault else ""
    return f"{one.status or '---'} {one.op}{part} {one.key} {one.body_bytes} bytes{fault}"


async def serve(given: argparse.Namespace) -> None:
    """Serve until told to quit."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with FaultServer(given.bucket) as server, Link(server.url, port=given.port) as link:
        server.tokens.life_s = given.token_life
        console = Console(server, link)
        for line in given.do:
            print(f"> {line}: {console.obey(line)}")
        print(f"export PETAL_S3_BUCKET_NAME={given.bucket}")
        print(f"export PETAL_S3_ENDPOINT_URL={link.url}")
        print(f"export PETAL_S3_SESSION_TOKEN_URL={server.token_url}", flush=True)
        listening = asyncio.ensure_future(_listen(console, ended))
        await ended.wait()
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
        ledger = server.ledger
        requests, parts = len(ledger.requests()), ledger.count("UploadPart")
        print(
            f"{requests} requests, {parts} parts, {ledger.resent_confirmed_parts} of them re-sent"
        )


async def _listen(console: Console, ended: asyncio.Event) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := (await reader.readline()).decode():
        if line.strip() == "quit":
            ended.set()
            return
        print(console.obey(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/faults",
        description=__doc__,
        epilog="typed lines:\n" + _HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0, help="of the link (default: a free one)")
    parser.add_argument("--bucket", default="logs")
    parser.add_argument("--token-life", type=float, default=3600, help="seconds")
    parser.add_argument("--do", action="append", default=[], metavar="LINE", help="as if typed")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
