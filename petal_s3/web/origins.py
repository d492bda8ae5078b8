"""Origins of the web and names of this machine, as requests say them."""

from __future__ import annotations

import ipaddress
import re
import socket

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what is bound to ``host``."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def authority(origin: str) -> str:
    """Host and port of an origin; empty where it has none."""
    scheme, _, rest = origin.partition("://")
    return rest if scheme.lower() in {"http", "https"} else ""


def same(origin: str) -> str:
    """An origin so that equal ones are equal: in lower case, without the scheme's usual port.

    Empty for what is no origin of the web, which equals none of ours.
    """
    scheme, _, authority = origin.lower().partition("://")
    usual = {"http": ":80", "https": ":443"}.get(scheme)
    return "" if usual is None else f"{scheme}://{authority.removesuffix(usual)}"


def name_in(authority: str) -> str:
    """The name in ``name:port``, in lower case; empty for what is no such thing."""
    found = _AUTHORITY.fullmatch(authority)
    return found[1].lower().rstrip(".") if found else ""


def is_address(name: str) -> bool:
    """Whether it is an IP address, also in brackets."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def own_names() -> set[str]:
    """What this machine calls itself, also in the names of its network (mDNS)."""
    whole = socket.gethostname().lower().rstrip(".")
    short = whole.partition(".")[0]
    return {whole, short, f"{short}.local"} if short else set()
