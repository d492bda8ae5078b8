"""An autopilot on the wire: heartbeats, and a card served as PX4 does, over a paced line."""

from __future__ import annotations

import heapq
import itertools
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pymavlink.dialects.v20 import all as mavlink

from petal_s3.autopilot.mavftp import FRAME_BYTES
from petal_s3.demo.card_server import CardServer
from petal_s3.demo.flight import free_udp_port

ARMED = mavlink.MAV_MODE_FLAG_SAFETY_ARMED


@dataclass
class Autopilot:
    """Sends to UDP ``port`` of loopback; ``bytes_s``: its line, 0 for none.

    What is changed while it runs counts from the next message on.
    """

    root: Path
    port: int = field(default_factory=free_udp_port)
    bytes_s: float = 0.0
    loss: float = 0.0
    most_waiting: int = 1000
    beat_s: float = 0.25
    is_armed: bool = False
    is_silent: bool = False
    """It says nothing, and does not hear either."""
    system: int = 1
    server: CardServer = field(init=False)
    beats: int = 0
    """How many heartbeats were sent; each carries its number, as the mode of its own."""
    requests: list[tuple[float, int]] = field(default_factory=list)
    """When each request came, and its opcode."""
    on_request: Callable[[bytes], None] | None = None

    def __post_init__(self) -> None:
        self.server = CardServer(self.root)
        self._random = random.Random(7)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="autopilot", daemon=True)
        self._waiting: list[tuple[float, int, bytes]] = []
        self._order = itertools.count()
        self._free_at = 0.0
        self._client = (0, 0)

    @property
    def endpoint(self) -> str:
        """What the host's PETAL_MAVLINK_ENDPOINT must be."""
        return f"udp:127.0.0.1:{self.port}"

    @contextmanager
    def flying(self) -> Iterator[Autopilot]:
        """It runs while the block does."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stopped.set()
            self._thread.join()
            self.server.close()

    def asked(self, opcode: int) -> int:
        """How many requests of this kind came."""
        return sum(1 for _, one in list(self.requests) if one == opcode)

    # -- in the thread

    def _run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            wire.bind(("127.0.0.1", 0))
            self._wire = wire
            self._voice = mavlink.MAVLink(None, self.system, 1)
            self._ear = mavlink.MAVLink(None)
            self._ear.robust_parsing = True
            beat_at = 0.0
            while not self._stopped.is_set():
                now = time.monotonic()
                if now >= beat_at:
                    beat_at = now + self.beat_s
                    self._say(self._heartbeat())
                while self._waiting and self._waiting[0][0] <= now:
                    self._write(heapq.heappop(self._waiting)[2])
                streams = self._stream()
                until = min([beat_at, *(one[0] for one in self._waiting[:1])])
                wait_s = 0.0 if streams else until - time.monotonic()
                wire.settimeout(max(wait_s, 0.0005))
                with suppress(TimeoutError, ConnectionRefusedError):
                    self._hear(wire.recv(4096))

    def _stream(self) -> bool:
        """Send the next reply of a burst; false where there is none."""
        if len(self._waiting) > 3:
            return False
        payload = self.server.stream()
        if payload is not None:
            self._reply(payload)
        return payload is not None

    def _heartbeat(self) -> mavlink.MAVLink_message:
        mode = mavlink.MAV_MODE_FLAG_CUSTOM_MODE_ENABLED | (ARMED if self.is_armed else 0)
        self.beats += 1
        return mavlink.MAVLink_heartbeat_message(
            mavlink.MAV_TYPE_QUADROTOR, mavlink.MAV_AUTOPILOT_PX4, mode, self.beats, 3, 3
        )

    def _hear(self, data: bytes) -> None:
        for message in self._ear.parse_buffer(data) or ():
            if message.get_type() == "FILE_TRANSFER_PROTOCOL" and not self.is_silent:
                self._asked(message)

    def _asked(self, message: mavlink.MAVLink_message) -> None:
        now, payload = time.monotonic(), bytes(message.payload)
        self.requests.append((now, payload[3]))
        self._client = (message.get_srcSystem(), message.get_srcComponent())
        if self.on_request is not None:
            self.on_request(payload)
        seconds = FRAME_BYTES / self.bytes_s if self.bytes_s else 0.0
        if seconds and (self._free_at - now) / seconds > self.most_waiting:
            return
        reply = self.server.answer(payload, now)
        if reply is None or self._random.random() < self.loss:
            return
        self._reply(reply)

    def _reply(self, payload: bytes) -> None:
        self._say(mavlink.MAVLink_file_transfer_protocol_message(0, *self._client, payload))

    def _say(self, message: mavlink.MAVLink_message) -> None:
        if self.is_silent:
            return
        frame, now = message.pack(self._voice), time.monotonic()
        self._voice.seq = (self._voice.seq + 1) % 256
        if not self.bytes_s:
            self._write(frame)
            return
        self._free_at = max(now, self._free_at) + len(frame) / self.bytes_s
        heapq.heappush(self._waiting, (self._free_at, next(self._order), frame))

    def _write(self, frame: bytes) -> None:
        with suppress(OSError):
            self._wire.sendto(frame, ("127.0.0.1", self.port))
