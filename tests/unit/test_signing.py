"""A request with plain headers gets the very signature that botocore computes."""

from __future__ import annotations

import pytest
from botocore.auth import AUTH_TYPE_MAPS
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials

from petal_s3.s3.server_time import ServerClock
from petal_s3.s3.signing import PlainRequest, register_signer

HEADERS = {
    "User-Agent": "petal-s3",
    "Content-Type": "application/x-ulog",
    "x-amz-meta-original-filename": "a%20b  c ",
    "x-amz-meta-Log-Kind": "ulog",
    "If-None-Match": "*",
    "Expect": "100-continue",
}


@pytest.mark.parametrize("token", [None, "a-token"])
@pytest.mark.parametrize(
    "url",
    [
        "https://logs.s3.eu-west-1.amazonaws.com/flight_logs/a%20b%3D.ulg",
        "https://localhost:443/logs/a.ulg",
        "http://127.0.0.1:9000/logs/a.ulg?uploadId=b%2F&partNumber=2",
        "http://[::1]:9000/logs/a//b.ulg",
    ],
)
@pytest.mark.parametrize("method", ["PUT", "HEAD"])
def test_plain_headers_are_signed_as_those_of_botocore(
    method: str, url: str, token: str | None
) -> None:
    clock = ServerClock(steady=lambda: 0.0, wall=lambda: 1_753_626_622.0)
    name = register_signer(clock, "petal-s3-test")
    keys = ReadOnlyCredentials("AKIA", "secret", token)
    auth = AUTH_TYPE_MAPS[name](keys, "s3", "eu-west-1")
    context = {"client_config": Config(s3={"payload_signing_enabled": False})}
    theirs = AWSRequest(method=method, url=url, headers=dict(HEADERS))
    theirs.context = dict(context)
    ours = PlainRequest(method, url, dict(HEADERS), None, dict(context))

    auth.add_auth(theirs)
    auth.add_auth(ours)

    assert ours.headers == dict(theirs.headers.items())
    assert "Signature=" in ours.headers["Authorization"]
