"""How things are, as it is shown."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from petal_s3.core.kinds import LOG_SUFFIXES
from petal_s3.core.settings import Auto, Settings
from petal_s3.core.urls import server_of
from petal_s3.s3.capabilities import Capabilities
from petal_s3.service.reasons import CODES
from petal_s3.service.views.card import CardFigures
from petal_s3.service.views.rows import RowView
from petal_s3.service.views.view import Credentials, Flight, Link, RowState, View


class FeatureView(View):
    """One optional feature of S3, as an answer of the server has shown it."""

    offered: bool
    since: int = Field(description="seconds since 1970, by the server's clock")
    by: str = Field(description="the answer that showed it")
    means: str = Field(description="what its lack costs; empty where it is offered")


class CapabilitiesView(View):
    """What is known of the bucket's server; a feature that was not met yet is not named."""

    asked_at: int = Field(description="when all of it was last tried; 0: never")
    features: dict[str, FeatureView]


class StatusView(View):
    """How things are."""

    headline: str = Field(description="one sentence: are my logs up, and if not, why?")
    code: str = Field(
        description="of the headline, from a closed list",
        json_schema_extra={"enum": [*CODES]},
    )
    as_of: int = Field(
        description="when this was made, in seconds since 1970: by S3's clock, or by this device's"
        " where clock_offset_s is null"
    )
    machine_id: str = Field(description="whose logs these are; empty: not known yet")
    bucket_name: str
    read_only: bool = Field(description="whether REST changes nothing (PETAL_S3_REST_READ_ONLY)")
    link: Link
    link_seen_s: int | None = Field(description="how long ago S3 last answered; null: not known")
    credentials: Credentials
    clock_offset_s: float | None = Field(description="how far S3's clock is ahead of this device")
    flight_state: Flight
    counts: dict[RowState, int] = Field(description="rows in each state")
    backlog_bytes: int = Field(description="left to send: what no row's sent_bytes counts")
    rate_bytes_s: int = Field(
        description="acknowledged bytes per second, over ten to twenty seconds; 0: not known yet"
    )
    eta_s: int | None = Field(description="backlog_bytes at that rate; null where there is none")
    eta_at: str | None = Field(description="when that is, ISO 8601, UTC, by the clock of as_of")
    oldest_unsent_s: int | None
    reason: str = Field(description="why the oldest is not sent; empty where nothing is in the way")
    since: str | None = Field(
        description="since when that holds, ISO 8601, UTC; null: nothing does, or it is not known"
    )
    ends: str = Field(description="what would end it; empty where nothing is in the way")
    reason_age_s: int | None = Field(
        description="how long ago a try has shown that; null where it is not of a try"
    )
    next_try_s: int | None = Field(description="when the next try is; null: at any moment")
    outbox: str = Field(description="path of the database")
    drained_by: int | None = Field(description="id of the process that uploads; 0: it did not say")
    settling: list[str] = Field(
        description="files that are watched until they no longer change; at most 20"
    )
    held: int = Field(description="files that no longer change and are taken only after the flight")
    gone: int = Field(
        description="rows that are verified and whose object was seen to be gone since"
    )
    unscanned: int = Field(description="files in the log directories that no scan has seen yet")
    trouble: str = Field(
        description="why there may be logs that are counted nowhere; empty: there is none"
    )
    unread: int = Field(description="log directories, and folders in them, that cannot be read")
    advice: list[str] = Field(description="what a person should do")
    capabilities: CapabilitiesView | None
    card: CardFigures | None = Field(
        None, description="the autopilot's card; absent where none is known"
    )

    def model_dump(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Its JSON; ``card`` is left out where no card is known."""
        dumped = super().model_dump(*args, **kwargs)
        if self.card is None:
            dumped.pop("card", None)
        return dumped


class SnapshotView(StatusView):
    """How things are, with rows: unsettled first, newest first."""

    rows: list[RowView]


class LandedView(View):
    """What a scan after a flight found."""

    found: int = Field(description="new files that are waited for")
    enqueued: int = Field(description="of these, taken at once")
    reason: str = Field(description="why the others were not; empty: all were")
    trouble: str = Field(description="why there may be more that was not seen; empty: all was read")


class HealthView(View):
    """Whether a process uploads, the link works, and every log can be found."""

    status: Literal["healthy", "degraded"]
    headline: str = Field(description="as in the status")
    code: str = Field(description="of the headline", json_schema_extra={"enum": [*CODES]})
    link: Link
    credentials: Credentials
    reason: str
    trouble: str = Field(description="as in the status")
    machine_id: str
    bucket_name: str


class InfoView(View):
    """Configuration and state; no secret, and no URL that may hold one."""

    success: Literal[True] = True
    version: str
    machine_id: str
    bucket_name: str
    region: str
    endpoint: str | None
    upload_prefix: str
    allowed_extensions: list[str]
    max_file_size: int
    part_size: int | Auto = Field(description="bytes; auto: as the link needs")
    concurrency: int | Auto
    sse: str
    request_timeout: float
    upload_while_flying: bool
    has_token_service: bool
    link: Link
    credentials: Credentials
    flight_state: Flight
    counts: dict[RowState, int]
    reason: str
    capabilities: CapabilitiesView | None


_UNITS = ((86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "s"))


def spoken_s(seconds: int) -> str:
    """A time for people, in the largest unit of which there are two."""
    for size, unit in _UNITS:
        if seconds >= 2 * size or size == 1:
            return f"{seconds // size} {unit}"
    return ""


def tries_of(status: StatusView) -> str:
    """When that which is in the way was seen, and when it is tried again; empty for neither."""
    seen = f"seen {spoken_s(status.reason_age_s)} ago" if status.reason_age_s is not None else ""
    due = f"next try in {spoken_s(status.next_try_s)}" if status.next_try_s is not None else ""
    said = ", ".join(filter(None, (seen, due)))
    return f"{said[0].upper()}{said[1:]}." if said else ""


def trouble_of(status: StatusView) -> str:
    """Why there may be more logs, where the headline does not say it already; else empty."""
    return "" if status.trouble in status.headline else status.trouble


def capabilities_view(known: Capabilities) -> CapabilitiesView | None:
    """What is known of the server; none where nothing is."""
    return CapabilitiesView.model_validate(known.as_json()) if known.known else None


def health_view(settings: Settings, machine_id: str, status: StatusView) -> HealthView:
    """Healthy: a process uploads, the link is not down, every log can be found,
    and none is known to be gone from the bucket.
    """
    uploads = status.link != "down" and status.drained_by is not None
    return HealthView(
        status="healthy" if uploads and not (status.trouble or status.gone) else "degraded",
        headline=status.headline,
        code=status.code,
        link=status.link,
        credentials=status.credentials,
        reason=status.reason,
        trouble=status.trouble,
        machine_id=machine_id,
        bucket_name=settings.bucket_name,
    )


def info_view(settings: Settings, machine_id: str, version: str, status: StatusView) -> InfoView:
    """Configuration and state."""
    endpoint = settings.endpoint_url
    return InfoView(
        version=version,
        machine_id=machine_id,
        bucket_name=settings.bucket_name,
        region=settings.region,
        endpoint=server_of(endpoint) if endpoint else None,
        upload_prefix=settings.upload_prefix,
        allowed_extensions=sorted(LOG_SUFFIXES),
        max_file_size=int(settings.max_file_size),
        part_size=settings.part_size,
        concurrency=settings.concurrency,
        sse=settings.sse,
        request_timeout=settings.request_timeout,
        upload_while_flying=settings.upload_while_flying,
        has_token_service=settings.session_token_url is not None,
        link=status.link,
        credentials=status.credentials,
        flight_state=status.flight_state,
        counts=status.counts,
        reason=status.reason,
        capabilities=status.capabilities,
    )
