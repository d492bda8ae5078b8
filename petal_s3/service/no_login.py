"""Say plainly what the host's port gives to whoever reaches it: the host has no login."""

from __future__ import annotations

from petal_s3.core.settings import Settings

NO_LOGIN = "The host has no login: whoever reaches its port"


def advice(settings: Settings) -> list[str]:
    """What a person should do where petal-s3 answers in the host; empty with a bearer token."""
    if settings.api_token is not None:
        return []
    if settings.rest_read_only:
        return [f"{NO_LOGIN} may read this machine's logs. Set PETAL_S3_API_TOKEN."]
    return [
        f"{NO_LOGIN} may read this machine's logs, send some, cancel and delete. Set"
        " PETAL_S3_API_TOKEN, or PETAL_S3_REST_READ_ONLY=true."
    ]
