"""A petal that uses the bucket of the host: it hands a log over, looks at it, keeps what it found.

The bucket is petal-s3's where that is loaded; see docs/petals.md for all of its calls.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from fastapi import HTTPException
from petal_app_manager.plugins.base import Petal
from petal_app_manager.plugins.decorators import http_action

log = logging.getLogger("petal_flight_review")

_ULOG = b"ULog\x01\x12\x35"


class FlightReview(Petal):
    """``/petals/flight-review``: each log gets a result, which is kept in the bucket."""

    name = "flight-review"
    version = "1.0.0"
    use_mqtt_proxy = False

    def startup(self) -> None:
        """Nothing is kept from here: the bucket is swapped while the host starts."""

    async def async_startup(self) -> None:
        """Nothing to do."""

    def _bucket(self) -> Any:
        # No property: the host reads every attribute of a petal, and one that raises stops it.
        return self._proxies["bucket"]

    @http_action(method="POST", path="/logs")
    async def hand_over(self, file: str) -> dict[str, Any]:
        """Return as soon as a log is safe on this disk; it is sent when it can be."""
        row = await self._bucket().enqueue(file)
        return {"id": row["id"], "key": row["key"], "state": row["state"]}

    @http_action(method="POST", path="/reviews")
    async def review(self, file: str) -> dict[str, Any]:
        """Upload a log, and return when S3 has proven it and the result is kept.

        Offline, or while the vehicle is armed, the host answers 503: the log stays in the outbox
        and goes up later; ask again then. The same bytes are never sent twice.
        """
        sent = await self._bucket().upload_file(file, on_progress=self._moved)
        head = await self._bucket().get_file_range(sent["s3_key"], 0, 15)
        found = {
            "key": sent["s3_key"],
            "size": sent["file_size"],
            "is_ulog": head.startswith(_ULOG),
        }
        kept = await self._bucket().sessions.save_result("flight-review", found, "review")
        return {**found, "result": kept["key"]}

    @http_action(method="GET", path="/logs")
    async def logs(self) -> dict[str, Any]:
        """The newest hundred objects of this machine."""
        listed = await self._bucket().list_files(max_keys=100)
        return {"keys": [one["key"] for one in listed["files"]], "more": listed["is_truncated"]}

    @http_action(method="GET", path="/waiting")
    async def waiting(self) -> dict[str, Any]:
        """Are the logs up, and if not, why? The sentence that every front end shows."""
        try:
            status = await asyncio.wait_for(self._bucket().status(), 5)
        except asyncio.TimeoutError:
            raise HTTPException(503, "The outbox does not answer.") from None
        return {"headline": status["headline"], "code": status["code"]}

    def _moved(self, sent_bytes: int, total_bytes: int, bytes_s: float) -> None:
        log.info("sent %d of %d bytes, %.0f a second", sent_bytes, total_bytes, bytes_s)
