"""What REST alone answers, beside the views that all front ends share."""

from __future__ import annotations

from pydantic import Field

from petal_s3.service.views.rows import RowView
from petal_s3.service.views.view import Flight, View


class Problem(View):
    """Why not: a plain sentence, a stable code, the HTTP status; ``id`` where a row waits."""

    error: str
    code: str
    status: int
    id: int | None = None


class RowsView(View):
    """A page of rows, the latest first."""

    rows: list[RowView]
    next_token: str | None = Field(description="of the next page; none after the last")


class FlightView(View):
    """The flight state now."""

    flight_state: Flight


class DismissView(View):
    """Dead rows that are no longer shown."""

    dismissed: int = Field(description="how many were shown until now")
