"""petal-s3: flight logs from a drone into S3, proven."""

from __future__ import annotations

__version__ = "0.1.0"
