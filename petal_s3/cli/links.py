"""Say where a server answers, so that a phone finds it: links, and a QR code for a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import socket
import struct
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

import typer

from petal_s3.web.origins import is_loopback, own_names

_SIOCGIFADDR = 0x8915  # netdevice(7)
_NOWHERE = ("192.0.2.1", 9)  # RFC 5737: an address of documentation; nothing is sent there
_DARK, _LIGHT, _PLAIN = "\033[40m", "\033[107m", "\033[0m"
_QUIET = 2  # light modules around: less than ISO/IEC 18004 asks, enough on a screen


def say_links(url: str, *, asks_token: bool) -> None:
    """Print where the server that listens at ``url`` is reached, one link a line.

    For a terminal and an address that others reach a QR code of the first follows; never with the
    token in it.
    """
    host, port = str(urlsplit(url).hostname), urlsplit(url).port
    if is_loopback(host):
        typer.echo(url)
        return
    links = [f"http://{one}:{port}/" for one in reached_by()] if _is_any(host) else [url]
    for link in links or [url]:
        typer.echo(link)
    if not sys.stdout.isatty() or not links:
        return
    for line in qr_lines(links[0], unicode=_prints("▀")):
        typer.echo(line)
    if asks_token:
        typer.echo(
            "On the network of this machine open the link; the page asks once for the token"
            " (PETAL_S3_API_TOKEN). Over plain http others on that network can read it."
        )


def _is_any(host: str) -> bool:
    """Whether to bind to ``host`` is to listen at every address."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def qr_lines(text: str, *, unicode: bool) -> list[str]:
    """A QR code as lines for a terminal, dark on light whatever its colours are.

    ``unicode``: two rows of it share a line, in half blocks; else each is a line of spaces.
    """
    import segno  # noqa: PLC0415 - only for this

    matrix = segno.make_qr(text, error="l").matrix_iter(border=_QUIET)
    rows = [[bool(module) for module in row] for row in matrix]
    if not unicode:
        return ["".join((_DARK if d else _LIGHT) + "  " for d in row) + _PLAIN for row in rows]
    rows += [[False] * len(rows[0])] * (len(rows) % 2)
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return [_half_blocks(upper, lower) for upper, lower in pairs]


def _half_blocks(upper: Sequence[bool], lower: Sequence[bool]) -> str:
    """Two rows in one: the block is the upper one in black (30) or white (97) on the lower one."""
    drawn = (
        f"\033[{30 if up else 97};{40 if low else 107}m▀"
        for up, low in zip(upper, lower, strict=True)
    )
    return "".join(drawn) + _PLAIN


def _prints(sign: str) -> bool:
    try:
        sign.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def reached_by() -> list[str]:
    """Addresses of this machine, that of its default route first, and its name in its network."""
    found = [_towards_others(), *map(_address_of, [name for _, name in socket.if_nameindex()])]
    addresses = [one for one in dict.fromkeys(found) if one and not is_loopback(one)]
    names = sorted(name for name in own_names() if name.endswith(".local"))
    return [*addresses, *(names if addresses and "localhost.local" not in names else [])]


def _towards_others() -> str:
    """The address from which this machine would send to others; empty without a route."""
    with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as asked:
        asked.connect(_NOWHERE)
        return str(asked.getsockname()[0])
    return ""


def _address_of(interface: str) -> str:
    """The IPv4 address of an interface; empty where it has none."""
    wanted = struct.pack("256s", interface.encode()[:15])
    with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as asked:
        return socket.inet_ntoa(fcntl.ioctl(asked.fileno(), _SIOCGIFADDR, wanted)[20:24])
    return ""
