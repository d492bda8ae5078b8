"""What a draining process says of itself, for every other process, and what is seen beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field, ValidationError

from petal_s3.core import clock
from petal_s3.outbox.rows import Row
from petal_s3.s3.link_state import FRESH_S
from petal_s3.service.reasons import HOLDS, ITS_TURN, NO_DRAIN, Reason, reason
from petal_s3.service.views.view import Credentials, Flight, Link, View


class Report(View):
    """What a draining process says of itself, for other processes; kept in the outbox as JSON.

    ``reason`` and ``code``: why nothing is sent, since ``since_at``, as ``tried_at`` has shown;
    ``trouble``: why no log is taken in. Times that end in ``_at`` are seconds since the boot
    ``boot_id``; ``heard_unix`` is ``heard_at`` in seconds since 1970, by S3's clock, and
    ``written_unix`` when it was written.
    ``stalled_at``: when the last byte of what is sent arrived, where that was not just now.
    ``credentials_at``: when what is said of the credentials was seen. ``moving``:
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
    written_unix: int | None = None
    credentials: Credentials = "none"
    credentials_at: float | None = None
    clock_offset_s: float | None = None
    flight_state: Flight = "unknown"
    reason: str = ""
    code: str = ""
    since_at: float | None = None
    tried_at: float | None = None
    next_try_at: float | None = None
    stalled_at: float | None = None
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


_MOVING = {
    *("moving", "rate_bytes_s", "clock_offset_s", "heard_unix", "written_unix", "credentials_at"),
    *("card_fetched_bytes", "card_rate_bytes_s"),
}


def news(found: Mapping[str, object]) -> dict[str, object]:
    """The fields of a report without what each request moves: of an answer only that one came."""
    lasting = {name: told for name, told in found.items() if name not in _MOVING}
    return lasting | {"heard_at": found["heard_at"] is not None}


NO_REPORT = Report.model_construct()  # else its schema is made at import


def read_report(said: Mapping[str, object]) -> Report:
    """The report that lies in the outbox; an empty one where another version wrote it."""
    try:
        return Report.model_validate(said)
    except ValidationError:
        return NO_REPORT


# -- what is known beside the outbox


@dataclass(frozen=True)
class Place:
    """Whose logs these are, where they go, and whether REST may change anything."""

    machine_id: str = ""
    bucket_name: str = ""
    read_only: bool = False


@dataclass(frozen=True)
class Seen:
    """What is known beside the outbox.

    ``drained_by``: the process that uploads, none where none does; then of ``report`` counts only
    what outlives its process. ``unscanned``: files in the log directories that no scan has seen;
    ``trouble``: why they could not all be looked at, ``unread``: in how many folders.
    ``deferred``: why the drain of this process cannot begin. ``now``: seconds since boot,
    ``wall``: seconds since 1970, as this device has them.
    """

    report: Report = NO_REPORT
    drained_by: int | None = None
    unscanned: int = 0
    trouble: str = ""
    unread: int = 0
    advice: Sequence[str] = ()
    deferred: Reason | None = None
    now: float = 0.0
    wall: float = 0.0
    place: Place = Place()

    @property
    def drained(self) -> bool:
        """Whether a process uploads."""
        return self.drained_by is not None

    @property
    def live(self) -> Report:
        """The report, as far as it is about now."""
        return self.report if self.drained else _of_the_past(self.report, self.now, self.wall)

    @property
    def held_up(self) -> Reason | None:
        """Why nothing at all is sent; none where it is."""
        if self.drained:
            return _counted_down(self.report, self.now) or self.report.held_up
        return self.deferred or NO_DRAIN

    @property
    def stalled(self) -> Reason | None:
        """That nothing of what is sent arrives; none where it does, or nothing is sent."""
        at = self.report.stalled_at if self.drained else None
        if at is None:
            return None
        still_s = round(self.now - at)
        said = f"Nothing of what is sent has arrived for {still_s} s; the link may be gone."
        return reason("stalled", said)

    @property
    def cannot_look(self) -> Reason | None:
        """Why there may be logs that were not found; none where all is well."""
        if self.trouble:
            return reason("unread" if self.unread else "trouble", self.trouble)
        said = self.report.trouble if self.drained else ""
        return reason("trouble", said) if said else None


def _counted_down(report: Report, now: float) -> Reason | None:
    """That the link is back, and when sending begins; none where the report says another thing."""
    if report.code != "link_back" or report.next_try_at is None:
        return None
    left_s = math.ceil(max(0.0, report.next_try_at - now))
    when = f"in {left_s} s" if left_s else "now"
    return reason(report.code, f"The link is back, sending begins {when}.")


def _of_the_past(report: Report, now: float, wall: float) -> Report:
    """What still holds of a process that no longer uploads."""
    heard_s = report.heard_s(now, wall)
    return Report(
        boot_id=report.boot_id,
        link="up" if heard_s is not None and heard_s < FRESH_S else "unknown",
        heard_at=report.heard_at,
        heard_unix=report.heard_unix,
        credentials=report.credentials,
    )


def row_reason(row: Row, seen: Seen) -> Reason | None:
    """Why a row is not up yet; one that waits always has a reason.

    What holds up every row comes first. What the row itself remembers of that kind is of its last
    attempt, and over where it holds no longer.
    """
    if row.state == "verified" and row.gone:
        return reason("object_gone", row.sent_again)
    if row.settled:
        return reason(row.code, row.reason) if row.reason else None
    held_up = seen.report.held_up if seen.drained else seen.held_up  # without the seconds left
    if held_up is not None or row.state == "uploading":
        return held_up or seen.stalled
    own = row.reason and row.code not in HOLDS
    return reason(row.code, row.reason) if own else ITS_TURN


def sent_bytes(row: Row, seen: Seen) -> int:
    """Bytes of a row that S3 has confirmed, or that its side has acknowledged."""
    moving = seen.report.moving.get(row.id, 0) if seen.drained and row.lease else 0
    return max(row.sent_bytes, moving)
