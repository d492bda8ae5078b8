"""A session-token service that issues, expires, revokes, and falls ill."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import format_datetime

from tests.faults.wire import Answer


def secret_of(token: str) -> str:
    """The secret key that was issued with a token."""
    return f"secret-{token.removeprefix('token-')}-opens-nothing"


class Tokens:
    """Issues session tokens that live ``life_s`` seconds by ``now`` (s since 1970)."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.life_s = 3600.0
        self.fetches = 0
        self.ill: Answer | None = None
        """Said instead of credentials, while it is set."""
        self.down = False
        """Whoever calls is cut off."""
        self.revoked = False
        """S3 refuses every token, as if this machine's permissions were taken away."""
        self.strict = True
        """S3 refuses tokens that were never issued."""
        self._now = now
        self._ends: dict[str, float] = {}

    def accepts(self, headers: Mapping[str, str]) -> str:
        """The error code for the token of a request; empty when it is good."""
        ends = self._ends.get(headers.get("x-amz-security-token", ""))
        if self.revoked:
            return "AccessDenied"
        if ends is None:
            return "InvalidToken" if self.strict else ""
        return "ExpiredToken" if self._now() >= ends else ""

    def expire(self) -> None:
        """Every token that was issued ends now."""
        self._ends = dict.fromkeys(self._ends, self._now())

    def issue(self) -> Answer:
        """Answer one request for credentials."""
        self.fetches += 1
        if self.ill is not None:
            return self.ill
        token = f"token-{self.fetches}"
        self._ends[token] = self._now() + self.life_s
        told = {
            "accessKeyId": f"ASIA{self.fetches:012d}",
            "secretAccessKey": secret_of(token),
            "sessionToken": token,
            "expiration": datetime.fromtimestamp(self._ends[token], timezone.utc).isoformat(),
        }
        date = format_datetime(datetime.fromtimestamp(self._now(), timezone.utc), usegmt=True)
        headers = {"date": date, "content-type": "application/json"}
        return Answer(200, json.dumps(told).encode(), headers)
