"""What the kernel tells of TCP connections: round trips, what was acknowledged, what waits."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import weakref
from dataclasses import dataclass
from typing import Any

_UNSENT_BYTES = 256 * 1024
_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)  # in Python from 3.12 on; linux/tcp.h
_SIOCOUTQNSD = 0x894B  # linux/sockios.h
# struct tcp_info of linux/tcp.h: tcpi_rtt and tcpi_min_rtt in µs, tcpi_bytes_acked.
_TCP_INFO_BYTES, _RTT_AT, _ACKED_AT, _LEAST_RTT_AT = 152, 68, 120, 148
_UNKNOWN_US = 0xFFFFFFFF


@dataclass(frozen=True)
class TcpInfo:
    """One connection as the kernel sees it now.

    ``acked``: bytes that the peer has acknowledged since it was made, and one for the SYN.
    ``round_trip_s``: the shortest, which no queue has made longer; none where none was measured.
    """

    acked: int
    round_trip_s: float | None


def tcp_info(connection: Any) -> TcpInfo | None:
    """None where the socket is closed, or the kernel does not tell (not Linux)."""
    if sys.platform != "linux" or connection is None:
        return None
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return None
    if len(told) < _TCP_INFO_BYTES:
        return None
    found = [struct.unpack_from("I", told, at)[0] for at in (_RTT_AT, _LEAST_RTT_AT)]
    known = [us / 1e6 for us in found if 0 < us < _UNKNOWN_US]
    return TcpInfo(struct.unpack_from("Q", told, _ACKED_AT)[0], min(known, default=None))


def acknowledged(connection: Any) -> int | None:
    """Bytes that the peer has acknowledged since the connection was made; none where unknown.

    Whatever lies in buffers above the socket, as those of TLS do, is not among them.
    """
    told = tcp_info(connection)
    return None if told is None else told.acked


def unsent(connection: Any) -> int:
    """Bytes that the kernel has taken and not sent yet; 0 where it does not tell."""
    if sys.platform != "linux" or connection is None:
        return 0
    try:
        told = fcntl.ioctl(connection.fileno(), _SIOCOUTQNSD, bytes(4))
    except (OSError, ValueError):
        return 0
    return int(struct.unpack("i", told)[0])


class Sockets:
    """Makes the sockets of connections, and asks the kernel about those that are open."""

    def __init__(self) -> None:
        self._made: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def make(self, info: Any) -> socket.socket:
        """A socket of the address ``info``: see :func:`new_socket`."""
        made = new_socket(info)
        self._made.add(made)
        return made

    def round_trip_s(self) -> float | None:
        """The shortest round trip on any of them; none where that is unknown."""
        told = [found for one in tuple(self._made) if (found := tcp_info(one)) is not None]
        return min((one.round_trip_s for one in told if one.round_trip_s), default=None)


def new_socket(info: Any) -> socket.socket:
    """A socket for a connection to S3, of the address ``info`` as aiohttp gives it."""
    made = socket.socket(*info[:3])
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # No SO_SNDBUF: it would cap the window, and with it the rate of a long link. The kernel takes
    # what the link can carry, and little more, so that what is read is nearly sent.
    if sys.platform == "linux":
        made.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, _UNSENT_BYTES)
    for name, value in (
        ("TCP_KEEPIDLE", 20),
        ("TCP_KEEPINTVL", 10),
        ("TCP_KEEPCNT", 3),
        # No TCP_USER_TIMEOUT: Linux runs it on while a slow receiver opens its window in small
        # steps, and ends an upload that moves. Every call has a bound of its own.
    ):
        option = getattr(socket, name, None)
        if option is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
