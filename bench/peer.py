"""Send files with a library that is not ours: peer.py boto3|obstore|obstore-16 URL FILE…

Run by the Python of the peers' own environment: it imports nothing of this project.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def with_boto3(url: str, paths: list[str]) -> None:
    """A loop of ``upload_file``, as it is without any setting."""
    import boto3  # noqa: PLC0415 - each peer loads what is its own

    s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
    for path in paths:
        s3.upload_file(path, "logs", f"peers/boto3/{Path(path).name}")


def with_obstore(url: str, paths: list[str], **tuned: int) -> None:
    """A loop of ``put``."""
    import obstore  # noqa: PLC0415
    from obstore.store import S3Store  # noqa: PLC0415

    plain = url.startswith("http:")
    store = S3Store(
        "logs",
        endpoint=url,
        region="us-east-1",
        access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        client_options={"allow_http": plain, "allow_invalid_certificates": not plain},
    )
    for path in paths:
        obstore.put(store, f"peers/obstore/{Path(path).name}", Path(path), **tuned)


if __name__ == "__main__":
    name, url, *paths = sys.argv[1:]
    if name == "boto3":
        with_boto3(url, paths)
    elif name == "obstore":
        with_obstore(url, paths)
    else:
        with_obstore(url, paths, chunk_size=16 << 20, max_concurrency=2)
