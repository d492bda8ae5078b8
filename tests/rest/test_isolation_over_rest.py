"""No spelling of a path leads out of this machine's own folders, in either api."""

from __future__ import annotations

import pytest
from apis import HOME, Api, parsed

NEIGHBOUR = "flight_logs/drone-0010/theirs.ulg"
OTHER = "flight_logs/drone-002/theirs.ulg"

# Each as it stands in the request line, no client in between tidies it up.
SMUGGLED = [
    "..%2f..%2fdrone-002/theirs.ulg",
    "../../flight_logs/drone-002/theirs.ulg",
    f"{HOME}../drone-002/theirs.ulg",
    f"{HOME}..%2fdrone-002%2ftheirs.ulg",
    f"{HOME}%2e%2e/drone-002/theirs.ulg",
    f"{HOME}%2E%2E%2Fdrone-002/theirs.ulg",
    f"{HOME}%252e%252e/drone-002/theirs.ulg",
    f"{HOME}%252e%252e%252fdrone-002/theirs.ulg",
    f"{HOME}%25252e%25252e%25252fdrone-002/theirs.ulg",
    f"{HOME}..%5cdrone-002%5ctheirs.ulg",
    f"{HOME}..%255cdrone-002%255ctheirs.ulg",
    f"{HOME}..\\drone-002\\theirs.ulg",
    f"{HOME}.%2e/drone-002/theirs.ulg",
    f"{HOME}./../drone-002/theirs.ulg",
    f"{HOME}x/../../drone-002/theirs.ulg",
    f"{HOME}/../drone-002/theirs.ulg",
    f"/{HOME}theirs.ulg",
    f"//{HOME}theirs.ulg",
    f"{HOME}/theirs.ulg",
    f"{HOME}a//theirs.ulg",
    OTHER,
    NEIGHBOUR,
    "flight_logs/drone-001%2f..%2fdrone-002/theirs.ulg",
    "flight_logs/drone-001",
    "flight_logs/drone-001%00/theirs.ulg",
    "flight_logs/DRONE-001/theirs.ulg",
    "flight_logs%2fdrone-002%2ftheirs.ulg",
    "deleted/flight_logs/drone-002/theirs.ulg",
    "deleted/..%2fflight_logs/drone-002/theirs.ulg",
    f"{HOME}a%00.ulg",
    f"{HOME}a%0a.ulg",
    f"{HOME}a%0d%0aX-Injected:%201",
    f"{HOME}a%C2%85.ulg",
    f"{HOME}a%E2%80%A8.ulg",
    f"{HOME}%ff%fe.ulg/..%2f..%2fdrone-002/theirs.ulg",
    f"{HOME}%c0%ae%c0%ae/drone-002/theirs.ulg%2f..",
    "s3://other-bucket/" + HOME + "theirs.ulg",
    "s3://other-bucket/theirs.ulg",
    "s3:%2f%2fother-bucket%2ftheirs.ulg",
    "S3://other-bucket/" + OTHER,
    "s3:///" + HOME + "theirs.ulg",
    "http://169.254.169.254/latest/meta-data/",
    "http:%2f%2f169.254.169.254%2flatest",
    "file:///etc/passwd",
    "%2fetc%2fpasswd",
    "%",
    "%zz",
    "?",
    "%3fversionId=1",
    "%23",
]
VERBS = [
    ("GET", "/bucket/download/"),
    ("GET", "/bucket/head/"),
    ("GET", "/bucket/presign/"),
    ("DELETE", "/bucket/delete/"),
]


@pytest.fixture
def theirs(api: Api) -> Api:
    """What lies in the bucket of others, and must be there afterwards."""
    for key in (NEIGHBOUR, OTHER):
        api.s3.put_object(Bucket=api.bucket, Key=key, Body=b"theirs")
    return api


def _foreign(api: Api) -> list[str]:
    """Keys below no folder of ours that S3 was asked about."""
    asked = [request.key for request in api.asked_s3() if request.key]
    return [
        key
        for key in asked
        if not key.startswith((HOME, "drone-001/", f"deleted/{HOME}", "deleted/drone-001/"))
        or ".." in key
    ]


@pytest.mark.guarantee(
    "attack",
    "a path over REST that is smuggled: encoded once or twice, backslashes, other schemes, NUL",
    "it is refused in both apis, and S3 never hears of a key of somebody else",
)
@pytest.mark.parametrize(("method", "path"), VERBS)
@pytest.mark.threat("wifi")
def test_no_spelling_leads_out(theirs: Api, method: str, path: str) -> None:
    api = theirs
    for smuggled in SMUGGLED:
        answer = api.knock(method, f"{api.prefix}{path}{smuggled}")
        # The api of the host or the HTTP library may refuse it before us.
        assert answer.status in {400, 403, 404, 405}, (smuggled, answer)
        assert b"theirs" not in answer.body
        assert b"Traceback" not in answer.body
        assert "x-injected" not in answer.headers
    assert _foreign(api) == []
    assert (api.object(NEIGHBOUR), api.object(OTHER)) == (b"theirs", b"theirs")


def test_no_spelling_is_moved(theirs: Api) -> None:
    api = theirs
    own = f"{HOME}own.ulg"
    api.s3.put_object(Bucket=api.bucket, Key=own, Body=b"own")
    for smuggled in SMUGGLED:
        for source, target in ((smuggled, f"{HOME}stolen.ulg"), (own, smuggled)):
            told = api.post("/bucket/move", {"source_key": source, "dest_key": target})
            # Nothing decodes a body: some of these are odd names of our own.
            assert told.status in {200, 400, 403, 404}, (smuggled, told)
            if told.status == 200:
                assert target.startswith(HOME)
                api.s3.put_object(Bucket=api.bucket, Key=own, Body=b"own")
    assert _foreign(api) == []
    assert (api.object(NEIGHBOUR), api.object(OTHER)) == (b"theirs", b"theirs")


def test_no_prefix_leads_out(theirs: Api) -> None:
    api = theirs
    for smuggled in [*SMUGGLED, "flight_logs/", "flight_logs", "deleted/", "/", "..", "../"]:
        answer = api.knock("GET", f"{api.prefix}/bucket/list?prefix={smuggled}")
        assert answer.status in {200, 400, 403, 404}, (smuggled, answer)
        if answer.status == 200:
            assert answer.json["prefix"].startswith(HOME)
            assert NEIGHBOUR.encode() not in answer.body
            assert OTHER.encode() not in answer.body


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://169.254.169.254{prefix}/bucket/download/" + OTHER,
        "http://other.example{prefix}/bucket/head/" + OTHER,
        "//other.example{prefix}/bucket/head/" + OTHER,
        "{prefix}//bucket/head/" + OTHER,
        "{prefix}/bucket//head/" + OTHER,
        "{prefix}/bucket/head/x/../../download/" + OTHER,
        "{prefix}/bucket/./head/" + OTHER,
        "{prefix}/bucket%2fhead%2f" + OTHER,
        "{prefix}/bucket/head/" + HOME + "#/../" + OTHER,
        "*",
        "other.example:443",
        "{prefix}/../../../..%2fetc/passwd",
    ],
)
@pytest.mark.threat(
    "wifi",
    "the request names another server, the cloud's metadata address, or a path that climbs",
    "no object of another machine and no file is told, and no other key is asked for",
)
def test_no_request_target_leads_elsewhere(theirs: Api, target: str) -> None:
    api = theirs
    for method in ("GET", "DELETE", "CONNECT", "OPTIONS", "TRACE"):
        answer = api.knock(method, target.format(prefix=api.prefix))
        assert answer.status in {0, 200, 400, 403, 404, 405, 421}, answer
        assert b"theirs" not in answer.body.replace(OTHER.encode(), b"")
        assert b"root:" not in answer.body
    assert _foreign(api) == []
    assert api.object(OTHER) == b"theirs"


def test_an_absolute_target_means_the_same_operation(api: Api) -> None:
    host = "{}:{}".format(*api.address)
    answer = api.knock("GET", f"http://{host}{api.prefix}/health")
    assert answer.status in {200, 404}, "uvicorn takes the whole of it for a path"


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Type: application/json\r\nContent-Length: -1",
        "Content-Type: application/json\r\nContent-Length: 99999999999999999999999",
        "Content-Type: application/json\r\nContent-Length: +2",
        "Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2",
        "Content-Type: \x00\r\nContent-Length: 0",
        "Range: bytes=\xff",
        "Cookie: " + "x" * 4000,
        "Expect: 100-continue\r\nContent-Length: 0",
        "Expect: the-unexpected",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ],
)
def test_odd_headers_are_no_error_of_ours(api: Api, lines: str) -> None:
    head = f"POST {api.prefix}/flight HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    answer = parsed(api.raw(f"{head}{lines}\r\n\r\n{{}}".encode("latin-1"), timeout_s=0.7))
    assert answer.status in {0, 400, 403, 404, 405, 408, 413, 417, 431}, answer
