"""The way to the autopilot: payloads of FILE_TRANSFER_PROTOCOL go out and come in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Carrier(Protocol):
    """What carries the payloads; everything is called in the loop."""

    heard: Callable[[bytes], None] | None
    """Called with the payload of each message that the autopilot sent to us."""

    def send(self, payload: bytes) -> None:
        """Send a payload to the autopilot, without waiting; it may get lost."""


class Trace(Protocol):
    """Is told of each payload that was sent or received."""

    def note(self, payload: bytes, now: float, *, sent: bool) -> None:
        """Take in a payload."""

    def close(self) -> None:
        """Take in no more."""


class NoTrace:
    """Keeps nothing."""

    def note(self, payload: bytes, now: float, *, sent: bool) -> None:
        """Take in nothing."""

    def close(self) -> None:
        """Close nothing."""
