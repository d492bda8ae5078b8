"""A MAVLink connection of our own, on a thread: for robots without the host."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Protocol

from petal_s3.autopilot import messages
from petal_s3.autopilot.messages import Message
from petal_s3.errors import ConfigError
from petal_s3.intake.flight_state import Heartbeat

log = logging.getLogger("petal_s3")

COMPONENT = 191
"""MAV_COMP_ID_ONBOARD_COMPUTER: what is sent to it comes to nobody else."""
_ONBOARD_CONTROLLER, _NO_AUTOPILOT, _ACTIVE = 18, 8, 4
_BAUD = 57_600
_SERIAL = re.compile(r"(?P<device>/dev/[^:]+)(:(?P<baud>[0-9]+))?")
_BEAT_S = 1.0
_LONGEST_PAUSE_S = 10.0
_READ_BYTES = 4096
_STOP_S = 3.0
_TRANSFER = "FILE_TRANSFER_PROTOCOL"


class _Connection(Protocol):
    """What is used of pymavlink's connections."""

    fd: int
    mav: _Mav

    def recv(self, n: int) -> bytes:
        """The next bytes; nothing where there are none."""

    def close(self) -> None:
        """Close it."""


class _Mav(Protocol):
    srcSystem: int  # noqa: N815 - pymavlink's name

    def parse_buffer(self, data: bytes) -> list[Message] | None:
        """The messages that end in these bytes."""

    def send(self, message: object) -> None:
        """Send a message."""

    def heartbeat_send(self, *fields: int) -> None:
        """Send a HEARTBEAT."""


class OwnLink:
    """Carries payloads to and from the autopilot that is heard; what it says is passed on.

    ``heard`` and ``on_...`` are called in the loop that started it. A
    connection that cannot be made, or breaks, is made anew.
    """

    def __init__(self, endpoint: str) -> None:
        """``endpoint`` as pymavlink writes it; a serial port as ``/dev/ttyACM0:921600``."""
        self.heard: Callable[[bytes], None] | None = None
        self.on_heartbeat: Callable[[Heartbeat], None] = lambda _: None
        self.on_landed_state: Callable[[int], None] = lambda _: None
        self.on_others: Callable[[int], None] = lambda _: None
        """Called with how many messages came that are no answers to us."""
        self.target: int | None = None
        """The system that is spoken to; the first autopilot that is heard, unless it is set."""
        self._endpoint = endpoint
        self._to_send: deque[bytes] = deque(maxlen=256)
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="petal-s3-mavlink", daemon=True)
        self._wakers: tuple[socket.socket, socket.socket] | None = None

    def start(self) -> None:
        """Connect, from now on; raises :class:`ConfigError` where pymavlink is not installed."""
        _import()
        self._loop = asyncio.get_running_loop()
        self._wakers = socket.socketpair()
        self._wakers[1].setblocking(False)
        self._thread.start()

    async def stop(self) -> None:
        """Close the connection."""
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, _STOP_S)
        for one in self._wakers or ():
            one.close()

    def send(self, payload: bytes) -> None:
        """Send to the autopilot that is heard; to none where none is."""
        self._to_send.append(payload)
        self._wake()

    def _wake(self) -> None:
        if self._wakers is not None:
            with suppress(OSError):  # it is full: the thread wakes anyway; or closed
                self._wakers[1].send(b"\0")

    # -- in the thread

    def _run(self) -> None:
        pause_s = 1.0
        while not self._stopping.is_set():
            try:
                with self._connected() as connection:
                    pause_s = 1.0
                    self._carry(connection)
            except (OSError, ValueError, struct.error) as error:
                level = logging.WARNING if pause_s == 1.0 else logging.DEBUG
                log.log(level, "no connection to the autopilot at %s: %s", self._endpoint, error)
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    @contextmanager
    def _connected(self) -> Iterator[_Connection]:
        connection = _connect(self._endpoint)
        try:
            yield connection
        finally:
            with suppress(OSError):
                connection.close()

    def _carry(self, connection: _Connection) -> None:
        assert self._wakers is not None
        beat_at, woken = 0.0, self._wakers[0]
        while not self._stopping.is_set():
            now = time.monotonic()
            if now >= beat_at:
                beat_at = now + _BEAT_S
                connection.mav.heartbeat_send(_ONBOARD_CONTROLLER, _NO_AUTOPILOT, 0, 0, _ACTIVE)
            until = max(beat_at - now, 0.0)
            readable, _, _ = select.select([connection.fd, woken.fileno()], [], [], until)
            if woken.fileno() in readable:
                woken.recv(_READ_BYTES)
                self._send_all(connection)
            if connection.fd in readable:
                self._receive(connection)

    def _send_all(self, connection: _Connection) -> None:
        while self._to_send:
            payload = self._to_send.popleft()
            if self.target is not None:
                connection.mav.send(messages.file_transfer(self.target, 1, payload))

    def _receive(self, connection: _Connection) -> None:
        data = connection.recv(_READ_BYTES)
        if not data:
            if self._endpoint.startswith("tcp:"):
                raise ConnectionError("the other side has closed it")
            return
        calls: list[Callable[[], None]] = []
        others = 0
        for message in connection.mav.parse_buffer(data) or ():
            others += message.get_type() != _TRANSFER
            call = self._understood(message, connection)
            if call is not None:
                calls.append(call)
        if others:
            calls.append(partial(self.on_others, others))
        if calls and self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(_call_all, calls)

    def _understood(self, message: Message, connection: _Connection) -> Callable[[], None] | None:
        kind = message.get_type()
        if kind == "HEARTBEAT":
            beat = messages.heartbeat(message)
            if beat.from_autopilot:
                self._follow(beat.system, connection)
            return lambda: self.on_heartbeat(beat)
        if kind == "EXTENDED_SYS_STATE" and message.get_srcSystem() == self.target:
            state = messages.landed_state(message)
            return lambda: self.on_landed_state(state)
        if kind == _TRANSFER:
            ours = (connection.mav.srcSystem, COMPONENT)
            payload = messages.transferred(message, self.target, ours)
            if payload is not None:
                return lambda: self.heard(payload) if self.heard is not None else None
        return None

    def _follow(self, system: int, connection: _Connection) -> None:
        """Speak as a component of the autopilot's system."""
        if self.target is None:
            self.target = system
        connection.mav.srcSystem = self.target


def _call_all(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()


def _import() -> None:
    os.environ.setdefault("MAVLINK20", "1")  # pymavlink asks it when it is imported
    try:
        from pymavlink import mavutil  # noqa: F401, PLC0415 - not always there
    except ImportError:
        raise ConfigError(
            "PETAL_S3_AUTOPILOT needs pymavlink: pip install 'petal-s3[mavlink]' (not beside the"
            " host, which brings its own and listens by itself)."
        ) from None


def _connect(endpoint: str) -> _Connection:
    from pymavlink import mavutil  # noqa: PLC0415 - not always there

    serial = _SERIAL.fullmatch(endpoint)
    device, baud = endpoint, _BAUD
    if serial is not None:
        device, baud = serial["device"], int(serial["baud"] or _BAUD)
    connection: _Connection = mavutil.mavlink_connection(
        device, baud=baud, source_system=1, source_component=COMPONENT, retries=1
    )
    return connection
