"""Say plainly what plain http gives to everybody on the way to S3 and to the token service."""

from __future__ import annotations

from petal_s3.core.settings import Settings
from petal_s3.core.urls import server_of
from petal_s3.s3.plain_http import is_open


def advice(settings: Settings) -> list[str]:
    """What a person should do where requests leave this machine without TLS; else nothing."""
    said = []
    if is_open(settings.endpoint_url):
        sentence = (
            f"S3 is asked over plain http ({server_of(settings.endpoint_url or '')}): everybody on"
            " the way can read the logs and the session token, and can answer in place of S3, so"
            " that no proof counts against them. Have PETAL_S3_ENDPOINT_URL begin with https://."
        )
        said.append(sentence + _of_retention(settings))
    if is_open(settings.session_token_url):
        said.append(
            "The token service is asked over plain http"
            f" ({server_of(settings.session_token_url or '')}): everybody on the way can read the"
            " credentials of this machine. Have PETAL_S3_SESSION_TOKEN_URL begin with https://."
        )
    return said


def _of_retention(settings: Settings) -> str:
    if not (settings.retention_days or settings.min_free_bytes):
        return ""
    if settings.retention_over_http:
        return " PETAL_S3_RETENTION_OVER_HTTP=true deletes local files all the same."
    return " Until then no local file is deleted, unless PETAL_S3_RETENTION_OVER_HTTP=true is set."
