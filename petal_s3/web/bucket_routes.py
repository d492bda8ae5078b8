"""The REST operations on objects: upload, list, read, sign, move, delete, hand over."""

from __future__ import annotations

from petal_s3.errors import BadInput
from petal_s3.service import row_verbs, signing
from petal_s3.service import temporary_files as handover
from petal_s3.service.service import Service
from petal_s3.service.views import objects as views
from petal_s3.service.views.sessions import CompleteUploadView
from petal_s3.web import requests as asks
from petal_s3.web.download import download
from petal_s3.web.guard import read_only
from petal_s3.web.multipart_form import Form
from petal_s3.web.routing import Call, Reply, Route, no_bytes


async def upload(service: Service, ask: asks.UploadAsk, call: Call) -> Reply:
    """Take a log in and answer when it is proven, or (``wait=false``) when it is safe here."""
    form = Form(call.headers.get("content-type", ""), call.body or no_bytes())
    async with service.intake.reserve.admitted():
        row = await service.receive(
            form.file(), lambda: form.name, announced=call.announced, received_by="rest"
        )
    if not ask.wait:
        return Reply(await service.row(row.id), status=202)
    done = await service.wait(row.id, while_blocked=False)
    return Reply(views.upload_view(service.settings, done))


async def list_objects(service: Service, ask: asks.ListAsk, _: Call) -> Reply:
    """A page of this machine's objects."""
    whole, found = await service.objects.page(ask.prefix, limit=ask.max_keys, token=ask.token)
    return Reply(views.list_view(service.settings, whole, found))


async def head(service: Service, ask: asks.KeyAsk, _: Call) -> Reply:
    """Metadata of an object."""
    return Reply(views.head_view(await service.objects.head(ask.s3_key)))


async def presign(service: Service, ask: asks.PresignAsk, _: Call) -> Reply:
    """A URL that opens one object for a while; one that adds an object changes the bucket."""
    if ask.method == "PUT" and service.settings.rest_read_only:
        raise read_only()
    return Reply(await signing.presign(service, ask.s3_key, ask.expires, method=ask.method))


async def move(service: Service, ask: asks.MoveBody, _: Call) -> Reply:
    """Rename an object; its row follows."""
    await service.objects.move(ask.source_key, ask.dest_key)
    own = service.objects.own
    return Reply(views.MoveView(source_key=own(ask.source_key), dest_key=own(ask.dest_key)))


async def delete(service: Service, ask: asks.KeyAsk, _: Call) -> Reply:
    """Delete an object; its row becomes cancelled. Where there is none: 404."""
    return Reply(views.DeleteView(s3_key=await row_verbs.delete_object(service, ask.s3_key)))


# -- files that are handed over by key


async def presign_upload(service: Service, ask: asks.PresignUploadBody, _: Call) -> Reply:
    """A URL to put a large file to; it stands there for a day at most."""
    with service.intake.reserve.counted():
        made = await handover.begin(service, ask.session_id, ask.name, ask.size, ask.type)
    return Reply(made)


async def complete_upload(service: Service, ask: asks.CompleteUploadBody, _: Call) -> Reply:
    """What was put to its URL, or comes here; looked at in S3."""
    with service.intake.reserve.counted():
        return Reply(await _completed(service, ask))


async def _completed(service: Service, ask: asks.CompleteUploadBody) -> CompleteUploadView:
    if ask.s3_key is not None and ask.content is None:
        found = await handover.complete(
            service, ask.session_id, ask.s3_key, index=ask.index, page_count=ask.page_count
        )
    elif ask.s3_key is None and ask.content is not None and ask.name is not None:
        found = await handover.take_inline(
            service,
            ask.session_id,
            ask.name,
            ask.content,
            media_type=ask.type,
            index=ask.index,
            page_count=ask.page_count,
        )
    else:
        raise BadInput("Either s3_key is expected, or name and content.")
    return CompleteUploadView(**found.model_dump())


async def end_session(service: Service, ask: asks.EndSessionBody, _: Call) -> Reply:
    """A session has ended: what was handed over in it is deleted."""
    deleted = await handover.end(service, ask.session_id)
    return Reply(views.SessionEndView(session_id=ask.session_id, deleted=deleted))


_KEY_ERRORS = (400, 403, 404, 503)

BUCKET_ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/bucket/upload",
        "upload",
        "Upload a flight log",
        upload,
        ask=asks.UploadAsk,
        answer=views.UploadView,
        form=asks.UploadForm,
        errors=(400, 408, 409, 413, 422, 503, 507),
    ),
    Route(
        "GET",
        "/bucket/list",
        "list",
        "This machine's objects",
        list_objects,
        ask=asks.ListAsk,
        answer=views.ListView,
        errors=(400, 403, 503),
    ),
    Route(
        "GET",
        "/bucket/download/{s3_key:path}",
        "download",
        "The bytes of an object",
        download,
        ask=asks.KeyAsk,
        answer="application/octet-stream",
        errors=(*_KEY_ERRORS, 409, 416),
    ),
    Route(
        "GET",
        "/bucket/head/{s3_key:path}",
        "head",
        "Metadata of an object",
        head,
        ask=asks.KeyAsk,
        answer=views.HeadView,
        errors=_KEY_ERRORS,
    ),
    Route(
        "GET",
        "/bucket/presign/{s3_key:path}",
        "presign",
        "A URL for an object",
        presign,
        ask=asks.PresignAsk,
        answer=views.PresignView,
        errors=_KEY_ERRORS,
    ),
    Route(
        "POST",
        "/bucket/move",
        "move",
        "Rename an object",
        move,
        ask=asks.MoveBody,
        answer=views.MoveView,
        errors=(*_KEY_ERRORS, 408, 409, 413, 507),
    ),
    Route(
        "DELETE",
        "/bucket/delete/{s3_key:path}",
        "delete",
        "Delete an object",
        delete,
        ask=asks.KeyAsk,
        answer=views.DeleteView,
        errors=(*_KEY_ERRORS, 507),
    ),
    Route(
        "POST",
        "/bucket/presign-upload",
        "presign_upload",
        "A URL to hand a large file over",
        presign_upload,
        ask=asks.PresignUploadBody,
        answer=views.PresignUploadView,
        errors=(400, 408, 413, 503),
    ),
    Route(
        "POST",
        "/bucket/complete-upload",
        "complete_upload",
        "What was handed over",
        complete_upload,
        ask=asks.CompleteUploadBody,
        answer=CompleteUploadView,
        errors=(*_KEY_ERRORS, 408, 409, 413, 507),
        most_json_bytes=256 * 1024,
    ),
    Route(
        "POST",
        "/bucket/end-session",
        "end_session",
        "Delete what was handed over",
        end_session,
        ask=asks.EndSessionBody,
        answer=views.SessionEndView,
        errors=(400, 408, 413, 503, 507),
    ),
)
