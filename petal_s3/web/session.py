"""A cookie in the token's place: made of it, with an end, so that no browser keeps the token.

Cookies are shared by all ports of a host (RFC 6265, 8.5): whether a page is ours, Origin says.
"""

from __future__ import annotations

import hmac

_NAME = "petal_s3_session"
LASTS_S = 30 * 24 * 3600
"""Seconds for which a browser need not ask for the token again."""


def name_at(host: str) -> str:
    """What it is called by a server that is asked as ``host`` (``name`` or ``name:port``).

    With the port in it: else two servers of one robot would take each other's away.
    """
    _, colon, port = host.rpartition(":")
    known = colon and port.isascii() and port.isdecimal() and len(port) < 6
    return f"{_NAME}_{port}" if known else _NAME


def value_of(token: str, now: float) -> str:
    """The value of a cookie that is made at ``now``: seconds since 1970, by this device."""
    return _signed(token, int(now) + LASTS_S)


def is_in_time(value: str, now: float) -> bool:
    """Whether a value claims to be of use now; one that a later clock made is of none."""
    ends, _, _ = value.partition(".")
    return ends.isascii() and ends.isdecimal() and 0 < _number(ends) - int(now) <= LASTS_S


def is_of(token: str, value: str) -> bool:
    """Whether :func:`value_of` made it of this token."""
    ends, _, _ = value.partition(".")
    expected = _signed(token, _number(ends)).encode()
    return hmac.compare_digest(expected, value.encode("utf-8", "surrogateescape"))


def cookie(value: str, host: str, *, secure: bool) -> str:
    """The header ``Set-Cookie``; without a path, so that it counts where the page is.

    Its path is then that of the request without the last word (RFC 6265, 5.1.4): the prefix as the
    browser sees it, whatever a proxy before the server makes of it. ``host``: as in
    :func:`name_at`.
    """
    lasts = LASTS_S if value else 0
    return (
        f"{name_at(host)}={value}; Max-Age={lasts}; HttpOnly; SameSite=Strict" + "; Secure" * secure
    )


def value_in(header: str, host: str) -> str:
    """The value in a header ``Cookie``, empty where there is none; ``host`` as in `name_at`."""
    own = name_at(host)
    for one in header.split(";"):
        name, _, value = one.strip().partition("=")
        if name == own:
            return value
    return ""


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 12 else 0


def _signed(token: str, ends: int) -> str:
    made = hmac.new(token.encode(), f"petal-s3 session until {ends}".encode(), "sha256")
    return f"{ends}.{made.hexdigest()}"
