"""Send files one after the other with one program, and print how many seconds each took.

``python -m bench.senders petal-s3|boto3|curl URL TOKEN_URL DIRECTORY FILE…``; imports, the first
connection and what is asked of a new server once a day are not counted: a file goes before.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from petal_s3.core.settings_loading import load_settings
from petal_s3.demo.logs import write_bag
from petal_s3.service.service import Service

_WARM_BYTES = 20_000


async def _petal(url: str, token_url: str, room: Path, files: list[Path]) -> None:
    """From the file's entry into the outbox until it is proven."""
    service = Service(
        load_settings(
            bucket_name="logs",
            endpoint_url=url,
            session_token_url=token_url,
            machine_id="bench",
            state_dir=str(room / "state"),
            log_dirs=str(room / "logs"),
            settle_seconds=0,
        )
    )
    await service.start(watch=False)
    for file in [_warm(room), *files]:
        began = time.monotonic()
        row = await service.enqueue(file)
        done = await service.wait(row.id, patience_s=600)
        print(f"{time.monotonic() - began:.3f}", done.state, flush=True)
    await service.stop()


def _client(url: str, token_url: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(token_url, method="POST")) as answer:
        told = json.load(answer)
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=told["accessKeyId"],
        aws_secret_access_key=told["secretAccessKey"],
        aws_session_token=told["sessionToken"],
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def _boto3(url: str, token_url: str, room: Path, files: list[Path]) -> None:
    """``upload_file`` as it is, with its ten threads and parts of 8 MiB."""
    client = _client(url, token_url)
    for file in [_warm(room), *files]:
        began = time.monotonic()
        client.upload_file(str(file), "logs", f"flight_logs/bench/boto3-{file.name}")
        print(f"{time.monotonic() - began:.3f}", "sent", flush=True)


def _curl(url: str, token_url: str, room: Path, files: list[Path]) -> None:
    """One PUT of the whole file."""
    client, curl = _client(url, token_url), shutil.which("curl") or "curl"
    for file in [_warm(room), *files]:
        asked = {"Bucket": "logs", "Key": f"flight_logs/bench/curl-{file.name}"}
        to = client.generate_presigned_url("put_object", Params=asked)
        told = subprocess.run(
            [curl, "-sSf", "-T", str(file), "-o", "/dev/null", "-w", "%{time_total}", to],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        print(told.stdout, "sent", flush=True)


def _warm(room: Path) -> Path:
    (room / "logs").mkdir(exist_ok=True)
    file = room / "logs" / "first.bag"
    write_bag(file, _WARM_BYTES)
    return file


def main(name: str, url: str, token_url: str, room: str, *files: str) -> None:
    """Send with the program of this name."""
    given = url, token_url, Path(room), [Path(file) for file in files]
    if name == "petal-s3":
        asyncio.run(_petal(*given))
    else:
        others: dict[str, Callable[..., None]] = {"boto3": _boto3, "curl": _curl}
        others[name](*given)


if __name__ == "__main__":
    main(*sys.argv[1:])
