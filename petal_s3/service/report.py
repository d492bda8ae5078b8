"""What a draining process says of itself: it lies in the outbox, for every other process."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, ValidationError

from petal_s3.core import clock
from petal_s3.service.reasons import Reason, reason
from petal_s3.service.views.view import Credentials, Flight, Link, View


class Report(View):
    """What a draining process says of itself, for other processes; kept in the outbox as JSON.

    ``reason`` and ``code``: why nothing is sent, as ``tried_at`` has shown; ``trouble``: why
    no log is taken in. Times that end in ``_at`` are seconds since the boot
    ``boot_id``; ``heard_unix`` is ``heard_at`` in seconds since 1970, by S3's clock. ``moving``:
    per row on its way the bytes that are confirmed or acknowledged. ``card_on``: whether it can
    reach the autopilot's card; ``card_reason``: why nothing is fetched from it; ``card_fetching``:
    the file that is.
    """

    pid: int = 0
    machine_id: str = ""
    host_machine_id: str = ""
    boot_id: str = ""
    link: Link = "unknown"
    heard_at: float | None = None
    heard_unix: int | None = None
    credentials: Credentials = "none"
    clock_offset_s: float | None = None
    flight_state: Flight = "unknown"
    reason: str = ""
    code: str = ""
    tried_at: float | None = None
    next_try_at: float | None = None
    rate_bytes_s: float = 0.0
    moving: dict[int, int] = Field(default_factory=dict)
    settling: list[str] = Field(default_factory=list)
    settling_count: int = 0
    held: int = 0
    trouble: str = ""
    advice: list[str] = Field(default_factory=list)
    card_on: bool = False
    card_heard: bool = False
    card_code: str = ""
    card_reason: str = ""
    card_fetching: int | None = None
    card_fetched_bytes: int = 0
    card_rate_bytes_s: float = 0.0

    @property
    def watched(self) -> int:
        """How many files it has seen that are no rows yet."""
        return self.settling_count + self.held

    @property
    def held_up(self) -> Reason | None:
        """Why nothing at all is sent; none where it is."""
        return reason(self.code, self.reason) if self.reason else None

    def heard_s(self, now: float, wall: float) -> float | None:
        """Seconds since S3 last answered; none where that is not known."""
        if self.heard_at is not None and self.boot_id == clock.boot_id():
            return max(0.0, now - self.heard_at)
        # Another boot: only the wall clocks connect them, and one that was set back says nothing.
        if self.heard_unix is None or wall < self.heard_unix:
            return None
        return wall - self.heard_unix


NO_REPORT = Report.model_construct()  # else its schema is made at import


def read_report(said: Mapping[str, object]) -> Report:
    """The report that lies in the outbox; an empty one where another version wrote it."""
    try:
        return Report.model_validate(said)
    except ValidationError:
        return NO_REPORT
