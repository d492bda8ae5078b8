"""What was learnt of each bucket's server, kept from one process to the next.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

from petal_s3.core.settings import Settings
from petal_s3.core.urls import bare
from petal_s3.outbox import facts
from petal_s3.outbox.outbox import Outbox


def bucket_name_of(settings: Settings) -> str:
    """The name under which the bucket of ``settings`` is known: its server's and its own.

    The server is the endpoint, without the password that its address may hold, else the region.
    """
    server = settings.region
    if settings.endpoint_url:
        server = bare(settings.endpoint_url).rstrip("/")
    return f"{server} {settings.bucket_name}"


def known_of(outbox: Outbox, bucket: str) -> str:
    """What was kept of ``bucket`` (:func:`bucket_name_of`), as text; empty for nothing."""
    return facts.value(outbox, f"capabilities {bucket}")


def keep(outbox: Outbox, bucket: str, known: str) -> None:
    """Keep what is known of ``bucket``, in place of what was kept before."""
    facts.keep(outbox, f"capabilities {bucket}", known)
