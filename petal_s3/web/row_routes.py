"""The REST operations on rows of the outbox: enqueue, look, try again, give up, keep, dismiss.

What is so already is answered with the unchanged row; what cannot be done is a 409.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from petal_s3.core.kinds import ALL_KINDS, SUFFIXES, TEXT_KINDS
from petal_s3.errors import BadInput, Conflict
from petal_s3.intake.entry import PRIORITY_ASKED
from petal_s3.logs.sniff import log_suffix
from petal_s3.objects.key_names import valid_session_id
from petal_s3.outbox.rows import Row
from petal_s3.service import row_verbs, sessions
from petal_s3.service.resending import resend
from petal_s3.service.service import Service
from petal_s3.service.views.journal import JournalView
from petal_s3.service.views.rows import RowView
from petal_s3.web import requests as asks
from petal_s3.web.responses import DismissView, RowsView
from petal_s3.web.routing import Call, Reply, Route, Run

_NO_TEXTS = {suffix for kind in ALL_KINDS - TEXT_KINDS for suffix in SUFFIXES[kind]}


async def get_outbox(service: Service, ask: asks.RowsAsk, _: Call) -> Reply:
    """Rows, the latest first, and the token of the next page."""
    token = int(ask.token) if ask.token else None
    rows = await service.rows(state=ask.state, limit=ask.limit + 1, token=token)
    shown = rows[: ask.limit]
    following = str(shown[-1].id) if len(rows) > ask.limit else None
    return Reply(RowsView(rows=shown, next_token=following))


async def get_row(service: Service, ask: asks.RowAsk, _: Call) -> Reply:
    """One row."""
    return Reply(await service.row(ask.row_id))


async def get_journal(service: Service, ask: asks.RowAsk, _: Call) -> Reply:
    """What became of one log, step by step, and why it is not up now."""
    return Reply(await service.overview.journal(ask.row_id))


async def post_outbox(service: Service, ask: asks.EnqueueBody, _: Call) -> Reply:
    """Enqueue a file that lies inside the log directories; the same file gives the same row.

    A text log with a session belongs to its logs.
    """
    async with service.intake.reserve.admitted():
        row = await _enqueued(service, ask)
    return Reply(await service.row(row.id))


async def _enqueued(service: Service, ask: asks.EnqueueBody) -> Row:
    priority = PRIORITY_ASKED if ask.priority is None else ask.priority
    named = log_suffix(Path(ask.path).name)
    if ask.session_id is not None and not ask.key and named not in _NO_TEXTS:
        return await sessions.enter_log(
            service, ask.path, ask.session_id, inside_only=True, priority=priority
        )
    if ask.session_id is not None:
        valid_session_id(ask.session_id)
    return await service.enqueue(
        ask.path,
        key=ask.key,
        session_id=ask.session_id,
        inside_only=True,
        priority=priority,
        received_by="rest",
    )


async def post_retry(service: Service, ask: asks.RowAsk, _: Call) -> Reply:
    """Try it now; the file of a dead or cancelled row is examined again, as if new."""
    return await _done(service, row_verbs.retry, ask.row_id)


async def delete_row(service: Service, ask: asks.CancelAsk, _: Call) -> Reply:
    """Give it up; what was sent of it is aborted. Its copy in the spool stays for a day."""
    return await _done(service, partial(row_verbs.cancel, purge=ask.purge), ask.row_id)


async def post_resend(service: Service, ask: asks.RowAsk, _: Call) -> Reply:
    """Queue a proven row again whose object is gone or another one; S3 is asked now."""
    return await _done(service, resend, ask.row_id)


async def post_pin(service: Service, ask: asks.RowAsk, _: Call) -> Reply:
    """Keep its file: retention deletes it last."""
    return await _done(service, row_verbs.pin, ask.row_id)


async def delete_pin(service: Service, ask: asks.RowAsk, _: Call) -> Reply:
    """Let its file go when its time comes."""
    return await _done(service, row_verbs.unpin, ask.row_id)


async def _done(
    service: Service, verb: Callable[[Service, int], Awaitable[Row]], row_id: int
) -> Reply:
    try:
        await verb(service, row_id)
    except Conflict as error:
        if not row_verbs.is_so(error):
            raise
    return Reply(await service.row(row_id))


async def post_dismiss(service: Service, ask: asks.DismissBody, _: Call) -> Reply:
    """Count and show dead rows no longer; their files stay."""
    if (ask.ids is None) == (ask.state is None):
        raise BadInput("Either ids or state is expected.")
    try:
        if ask.ids is None:
            dismissed = await row_verbs.dismiss_dead(service)
        else:
            dismissed = await row_verbs.dismiss(service, ask.ids)
    except Conflict as error:
        if not row_verbs.is_so(error):
            raise
        dismissed = 0
    return Reply(DismissView(dismissed=dismissed))


def _row_route(
    method: str,
    path: str,
    name: str,
    summary: str,
    run: Run,
    errors: tuple[int, ...] = (409,),
) -> Route:
    """An operation on one row that answers it."""
    return Route(
        method,
        f"/outbox/{{row_id}}{path}",
        name,
        summary,
        run,
        ask=asks.RowAsk,
        answer=RowView,
        errors=(400, 404, *errors, 503, 507),
    )


ROW_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/outbox",
        "rows",
        "Rows of the outbox, the latest first",
        get_outbox,
        ask=asks.RowsAsk,
        answer=RowsView,
        errors=(400, 503, 507),
    ),
    Route(
        "POST",
        "/outbox",
        "enqueue",
        "Enqueue a file inside the log directories",
        post_outbox,
        ask=asks.EnqueueBody,
        answer=RowView,
        errors=(400, 403, 404, 408, 409, 413, 422, 503, 507),
    ),
    _row_route("GET", "", "row", "One row of the outbox", get_row, errors=()),
    replace(
        _row_route("GET", "/journal", "journal", "What became of one log", get_journal, errors=()),
        answer=JournalView,
    ),
    _row_route("POST", "/retry", "retry", "Try a row now", post_retry, errors=(403, 409, 413, 422)),
    _row_route(
        "POST",
        "/resend",
        "resend",
        "Send a proven log again whose object is gone",
        post_resend,
        errors=(403, 409),
    ),
    _row_route("POST", "/pin", "pin", "Keep the file of a row", post_pin),
    _row_route("DELETE", "/pin", "unpin", "Let the file of a row go", delete_pin),
    replace(_row_route("DELETE", "", "cancel", "Give a row up", delete_row), ask=asks.CancelAsk),
    Route(
        "POST",
        "/outbox/dismiss",
        "dismiss",
        "Show dead rows no longer",
        post_dismiss,
        ask=asks.DismissBody,
        answer=DismissView,
        errors=(400, 404, 408, 409, 413, 503, 507),
    ),
)
