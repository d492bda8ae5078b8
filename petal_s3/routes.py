"""The REST operations once, as plain typed functions; ``plugin`` and ``server`` mount them."""

from __future__ import annotations

from typing import Any

from .errors import BadInput
from .intake import PRIORITY_ASKED
from .outbox import STATES
from .service import Service

Json = dict[str, Any]

_MAX_ROWS = 1000


async def get_status(service: Service) -> Json:
    """GET /status."""
    return await service.status()


async def get_health(service: Service) -> Json:
    """GET /health: cheap, asks nobody outside."""
    status = await service.status()
    healthy = status["link"] != "down" and status["drained_by"] is not None
    return {
        "status": "healthy" if healthy else "degraded",
        "link": status["link"],
        "credentials": status["credentials"],
        "reason": status["reason"],
        "machine_id": service.machine_id,
        "bucket_name": service.settings.bucket_name,
    }


async def get_metrics(service: Service) -> str:
    """GET /metrics: the text that Prometheus reads."""
    return await service.metrics()


async def post_landed(service: Service) -> Json:
    """POST /landed: a flight has ended, scan now; ``{found, enqueued}``."""
    return dict(await service.landed())


async def get_outbox(
    service: Service, state: str | None = None, limit: int = 100, token: str | None = None
) -> Json:
    """GET /outbox: rows, the latest first, and the token of the next page."""
    if state is not None and state not in STATES:
        raise BadInput(f"state is one of {', '.join(STATES)}.")
    if token is not None and not token.isdigit():
        raise BadInput("token is the next_token of the page before.")
    limit = max(1, min(limit, _MAX_ROWS))
    rows = await service.rows(state=state, limit=limit, token=int(token) if token else None)
    following = str(rows[-1]["id"]) if len(rows) == limit else None
    return {"rows": rows, "next_token": following}


async def get_row(service: Service, row_id: int) -> Json:
    """GET /outbox/{id}."""
    return await service.row(row_id)


async def post_outbox(
    service: Service, path: str, key: str | None = None, priority: int | None = None
) -> Json:
    """POST /outbox: enqueue a file that lies inside the log directories."""
    asked = PRIORITY_ASKED if priority is None else max(-100, min(priority, 100))
    row = await service.enqueue(path, key=key, inside_only=True, priority=asked)
    return await service.row(row.id)


async def post_retry(service: Service, row_id: int) -> Json:
    """POST /outbox/{id}/retry: try it now."""
    row = await service.retry(row_id)
    return await service.row(row.id)


async def delete_row(service: Service, row_id: int) -> Json:
    """DELETE /outbox/{id}: give it up."""
    row = await service.cancel(row_id)
    return await service.row(row.id)
