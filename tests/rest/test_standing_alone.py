"""The stand-alone server against those who may reach its port: it stays up, small and closed."""

from __future__ import annotations

import contextlib
import http.client
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from apis import (
    BOUNDARY,
    FORM,
    HOME,
    SMALL,
    Api,
    Standing,
    at,
    form,
    log,
    parsed,
    part,
    standing,
    until,
)

from petal_s3.core.settings import MIB
from petal_s3.demo.services import EmbeddedS3
from petal_s3.errors import ConfigError
from petal_s3.intake.reserve import Space, space_of
from petal_s3.web.guard import Guard, check_binding, is_loopback
from petal_s3.web.server import Server

TOKEN = "a-token-of-forty-characters-or-so-0123456"
LARGE = 24_000_000


@pytest.fixture(scope="module")
def _stand(_s3_server: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    directory = tmp_path_factory.mktemp("stand")
    with standing(_s3_server, directory, most=40, head_s=4.0) as stand:
        stand.service.objects.spread = lambda: 0.0
        yield stand


@pytest.fixture
def stand(_stand: Standing) -> Iterator[Standing]:
    """A server that bears 40 connections and waits 1 s for a head, 2 s for bodies."""
    yield _stand
    _stand.api.mend()


@pytest.fixture
def api(stand: Standing) -> Api:
    return stand.api


@pytest.fixture(scope="module")
def locked(_s3_server: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A server that asks for a token."""
    directory = tmp_path_factory.mktemp("locked")
    with standing(_s3_server, directory, token=TOKEN) as stand:
        yield stand.api


def wires(api: Api) -> int:
    """How many connections the server holds now."""
    here = psutil.Process().net_connections("tcp")
    return sum(
        one.laddr.port == api.address[1] and one.status == psutil.CONN_ESTABLISHED for one in here
    )


# -- who may ask


@pytest.mark.guarantee(
    "attack",
    "somebody in the network asks the stand-alone server without the token, or guesses it",
    "401 for every operation, and nothing is done",
)
@pytest.mark.threat("wifi")
@pytest.mark.threat(
    "user",
    "they ask the stand-alone server on loopback, which has a token",
    "401 for every operation without it",
)
def test_without_the_token_nothing_is_told(locked: Api) -> None:
    for told in (
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        TOKEN,
        f"Basic {TOKEN}",
        f"Bearer {TOKEN.upper()}",
        "Bearer \xff\xfe",
        f"Bearer {TOKEN}, x",
    ):
        headers = {} if told is None else {"Authorization": told}
        for method, path in (
            ("GET", "/status"),
            ("GET", "/events"),
            ("POST", "/landed"),
            ("GET", "/x"),
        ):
            answer = locked.plain(method, path, headers=headers)
            assert (answer.status, answer.code) == (401, "no_token"), (told, answer)
            assert answer.headers["www-authenticate"] == "Bearer"
    assert locked.plain("GET", f"/status?token={TOKEN}").status == 401


def test_with_the_token_all_is_told(locked: Api) -> None:
    for word in ("Bearer", "bearer", "BEARER"):
        told = locked.plain("GET", "/status", headers={"Authorization": f"{word} {TOKEN}"})
        assert told.status == 200


@pytest.mark.threat("wifi", "they send a log without the token", "401; nothing of it is kept")
def test_a_body_without_the_token_is_not_kept(locked: Api) -> None:
    body = form(part("file", log(), "a.ulg"))
    told = locked.plain("POST", "/bucket/upload", body=body, headers={"Content-Type": FORM})
    assert (told.status, locked.spool()) == (401, [])


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "[::]",
        "",
        "192.168.1.2",
        "10.0.0.1",
        "drone.local",
        "localhost.example",
        "128.0.0.1",
        "::ffff:10.0.0.1",
    ],
)
def test_no_address_that_others_reach_is_bound_without_a_token(stand: Standing, host: str) -> None:
    for token in (None, ""):
        with pytest.raises(ConfigError, match="PETAL_S3_API_TOKEN"):
            Server(stand.service, host=host, port=0, token=token)
    check_binding(host, TOKEN)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9"])
@pytest.mark.threat(
    "user",
    "they ask the stand-alone server on loopback, which has no token",
    "they may, like every program on the machine",
)
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    Guard(bound=host)


@pytest.mark.guarantee(
    "attack",
    "a web page in a browser on this machine asks by a name that suddenly means 127.0.0.1",
    "403: only names of loopback are answered",
)
@pytest.mark.threat("page")
def test_another_name_for_this_machine_is_refused(api: Api) -> None:
    port = api.address[1]
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        f"evil.example@127.0.0.1.evil.example:{port}",
        "0.0.0.0",
        "192.168.1.2",
        "[::ffff:1.2.3.4]",
        "",
        "[",
        "[::1",
        "]",
        "127.0.0.1]",
        "\xff",
        "2130706434",
        "/",
        "a b",
    ):
        text = f"GET /status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        answer = parsed(api.raw(text.encode("latin-1")))
        assert answer.status in {400, 403}, (host, answer)
    assert parsed(api.raw(b"GET /status HTTP/1.0\r\n\r\n")).status == 403
    for host in ("localhost", f"LOCALHOST:{port}", "[::1]", f"127.0.0.1:{port}"):
        assert api.knock("GET", "/status", f"Host: {host}").status in {200, 400}
        text = f"GET /status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        assert parsed(api.raw(text.encode())).status == 200


@pytest.mark.guarantee(
    "attack",
    "a page of another site sends a form, or a request, to the stand-alone server",
    "403 for every method; nothing is cancelled, armed or deleted",
)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "https://127.0.0.1"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://[::1"},
        {"Origin": "http://127.0.0.1:{port}.evil.example"},
        {"Origin": "http://evil.example/127.0.0.1:{port}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.threat("page")
def test_a_page_of_another_site_is_refused(api: Api, headers: dict[str, str]) -> None:
    given = {name: text.format(port=api.address[1]) for name, text in headers.items()}
    for method, path in (
        ("GET", "/status"),
        ("GET", "/"),
        ("GET", "/events"),
        ("POST", "/landed"),
        ("POST", "/outbox/1/retry"),
        ("DELETE", "/outbox/1"),
        ("POST", "/bucket/upload"),
    ):
        assert api.plain(method, path, headers=given).status == 403, (method, path)
    told = api.plain("POST", "/flight", body={"armed": True}, headers=given)
    assert told.status == 403
    assert api.get("/status").json["flight_state"] != "armed"


def test_its_own_page_may_ask(api: Api) -> None:
    host, port = api.address
    own = {"Origin": f"http://{host}:{port}", "Sec-Fetch-Site": "same-origin"}
    assert api.plain("POST", "/landed", headers=own).status == 200


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
        "application/jsonx",
        "text/plain; application/json",
    ],
)
@pytest.mark.threat(
    "page",
    "a form sends JSON under another name, which a browser sends without asking first",
    "400: JSON has to be called JSON",
)
def test_json_that_a_plain_form_could_send_is_refused(api: Api, kind: str) -> None:
    told = api.plain("POST", "/flight", body=b'{"armed": true}', headers={"Content-Type": kind})
    assert told.status == 400
    assert api.get("/status").json["flight_state"] != "armed"


def test_nothing_else_is_served(api: Api) -> None:
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("POST", "/status", 405),
        ("PUT", "/bucket/upload", 405),
        ("PATCH", "/outbox/1", 405),
        ("OPTIONS", "/status", 405),
        ("HEAD", "/status", 405),
        ("TRACE", "/status", 405),
        ("GET", "/bucket/upload", 405),
        ("GET", "/status/", 404),
        ("GET", "/bucket/head/", 404),
        ("GET", "/docs", 404),
        ("GET", "/openapi.json", 404),
    ):
        told = api.plain(method, path)
        assert told.status == status, (method, path, told)
        if method != "HEAD":
            assert set(told.json) == {"error", "code", "status"}
        assert "access-control-allow-origin" not in told.headers


# -- too much of it


def test_json_that_never_ends_is_refused(api: Api) -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"path": "'
        for _ in range(64):
            yield b"x" * 4096
        yield b'"}'

    headers = {"Content-Type": "application/json"}
    told = api.ask("POST", "/outbox", body=endless(), headers=headers)
    assert (told.status, told.code) == (413, "too_large")


@pytest.mark.parametrize(
    "parts",
    [
        [part("custom_filename", b"x" * 100_000), part("file", b"", "a.ulg")],
        [part("file", b"\x55", "a.ulg"), part("custom_filename", b"x" * 100_000)],
        [part("x" * 100_000, b""), part("file", b"", "a.ulg")],
        [part(f"f{number}", b"x" * 100) for number in range(2000)],
        [part("", b"") for _ in range(20_000)],
        [f"--{BOUNDARY}\r\n\r\n\r\n".encode()] * 100_000,
    ],
)
def test_fields_that_never_end_are_refused(api: Api, parts: list[bytes]) -> None:
    rows = api.rows()
    told = api.send(form(*parts))
    assert (told.status in {400, 413}, told.took_s < 2) == (True, True)
    assert (api.rows(), api.spool()) == (rows, [])


def test_a_file_beyond_the_limit_is_broken_off_early(api: Api) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield part("file", log(1_000_000), "a.ulg")[:-2]
        for _ in range(4000):
            sent += 65536
            yield b"x" * 65536

    with contextlib.suppress(ConnectionError):
        assert api.send(endless()).status == 413
    assert until(lambda: api.spool() == [])


@pytest.mark.parametrize(
    "lines", ["X: " + "x" * 70_000, "\r\n".join(f"X{n}: y" for n in range(9000))]
)
def test_heads_that_never_end_are_refused(api: Api, lines: str) -> None:
    text = f"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n\r\n"
    with contextlib.suppress(ConnectionError):
        assert parsed(api.raw(text.encode(), timeout_s=5)).status in {0, 400, 431}
    target = f"GET /status?{'x' * 70_000} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with contextlib.suppress(ConnectionError):
        assert parsed(api.raw(target.encode(), timeout_s=5)).status in {0, 400, 414}
    assert api.get("/health").status == 200


def test_what_is_no_http_is_answered_without_a_trace(api: Api) -> None:
    for text in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"\x00" * 100,
        b"GET\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"GET /status HTTP/9.9\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"<script> / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        with contextlib.suppress(ConnectionError):
            found = api.raw(text, timeout_s=0.5)
            assert b"Traceback" not in found
            assert b"200 OK" not in found


@pytest.mark.threat(
    "wifi",
    "a second request hides in the body of the first (request smuggling)",
    "it is not carried out",
)
def test_two_requests_in_one_are_not_mistaken_for_one(api: Api) -> None:
    """Content-Length and Transfer-Encoding together: whoever believes the other sees a second."""
    inner = "DELETE /outbox/1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for lines in (
        f"Content-Length: {len(inner) + 5}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"Content-Length: 0\r\nContent-Length: {len(inner)}\r\n\r\n",
        f"Transfer-Encoding: xchunked\r\nContent-Length: {len(inner)}\r\n\r\n",
    ):
        text = f"POST /landed HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}{inner}"
        got = api.raw(text.encode(), timeout_s=1)
        assert got.count(b"HTTP/1.1 ") <= 1, got


# -- too slow


def _silence(api: Api, text: bytes, within_s: float) -> bytes:
    """Say this and no more, and wait to be sent away."""
    began = time.monotonic()
    with socket.create_connection(api.address, timeout=within_s) as wire:
        wire.sendall(text)
        got = b""
        with contextlib.suppress(ConnectionError):
            while block := wire.recv(65536):
                got += block
    assert time.monotonic() - began < within_s
    return got


def test_a_head_that_never_ends_is_sent_away(api: Api) -> None:
    for text in (b"", b"GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"G"):
        assert _silence(api, text, 5) == b""


def test_a_head_that_trickles_is_sent_away(api: Api) -> None:
    with socket.create_connection(api.address, timeout=5) as wire:
        with pytest.raises(ConnectionError):
            for _ in range(100):
                wire.sendall(b"X")
                time.sleep(0.05)
        began = time.monotonic()
    assert time.monotonic() - began < 4


def test_a_body_that_stops_is_sent_away(api: Api) -> None:
    rows = api.rows()
    whole = form(part("file", log(), "slow.ulg"))
    head = f"POST /bucket/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\n"
    text = f"{head}Connection: close\r\nContent-Length: {len(whole)}\r\n\r\n".encode()
    with socket.create_connection(api.address, timeout=8) as wire:
        wire.sendall(text + whole[:100_000])
        answer = parsed(wire.recv(65536))
    assert answer.status == 408
    assert "body_stalled" in answer.body.decode() or answer.body == b""
    assert until(lambda: api.spool() == [])
    assert api.rows() == rows


def test_json_that_stops_is_sent_away(api: Api) -> None:
    text = (
        b"POST /flight HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Connection: close\r\nContent-Length: 50\r\n\r\n{"
    )
    with socket.create_connection(api.address, timeout=8) as wire:
        wire.sendall(text)
        assert parsed(wire.recv(65536)).status == 408


# -- too many


def _full(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


@pytest.mark.guarantee(
    "attack",
    "a thousand connections at once that say nothing",
    "whoever asks something is answered, and the process holds a bounded number of them",
)
@pytest.mark.threat("wifi")
def test_a_thousand_silent_connections_lock_no_caller_out(stand: Standing) -> None:
    api = stand.api
    _full(4000)
    silent: list[socket.socket] = []
    most = 0
    try:
        for number in range(1000):
            wire = socket.socket()
            wire.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                wire.connect(api.address)
            silent.append(wire)
            if number % 100 == 99:
                told = api.get("/health")
                assert (told.status, told.took_s < 5) == (200, True)
                most = max(most, stand.server.connections)
        until(lambda: wires(api) <= 41)
        assert most <= 40 + 128, "those that are accepted in one turn come on top"
        assert api.get("/health").status == 200
    finally:
        for wire in silent:
            wire.close()


def test_connections_that_were_answered_once_lock_no_caller_out(api: Api) -> None:
    kept: list[http.client.HTTPConnection] = []
    try:
        for _ in range(120):
            caller = http.client.HTTPConnection(*api.address, timeout=10)
            caller.request("GET", "/health")
            with caller.getresponse() as got:
                assert got.status == 200
                got.read()
            kept.append(caller)
        assert api.get("/health").status == 200
        until(lambda: wires(api) <= 41)
    finally:
        for caller in kept:
            caller.close()


def test_those_that_left_at_once_take_no_place(stand: Standing) -> None:
    for _ in range(300):
        socket.create_connection(stand.api.address).close()
    until(lambda: stand.server.watched <= 80)
    test_a_thousand_silent_connections_lock_no_caller_out(stand)


def test_listeners_have_a_limit_also_when_they_come_at_once(api: Api) -> None:
    ask = b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    ears = [socket.create_connection(api.address, timeout=10) for _ in range(30)]
    try:
        for ear in ears:
            ear.sendall(ask)
        told = [parsed(ear.recv(65536)) for ear in ears]
        assert sorted(one.status for one in told) == [200] * 20 + [503] * 10
        full = next(one for one in told if one.status == 503)
        assert full.code == "too_many"
    finally:
        for ear in ears:
            ear.close()
    until(lambda: parsed_once(api, ask) == 200, 5)


def parsed_once(api: Api, text: bytes) -> int:
    with socket.create_connection(api.address, timeout=10) as wire:
        wire.sendall(text)
        return parsed(wire.recv(65536)).status


@pytest.mark.guarantee(
    "attack",
    "more slow uploads and slow requests at once than the stand-alone server has connections",
    "the surplus is answered 503, and short calls are answered as ever",
)
@pytest.mark.threat("wifi")
def test_slow_bodies_leave_connections_to_short_calls(
    _s3_server: EmbeddedS3, tmp_path: Path
) -> None:
    head = f"Host: 127.0.0.1\r\nContent-Type: {FORM}\r\nContent-Length: 1000000\r\n\r\n"
    json = "Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{"
    slow: list[socket.socket] = []
    with standing(_s3_server, tmp_path, most=40, request_timeout=60) as stand:
        api = stand.api
        try:
            for number in range(60):
                for text in (
                    f"POST /bucket/upload HTTP/1.1\r\n{head}",
                    f"POST /flight HTTP/1.1\r\n{json}",
                ):
                    wire = socket.create_connection(api.address, timeout=10)
                    wire.sendall(text.encode())
                    slow.append(wire)
                if number % 10 == 9:
                    told = api.get("/health")
                    assert (told.status, told.took_s < 5) == (200, True)
            refused = parsed(slow[-1].recv(65536))
            assert (refused.status, refused.code) == (503, "too_many")
            assert refused.headers["retry-after"]
            assert api.get("/status").status == 200
            for wire in slow:
                wire.close()
            until(lambda: wires(api) <= 2)
            assert api.upload(log(), "after-it.ulg").status == 200
        finally:
            for wire in slow:
                wire.close()


def test_while_it_starts_it_says_not_now(_s3_server: EmbeddedS3, tmp_path: Path) -> None:
    with standing(_s3_server, tmp_path, started=False) as stand:
        for method, path in (("GET", "/status"), ("GET", "/outbox"), ("POST", "/landed")):
            told = stand.api.ask(method, path)
            assert (told.status, told.code) == (503, "starting"), (path, told)
            assert told.headers["retry-after"] == "1"
        told = stand.api.upload(log(), "early.ulg")
        assert told.status == 503
        stand.thread.run(stand.service.start())
        assert stand.api.get("/status").status == 200


# -- those who leave


def test_a_caller_that_leaves_in_the_middle_of_an_upload_leaves_nothing(api: Api) -> None:
    rows = api.rows()
    whole = form(part("file", log(2_500_000), "left.ulg"))
    head = f"POST /bucket/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {FORM}\r\n"
    text = f"{head}Content-Length: {len(whole)}\r\n\r\n".encode()
    for _ in range(10):
        with socket.create_connection(api.address, timeout=5) as wire:
            wire.sendall(text + whole[:-1000])
    until(lambda: api.spool() == [] and wires(api) <= 1)
    assert api.rows() == rows


@pytest.fixture(scope="module")
def large(_stand: Standing) -> str:
    """The key of an object that fits into no buffer."""
    key = f"{HOME}large.ulg"
    _stand.api.s3.put_object(Bucket=_stand.api.bucket, Key=key, Body=log(SMALL) + b"x" * LARGE)
    return key


def _begin(api: Api, key: str) -> socket.socket:
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    wire.settimeout(20)
    wire.connect(api.address)
    wire.sendall(f"GET /bucket/download/{at(key)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert parsed(wire.recv(1000)).status == 200
    return wire


def test_a_download_that_breaks_off_never_looks_whole(api: Api, large: str) -> None:
    with _begin(api, large) as wire:
        api.link.cut()
        got = 0
        with contextlib.suppress(ConnectionError):
            while block := wire.recv(1 << 20):
                got += len(block)
    assert got < LARGE
    api.link.forward()


def test_it_stops_at_once_though_a_client_listens(_s3_server: EmbeddedS3, tmp_path: Path) -> None:
    with standing(_s3_server, tmp_path) as stand:
        api = stand.api
        ears = [socket.create_connection(api.address, timeout=10) for _ in range(3)]
        for ear in ears:
            ear.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert parsed(ear.recv(65536)).status == 200
        began = time.monotonic()
        stand.thread.run(stand.server.stop())
        assert time.monotonic() - began < 3
        for ear in ears:
            while ear.recv(65536):
                pass
            ear.close()
        with pytest.raises(ConnectionError):
            api.get("/health")


@pytest.mark.guarantee(
    "device",
    "an upload is announced for which the disk has no room beside its reserve",
    "507 with the figures at once, before a byte of it was sent",
)
@pytest.mark.threat("wifi")
def test_an_upload_without_room_is_refused_before_it_comes(stand: Standing) -> None:
    reserve = stand.service.intake.reserve
    reserve.space = lambda _: Space(free=516 * MIB, total=64 * 1024 * MIB)
    try:
        told = stand.api.knock(
            "POST", "/bucket/upload", f"Content-Type: {FORM}", f"Content-Length: {6 * MIB}"
        )
    finally:
        reserve.space = space_of
    assert (told.status, told.code) == (507, "storage_full")
    assert f"{516 * MIB} bytes are free" in told.json["error"]
    assert stand.api.spool() == []


@pytest.mark.guarantee(
    "device",
    "a client of REST posts without end",
    "503 beyond 600 logs and files in a minute, with Retry-After",
)
@pytest.mark.threat("wifi")
def test_a_client_that_posts_without_end_is_slowed_down(
    stand: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stand.api.logs / "posted.ulg"
    path.write_bytes(log())
    for name, value in (("_allowed", 1.0), ("_allowed_at", 0.0), ("_now", lambda: 0.0)):
        monkeypatch.setattr(stand.service.intake.reserve, name, value)
    first = stand.api.post("/outbox", {"path": str(path)})
    second = stand.api.post("/outbox", {"path": str(path)})
    assert first.status == 200
    assert (second.status, second.code) == (503, "too_fast")
    assert second.headers["retry-after"] == "1"


def test_where_too_many_logs_wait_rest_takes_no_more(
    stand: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("petal_s3.intake.reserve.MOST_WAITING", 0)
    told = stand.api.upload(log(), "one-more.ulg")
    assert (told.status, told.code) == (507, "outbox_full")


@pytest.mark.guarantee(
    "device",
    "a log handed over with wait=false, of which only the spool has a copy, is cancelled over REST",
    "the copy stays for a day and a retry sends it; ?purge=true deletes it at once",
)
@pytest.mark.threat("wifi")
def test_a_cancel_over_rest_keeps_the_only_copy(api: Api) -> None:
    content = log()
    api.link.cut()
    row_id = api.upload(content, "only.ulg", wait="false").json["id"]
    cancelled = api.delete(f"/outbox/{row_id}").json
    kept = [(api.state / "spool" / name).read_bytes() for name in api.spool() if name[0] != "."]
    api.link.forward()
    api.post(f"/outbox/{row_id}/retry")
    row = api.in_state(row_id, "verified")

    assert (cancelled["state"], kept) == ("cancelled", [content])
    assert api.object(row["key"]) == content

    api.link.cut()
    other_id = api.upload(log(), "unwanted.ulg", wait="false").json["id"]
    assert api.delete(f"/outbox/{other_id}").json["state"] == "cancelled"
    assert api.spool() != []
    assert api.delete(f"/outbox/{other_id}?purge=true").json["state"] == "cancelled"
    assert until(lambda: api.spool() == [])
    api.link.forward()


# -- what was not used yet


def test_keys_that_no_answer_has_judged_are_not_called_good(
    _s3_server: EmbeddedS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-nobody")
    nowhere = {"session_token_url": None, "endpoint_url": "http://127.0.0.1:1"}
    with standing(_s3_server, tmp_path, **nowhere) as stand:
        stand.api.upload(log(), "flight.ulg", wait="false")
        # It has tried: there are keys, and no answer.
        until(lambda: stand.api.get("/health").json["link"] == "down")
        assert stand.api.get("/health").json["credentials"] == "none"
        shown = stand.api.get("/metrics").body.decode()
        assert "credentials_seen_age_seconds" not in shown.replace("# ", "")
