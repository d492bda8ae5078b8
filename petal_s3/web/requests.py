"""Requests of REST as types: they check what comes in, and OpenAPI is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from petal_s3.s3.responses import LONGEST_URL_S
from petal_s3.service.views.view import RowState

_LARGEST_ID = (1 << 63) - 1

Text = Annotated[str, Field(max_length=4096)]


class Ask(BaseModel):
    """Parameters of path and query; unknown ones are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class Body(BaseModel):
    """A JSON body; an unknown name is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Nothing(Ask):
    """No parameters."""


class StaticAsk(Ask):
    """One file of the status page."""

    name: str = Field(max_length=64, description="its name, as the page gives it")


class RowAsk(Ask):
    """One row."""

    row_id: int = Field(ge=1, le=_LARGEST_ID, description="id of the row")


class CardFileAsk(Ask):
    """One file of the autopilot's card."""

    file_id: int = Field(ge=1, le=_LARGEST_ID, description="id of the file, as GET /card tells it")


class CancelAsk(RowAsk):
    """A row that is given up."""

    purge: bool = Field(False, description="delete its copy in the spool, too, at once")


class RowsAsk(Ask):
    """A page of rows."""

    state: RowState | Literal["dismissed"] | None = Field(
        None, description="only rows in this state; dismissed: the dead rows that are not shown"
    )
    limit: int = Field(100, ge=1, le=1000, description="rows at most")
    token: str | None = Field(
        None, pattern=r"^[0-9]{1,18}$", description="next_token of the page before"
    )


class KeyAsk(Ask):
    """One object."""

    s3_key: Text = Field(description="its key, or s3://bucket/key")


class PresignAsk(KeyAsk):
    """A URL for one object."""

    expires: int = Field(3600, ge=1, le=LONGEST_URL_S, description="seconds, at most a week")
    method: Literal["GET", "PUT"] = Field("GET", description="PUT: to add a log where none is")


class ListAsk(Ask):
    """A page of objects."""

    prefix: Text | None = Field(None, description="below the machine's folder, or a whole one")
    max_keys: int = Field(100, ge=1, le=10_000, description="objects at most")
    token: Annotated[str, Field(max_length=4096)] | None = Field(
        None, description="next_token of the page before"
    )


class UploadAsk(Ask):
    """How to answer an upload."""

    wait: bool = Field(True, description="answer when the log is proven, not before")


class UploadForm(Body):
    """The form of an upload."""

    file: str = Field(json_schema_extra={"format": "binary"}, description="the flight log")
    custom_filename: str | None = Field(None, description="its name, where that is another one")


class EnqueueBody(Body):
    """A file inside the log directories."""

    path: str
    key: Text | None = None
    priority: int | None = Field(None, ge=-100, le=100, description="more is sooner")
    session_id: Text | None = None


RowId = Annotated[int, Field(strict=True, ge=1, le=_LARGEST_ID)]


class DismissBody(Body):
    """Dead rows that need not be shown any more: these (``ids``), or all (``state``)."""

    ids: Annotated[list[RowId], Field(min_length=1, max_length=1000)] | None = None
    state: Literal["dead"] | None = None


SessionId = Annotated[str, Field(min_length=1, max_length=128, description="the session")]
Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]


class PresignUploadBody(Body):
    """A file that will be put to a URL."""

    session_id: SessionId
    name: str
    size: int = Field(strict=True, ge=0, le=_LARGEST_ID, description="bytes")
    type: Annotated[str, Field(max_length=128)] | None = Field(None, description="media type")


class CompleteUploadBody(Body):
    """A file that was put to its URL (``s3_key``), or that comes here (``name``, ``content``)."""

    session_id: SessionId
    s3_key: Text | None = Field(None, validation_alias=AliasChoices("s3_key", "s3Key"))
    name: str | None = None
    content: Annotated[str, Field(max_length=256 * 1024)] | None = Field(
        None, description="the file as base64, below 100 KB"
    )
    type: Annotated[str, Field(max_length=128)] | None = Field(None, description="media type")
    index: Count = 0
    page_count: Count | None = None


class EndSessionBody(Body):
    """A session that has ended."""

    session_id: SessionId


class MoveBody(Body):
    """A rename."""

    source_key: Text
    dest_key: Text


class LoginBody(Body):
    """The token, said once."""

    token: Text = Field(description="PETAL_S3_API_TOKEN")


class FlightBody(Body):
    """The flight state, from a caller that knows it."""

    armed: bool = Field(strict=True)


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """Its JSON schema; flat, as models of requests refer to no others."""
    return model.model_json_schema()
