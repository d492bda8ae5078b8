"""What each command answers to ``--json``, as types; documentation and schemas are made of them.

An answer that is an object begins with ``schema``: :data:`petal_s3.core.release.JSON_SCHEMA`. That
number grows when a name goes or changes its meaning; names that come are no such change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, TypeAdapter

from petal_s3.admin.finding import Finding
from petal_s3.admin.steps import Step
from petal_s3.core.release import JSON_SCHEMA
from petal_s3.service.views.card import CardFileView, CardView
from petal_s3.service.views.journal import JournalView
from petal_s3.service.views.objects import ObjectView, PresignView
from petal_s3.service.views.rows import RowView
from petal_s3.service.views.status import SnapshotView
from petal_s3.service.views.view import View


class Failure(View):
    """Why a command failed as a whole; also beside what it has done until then."""

    error: str = Field(description="a sentence")
    code: str = Field(description="stable, for programs")
    status: int = Field(description="as over HTTP")


class RefusedPath(Failure):
    """A file that was not enqueued."""

    path: str


class RefusedRow(Failure):
    """A row to which nothing was done."""

    id: int


class Enqueued(View):
    """``enqueue``."""

    rows: list[RowView] = Field(description="of the files, in their order")
    refused: list[RefusedPath]
    unchanged: list[int] = Field(description="ids of rows that were in the outbox already")


class Drained(SnapshotView):
    """``drain``: the status at its end."""

    rows: list[RowView] = Field(description="that were settled meanwhile")
    done: bool = Field(description="whether all is proven")
    reason: str = Field(description="why it has given up; empty where it has not")


class Done(View):
    """``retry``, ``resend``, ``cancel``, ``pin``, ``unpin``."""

    rows: list[RowView]
    refused: list[RefusedRow]


class Dismissed(View):
    """``dismiss``."""

    dismissed: int = Field(description="dead rows that are no longer shown")


class ComparedLog(View):
    """One log of ``verify``."""

    key: str
    same: bool
    disk: bool = Field(description="whether its file was read, too")
    differs: str = Field(description="one sentence; empty where all agree")
    row_id: int | None = Field(description="its row, where one is proven")
    queued: bool = Field(description="whether it is queued again")
    not_queued: str = Field(description="why not")


class Verified(View):
    """``verify``."""

    logs: list[ComparedLog]
    different: int
    queued: int


class Fetched(View):
    """``card fetch``."""

    files: list[CardFileView]


class Safe(View):
    """``card safe-to-erase``."""

    safe_to_erase: bool
    not_safe: str = Field(description="why not; empty where it may be erased")


class Backup(View):
    """``backup``."""

    file: str
    size: int = Field(description="bytes")


class Checked(View):
    """``check``."""

    done: bool = Field(description="whether nothing failed")
    checks: list[Finding]


class SelfTested(Checked):
    """``selftest``."""

    version: str
    python: str


class SetUp(View):
    """``bucket setup``; where it was stopped also the names of a failure."""

    bucket: str
    dry_run: bool
    done: bool
    steps: list[Step]


ANSWERS: Mapping[str, Any] = {
    "status": SnapshotView,
    "enqueue": Enqueued,
    "drain": Drained,
    "retry": Done,
    "resend": Done,
    "cancel": Done,
    "pin": Done,
    "unpin": Done,
    "dismiss": Dismissed,
    "log": JournalView,
    "backup": Backup,
    "ls": list[ObjectView],
    "presign": PresignView,
    "verify": Verified,
    "card": CardView,
    "card ls": CardView,
    "card scan": CardView,
    "card fetch": Fetched,
    "card safe-to-erase": Safe,
    "check": Checked,
    "selftest": SelfTested,
    "bucket setup": SetUp,
}
"""The answers, by their commands; any may be a :class:`Failure` instead."""


def schema_of(command: str) -> dict[str, Any]:
    """The JSON Schema of the answer of a command, where it does not fail as a whole."""
    found: dict[str, Any] = TypeAdapter(ANSWERS[command]).json_schema()
    if found.get("type") != "object":
        return found
    number = {"const": JSON_SCHEMA, "type": "integer", "description": "of this form of answers"}
    return {**found, "properties": {"schema": number, **found["properties"]}}
