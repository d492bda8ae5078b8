"""What the botocore clients of one connection are made of, and what they share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from petal_s3.s3.credentials import TokenService
from petal_s3.s3.s3_settings import S3Settings
from petal_s3.s3.server_time import ServerClock
from petal_s3.s3.tcp import Sockets

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

    from petal_s3.s3.direct import Route


@dataclass(frozen=True)
class Basis:
    """What the clients of one connection are made of.

    ``routes``: where each client sends requests about objects, as of its last one.
    """

    settings: S3Settings
    tokens: TokenService | None
    clock: ServerClock
    sockets: Sockets
    routes: dict[S3Client, Route]
