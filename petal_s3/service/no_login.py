"""Say plainly what the host's port gives to whoever reaches it: the host has no login."""

from __future__ import annotations

from petal_s3.core.settings import Settings
from petal_s3.core.settings_rules import SHORTEST_TOKEN

NO_LOGIN = "The host has no login: whoever reaches its port"


def advice(settings: Settings) -> list[str]:
    """What a person should do where petal-s3 answers in the host; empty with a good token."""
    token = settings.api_token
    if token is not None and len(token) < SHORTEST_TOKEN:
        return [
            f"petal-s3 answers no request in the host: PETAL_S3_API_TOKEN has less than"
            f" {SHORTEST_TOKEN} characters. Set a longer one."
        ]
    if token is not None:
        return []
    if settings.rest_read_only:
        return [f"{NO_LOGIN} may read this machine's logs. Set PETAL_S3_API_TOKEN."]
    return [
        f"{NO_LOGIN} may read this machine's logs, send some, cancel and delete. Set"
        " PETAL_S3_API_TOKEN, or PETAL_S3_REST_READ_ONLY=true."
    ]
