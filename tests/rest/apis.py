"""Both apis of petal-s3 on real sockets, and a caller who tidies nothing up."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import re
import socket
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import pytest
from pydantic import BaseModel

from petal_s3.core.loop_thread import LoopThread
from petal_s3.core.settings_loading import load_settings
from petal_s3.demo.ledger import Ledger, Request
from petal_s3.demo.logs import write_bag, write_ulog
from petal_s3.demo.recorded_link import LinkThread
from petal_s3.demo.services import EmbeddedS3, in_thread
from petal_s3.demo.tokens import TokenService
from petal_s3.service.service import Service
from petal_s3.service.views.rows import RowView
from petal_s3.web.connections import HEAD_S, MOST_CONNECTIONS
from petal_s3.web.responses import Problem
from petal_s3.web.routes import ROUTES
from petal_s3.web.routing import Route
from petal_s3.web.server import Server
from tests.host.aboard import aboard
from tests.support.cloud import onlooker
from tests.support.known import KNOWN

T = TypeVar("T")

MACHINE = "drone-001"
HOME = f"flight_logs/{MACHINE}/"
SMALL = 200_000
MOST_BYTES = 8_000_000
TWO_PARTS = 6_000_000
TOKEN_LIFE_S = 900
BOUNDARY = "a-boundary-that-no-log-contains"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
SECRETS = ("demo-secret", "demo-session-token", "ASIADEMO")
_numbers = itertools.count(1)
_SETTINGS: Mapping[str, Any] = {
    "machine_id": MACHINE,
    "settle_seconds": 0,
    "request_timeout": 2,
    "max_file_size": MOST_BYTES,
}


def until(true: Callable[[], T | None], within_s: float = 30) -> T:
    """Return what ``true`` yields as soon as it is true."""
    deadline = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)
    return found


def log(size: int = SMALL, suffix: str = ".ulg") -> bytes:
    """The bytes of a log like no other."""
    path = Path(f"/dev/shm/petal-s3-{time.monotonic_ns()}{suffix}")
    try:
        (write_bag if suffix == ".bag" else write_ulog)(path, size, seed=next(_numbers) + 10_000)
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    """One part of a form."""
    named = "" if filename is None else f'; filename="{filename}"'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A whole form."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, errors included; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    took_s: float = 0.0

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])


@dataclass
class Api:
    """Where petal-s3 answers, and what it stands on."""

    url: str
    link: LinkThread
    tokens: TokenService
    s3: Any
    """A client of its own, past the link."""
    bucket: str
    logs: Path
    state: Path
    said: Callable[[], str] = field(default=lambda: "")
    """Everything it has printed so far, where it is a process of its own."""
    armed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every request."""

    @property
    def prefix(self) -> str:
        return urlsplit(self.url).path

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        assert parts.hostname and parts.port
        return parts.hostname, parts.port

    # -- asking

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Answer:
        """Ask, and hold the answer against what the OpenAPI says of this operation."""
        asked = f"{path}?{urlencode(query)}" if query else path
        answer = self.plain(method, asked, body=body, headers=headers)
        check(method, asked.partition("?")[0], answer)
        return answer

    def plain(
        self,
        method: str,
        target: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask; a dictionary is sent as JSON."""
        sent = {**self.headers, **(headers or {})}
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        began = time.monotonic()
        caller = http.client.HTTPConnection(*self.address, timeout=30)
        with contextlib.closing(caller):
            caller.request(method, self.prefix + target, body, sent)
            got = caller.getresponse()
            found = {name.lower(): value for name, value in got.getheaders()}
            return Answer(got.status, found, got.read(), time.monotonic() - began)

    def get(self, path: str, **query: Any) -> Answer:
        return self.ask("GET", f"{path}?{urlencode(query)}" if query else path)

    def post(self, path: str, body: Any = None, **query: Any) -> Answer:
        if path == "/flight":
            self.armed = bool(body and body["armed"])
        return self.ask("POST", path, body={} if body is None else body, **query)

    def delete(self, path: str) -> Answer:
        return self.ask("DELETE", path)

    def send(self, body: bytes | Iterable[bytes], **query: Any) -> Answer:
        """POST a form."""
        headers = {"Content-Type": FORM}
        return self.ask("POST", "/bucket/upload", body=body, headers=headers, **query)

    def upload(self, content: bytes, name: str, **query: Any) -> Answer:
        """POST one file."""
        return self.send(form(part("file", content, name)), **query)

    def raw(self, text: bytes, *, timeout_s: float = 10) -> bytes:
        """Write these bytes to a connection, and read until it is closed or silent."""
        with socket.create_connection(self.address, timeout=timeout_s) as wire:
            wire.sendall(text)
            found = b""
            with contextlib.suppress(TimeoutError, ConnectionError):
                while block := wire.recv(65536):
                    found += block
            return found

    def knock(self, method: str, target: str, *more: str) -> Answer:
        """Ask for a target that no client would send."""
        host = "{}:{}".format(*self.address)
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *more]
        return parsed(self.raw("".join(f"{line}\r\n" for line in [*lines, ""]).encode()))

    # -- what it holds

    def stored(self, content: bytes, name: str | None = None) -> dict[str, Any]:
        """Upload, wait for the proof; gives the answer."""
        answer = self.upload(content, name or f"{next(_numbers)}.ulg")
        assert answer.status == 200, answer.body
        return dict(answer.json)

    def row(self, row_id: int) -> dict[str, Any]:
        return dict(self.get(f"/outbox/{row_id}").json)

    def in_state(self, row_id: int, state: str) -> dict[str, Any]:
        """Wait until the row is there."""
        return until(lambda: found if (found := self.row(row_id))["state"] == state else None)

    def rows(self, *, but: str = "") -> int:
        """How many rows there are, those in the state ``but`` left out."""
        counts = self.get("/status").json["counts"]
        return sum(count for state, count in counts.items() if state != but)

    def object(self, key: str) -> bytes:
        with contextlib.closing(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"]) as body:
            return bytes(body.read())

    def stored_keys(self) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [item["Key"] for item in found]

    def spool(self) -> list[str]:
        """What lies in the spool, half-written files too."""
        return sorted(path.name for path in (self.state / "spool").iterdir())

    @property
    def ledger(self) -> Ledger:
        return self.link.ledger

    def asked_s3(self) -> list[Request]:
        """Requests about objects or listings that went to S3."""
        return [one for one in self.ledger.requests() if one.method != "HEAD" or one.key]

    def mend(self) -> None:
        """Put the world right again."""
        self.link.forward()
        if self.armed:
            self.post("/flight", {"armed": False})
        if self.spool():  # copies of cancelled rows stay for a day
            for row in self.get("/outbox", state="cancelled", limit=1000).json["rows"]:
                self.plain("DELETE", f"/outbox/{row['id']}?purge=true")
        until(lambda: self.spool() == [])


def route_of(method: str, path: str) -> Route:
    """The operation that answers there."""
    for route in ROUTES:
        wanted = re.sub(r"\{\w+:path\}", ".*", re.sub(r"\{\w+\}", "[^/]+", route.path))
        if route.method == method and re.fullmatch(wanted, path):
            return route
    raise LookupError(path)


def check(method: str, path: str, answer: Answer) -> None:
    """What an answer looks like is documented, for successes and for failures."""
    route = route_of(method, path)
    assert b"Traceback" not in answer.body
    if answer.status >= 400:
        assert answer.status in {*route.errors, 401, 503}, (route.name, answer)
        problem = Problem.model_validate_json(answer.body, strict=True)
        assert problem.status == answer.status
        assert not set(answer.json) - {"error", "code", "status", "id"}
        assert problem.error.endswith(".") or problem.error == "File not found"
    elif route.name == "upload" and answer.status == 202:
        RowView.model_validate_json(answer.body, strict=True)
    elif route.name == "download":
        assert answer.status in {200, 206}
    else:
        assert answer.status == route.status, answer
        if answer.status == 204:
            assert answer.body == b""
        elif isinstance(route.answer, type) and issubclass(route.answer, BaseModel):
            assert answer.headers["content-type"].startswith("application/json")
            route.answer.model_validate_json(answer.body, strict=True)
        else:
            assert route.answer in {"*/*", answer.headers["content-type"].partition(";")[0]}


def parsed(text: bytes) -> Answer:
    """The first answer in what came."""
    head, _, body = text.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.partition(":") for line in lines]
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return Answer(int(first.split()[1]) if first else 0, headers, body)


def at(key: str) -> str:
    """A key as it stands in a path."""
    return quote(key)


# -- the apis


@dataclass
class Standing:
    """The stand-alone server, with its service within reach."""

    api: Api
    service: Service
    server: Server
    thread: LoopThread


@contextlib.contextmanager
def standing(
    s3: EmbeddedS3,
    directory: Path,
    *,
    token: str | None = None,
    signed: bool = False,
    started: bool = True,
    most: int = MOST_CONNECTIONS,
    head_s: float = HEAD_S,
    **settings: Any,
) -> Iterator[Standing]:
    """The stand-alone server in a thread of its own; ``signed``: its api sends the token along."""
    bucket = f"rest-{next(_numbers)}"
    s3.create_bucket(bucket)
    (directory / "logs").mkdir()
    with (
        contextlib.closing(onlooker(s3.url)) as client,
        LinkThread(s3.url) as link,
        in_thread(TokenService(life_s=TOKEN_LIFE_S)) as tokens,
        _loop() as thread,
    ):
        given = {
            **_SETTINGS,
            "bucket_name": bucket,
            "endpoint_url": link.url,
            "session_token_url": tokens.url,
            "state_dir": directory / "state",
            "log_dirs": str(directory / "logs"),
            **settings,
        }
        with pytest.MonkeyPatch.context() as bare:
            bare.setenv("PETAL_S3_CONFIG", "")
            kept = load_settings(**given)

        async def make() -> tuple[Service, Server]:
            service = Service(kept, capabilities=KNOWN)
            server = Server(
                service, host="127.0.0.1", port=0, token=token, most=most, head_s=head_s
            )
            if started:
                await service.start()
            await server.start()
            return service, server

        service, server = thread.run(make())
        api = Api(
            f"http://127.0.0.1:{server.port}",
            link,
            tokens,
            client,
            bucket,
            kept.log_dirs[0],
            kept.state_dir,
            headers={"Authorization": f"Bearer {token}"} if signed and token else {},
        )
        try:
            yield Standing(api, service, server, thread)
        finally:
            thread.run(server.stop())
            thread.run(service.stop())


@contextlib.contextmanager
def _loop() -> Iterator[LoopThread]:
    thread = LoopThread("stand-alone")
    try:
        yield thread
    finally:
        thread.close()


@contextlib.contextmanager
def in_host(
    s3: EmbeddedS3, directory: Path, *, headers: Mapping[str, str] | None = None, **env: str
) -> Iterator[Api]:
    """The real host, started; ``headers`` are sent with every request."""
    bucket = f"rest-{next(_numbers)}"
    s3.create_bucket(bucket)
    settings = {f"PETAL_S3_{name.upper()}": str(value) for name, value in _SETTINGS.items()}
    with aboard(s3, directory, env={**settings, "PETAL_S3_BUCKET_NAME": bucket, **env}) as made:
        made.tokens.life_s = TOKEN_LIFE_S
        made.start()
        api = Api(
            f"{made.host.url}/petals/petal-s3",
            made.link,
            made.tokens,
            made.s3,
            bucket,
            made.logs,
            made.state,
            made.host.log_text,
            headers=headers or {},
        )
        until(lambda: api.get("/status").json["drained_by"])
        yield api


def opens(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    """Use a URL as anybody would who was given it."""
    named = {"Content-Type": "application/octet-stream", **headers}
    request = urllib.request.Request(url, body, named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as got:
            return Answer(got.status, dict(got.headers), got.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


def on_card(api: Api) -> int:
    """A log of the autopilot's card that was left out, as a listing has shown it; gives its id."""
    listed = json.dumps({"roots": {"log": "/fs/microsd/log"}, "agree": 2, "at_unix": 1})
    with contextlib.closing(sqlite3.connect(api.state / "outbox.db", timeout=20)) as outbox:
        outbox.execute("INSERT OR REPLACE INTO fact VALUES ('card', ?)", (listed,))
        made = outbox.execute(
            "INSERT INTO card (tree, path, size, logged_at, state, boot_id, since_s, baseline,"
            " code, reason) VALUES ('log', ?, 1000, 5, 'skipped', '', 0, 1, 'baseline', 'Old.')",
            (f"2026-11-30/{next(_numbers):08}.ulg",),
        )
        outbox.commit()
        return int(made.lastrowid or 0)
