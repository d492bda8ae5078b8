"""Answer the host's health probe and ``/test/bucket/info`` from what is known already.

The host would list the bucket every 3 seconds, and wait for it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from petal_s3.core import clock
from petal_s3.errors import Offline, S3CredentialsError
from petal_s3.service.service import Service


def probe_thread() -> ThreadPoolExecutor:
    """Where the probe calls the client: it must not wait behind a transfer."""
    return ThreadPoolExecutor(1, thread_name_prefix="petal-s3-health")


class HealthClient:
    """Stands in for the S3 client that the probe calls: it repeats the verdict of the drain."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def list_objects_v2(self, **_: object) -> dict[str, int]:
        """An empty listing while the link works; raises :class:`Offline` with the reason else."""
        block = self._service.drainer.block
        if block is not None:
            raise Offline(block.reason, code=block.code)
        return {"KeyCount": 0}


def session_credentials(service: Service) -> Mapping[str, str]:
    """Which credentials are at hand, without asking for any.

    Raises :class:`S3CredentialsError` when the token service has failed.
    """
    if service.tokens is None:
        return {"source": "botocore"}
    held = service.tokens.current
    if held is not None:
        return {"accessKeyId": held.access_key_id}
    block = service.drainer.block
    if block is not None and block.code.startswith("token_service"):
        raise S3CredentialsError(block.reason)
    return {"source": "not fetched yet"}


def session_cache(service: Service) -> Mapping[str, object]:
    """The host's ``credentials`` and ``expires_at`` (seconds since 1970, by the wall clock)."""
    held = service.tokens.current if service.tokens is not None else None
    if held is None:
        return {"credentials": None, "expires_at": 0}
    left_s = max(0.0, held.expires_at - clock.now())
    return {
        "credentials": {"accessKeyId": held.access_key_id},
        "expires_at": time.time() + left_s,
    }
