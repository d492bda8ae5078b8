"""The last day as it is shown: rate and backlog."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from petal_s3.outbox.samples import Sample
from petal_s3.service.views.view import View, iso


class SampleView(View):
    """How it was from then on, until the next sample."""

    at: str = Field(description="ISO 8601, UTC, by S3's clock where that was known")
    rate_bytes_s: int = Field(description="acknowledged bytes per second")
    backlog_bytes: int = Field(description="left to send")


class HistoryView(View):
    """The last day, the oldest sample first: one a minute at most, and only where it changed."""

    samples: list[SampleView]


def history_view(samples: Sequence[Sample]) -> HistoryView:
    """The samples as they are shown."""
    return HistoryView(
        samples=[
            SampleView(
                at=iso(one.at), rate_bytes_s=one.rate_bytes_s, backlog_bytes=one.backlog_bytes
            )
            for one in samples
        ]
    )
