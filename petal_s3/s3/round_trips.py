"""How long a round trip takes, as the kernel has measured it on the connections to S3."""

from __future__ import annotations

import socket
import struct
import weakref
from typing import Any

from petal_s3.s3.http_session import new_socket

_TCP_INFO_BYTES = 152
_RTT_AT, _LEAST_RTT_AT = 68, 148  # tcpi_rtt, tcpi_min_rtt: struct tcp_info, linux/tcp.h; in µs
_UNKNOWN_US = 0xFFFFFFFF


class RoundTrips:
    """Makes the sockets of connections, and asks the kernel about those that are open."""

    def __init__(self) -> None:
        self._made: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def socket(self, info: Any) -> socket.socket:
        """A socket of the address ``info``: see :func:`~petal_s3.s3.http_session.new_socket`."""
        made = new_socket(info)
        self._made.add(made)
        return made

    def least_s(self) -> float | None:
        """The shortest of all connections in seconds, which no queue has made longer.

        None where none is open, or the kernel does not tell (not Linux).
        """
        told = [us for one in tuple(self._made) if (us := _least_us(one)) is not None]
        return min(told) / 1e6 if told else None


def _least_us(connection: socket.socket) -> int | None:
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return None
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, option, _TCP_INFO_BYTES)
    except OSError:  # closed
        return None
    if len(told) < _TCP_INFO_BYTES:
        return None
    found = [struct.unpack_from("I", told, at)[0] for at in (_RTT_AT, _LEAST_RTT_AT)]
    known = [us for us in found if 0 < us < _UNKNOWN_US]
    return min(known, default=None)
