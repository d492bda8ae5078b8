"""The REST operations once; ``plugin`` and ``server`` only mount them.

An operation is a function of the service, of what was asked (checked by its model) and of the
call itself; it answers a :class:`Reply` or raises one of our errors.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from petal_s3 import __version__
from petal_s3.core.kinds import ALL_KINDS, SUFFIXES, TEXT_KINDS
from petal_s3.errors import BadInput
from petal_s3.intake.entry import PRIORITY_ASKED
from petal_s3.logs.sniff import log_suffix
from petal_s3.objects.key_names import valid_session_id
from petal_s3.service import sessions, views
from petal_s3.service import temporary_files as handover
from petal_s3.service.metrics import CONTENT_TYPE
from petal_s3.service.service import Service
from petal_s3.web import events
from petal_s3.web import requests as models
from petal_s3.web.download import stretch
from petal_s3.web.multipart_form import Form
from petal_s3.web.page import POLICY, page
from petal_s3.web.routing import Call, Reply, Route, no_bytes

Json = dict[str, Any]

_PAGE_ROWS = 100
_NO_TEXTS = {suffix for kind in ALL_KINDS - TEXT_KINDS for suffix in SUFFIXES[kind]}
_SAFE_NAME = "attachment; filename*=UTF-8''"


# -- how things are


async def get_status(service: Service, _: models.Nothing, __: Call) -> Reply:
    """Are my logs up, and if not, why?"""
    return Reply(await service.status())


async def get_health(service: Service, _: models.Nothing, __: Call) -> Reply:
    """Cheap; asks nobody outside."""
    status = await service.status()
    healthy = status["link"] != "down" and status["drained_by"] is not None
    return Reply(
        {
            "status": "healthy" if healthy else "degraded",
            "link": status["link"],
            "credentials": status["credentials"],
            "reason": status["reason"],
            "machine_id": service.machine_id,
            "bucket_name": service.settings.bucket_name,
        }
    )


async def get_metrics(service: Service, _: models.Nothing, __: Call) -> Reply:
    """The text that Prometheus reads."""
    return Reply((await service.metrics()).encode(), content_type=CONTENT_TYPE)


async def get_info(service: Service, _: models.Nothing, __: Call) -> Reply:
    """Configuration and state, no secrets."""
    status = await service.status()
    return Reply(views.info(service.settings, service.machine_id, __version__, status))


async def get_events(service: Service, _: models.Nothing, call: Call) -> Reply:
    """Server-sent events: ``progress`` with a row, ``status``."""
    told = events.listen(service, call.leaving)
    begun = await anext(told, b"")  # counted from here on, until it ends
    return Reply(
        _joined(begun, told),
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        content_type="text/event-stream",
    )


async def get_page(service: Service, _: models.Nothing, __: Call) -> Reply:
    """The status page, for people."""
    rows = await service.rows(limit=_PAGE_ROWS)
    text = page(service.machine_id, service.settings.bucket_name, await service.status(), rows)
    return Reply(
        text.encode("utf-8", "replace"),
        headers={
            "Content-Security-Policy": POLICY,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        },
        content_type="text/html; charset=utf-8",
    )


# -- flights and rows


async def post_landed(service: Service, _: models.Nothing, __: Call) -> Reply:
    """A flight has ended: scan now."""
    return Reply(dict(await service.landed()))


async def post_flight(service: Service, ask: models.FlightBody, _: Call) -> Reply:
    """Say whether the vehicle is armed, where no autopilot is heard."""
    return Reply({"flight_state": service.fly(armed=ask.armed)})


async def get_outbox(service: Service, ask: models.RowsAsk, _: Call) -> Reply:
    """Rows, the latest first, and the token of the next page."""
    token = int(ask.token) if ask.token else None
    rows = await service.rows(state=ask.state, limit=ask.limit + 1, token=token)
    shown = rows[: ask.limit]
    following = str(shown[-1]["id"]) if len(rows) > ask.limit else None
    return Reply({"rows": shown, "next_token": following})


async def get_row(service: Service, ask: models.RowAsk, _: Call) -> Reply:
    """One row."""
    return Reply(await service.row(ask.row_id))


async def post_outbox(service: Service, ask: models.EnqueueBody, _: Call) -> Reply:
    """Enqueue a file that lies inside the log directories; the same file gives the same row.

    A text log with a session belongs to its logs.
    """
    priority = PRIORITY_ASKED if ask.priority is None else ask.priority
    about: Json = {"inside_only": True, "priority": priority}
    named = log_suffix(Path(ask.path).name)
    if ask.session_id is not None and not ask.key and named not in _NO_TEXTS:
        row = await sessions.enter_log(service, ask.path, ask.session_id, **about)
    else:
        if ask.session_id is not None:
            valid_session_id(ask.session_id)
        row = await service.enqueue(ask.path, key=ask.key, session_id=ask.session_id, **about)
    return Reply(await service.row(row.id))


async def post_retry(service: Service, ask: models.RowAsk, _: Call) -> Reply:
    """Try it now, also what is dead or cancelled."""
    row = await service.retry(ask.row_id)
    return Reply(await service.row(row.id))


async def delete_row(service: Service, ask: models.RowAsk, _: Call) -> Reply:
    """Give it up; what was sent of it is aborted."""
    row = await service.cancel(ask.row_id)
    return Reply(await service.row(row.id))


# -- the bucket


async def upload(service: Service, ask: models.UploadAsk, call: Call) -> Reply:
    """Take a log in and answer when it is proven, or (``wait=false``) when it is safe here."""
    form = Form(call.headers.get("content-type", ""), call.body or no_bytes())
    row = await service.receive(form.file(), lambda: form.name)
    if not ask.wait:
        return Reply(await service.row(row.id), status=202)
    done = await service.wait(row.id, while_blocked=False)
    return Reply(views.uploaded(service.settings, done))


async def list_objects(service: Service, ask: models.ListAsk, _: Call) -> Reply:
    """A page of this machine's objects."""
    whole, found = await service.objects.page(ask.prefix, limit=ask.max_keys, token=ask.token)
    return Reply(views.listing(service.settings, whole, found))


async def download(service: Service, ask: models.KeyAsk, call: Call) -> Reply:
    """Stream an object, or the stretch of it that the header ``Range`` names (RFC 9110, 14)."""
    info = await service.objects.head(ask.s3_key)
    first, last = stretch(call.headers, info.size, info.etag)
    name = quote(info.key.rpartition("/")[2], safe="")
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": f'"{info.etag}"',
        "Content-Disposition": f"{_SAFE_NAME}{name}",
        "X-Content-Type-Options": "nosniff",
        "Content-Length": str(info.size if first is None else last - first + 1),
    }
    if first is not None:
        headers["Content-Range"] = f"bytes {first}-{last}/{info.size}"
    if first is None and not info.size:
        return Reply(b"", headers=headers, content_type="application/octet-stream")
    stack = contextlib.AsyncExitStack()
    wanted = {} if first is None else {"first": first, "last": last}
    # Opened before anything is answered: until then a failure can still be told as one.
    _, blocks = await stack.enter_async_context(
        service.objects.read(info.key, etag=info.etag, **wanted)
    )
    coming = _closing(stack, blocks)
    begun = await anext(coming, b"")  # one that has begun gives its connection back, whatever comes
    return Reply(
        _joined(begun, coming),
        status=200 if first is None else 206,
        headers=headers,
        content_type=_header(info.content_type) or "application/octet-stream",
    )


def _header(text: str) -> str:
    """``text`` where it may stand in a header; whoever stored the object has chosen it."""
    return text if text.isascii() and text.isprintable() else ""


async def _closing(
    stack: contextlib.AsyncExitStack, blocks: AsyncIterator[bytes]
) -> AsyncGenerator[bytes, None]:
    async with stack:
        async for block in blocks:
            yield block


async def _joined(begun: bytes, coming: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(coming):
        yield begun
        async for block in coming:
            yield block


async def head(service: Service, ask: models.KeyAsk, _: Call) -> Reply:
    """Metadata of an object."""
    return Reply(views.head(await service.objects.head(ask.s3_key)))


async def presign(service: Service, ask: models.PresignAsk, _: Call) -> Reply:
    """A URL that opens one object for a while."""
    return Reply(await service.presign(ask.s3_key, ask.expires, method=ask.method))


async def move(service: Service, ask: models.MoveBody, _: Call) -> Reply:
    """Rename an object; its row follows."""
    await service.objects.move(ask.source_key, ask.dest_key)
    own = service.objects.own
    return Reply(views.moved(own(ask.source_key), own(ask.dest_key)))


async def delete(service: Service, ask: models.KeyAsk, _: Call) -> Reply:
    """Delete an object; its row becomes cancelled."""
    return Reply(views.deleted(await service.objects.delete(ask.s3_key)))


# -- files that are handed over by key


async def presign_upload(service: Service, ask: models.PresignUploadBody, _: Call) -> Reply:
    """A URL to put a large file to; it stands there for a day at most."""
    return Reply(await handover.begin(service, ask.session_id, ask.name, ask.size, ask.type))


async def complete_upload(service: Service, ask: models.CompleteUploadBody, _: Call) -> Reply:
    """What was put to its URL, or comes here; looked at in S3."""
    about: Json = {"index": ask.index, "page_count": ask.page_count}
    if ask.s3_key is not None and ask.content is None:
        found = await handover.complete(service, ask.session_id, ask.s3_key, **about)
    elif ask.s3_key is None and ask.content is not None and ask.name is not None:
        found = await handover.take_inline(
            service, ask.session_id, ask.name, ask.content, media_type=ask.type, **about
        )
    else:
        raise BadInput("Either s3_key is expected, or name and content.")
    return Reply({"success": True, **found.model_dump()})


async def end_session(service: Service, ask: models.EndSessionBody, _: Call) -> Reply:
    """A session has ended: what was handed over in it is deleted."""
    deleted = await handover.end(service, ask.session_id)
    return Reply({"success": True, "session_id": ask.session_id, "deleted": deleted})


_KEY_ERRORS = (400, 403, 404, 503)

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/status",
        "status",
        "Are my logs up, and if not, why?",
        get_status,
        answer=models.StatusAnswer,
    ),
    Route("GET", "/health", "health", "Health of petal-s3", get_health, answer=models.HealthAnswer),
    Route("GET", "/metrics", "metrics", "Figures for Prometheus", get_metrics),
    Route(
        "GET",
        "/events",
        "events",
        "What changes, as it changes",
        get_events,
        answer="text/event-stream",
    ),
    Route("GET", "/", "page", "The status page", get_page, answer="text/html"),
    Route(
        "POST",
        "/landed",
        "landed",
        "A flight has ended: scan now",
        post_landed,
        answer=models.LandedAnswer,
    ),
    Route(
        "POST",
        "/flight",
        "flight",
        "Say whether the vehicle is armed",
        post_flight,
        ask=models.FlightBody,
        answer=models.FlightAnswer,
        errors=(400, 408, 409, 413, 503),
    ),
    Route(
        "GET",
        "/outbox",
        "rows",
        "Rows of the outbox, the latest first",
        get_outbox,
        ask=models.RowsAsk,
        answer=models.RowsAnswer,
        errors=(400, 503, 507),
    ),
    Route(
        "POST",
        "/outbox",
        "enqueue",
        "Enqueue a file inside the log directories",
        post_outbox,
        ask=models.EnqueueBody,
        answer=models.RowAnswer,
        errors=(400, 403, 404, 408, 409, 413, 422, 503, 507),
    ),
    Route(
        "GET",
        "/outbox/{row_id}",
        "row",
        "One row of the outbox",
        get_row,
        ask=models.RowAsk,
        answer=models.RowAnswer,
        errors=(400, 404, 503, 507),
    ),
    Route(
        "POST",
        "/outbox/{row_id}/retry",
        "retry",
        "Try a row now",
        post_retry,
        ask=models.RowAsk,
        answer=models.RowAnswer,
        errors=(400, 404, 503, 507),
    ),
    Route(
        "DELETE",
        "/outbox/{row_id}",
        "cancel",
        "Give a row up",
        delete_row,
        ask=models.RowAsk,
        answer=models.RowAnswer,
        errors=(400, 404, 503, 507),
    ),
    Route(
        "POST",
        "/bucket/upload",
        "upload",
        "Upload a flight log",
        upload,
        ask=models.UploadAsk,
        answer=models.UploadAnswer,
        form=models.UploadForm,
        errors=(400, 408, 409, 413, 422, 503, 507),
    ),
    Route(
        "GET",
        "/bucket/list",
        "list",
        "This machine's objects",
        list_objects,
        ask=models.ListAsk,
        answer=models.ListAnswer,
        errors=(400, 403, 503),
    ),
    Route(
        "GET",
        "/bucket/download/{s3_key:path}",
        "download",
        "The bytes of an object",
        download,
        ask=models.KeyAsk,
        answer="application/octet-stream",
        errors=(*_KEY_ERRORS, 409, 416),
    ),
    Route(
        "GET",
        "/bucket/head/{s3_key:path}",
        "head",
        "Metadata of an object",
        head,
        ask=models.KeyAsk,
        answer=models.HeadAnswer,
        errors=_KEY_ERRORS,
    ),
    Route(
        "GET",
        "/bucket/presign/{s3_key:path}",
        "presign",
        "A URL for an object",
        presign,
        ask=models.PresignAsk,
        answer=models.PresignAnswer,
        errors=_KEY_ERRORS,
    ),
    Route(
        "POST",
        "/bucket/move",
        "move",
        "Rename an object",
        move,
        ask=models.MoveBody,
        answer=models.MoveAnswer,
        errors=(*_KEY_ERRORS, 408, 409, 413, 507),
    ),
    Route(
        "DELETE",
        "/bucket/delete/{s3_key:path}",
        "delete",
        "Delete an object",
        delete,
        ask=models.KeyAsk,
        answer=models.DeleteAnswer,
        errors=(*_KEY_ERRORS, 507),
    ),
    Route(
        "POST",
        "/bucket/presign-upload",
        "presign_upload",
        "A URL to hand a large file over",
        presign_upload,
        ask=models.PresignUploadBody,
        answer=models.PresignUploadAnswer,
        errors=(400, 408, 413, 503),
    ),
    Route(
        "POST",
        "/bucket/complete-upload",
        "complete_upload",
        "What was handed over",
        complete_upload,
        ask=models.CompleteUploadBody,
        answer=models.CompleteUploadAnswer,
        errors=(*_KEY_ERRORS, 408, 409, 413, 507),
        most_json_bytes=256 * 1024,
    ),
    Route(
        "POST",
        "/bucket/end-session",
        "end_session",
        "Delete what was handed over",
        end_session,
        ask=models.EndSessionBody,
        answer=models.EndSessionAnswer,
        errors=(400, 408, 413, 503, 507),
    ),
    Route(
        "GET", "/bucket/info", "info", "Configuration and state", get_info, answer=models.InfoAnswer
    ),
)
