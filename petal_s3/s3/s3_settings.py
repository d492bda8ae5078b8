"""What a connection to one bucket needs to be told, in one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field

from petal_s3.core.settings import AddressStyle, Settings
from petal_s3.core.urls import bare
from petal_s3.s3.stalls import Patience


@dataclass(frozen=True)
class S3Settings:
    """Which bucket, where it is, and how it is reached.

    ``endpoint_url``: none for AWS. ``sse``: as PETAL_S3_SSE writes it. ``max_rate``: bytes per
    second, 0 for no limit. ``timeout_s``: for requests without a body. ``ignore_dates``: as
    PETAL_S3_TLS_IGNORE_DATES.
    """

    bucket: str
    region: str = "us-east-1"
    endpoint_url: str | None = None
    address_style: AddressStyle = "auto"
    sse: str = "AES256"
    max_rate: float = 0
    ignore_dates: bool = False
    timeout_s: float = 30.0
    connections: int = 8
    patience: Patience = field(default_factory=Patience)


def s3_settings(settings: Settings, *, connections: int, bucket: str | None = None) -> S3Settings:
    """What ``settings`` say of the bucket, or of another ``bucket`` at the same place."""
    return S3Settings(
        bucket=bucket or settings.bucket_name,
        region=settings.region,
        # S3 signs its requests: nothing else in an address could be sent, and it is a secret.
        endpoint_url=bare(settings.endpoint_url) if settings.endpoint_url else None,
        address_style=settings.address_style,
        sse=settings.sse,
        max_rate=settings.max_rate,
        ignore_dates=settings.tls_ignore_dates,
        timeout_s=settings.request_timeout,
        connections=connections,
    )
