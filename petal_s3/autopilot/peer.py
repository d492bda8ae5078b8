"""What is known of the autopilot that answers, and of a read that is on its way to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from petal_s3.autopilot.mavftp import Request
from petal_s3.autopilot.question import Sequence16
from petal_s3.autopilot.share import Share
from petal_s3.autopilot.window import Window


@dataclass
class Peer:
    """Lives as long as the connection."""

    numbers: Sequence16 = field(default_factory=Sequence16)
    window: Window = field(default_factory=Window)
    share: Share = field(default_factory=Share)
    lists_times: bool = True
    """Whether it may know how to list files with their times."""
    reads_short: bool = True
    """Whether it may answer a read that goes beyond the end of the file, with less."""


@dataclass
class Asked:
    """A read on its way; ``known`` is of a probe: how much was received when it was sent."""

    request: Request
    length: int
    order: int
    sent_at: float
    in_flight: int
    known: int | None = None
    overtaken: int = 0

    @property
    def goes_beyond(self) -> bool:
        """Whether it is a probe that asks for a byte behind the end of the file."""
        return self.request.size > self.length
