"""A UDP relay between an autopilot and whoever listens to it: paced, late, lossy, cut."""

from __future__ import annotations

import heapq
import itertools
import random
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from petal_s3.demo.flight import free_udp_port

Address = tuple[str, int]


@dataclass
class Relay:
    """What is sent to ``port`` goes to ``to``, and back. What is set counts from then on.

    ``bytes_s`` paces each direction, 0: not at all. What is lost was on the line all the same.
    """

    to: Address
    port: int = field(default_factory=free_udp_port)
    bytes_s: float = 0.0
    late_s: float = 0.0
    loss: float = 0.0
    is_cut: bool = False
    carried: int = 0
    """Bytes that reached the listener."""

    def __post_init__(self) -> None:
        self._random = random.Random(11)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._waiting: list[tuple[float, int, bool, bytes]] = []
        self._order = itertools.count()
        self._free_at = {True: 0.0, False: 0.0}
        self._from: Address | None = None

    @contextmanager
    def running(self) -> Iterator[Relay]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            self._thread.join()

    def _run(self) -> None:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
        ):
            near.bind(("127.0.0.1", self.port))
            far.bind(("127.0.0.1", 0))
            while not self._stopped.is_set():
                until = self._waiting[0][0] - time.monotonic() if self._waiting else 0.2
                readable, _, _ = select.select([near, far], [], [], min(max(until, 0.0005), 0.2))
                for one in readable:
                    with suppress(ConnectionRefusedError):
                        data, sender = one.recvfrom(4096)
                        if one is near:
                            self._from = sender
                        self._take(data, down=one is near)
                self._pass_on(near, far)

    def _take(self, data: bytes, *, down: bool) -> None:
        if self.is_cut:
            return
        now = time.monotonic()
        if self.bytes_s:
            self._free_at[down] = max(now, self._free_at[down]) + len(data) / self.bytes_s
        if self._random.random() < self.loss:
            return
        at = max(now, self._free_at[down]) + self.late_s
        heapq.heappush(self._waiting, (at, next(self._order), down, data))

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, _, down, data = heapq.heappop(self._waiting)
            with suppress(OSError):
                if down:
                    far.sendto(data, self.to)
                    self.carried += len(data)
                elif self._from is not None:
                    near.sendto(data, self._from)
