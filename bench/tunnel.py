"""A real path with a rate and a round trip: two network namespaces, and a process between them.

A proxy in user space ends the TCP connection of its client: windows, acknowledgements and losses
are those of loopback. Here the kernels at both ends speak with each other; this process only
carries their packets, late and at a rate. It needs root and ``/dev/net/tun`` (Linux).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

NEAR, FAR = "10.77.0.1", "10.77.0.2"
_MTU = 1500
_QUEUE_BYTES = 256 * 1024
_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_IPV4 = 4
_RECORD = struct.Struct("dI")


def why_not() -> str:
    """Why no path can be made here, in a sentence; empty where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "A real path needs Linux and root: not measured."
    if not os.access("/dev/net/tun", os.W_OK):
        return "A real path needs /dev/net/tun, which is not here: not measured."
    if not any((Path(one) / "ip").exists() for one in ("/sbin", "/usr/sbin", "/bin", "/usr/bin")):
        return "A real path needs the command `ip` (iproute2): not measured."
    return ""


@dataclass(frozen=True)
class Ends:
    """The names of the namespaces at both ends."""

    near: str
    far: str


@dataclass
class Way:
    """One direction: packets that wait for their time, each with the moment at which it arrives."""

    rate_bytes_s: float
    delay_s: float
    free_at: float = 0.0
    dropped: int = 0
    packets: deque[tuple[float, bytes]] = field(default_factory=deque)

    def take(self, packet: bytes, now: float) -> None:
        """Queue a packet; where the queue is full it is lost, as at any router."""
        begins = max(now, self.free_at)
        most = max(_QUEUE_BYTES, self.rate_bytes_s * self.delay_s * 2)
        if (begins - now) * self.rate_bytes_s > most:
            self.dropped += 1
            return
        self.free_at = begins + len(packet) / self.rate_bytes_s
        self.packets.append((self.free_at + self.delay_s, packet))

    def due(self, now: float) -> Iterator[bytes]:
        """The packets whose time has come."""
        while self.packets and self.packets[0][0] <= now:
            yield self.packets.popleft()[1]


@contextlib.contextmanager
def path(rate_bytes_s: float, round_trip_s: float, record: Path | None = None) -> Iterator[Ends]:
    """A path of this rate both ways, as long as the context lasts.

    ``record``: a file that receives when how many bytes of TCP came to the far end
    (:func:`arrivals`).
    """
    words = [str(rate_bytes_s), str(round_trip_s / 2), str(record or "")]
    carrier = subprocess.Popen(
        [sys.executable, "-m", "bench.tunnel", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert carrier.stdin is not None
    assert carrier.stdout is not None
    try:
        near, far = carrier.stdout.readline().split()
        yield Ends(near, far)
    finally:
        carrier.stdin.close()
        carrier.wait()


def arrivals(record: Path) -> list[tuple[float, int]]:
    """When (s, steady) how many bytes of TCP came to the far end."""
    return list(_RECORD.iter_unpack(record.read_bytes()))


def inside(namespace: str, words: list[str]) -> list[str]:
    """The command line that runs ``words`` in a namespace."""
    return ["ip", "netns", "exec", namespace, *words]


# -- the process between


def main(rate_bytes_s: float, delay_s: float, record: str) -> None:
    """Carry packets until standard input ends."""
    names = [f"petal-{end}-{os.getpid()}" for end in ("near", "far")]
    try:
        ends = [_end(names[0], NEAR, FAR), _end(names[1], FAR, NEAR)]
        _hasten()
        print(*names, flush=True)
        came = _carry(ends, [Way(rate_bytes_s, delay_s) for _ in ends], keep=bool(record))
        if record:
            Path(record).write_bytes(b"".join(_RECORD.pack(*one) for one in came))
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)


def _end(name: str, own: str, other: str) -> int:
    """Make a namespace with a tun device; its file carries that device's packets."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    with contextlib.ExitStack() as home:
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        home.callback(os.close, here)
        there = os.open(f"/run/netns/{name}", os.O_RDONLY)
        home.callback(os.close, there)
        _enter(there)
        try:
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            asked = struct.pack("16sH22x", b"path", _IFF_TUN | _IFF_NO_PI)
            fcntl.ioctl(device, _TUNSETIFF, asked)
        finally:
            _enter(here)
    for words in (
        "link set lo up",
        f"addr add {own}/32 peer {other} dev path",
        f"link set path mtu {_MTU} txqueuelen 1000 up",
    ):
        subprocess.run(["ip", "-n", name, *words.split()], check=True)
    return device


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _hasten() -> None:
    """Run before others: a path that waits for a processor is slower than it says."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def _carry(ends: list[int], ways: list[Way], *, keep: bool) -> list[tuple[float, int]]:
    came: list[tuple[float, int]] = []
    while True:
        now = time.monotonic()
        due = min((way.packets[0][0] for way in ways if way.packets), default=now + 1.0)
        ready, _, _ = select.select([*ends, sys.stdin], [], [], max(0.0, due - now))
        if sys.stdin in ready:
            return came
        for end, way in zip(ends, ways, strict=True):
            if end in ready:
                _read(end, way)
        now = time.monotonic()
        for end, way in zip(reversed(ends), ways, strict=True):
            for packet in way.due(now):
                os.write(end, packet)
                if keep and way is ways[0]:
                    came.append((now, _payload(packet)))


def _payload(packet: bytes) -> int:
    """The bytes of a packet without the headers of IP and TCP."""
    head = (packet[0] & 0x0F) * 4
    return len(packet) - head - (packet[head + 12] >> 4) * 4


def _read(end: int, way: Way) -> None:
    with contextlib.suppress(BlockingIOError):
        for _ in range(64):
            packet = os.read(end, _MTU + 100)
            if packet[0] >> 4 == _IPV4:
                way.take(packet, time.monotonic())


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]), sys.argv[3])
