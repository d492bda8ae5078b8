"""Answer a request that the host's server has received."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from petal_s3.errors import S3IntegrationError, as_json
from petal_s3.host.guarded import guarded
from petal_s3.host.streaming_response import ClosedStream, host_is_stopping
from petal_s3.service.service import Service
from petal_s3.web import guard as guards
from petal_s3.web.guard import Guard
from petal_s3.web.routing import FOR_NO_OTHER_SITE, Call, Reply, Route, headers_of


async def answer(
    route: Route, request: Request, active: Callable[[], Service], guard: Guard
) -> Response:
    """Run ``route`` on the service that ``active`` returns; errors become JSON answers."""
    call = Call(
        path=request.path_params,
        query=dict(request.query_params),
        headers=guards.headers_of(request.headers.items()),
        body=request.stream(),
        peer=request.client.host if request.client is not None else "",
        scheme=request.url.scheme,
        leaving=host_is_stopping,
    )
    with guarded("request failed"):
        try:
            reply = await route(active, call, guard)
            return _response(reply, active().settings.request_timeout)
        except S3IntegrationError as error:
            return _refusal(error)
        except ClientDisconnect:
            return Response(status_code=499)  # the connection is closed: no client reads it
    return _refusal(S3IntegrationError("An error of petal-s3 itself; see the host's log."))


def _refusal(error: S3IntegrationError) -> Response:
    headers = {**FOR_NO_OTHER_SITE, **dict(headers_of(error))}
    return JSONResponse(as_json(error), status_code=error.status, headers=headers)


def _response(reply: Reply, patience_s: float) -> Response:
    content = reply.content
    headers = {**FOR_NO_OTHER_SITE, **reply.headers, "content-type": reply.content_type}
    if isinstance(content, bytes):
        return Response(content, status_code=reply.status, headers=headers)
    return ClosedStream(content, patience_s, status_code=reply.status, headers=headers)
