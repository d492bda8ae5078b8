"""Tell systemd how a service is, over the datagram socket that it names (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

_SOCKET = "NOTIFY_SOCKET"


def is_told(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether systemd, or what stands for it, waits to be told."""
    return environ.get(_SOCKET, "")[:1] in {"/", "@"}


def notify(*lines: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send assignments like ``READY=1``; whether they were taken.

    Never blocks and never raises: where no socket is named, none listens or its queue is full,
    nothing is sent. A name that begins with ``@`` is in the abstract namespace (unix(7)).
    """
    if not is_told(environ):
        return False
    address = environ[_SOCKET]
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    text = "\n".join(line.replace("\n", " ") for line in lines).encode("utf-8", "replace")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
            told.setblocking(False)
            told.sendto(text, address)
    except OSError:
        return False
    return True


def watchdog_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """Seconds within which this process has to say ``WATCHDOG=1`` again (sd_watchdog_enabled(3)).

    None: no watchdog looks at this process.
    """
    if environ.get("WATCHDOG_PID") not in {None, str(os.getpid())}:
        return None
    told = environ.get("WATCHDOG_USEC", "")
    return int(told) / 1e6 if told.isascii() and told.isdecimal() and int(told) else None
