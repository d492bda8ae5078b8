"""What REST asks and answers, as types: requests are checked by them, OpenAPI is made of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from petal_s3.s3.responses import LONGEST_URL_S
from petal_s3.service.temporary_files import FileUploadMetadata

_LARGEST_ID = (1 << 63) - 1

Text = Annotated[str, Field(max_length=4096)]
RowState = Literal["queued", "uploading", "verified", "dead", "cancelled"]


class Ask(BaseModel):
    """What stands in path and query: a name that is not known is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Body(BaseModel):
    """A JSON body: a name that is not known is a mistake of the caller."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Nothing(Ask):
    """Nothing is asked."""


class RowAsk(Ask):
    """One row."""

    row_id: int = Field(ge=1, le=_LARGEST_ID, description="id of the row")


class RowsAsk(Ask):
    """A page of rows."""

    state: RowState | None = Field(None, description="only rows in this state")
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
    token: Annotated[str, Field(max_length=2048)] | None = Field(
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

    path: Text
    key: Text | None = None
    priority: int | None = Field(None, ge=-100, le=100, description="more is sooner")
    session_id: Text | None = None


SessionId = Annotated[str, Field(min_length=1, max_length=128, description="the session")]
Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]


class PresignUploadBody(Body):
    """A file that is to be handed over by key."""

    session_id: SessionId
    name: Annotated[str, Field(min_length=1, max_length=255)]
    size: int = Field(strict=True, ge=0, le=_LARGEST_ID, description="bytes")
    type: Annotated[str, Field(max_length=128)] | None = Field(None, description="media type")


class CompleteUploadBody(Body):
    """A file that was put to its URL (``s3_key``), or that comes here (``name``, ``content``)."""

    session_id: SessionId
    s3_key: Text | None = Field(None, validation_alias=AliasChoices("s3_key", "s3Key"))
    name: Annotated[str, Field(min_length=1, max_length=255)] | None = None
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


class FlightBody(Body):
    """What is said of the flight."""

    armed: bool = Field(strict=True)


class Answer(BaseModel):
    """An answer; what is said beyond these fields may change."""

    model_config = ConfigDict(extra="allow")


class Problem(Answer):
    """Why not: a plain sentence, a stable code, the HTTP status; ``id`` where a row waits."""

    error: str
    code: str
    status: int
    id: int | None = None


class Receipt(Answer):
    """The proof that an object holds the file's bytes."""

    etag: str
    checksum: str
    size: int
    proof: str
    verified_at: int


class RowAnswer(Answer):
    """One row of the outbox."""

    id: int
    path: str
    key: str
    state: RowState
    size: int
    sent_bytes: int
    kind: str
    verdict: str
    priority: int
    attempts: int
    reason: str
    next_attempt_s: float | None
    receipt: Receipt | None


class RowsAnswer(Answer):
    """A page of rows, the latest first."""

    rows: list[RowAnswer]
    next_token: str | None


class FeatureAnswer(Answer):
    """One optional feature of S3, as an answer of the server has shown it."""

    offered: bool
    since: int = Field(description="seconds since 1970, by the server's clock")
    by: str = Field(description="the answer that showed it")
    means: str = Field(description="what its lack costs; empty where it is offered")


class CapabilitiesAnswer(Answer):
    """What is known of the bucket's server; a feature that was not met yet is not named."""

    asked_at: int = Field(description="when all of it was last tried; 0: never")
    features: dict[str, FeatureAnswer]


class StatusAnswer(Answer):
    """How things are."""

    link: Literal["up", "down", "unknown"]
    credentials: Literal["ok", "none", "refused", "expired"]
    clock_offset_s: float | None
    flight_state: Literal["armed", "disarmed", "unknown"]
    counts: dict[RowState, int]
    backlog_bytes: int
    rate_bytes_s: float
    eta_s: float | None
    oldest_unsent_s: float | None
    reason: str
    capabilities: CapabilitiesAnswer | None


class HealthAnswer(Answer):
    """Whether somebody drains and the link works."""

    status: Literal["healthy", "degraded"]
    link: str
    credentials: str
    reason: str
    machine_id: str
    bucket_name: str


class LandedAnswer(Answer):
    """What a scan found."""

    found: int
    enqueued: int


class FlightAnswer(Answer):
    """The flight state now."""

    flight_state: Literal["armed", "disarmed", "unknown"]


class UploadAnswer(Answer):
    """A proven upload."""

    success: Literal[True]
    s3_key: str
    file_url: str
    file_size: int
    content_type: str
    id: int


class FileAnswer(Answer):
    """One object of a listing."""

    key: str
    size: int
    last_modified: str | None
    url: str
    storage_class: str


class ListAnswer(Answer):
    """A page of objects."""

    success: Literal[True]
    files: list[FileAnswer]
    total_count: int
    is_truncated: bool
    prefix: str
    next_token: str | None


class HeadAnswer(Answer):
    """What S3 knows of an object."""

    success: Literal[True]
    s3_key: str
    metadata: dict[str, str]
    content_length: int
    content_type: str
    last_modified: str | None
    etag: str
    storage_class: str


class PresignAnswer(Answer):
    """A URL and its real life."""

    success: Literal[True]
    s3_key: str
    url: str
    method: Literal["GET", "PUT"]
    headers: dict[str, str]
    expires_in: int
    expires_at: str


class PresignUploadAnswer(PresignAnswer):
    """A URL to put a file to, and what to say of it afterwards."""

    file_id: str
    name: str
    size: int


class CompleteUploadAnswer(FileUploadMetadata):
    """A file that was handed over."""

    success: Literal[True]


class EndSessionAnswer(Answer):
    """How many temporary objects were deleted."""

    success: Literal[True]
    session_id: str
    deleted: int


class DeleteAnswer(Answer):
    """A deletion."""

    success: Literal[True]
    s3_key: str
    message: str


class MoveAnswer(Answer):
    """A rename."""

    success: Literal[True]
    source_key: str
    dest_key: str
    message: str


class InfoAnswer(Answer):
    """Configuration and state, no secrets."""

    success: Literal[True]
    version: str
    machine_id: str
    bucket_name: str
    region: str
    upload_prefix: str
    counts: dict[str, int]
    capabilities: CapabilitiesAnswer | None


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """Its JSON schema, flat: models of requests refer to no others."""
    return model.model_json_schema()
