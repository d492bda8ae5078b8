"""When S3 was last heard of, and what that says of the link: one place for every call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from petal_s3.errors import NotS3, Offline, S3IntegrationError

FRESH_S = 26 * 3600.0
"""So long an answer counts for the link: a drain with nothing to send asks S3 once a day."""
WATCHED_S = 5.0
"""So long after somebody has looked a link that is down is tried every second."""
LOST_S = 300.0
"""So long a failure counts for the link: a drain that waits for it tries more often."""


@dataclass
class LinkState:
    """The last answer and the last silence of S3; all times are seconds since boot."""

    heard_at: float | None = None
    """When S3 last answered, even if with a refusal."""
    well_at: float | None = None
    """When it last answered well: the credentials were good, too."""
    lost_at: float | None = None
    """When a call or a connect last got no answer of S3."""
    connected_at: float | None = None
    """When a bare connect was made after that: something answers, S3 or not."""
    looked_at: float | None = None
    """When somebody last looked how things are."""

    def heard(self, now: float, *, well: bool = False) -> None:
        """S3 has answered; ``well``: as it was asked."""
        self.heard_at = now
        if well:
            self.well_at = now

    def failed(self, error: S3IntegrationError, now: float) -> None:
        """A call has failed: either S3 answered so, or it was not heard."""
        if isinstance(error, Offline):
            self.lost_at = now
        elif error.told is not None and not isinstance(error, NotS3):
            self.heard(now)

    def watched(self, now: float) -> bool:
        """Whether somebody waits to hear that the link is back."""
        return self.looked_at is not None and now - self.looked_at < WATCHED_S

    def link(self, now: float) -> Literal["up", "down", "unknown"]:
        """What the latest of both says, as long as it is not too old to say anything."""
        heard_at, lost_at = self.heard_at, self.lost_at
        if lost_at is not None and (heard_at is None or lost_at >= heard_at):
            again = self.connected_at is not None and self.connected_at > lost_at
            return "unknown" if again or now - lost_at >= LOST_S else "down"
        return "up" if heard_at is not None and now - heard_at < FRESH_S else "unknown"
