"""The card of the vehicle that is flown: served over MAVLink, at the pace of its line."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path

from pymavlink.dialects.v20 import all as mavlink

from petal_s3.demo.card_server import CardServer

_FRAME_BYTES = 266
_LOOK_S = 0.1
_READ, _ACK = 5, 128
_AUTOPILOT = (1, 1)


class FlightCard:
    """Answers what is asked of the autopilot's files; ``bytes_s``: what its line carries now."""

    def __init__(self, root: Path, bytes_s: float) -> None:
        """``root`` is the autopilot's ``/``."""
        self.read_bytes = 0
        """How many bytes of files it has handed out."""
        self.log_dir = root / "fs/microsd/log"
        self._server = CardServer(root)
        self.bytes_s = bytes_s
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def start(self, wire: socket.socket, to: tuple[str, int]) -> None:
        """Answer on this socket, in a thread."""
        wire.settimeout(_LOOK_S)
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
        free_at = 0.0
        while not self._stopped.is_set():
            with contextlib.suppress(OSError):
                for message in ear.parse_buffer(wire.recv(4096)) or ():
                    if message.get_type() != "FILE_TRANSFER_PROTOCOL":
                        continue
                    now = time.monotonic()
                    reply = self._server.answer(bytes(message.payload), now)
                    if reply is None:
                        continue
                    free_at = max(now, free_at) + _FRAME_BYTES / self.bytes_s
                    time.sleep(max(0.0, free_at - time.monotonic()))
                    wire.sendto(_framed(voice, message, reply), to)
                    self.read_bytes += reply[4] if reply[3] == _ACK and reply[5] == _READ else 0


def _framed(voice: mavlink.MAVLink, asked: mavlink.MAVLink_message, reply: bytes) -> bytes:
    said = mavlink.MAVLink_file_transfer_protocol_message(
        0, asked.get_srcSystem(), asked.get_srcComponent(), reply
    )
    frame: bytes = said.pack(voice)
    voice.seq = (voice.seq + 1) % 256
    return frame
