"""Which proxy of the environment stands before an address. No password is read from a file.

aiohttp can find the proxy by itself (``trust_env``), but then it also takes a login for the
address out of ``~/.netrc``, which is a person's and no business of S3 or a token service.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from petal_s3.errors import S3BucketError

_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str) -> str | None:
    """The proxy for ``url`` (``http_proxy``, ``https_proxy``), with the login that it names.

    None where none is set, or where ``no_proxy`` names the host, with or without its port.
    Raises :class:`S3BucketError` where what is set is not the address of a proxy.
    """
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    host = str(parts.hostname)
    if not proxy or proxy_bypass(host) or proxy_bypass(f"{host}:{_port(parts)}"):
        return None
    address = proxy if "//" in proxy else f"http://{proxy}"
    if not _usable(address):
        raise S3BucketError(
            f"The environment's {parts.scheme}_proxy is not the address of a proxy:"
            " http://HOST:PORT is expected."
        )
    return address


def peer_of(url: str) -> tuple[str, int]:
    """Host and port that connections to ``url`` go to: its proxy's, where one is set.

    Raises what :func:`proxy_for` raises.
    """
    parts = urlsplit(proxy_for(url) or url)
    return str(parts.hostname), _port(parts)


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS.get(parts.scheme, 80)


def _usable(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in _PORTS and bool(parts.hostname) and _port(parts) > 0
    except ValueError:  # the port is no number, or a bracket is missing
        return False
