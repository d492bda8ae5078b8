"""A session-token service on loopback that issues, expires, revokes, and fails as it is told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import format_datetime

from aiohttp import web

from petal_s3.demo.faults import Answer

TOKEN_PATH = "/session-token"  # noqa: S105 - a path


def secret_of(token: str) -> str:
    """The secret key that was issued with a token."""
    return f"demo-secret-{token.rpartition('-')[2]}-opens-nothing"


class TokenService:
    """Issues session tokens that live ``life_s`` seconds by ``now`` (s since 1970).

    An async context manager that listens on a port of its own; another server may let it
    ``respond`` to the requests that it receives.
    """

    def __init__(self, *, life_s: float = 3600, now: Callable[[], float] = time.time) -> None:
        self.life_s = life_s
        self.fetches = 0
        """Requests so far, refused ones included."""
        self.issued: list[dict[str, str]] = []
        self.says: Answer | None = None
        """Answered instead of credentials, while it is set."""
        self.hang = False
        """Accept and say nothing, until this is False again."""
        self.drop = False
        """Close the connection without an answer."""
        self.revoked = False
        """S3 refuses every token, as if this machine's permissions were taken away."""
        self.strict = True
        """S3 refuses tokens that were never issued."""
        self.url = ""
        self._now = now
        self._ends: dict[str, float] = {}

    # -- what goes wrong

    def fail_with(self, status: int, body: str = "", content_type: str = "text/plain") -> None:
        """Answer this instead of credentials, from now on."""
        self.says = Answer(status, body.encode(), {"Content-Type": content_type})

    def heal(self) -> None:
        """Issue credentials again."""
        self.says = None
        self.hang = self.drop = False

    def expire(self) -> None:
        """Every token that was issued ends now."""
        self._ends = dict.fromkeys(self._ends, self._now())

    # -- what it answers

    def accepts(self, headers: Mapping[str, str]) -> str:
        """The error code for the token of a request to S3; empty when it is good."""
        ends = self._ends.get(headers.get("x-amz-security-token", ""))
        if self.revoked:
            return "AccessDenied"
        if ends is None:
            return "InvalidToken" if self.strict else ""
        return "ExpiredToken" if self._now() >= ends else ""

    def answer(self) -> Answer:
        """Answer one request for credentials."""
        self.fetches += 1
        return self._answer()

    def _answer(self) -> Answer:
        if self.says is not None:
            return self.says
        number, ends = len(self.issued) + 1, self._now() + self.life_s
        token = f"demo-session-token-{number}"
        self._ends[token] = ends
        until = datetime.fromtimestamp(ends, timezone.utc).isoformat(timespec="milliseconds")
        credentials = {
            "accessKeyId": f"ASIADEMO{number:012d}",
            "secretAccessKey": secret_of(token),
            "sessionToken": token,
            "expiration": until.replace("+00:00", "Z"),
        }
        self.issued.append(credentials)
        date = format_datetime(datetime.fromtimestamp(self._now(), timezone.utc), usegmt=True)
        headers = {"Date": date, "Content-Type": "application/json"}
        return Answer(200, json.dumps(credentials).encode(), headers)

    async def respond(self, request: web.BaseRequest) -> web.Response:
        """Answer one request for credentials over HTTP."""
        self.fetches += 1
        while self.hang:  # noqa: ASYNC110 - set from any thread, so no asyncio.Event
            await asyncio.sleep(0.05)
        if self.drop:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        answer = self._answer()
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def start(self, port: int = 0) -> str:
        """Listen; returns the URL."""
        app = web.Application()
        app.router.add_post("/{path:.*}", self.respond)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}{TOKEN_PATH}"
        return self.url

    async def stop(self) -> None:
        """Stop listening."""
        self.hang = False
        await self._runner.cleanup()

    async def __aenter__(self) -> TokenService:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
