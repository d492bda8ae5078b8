"""What of a URL may be shown: a login, a query and a fragment are secrets."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit


def holds_secret(url: str) -> bool:
    """Whether ``url`` has a login, a query or a fragment."""
    where = url.partition("//")[2].partition("/")[0]
    return "@" in where or "?" in url or "#" in url


def bare(url: str) -> str:
    """``url`` without login, query and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=_place(parts), query="", fragment="").geturl()


def server_of(url: str) -> str:
    """Host and port of ``url``, as they stand in it."""
    return _place(urlsplit(url))


def shown(url: str) -> str:
    """``url`` for people: whole where nothing in it is a secret, else scheme, host and port."""
    if not holds_secret(url):
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{_place(parts)}"


def _place(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]
