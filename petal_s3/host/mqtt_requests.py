"""What commands over MQTT ask for, and what they alone answer, beside the models of REST."""

from __future__ import annotations

from pydantic import Field

from petal_s3.service.views.view import View
from petal_s3.web.requests import Ask, KeyAsk, RowId, RowsAsk, Text

RATE_HZ = 1.0
"""Messages of a stream in a second, at most."""
_LIFE_S, _LONGEST_LIFE_S = 3600, 86_400
_STREAM_NAME = "status"


class RowAsk(Ask):
    """One row."""

    id: RowId = Field(description="id of the row")


class OutboxAsk(RowsAsk):
    """A page of rows, or one row."""

    id: RowId | None = Field(None, description="this row alone")
    limit: int = Field(50, ge=1, le=1000, description="rows at most; fewer where no more fit")


class DismissAsk(Ask):
    """Dead rows that need not be shown any more: these, or all."""

    ids: list[RowId] | None = Field(
        None, min_length=1, max_length=1000, description="these dead rows"
    )
    state: str | None = Field(None, pattern="^dead$", description="dead: all dead rows")


class CancelAsk(RowAsk):
    """A row that is given up."""

    purge: bool = Field(False, description="delete its copy in the spool, too, at once")


class PinAsk(RowAsk):
    """A row whose file is kept, or not any more."""

    pinned: bool = Field(True, description="false: let its file go when its time comes")


class CardAsk(Ask):
    """The card as it was listed last, or listed now."""

    scan: bool = Field(False, description="list it now")


class FetchAsk(Ask):
    """One file of the card."""

    id: RowId = Field(description="id of the file, as card tells it")


class PresignAsk(KeyAsk):
    """A URL that opens one object."""

    expires: int = Field(3600, ge=1, le=86_400, description="seconds, at most a day")


class SubscribeAsk(Ask):
    """What is to be published, and for how long."""

    subscribed_stream_id: Text = Field(_STREAM_NAME, description="stands in every message")
    data_rate_hz: float = Field(RATE_HZ, ge=0.01, description="messages a second; at most 1")
    seconds: int = Field(
        _LIFE_S, ge=1, le=_LONGEST_LIFE_S, description="until it ends by itself; asked again: anew"
    )


class UnsubscribeAsk(Ask):
    """What need not be published any more."""

    unsubscribed_stream_id: Text = Field(_STREAM_NAME, description="as it was subscribed")


class SafeView(View):
    """Whether the autopilot's card may be erased."""

    safe_to_erase: bool = Field(description="whether the card may be erased")
    not_safe: str = Field(description="why not; empty where it may")
    on_card: int = Field(description="logs that lie on the card")
    unproven: int = Field(description="of these, not proven in the bucket")


class SubscribedView(View):
    """A stream that goes on."""

    subscribed_stream_id: str = Field(description="as it was asked for")
    data_rate_hz: float = Field(description="messages a second, at most")
    mqtt_topic: str = Field(description="its messages have it as their command, after a slash")
    ends_in_s: int = Field(description="seconds until it ends by itself")


class UnsubscribedView(View):
    """A stream that has ended."""

    unsubscribed_stream_id: str = Field(description="as it was asked for")
