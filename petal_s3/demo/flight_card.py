"""The card of the vehicle that is flown: served over MAVLink, at the pace of its line.

MAVSDK serves it where it is installed, so that two programs meet that share no code; else our own.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from pymavlink.dialects.v20 import all as mavlink

from petal_s3.demo.card_server import CardServer

_FRAME_BYTES = 266
_LOOK_S = 0.1
_READ, _ACK = 5, 128
_AUTOPILOT = (1, 1)
_FILES = "FILE_TRANSFER_PROTOCOL"
_STOP_S = 5.0


class _Server(Protocol):
    """Who answers."""

    @property
    def wire(self) -> socket.socket | None:
        """Where answers come later, if they do."""

    def ask(self, message: mavlink.MAVLink_message) -> bytes | None:
        """The payload that answers, where it is there at once."""

    def answers(self) -> Iterator[bytes]:
        """Payloads that have come on the wire."""

    def close(self) -> None:
        """Serve no more."""


class FlightCard:
    """Answers what is asked of the autopilot's files; ``bytes_s``: what its line carries now."""

    def __init__(self, root: Path, bytes_s: float) -> None:
        """``root`` is the autopilot's ``/``."""
        self.read_bytes = 0
        """How many bytes of files it has handed out."""
        self.log_dir = root / "fs/microsd/log"
        self._root = root
        self.served_by = "MAVSDK" if find_spec("mavsdk") else "petal-s3"
        """Whose server it is."""
        self.bytes_s = bytes_s
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._free_at = 0.0

    def start(self, wire: socket.socket, to: tuple[str, int]) -> None:
        """Answer on this socket, in a thread."""
        wire.settimeout(_LOOK_S)
        self._server: _Server = (
            _Mavsdk(self._root) if self.served_by == "MAVSDK" else _Own(self._root)
        )
        self._thread = threading.Thread(target=self._serve, args=(wire, to), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._server.close()

    def _serve(self, wire: socket.socket, to: tuple[str, int]) -> None:
        ear, voice = mavlink.MAVLink(None), mavlink.MAVLink(None, *_AUTOPILOT)
        ear.robust_parsing = True
        asker = (0, 0)
        watched = [one for one in (wire, self._server.wire) if one is not None]
        while not self._stopped.is_set():
            readable, _, _ = select.select(watched, [], [], _LOOK_S)
            if wire in readable:
                with contextlib.suppress(OSError):
                    for message in ear.parse_buffer(wire.recv(4096)) or ():
                        if message.get_type() == _FILES:
                            asker = message.get_srcSystem(), message.get_srcComponent()
                            self._say(wire, to, voice, asker, self._server.ask(message))
            if self._server.wire in readable:
                for reply in self._server.answers():
                    self._say(wire, to, voice, asker, reply)

    def _say(
        self,
        wire: socket.socket,
        to: tuple[str, int],
        voice: mavlink.MAVLink,
        asker: tuple[int, int],
        reply: bytes | None,
    ) -> None:
        """Send a reply when its turn on the line has come."""
        if reply is None:
            return
        self._free_at = max(time.monotonic(), self._free_at) + _FRAME_BYTES / self.bytes_s
        time.sleep(max(0.0, self._free_at - time.monotonic()))
        message = mavlink.MAVLink_file_transfer_protocol_message(0, *asker, reply)
        with contextlib.suppress(OSError):  # nothing listens there
            wire.sendto(message.pack(voice), to)
        voice.seq = (voice.seq + 1) % 256
        self.read_bytes += reply[4] if reply[3] == _ACK and reply[5] == _READ else 0


class _Own:
    """Our own server, in this process."""

    wire: socket.socket | None = None

    def __init__(self, root: Path) -> None:
        self._server = CardServer(root)

    def ask(self, message: mavlink.MAVLink_message) -> bytes | None:
        return self._server.answer(bytes(message.payload), time.monotonic())

    def answers(self) -> Iterator[bytes]:
        yield from ()

    def close(self) -> None:
        self._server.close()


class _Mavsdk:
    """MAVSDK's, in a process of its own; of what it says only what is of files is passed on."""

    def __init__(self, root: Path) -> None:
        self.wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.wire.bind(("127.0.0.1", 0))
        self._ear = mavlink.MAVLink(None)
        self._ear.robust_parsing = True
        self._from: tuple[str, int] | None = None
        url = f"udpout://127.0.0.1:{self.wire.getsockname()[1]}"
        words = [sys.executable, "-m", "petal_s3.demo.mavsdk_server", str(root), url]
        self._process = subprocess.Popen(  # noqa: S603 - our own
            words,
            env={**os.environ, "TMPDIR": str(root.parent)},  # it leaves something there
            stdin=subprocess.PIPE,  # it ends when this does
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def ask(self, message: mavlink.MAVLink_message) -> bytes | None:
        if self._from is not None:
            self.wire.sendto(message.get_msgbuf(), self._from)
        return None

    def answers(self) -> Iterator[bytes]:
        data, self._from = self.wire.recvfrom(4096)
        for message in self._ear.parse_buffer(data) or ():
            if message.get_type() == _FILES:
                yield bytes(message.payload)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=_STOP_S)
        self.wire.close()
