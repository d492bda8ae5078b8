"""What can be asked of the autopilot's card, and how the answers fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from petal_s3.errors import Transient

Sink = Callable[[bytes], Awaitable[None]]
"""Takes the next bytes of a file; the next ones are asked for meanwhile."""


@dataclass(frozen=True)
class Entry:
    """One line of a listing.

    ``name`` is as the autopilot sent it: it may be anything. ``size`` is in bytes, 0 of a
    directory. ``modified`` is in unix seconds by the autopilot's clock, where it tells.
    """

    name: str
    is_directory: bool
    size: int
    modified: float | None


class Card(Protocol):
    """The autopilot's card. One thing is asked at a time: whoever calls meanwhile waits.

    Every method raises :class:`FtpError` for a refusal of the autopilot, :class:`Silence` when
    nobody answers, and :class:`Held` when nothing may be asked now.
    """

    async def list_directory(self, path: str) -> list[Entry]:
        """What lies in the directory, in the autopilot's order; :class:`NotFound` without it."""

    async def open_size(self, path: str) -> int:
        """The size of a file in bytes, as opening it tells; :class:`NotFound` without it."""

    async def read(self, path: str, start: int, end: int, sink: Sink) -> None:
        """Pass the bytes ``start`` to ``end`` of a file to ``sink``, in order, each of them once.

        What went to the sink is right also when this raises: reading goes on behind it later.
        :class:`Shorter` where the file ends before ``end``, :class:`Changed` where its size
        changes meanwhile.
        """

    async def crc32(self, path: str) -> int | None:
        """The CRC32 of a whole file by the autopilot's own reading; none where it cannot.

        It is the number that :func:`petal_s3.core.crc32.crc32` gives for the same bytes.
        """


class FtpError(Transient):
    """The autopilot refused; ``ftp_code`` as in MAVFTP, ``errno`` where it sent one."""

    code = "card_refused"

    def __init__(self, message: str, *, ftp_code: int, errno: int | None = None) -> None:
        super().__init__(message)
        self.ftp_code = ftp_code
        self.errno = errno


class NotFound(FtpError):
    """There is no such file or directory on the card."""

    code = "card_not_found"
    status = 404


class Changed(FtpError):
    """The file on the card has another size than when reading began."""

    code = "card_changed"


class Shorter(Changed):
    """The file on the card ends before what was asked for: it is another one now."""

    code = "card_shorter"


class Silence(Transient):
    """The autopilot does not answer, though it was asked several times."""

    code = "card_silent"


class Held(Transient):
    """Nothing may be asked of the autopilot now; ``reason`` is a stable code.

    ``armed``, ``silent`` (no heartbeat for 3 s), ``busy`` (the host itself downloads from it).
    """

    code = "card_held"

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
