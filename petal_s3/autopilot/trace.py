"""Write down what was asked and answered, for a report of an autopilot that does otherwise."""

from __future__ import annotations

import queue
import struct
import threading
from pathlib import Path

from petal_s3.autopilot.mavftp import Opcode

_HEAD = struct.Struct("<HBBBBBBI")
_WITH_PATH = {Opcode.LIST, Opcode.OPEN, Opcode.CRC32, Opcode.LIST_WITH_TIME}
_REFUSED = 129
_MOST_WAITING = 100_000
_HEADER = "# seconds direction number session opcode size asked-opcode burst offset path-or-nak\n"


class FileTrace:
    """A line for each message, written by a thread; never the content of a file.

    What cannot be written is left out: nothing waits for a trace.
    """

    def __init__(self, path: Path) -> None:
        """Appends to the file; raises ``OSError`` where that cannot be."""
        self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
        self._lines: queue.Queue[str | None] = queue.Queue(_MOST_WAITING)
        self._lines.put(_HEADER)
        self._thread = threading.Thread(target=self._write, name="petal-s3-trace", daemon=True)
        self._thread.start()

    def note(self, payload: bytes, now: float, *, sent: bool) -> None:
        """Take in a payload."""
        if not self._lines.full():
            self._lines.put_nowait(_line(payload, now, sent=sent))

    def close(self) -> None:
        """Write what is left."""
        self._lines.put(None)
        self._thread.join()
        self._file.close()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._file.write(line)
                if self._lines.empty():
                    self._file.flush()
            except OSError:
                continue


def _line(payload: bytes, now: float, *, sent: bool) -> str:
    head = _HEAD.unpack_from(payload.ljust(_HEAD.size, b"\0"))
    number, session, opcode, size, asked, burst, _, offset = head
    data = payload[_HEAD.size : _HEAD.size + size]
    detail = ""
    if sent and opcode in _WITH_PATH:
        detail = ascii(data.decode(errors="surrogateescape"))
    elif opcode == _REFUSED:
        detail = "nak " + " ".join(str(one) for one in data[:2])
    direction = ">" if sent else "<"
    fields = (number, session, opcode, size, asked, burst, offset, detail)
    return f"{now:.4f} {direction} {' '.join(str(one) for one in fields).rstrip()}\n"
