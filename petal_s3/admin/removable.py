"""The steps of ``bucket setup`` that can be taken back."""

from __future__ import annotations

from enum import Enum


class Removable(str, Enum):
    """What ``bucket setup`` can take back."""

    TLS_ONLY = "tls-only"
    LIFECYCLE = "lifecycle"
    ENCRYPTION = "encryption"
    CORS = "cors"
    ACCESS_LOGS = "access-logs"
    VERSIONING = "versioning"
    EXPIRE_VERSIONS = "expire-versions"
