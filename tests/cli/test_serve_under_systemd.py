"""``petal-s3 serve`` as a service of systemd: what it tells, and how it ends."""

from __future__ import annotations

import socket
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest
from console import Console, Sea, until
from systemd import told_at
from test_serve_command import BIG, only_row, serve, under_way

from petal_s3.outbox.state_dir import DrainLock

STOP_S = 5.0
KILLED_S = 15.0  # TimeoutStopSec of the unit


def assert_drain_ends_in_time(console: Console) -> None:
    """The lock is free: another process may drain."""
    lock = DrainLock(console.state)
    until(lock.take, within_s=STOP_S)
    lock.give()


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_it_says_when_it_is_ready_that_it_lives_and_when_it_stops(
    console: Console, sea: Sea, tmp_path: Path, kind: str
) -> None:
    with told_at(kind, tmp_path) as told:
        env = {"NOTIFY_SOCKET": told.name, "WATCHDOG_USEC": "600000"}
        server = serve(console, PETAL_S3_SCAN_INTERVAL="1", **env)
        told.until("READY=1")
        until(lambda: server.status["drained_by"] == server.process.pid)
        told.until("WATCHDOG=1", times=3)
        told.until("STATUS=No log has been found yet.")
        console.write("flight.ulg")
        server.verified("flight.ulg")
        told.until(f"STATUS={server.status['headline']}")
        assert told.look().count("READY=1") == 1
        assert "STOPPING=1" not in told.look()
        server.process.terminate()
        assert server.process.end() == 0
        told.until("STOPPING=1")
        assert told.look()[-2:] == ["STOPPING=1", "STATUS=Stopping."]


def test_without_a_watchdog_it_gives_no_signs_of_life(
    console: Console, sea: Sea, tmp_path: Path
) -> None:
    with told_at("path", tmp_path) as told:
        # One that looks at another process is none.
        env = {"NOTIFY_SOCKET": told.name, "WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}
        server = serve(console, **env)
        told.until("STATUS=No log has been found yet.")
        server.process.terminate()
        assert server.process.end() == 0
        assert "WATCHDOG=1" not in told.look()


@pytest.mark.parametrize("name", ["/nowhere/notify", "@petal-nobody-listens", "relative", ""])
def test_where_none_listens_it_serves_all_the_same(console: Console, sea: Sea, name: str) -> None:
    server = serve(console, NOTIFY_SOCKET=name, WATCHDOG_USEC="100000")
    until(lambda: server.status["drained_by"] == server.process.pid)
    server.process.terminate()
    assert server.process.end() == 0
    assert "Traceback" not in server.process.said


@pytest.mark.guarantee(
    "device",
    "systemd stops the stand-alone server in mid-upload, with callers that listen, wait and read",
    "its drain has ended within five seconds; no part that S3 confirmed is sent again",
)
def test_told_to_stop_its_drain_ends_within_five_seconds(console: Console, sea: Sea) -> None:
    server = under_way(console, sea)
    log = console.write(console.directory / "more.ulg").read_bytes()
    with ExitStack() as callers:
        caller = callers.enter_context
        events = caller(urllib.request.urlopen(f"http://{server.address}/events", timeout=30))
        assert events.readline() == b"retry: 1000\n"
        caller(_sent(server.address, _waits_for(log)))
        until(lambda: len(console.rows()) == 2)
        caller(_sent(server.address, _waits_for(log)[:-100]))  # goes on for ever
        server.process.terminate()
        assert_drain_ends_in_time(console)
        assert server.process.end(within_s=KILLED_S) == 0
    assert "Traceback" not in server.process.said
    (row,) = [one for one in console.rows() if one.path.endswith("big.bag")]
    assert (row.state, bool(row.upload_id)) == ("queued", True)
    sea.slow(0)
    again = serve(console)
    assert sea.body(again.verified("big.bag")["key"]) == (console.logs / "big.bag").read_bytes()
    assert sea.ledger.resent_confirmed_parts == 0


def _waits_for(log: bytes) -> bytes:
    """The request of a caller who waits until a log is proven."""
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.ulg"\r\n\r\n'
        + log
        + b"\r\n--b--\r\n"
    )
    return (
        b"POST /bucket/upload HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n"
        + f"Content-Length: {len(form)}\r\n\r\n".encode()
        + form
    )


def _sent(address: str, request: bytes) -> socket.socket:
    """A connection on which a request was sent; nobody reads its answer."""
    host, _, port = address.rpartition(":")
    wire = socket.create_connection((host, int(port)))
    wire.sendall(request)
    return wire


def test_told_to_stop_while_the_link_is_dead_it_ends_at_once(console: Console, sea: Sea) -> None:
    server = under_way(console, sea)
    sea.link.cut()
    server.process.terminate()
    assert_drain_ends_in_time(console)
    assert server.process.end(within_s=KILLED_S) == 0
    assert only_row(console).state == "queued"
    assert only_row(console).sent_bytes < BIG
