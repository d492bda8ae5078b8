"""``petal-s3 serve``: drains, watches and answers, until it is told to stop or killed."""

from __future__ import annotations

import json
import re
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from console import HOME, Console, Running, Sea, until

from petal_s3.cli.links import reached_by
from petal_s3.core.settings import MIB
from petal_s3.demo.ledger import Request
from petal_s3.outbox.rows import Row

BIG = 12 * MIB + 12_345
TOKEN = "opens-this-door-only"


class Served:
    """A server in a process of its own, and what it answers."""

    def __init__(self, process: Running) -> None:
        self.process = process
        until(lambda: "http://" in process.said or not process.runs)
        found = re.search(r"^http://(\S+:[0-9]+)/$", process.said, re.MULTILINE)
        assert found is not None, process.said
        self.address = found[1]

    def ask(self, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
        """Status and JSON of an answer; with a body it is a POST."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        text = None
        if body is not None:
            text, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        url = f"http://{self.address}{path}"
        try:
            answer = urllib.request.urlopen(urllib.request.Request(url, text, headers), timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, json.load(answer)

    @property
    def status(self) -> dict[str, Any]:
        code, found = self.ask("/status")
        assert code == 200, found
        return dict(found)

    def verified(self, name: str) -> dict[str, Any]:
        """Wait until the latest row of a log is proven; gives the row."""
        return until(lambda: next((row for row in self._proven() if name in row["path"]), {}))

    def _proven(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.ask("/outbox?state=verified")[1]["rows"]
        return rows


def serve(console: Console, *words: str, **env: str) -> Served:
    return Served(console.start("serve", "--port", "0", *words, **env))


def under_way(console: Console, sea: Sea) -> Served:
    """A server that has brought parts of a big log and cannot end it: the link begins to crawl."""
    console.write("big.bag", BIG)

    async def crawl(request: Request) -> None:
        if request.part == 3:
            sea.slow(MIB // 16)

    sea.link.link.on_request = crawl
    server = serve(console)
    parts = sea.ledger.requests
    until(lambda: any(request.part == 3 and request.first_byte for request in parts()))
    until(lambda: sea.confirmed() >= 2)
    sea.link.link.on_request = None
    return server


def only_row(console: Console) -> Row:
    (row,) = console.rows()
    return row


def assert_proven_and_nothing_resent(console: Console, sea: Sea, server: Served) -> None:
    assert sea.body(server.verified("big.bag")["key"]) == (console.logs / "big.bag").read_bytes()
    assert sea.ledger.resent_confirmed_parts == 0
    assert len(sea.about_logs("CreateMultipartUpload")) == 1


# -- serving


def test_it_says_where_it_is_and_brings_up_what_lands(console: Console, sea: Sea) -> None:
    server = serve(console, PETAL_S3_SCAN_INTERVAL="1")
    assert server.status["drained_by"] == server.process.pid
    assert server.ask("/health")[1]["status"] == "healthy"
    assert "No log has been found yet" in console.type("status").out

    path = console.write("flight.ulg")
    row = server.verified("flight.ulg")
    assert row["key"].startswith(HOME)
    assert row["receipt"]["proof"]
    assert sea.body(row["key"]) == path.read_bytes()

    assert f"drained by process {server.process.pid} (" in console.type("status").out
    server.process.terminate()
    assert server.process.end() == 0
    assert f"http://{server.address}/\n" in server.process.said
    assert f"upload verified key={row['key']}" in server.process.said
    assert "Traceback" not in server.process.said
    assert "drained by no process" in console.type("status").out


def test_nothing_is_sent_while_it_is_said_to_be_armed(console: Console, sea: Sea) -> None:
    server = serve(console)
    assert server.ask("/flight", {"armed": True}) == (200, {"flight_state": "armed"})
    path = console.write("flight.ulg")
    code, row = server.ask("/outbox", {"path": str(path)})
    assert (code, row["state"]) == (200, "queued")
    until(lambda: "said to be armed" in console.type("status").out, within_s=10)
    assert server.ask("/flight", {"armed": False}) == (200, {"flight_state": "disarmed"})
    assert server.verified("flight.ulg")
    assert len(sea.about_logs("PutObject")) == 1


@pytest.mark.threat(
    "wifi",
    "they look at what the stand-alone server prints for a phone",
    "links to its page; the token is in none of them",
)
def test_served_to_a_network_it_prints_links_that_work_without_the_token_in_them(
    console: Console,
) -> None:
    if not reached_by():
        pytest.skip("this machine has no address that others reach")
    server = serve(console, "--host", "0.0.0.0", PETAL_S3_API_TOKEN=TOKEN)
    assert not server.address.startswith("0.0.0.0")
    with urllib.request.urlopen(f"http://{server.address}/", timeout=30) as page:
        assert page.headers["Content-Type"].startswith("text/html")
    assert server.ask("/status")[0] == 401
    assert server.ask("/status", token=TOKEN)[0] == 200
    assert TOKEN not in server.process.said


# -- leaving


@pytest.mark.guarantee(
    "device",
    "the stand-alone server is told to stop in mid-upload",
    "it ends cleanly; the next start sends only what is missing",
)
def test_told_to_stop_it_leaves_a_log_that_the_next_start_resumes(
    console: Console, sea: Sea
) -> None:
    server = under_way(console, sea)
    server.process.terminate()
    assert server.process.end(within_s=15) == 0, server.process.said
    assert "Traceback" not in server.process.said
    row = only_row(console)
    assert (row.state, bool(row.upload_id)) == ("queued", True)
    assert row.sent_bytes >= 5 * MIB + BIG % (5 * MIB)  # two parts: the last one may be among them

    sea.slow(0)
    assert_proven_and_nothing_resent(console, sea, serve(console))


@pytest.mark.guarantee(
    "device",
    "the stand-alone server is killed in mid-upload",
    "the next start sends only what is missing",
)
def test_killed_it_leaves_a_log_that_the_next_start_resumes(console: Console, sea: Sea) -> None:
    under_way(console, sea).process.kill()
    sea.slow(0)
    assert_proven_and_nothing_resent(console, sea, serve(console))


def test_a_caller_that_listens_to_events_does_not_keep_it(console: Console, sea: Sea) -> None:
    server = serve(console)
    with urllib.request.urlopen(f"http://{server.address}/events", timeout=30) as events:
        assert events.readline() == b"retry: 1000\n"
        server.process.interrupt()  # Ctrl-C does what SIGTERM does
        assert server.process.end(within_s=5) == 0
        assert b"event: status" in events.read()
    assert "Traceback" not in server.process.said


# -- beside others


def test_a_second_server_watches_and_takes_over_when_the_first_is_killed(
    console: Console, sea: Sea
) -> None:
    first = under_way(console, sea)
    second = serve(console)
    assert second.status["drained_by"] == first.process.pid
    small = console.write("small.ulg")
    assert second.ask("/outbox", {"path": str(small)})[0] == 200
    assert f"drained by process {first.process.pid} (" in console.type("status").out
    first.process.kill()
    sea.slow(0)
    until(lambda: second.status["drained_by"] == second.process.pid)
    assert_proven_and_nothing_resent(console, sea, second)
    assert second.verified("small.ulg")


# -- who may ask


@pytest.mark.guarantee(
    "attack",
    "the stand-alone server is bound to an address that others reach, and has no token",
    "it refuses to start",
)
@pytest.mark.timeout(20)  # a server that starts runs on
@pytest.mark.parametrize("address", ["0.0.0.0", "::", "robot.example", "127.0.0.1.example"])
@pytest.mark.threat("wifi")
def test_without_a_token_it_serves_this_machine_only(console: Console, address: str) -> None:
    for answer in (
        console.type("serve", "--port", "0", "--host", address),
        console.type("serve", PETAL_S3_API_HOST=address, PETAL_S3_API_PORT="0"),
        console.type("serve", "--port", "0", "--host", address, PETAL_S3_API_TOKEN=""),
    ):
        assert (answer.code, answer.out) == (2, "")
        assert answer.err.startswith(f"PETAL_S3_API_TOKEN must be set to serve on {address}: ")
    assert not console.state.exists()


def test_with_a_token_it_serves_others_who_know_it(console: Console, sea: Sea) -> None:
    server = serve(console, "--host", "0.0.0.0", PETAL_S3_API_TOKEN=TOKEN)
    assert server.ask("/status")[0] == 401
    assert server.ask("/status", token="another")[0] == 401
    assert server.ask("/status", token=TOKEN)[0] == 200
    assert TOKEN not in server.process.said


# -- where it cannot serve


def test_a_port_that_is_taken_is_one_sentence(console: Console) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = console.start("serve", "--port", str(port))
        assert server.end() == 2
    first, _, rest = server.said.partition("\n")
    assert first == (
        f"127.0.0.1:{port} cannot be listened on (Address already in use): set PETAL_S3_API_HOST"
        " and PETAL_S3_API_PORT. [config]"
    )
    assert rest == f"Settings come from the environment and {_no_file()}.\n"
    assert not (console.state / "outbox.db").exists()


def _no_file() -> str:
    return "no settings file (/etc/petal-s3.yaml)"


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_is_none_is_wrong_use(console: Console, port: str) -> None:
    assert console.type("serve", "--port", port).code == 2


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="IPv6 is not there")
def test_an_ipv6_address_is_said_as_a_browser_takes_it(console: Console, sea: Sea) -> None:
    server = serve(console, "--host", "::1")
    assert server.address.startswith("[::1]:")
    assert server.status["drained_by"] == server.process.pid
