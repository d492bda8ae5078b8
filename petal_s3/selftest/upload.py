"""One log over a real wire: to an S3 server and a token service that live for this check."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from petal_s3.core.packages import unfit
from petal_s3.errors import S3IntegrationError
from petal_s3.selftest.known import Skipped, WrongAnswer, expect

_NEEDS = ("moto", "flask")
_BUCKET = "petal-s3-selftest"
_SIZE = 6 * 1024 * 1024  # more than one part
_ON_LOOPBACK = "It talks to 127.0.0.1 alone: look for a firewall or a proxy that stands in between."


def upload(folder: Path) -> str:
    """A log of two parts is sent, proven, listed and read again, by an embedded server."""
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        told = f"an embedded S3 server needs {', '.join(missing)}"
        raise Skipped(told, f"{sys.executable} -m pip install 'petal-s3[demo]'")
    if unfit() is not None:
        raise Skipped("the packages that talk to S3 do not fit")
    from petal_s3.demo.services import in_thread, start_s3  # noqa: PLC0415 - may be missing
    from petal_s3.demo.tokens import TokenService  # noqa: PLC0415

    nothing = folder / "settings.yaml"  # so that the file of this machine is not read
    nothing.write_text("")
    os.environ["PETAL_S3_CONFIG"] = str(nothing)
    with start_s3() as server, in_thread(TokenService()) as tokens:
        server.create_bucket(_BUCKET)
        try:
            return _sent(folder, server.url, tokens.url)
        except S3IntegrationError as error:
            raise WrongAnswer(error.message, _ON_LOOPBACK) from error


def _sent(folder: Path, endpoint_url: str, token_url: str) -> str:
    from petal_s3.client import S3Client  # noqa: PLC0415 - slow, and may be missing
    from petal_s3.demo.logs import write_ulog  # noqa: PLC0415

    log, copy = folder / "2025-07-27" / "14_30_22.ulg", folder / "copy.ulg"
    log.parent.mkdir()
    write_ulog(log, _SIZE)
    with S3Client(
        _BUCKET,
        session_token_url=token_url,
        endpoint_url=endpoint_url,
        machine_id="selftest",
        state_dir=folder / "state",
        log_dirs=(),
    ) as client:
        key = client.upload_file(log)
        expect("the key", key, "flight_logs/selftest/20250727_143022_14_30_22.ulg")
        expect("what is listed", [one.size for one in client.list_files()], [_SIZE])
        client.download_file(key, copy)
        same = log.read_bytes() == copy.read_bytes()
        expect("the bytes that came back are those that were sent", same, True)
        expect("the number of parts", client.head_object(key).etag.partition("-")[2], "2")
    return f"a log of {_SIZE // 1024**2} MiB in two parts was sent, proven and read again"
