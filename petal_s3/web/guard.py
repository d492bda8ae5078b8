"""Who may ask: one guard for every operation, whichever server has taken the request.

It refuses what a web page of another site makes a browser send, and whoever has not the token.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable, Mapping

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.settings import Settings
from petal_s3.core.settings_rules import SHORTEST_TOKEN
from petal_s3.errors import ConfigError, NotAllowed, Throttled
from petal_s3.web import origins, session
from petal_s3.web.origins import is_loopback
from petal_s3.web.wrong_tokens import WrongTokens

_READING = {"GET", "HEAD"}
_OWN_SITE = {"same-origin", "none"}


def check_binding(host: str, token: str | None) -> None:
    """Raise :class:`ConfigError` where others could reach the server without a good token."""
    if is_loopback(host):
        return
    if not token:
        raise ConfigError(
            f"PETAL_S3_API_TOKEN must be set to serve on {host}: others can reach that address."
        )
    if len(token) < SHORTEST_TOKEN:
        raise ConfigError(f"{_TOO_SHORT} to serve on {host}: others can reach that address.")


_TOO_SHORT = f"PETAL_S3_API_TOKEN has less than {SHORTEST_TOKEN} characters, too few"


def read_only() -> NotAllowed:
    """What is answered to a change, where PETAL_S3_REST_READ_ONLY is set."""
    return NotAllowed(
        "Nothing may be changed over REST: PETAL_S3_REST_READ_ONLY is set.", code="read_only"
    )


def headers_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by their names in lower case; what came twice is joined, and so is no name."""
    found: dict[str, str] = {}
    for title, value in pairs:
        name = title.lower()
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


class Guard:
    """What the settings allow, and who has guessed wrongly.

    Without settings it refuses the pages of other sites alone.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        bound: str | None = None,
        token: str | None = None,
        now: Clock = clock.now,
        wall: Clock = time.time,
    ) -> None:
        """``bound``: the address of the stand-alone server; none in the host, which has its own.

        Raises :class:`ConfigError` as :func:`check_binding` where ``bound`` is given.
        """
        if bound is not None:
            check_binding(bound, token)
        self.origins = frozenset(settings.api_origins if settings is not None else ())
        """Web origins whose pages may ask."""
        self.wrong = WrongTokens()
        self._token = token
        self._read_only = settings is not None and settings.rest_read_only
        self._loopback = bound is not None and is_loopback(bound)
        # In the host nothing tells who reaches its port: it is taken for open to others.
        self._unsafe = bound is None and token is not None and len(token) < SHORTEST_TOKEN
        self._names = {
            name for origin in self.origins if (name := origins.name_in(origins.authority(origin)))
        }
        named = bound or (settings.api_host if settings is not None else "")
        if named:
            self._names.add(named.lower())
        self._now, self._wall = now, wall

    def check(
        self, method: str, headers: Mapping[str, str], peer: str, scheme: str = "http"
    ) -> None:
        """Let a request pass, or raise; ``headers`` by names in lower case, as :func:`headers_of`.

        ``scheme``: by which the server was asked, ``http`` or ``https``, as it tells itself.

        Raises :class:`NotAllowed`: 403 with the code ``foreign_host``, ``foreign_page`` or
        ``read_only``, or 401 (``no_token``); :class:`Throttled`: 429 (``too_many_tokens``) for a
        peer that has sent many wrong ones; and :class:`ConfigError` for a token that is too short.
        """
        self.check_page(headers, scheme)
        self._check_safe()
        if self._token is not None:
            self._check_login(method, headers, peer)
        if self._read_only and method not in _READING:
            raise read_only()

    def check_page(
        self, headers: Mapping[str, str], scheme: str = "http", *, link: bool = False
    ) -> None:
        """Raise :class:`NotAllowed` where a web page of another site may be behind a request.

        ``link``: a link of another site may lead there, as what is answered tells nothing.
        Its address is ``scheme`` and what Host says (RFC 9110, 7.2), where it comes from what
        Origin (RFC 6454) and Sec-Fetch-Site (W3C Fetch Metadata) say.
        """
        host = headers.get("host", "")
        if not self._is_ours(origins.name_in(host)):
            # A page of another site, whose name now resolves to this machine (DNS rebinding).
            raise NotAllowed(
                "This server is asked by another name than its own; PETAL_S3_API_ORIGINS may"
                " list more.",
                code="foreign_host",
            )
        origin = headers.get("origin")
        if origin is not None and origin.lower() in self.origins:
            return
        foreign = origin is not None and origins.same(origin) != origins.same(f"{scheme}://{host}")
        elsewhere = headers.get("sec-fetch-site", "none") not in _OWN_SITE
        if foreign or (elsewhere and not (link and _opens_a_tab(headers))):
            raise NotAllowed(
                "Pages of other sites may not ask this server; PETAL_S3_API_ORIGINS may list some.",
                code="foreign_page",
            )

    def _is_ours(self, name: str) -> bool:
        if name in self._names or is_loopback(name):
            return True
        if self._loopback:
            return False
        return origins.is_address(name) or name in origins.own_names()

    def login(self, given: str, peer: str) -> str | None:
        """The value of a cookie that stands for the token from now on; none where none is set.

        Raises as :meth:`check` for a token that is wrong, or too short.
        """
        self._check_safe()
        if self._token is None:
            return None
        if not self._is_right(peer, lambda token: _is_token(token, given)):
            raise NotAllowed("This is not the token.", code="no_token", status=401)
        return session.value_of(self._token, self._wall())

    def _check_safe(self) -> None:
        if self._unsafe:
            raise ConfigError(f"{_TOO_SHORT} in a host that others may reach.")

    def _check_login(self, method: str, headers: Mapping[str, str], peer: str) -> None:
        """The token itself, or the cookie that was given for it."""
        kind, _, told = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and told.strip():
            if self._is_right(peer, lambda token: _is_token(token, told.strip())):
                return
        elif self._has_cookie(headers, peer):
            if method in _READING or "origin" in headers:
                return
            # A browser says where a change comes from; what does not is no page of ours.
            raise NotAllowed(
                "A change that a browser's cookie allows needs the header Origin.",
                code="foreign_page",
            )
        raise NotAllowed(
            "A bearer token is needed: PETAL_S3_API_TOKEN.", code="no_token", status=401
        )

    def _has_cookie(self, headers: Mapping[str, str], peer: str) -> bool:
        """Whether the cookie of a login came; one that is over is no wrong token."""
        value = session.value_in(headers.get("cookie", ""), headers.get("host", ""))
        if not session.is_in_time(value, self._wall()):
            return False
        return self._is_right(peer, lambda token: session.is_of(token, value))

    def _is_right(self, peer: str, fits: Callable[[str], bool]) -> bool:
        """Whether what came fits the token; who sends many that do not is slowed down."""
        self._bear_with(peer)
        if self._token is not None and fits(self._token):
            return True
        self.wrong.note(peer, self._now())
        return False

    def _bear_with(self, peer: str) -> None:
        wait_s = self.wrong.wait_s(peer, self._now())
        if wait_s > 0:
            raise Throttled(
                "Too many wrong tokens came from this address: the next is looked at later.",
                code="too_many_tokens",
                status=429,
                retry_after_s=wait_s,
            )


def _opens_a_tab(headers: Mapping[str, str]) -> bool:
    """Whether a person has followed a link: no page gets the answer to see (Fetch Metadata, 2)."""
    mode, shown_in = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return (mode, shown_in) == ("navigate", "document")


def _is_token(token: str, given: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode())
