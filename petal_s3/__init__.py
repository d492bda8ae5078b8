"""petal-s3: flight logs from a drone into S3, proven."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from petal_s3.errors import (
    BadInput,
    ClockSkew,
    ConfigError,
    Conflict,
    LeaseLost,
    LocalStorageError,
    Mismatch,
    NotAFlightLog,
    NotAllowed,
    NotFinished,
    NotNow,
    NotS3,
    Offline,
    Permanent,
    Refused,
    S3BucketError,
    S3CredentialsError,
    S3DownloadError,
    S3FileNotFoundError,
    S3IntegrationError,
    S3UploadError,
    SourceAway,
    SourceChanged,
    SourceGone,
    Throttled,
    Transient,
    UploadGone,
)

if TYPE_CHECKING:
    from petal_s3.client import FileUploadMetadata, S3Client, S3FileInfo, S3LogMetadata
    from petal_s3.host.proxy import S3BucketProxy

__version__ = "0.1.0"
JSON_SCHEMA = 1
"""Of the answers to ``--json``; it grows when a name goes, or changes its meaning."""
__all__ = [
    "BadInput",
    "ClockSkew",
    "ConfigError",
    "Conflict",
    "FileUploadMetadata",
    "LeaseLost",
    "LocalStorageError",
    "Mismatch",
    "NotAFlightLog",
    "NotAllowed",
    "NotFinished",
    "NotNow",
    "NotS3",
    "Offline",
    "Permanent",
    "Refused",
    "S3BucketError",
    "S3BucketProxy",
    "S3Client",
    "S3CredentialsError",
    "S3DownloadError",
    "S3FileInfo",
    "S3FileNotFoundError",
    "S3IntegrationError",
    "S3LogMetadata",
    "S3UploadError",
    "SourceAway",
    "SourceChanged",
    "SourceGone",
    "Throttled",
    "Transient",
    "UploadGone",
    "__version__",
]

# Half a second of imports that most of this package's own programs do without.
_LATE = {
    "FileUploadMetadata": "client",
    "S3BucketProxy": "host.proxy",
    "S3Client": "client",
    "S3FileInfo": "client",
    "S3LogMetadata": "client",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
