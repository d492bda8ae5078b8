"""Which addresses are asked so that everybody on the way can read and answer."""

from __future__ import annotations

import contextlib
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from petal_s3.errors import S3BucketError
from petal_s3.s3.forward_proxy import proxy_for


def is_open(url: str | None) -> bool:
    """Whether requests to ``url`` leave this machine without TLS.

    A name counts as this machine only where every system takes it so (``localhost``, RFC 6761);
    a proxy that stands before the address gets them first. None: S3 of AWS, over TLS.
    """
    if url is None or urlsplit(url).scheme != "http":
        return False
    try:
        proxy = proxy_for(url)
    except S3BucketError:
        return True  # it is not known where they would go
    return not is_loopback(urlsplit(proxy or url).hostname or "")


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine: an address of loopback, or ``localhost``."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    with contextlib.suppress(ValueError):
        address = ip_address(host)
        inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return (inner or address).is_loopback
    return False
