"""A real host with petal-s3 in it, and everything around it that a test may cut or ask."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

from petal_s3.core.settings import MIB
from petal_s3.demo.flight import Flight
from petal_s3.demo.host import Host, make_root
from petal_s3.demo.ledger import Ledger
from petal_s3.demo.logs import write_ulog
from petal_s3.demo.recorded_link import LinkThread
from petal_s3.demo.services import EmbeddedS3, in_thread
from petal_s3.demo.tokens import TokenService
from tests.support.autopilot import Autopilot
from tests.support.cloud import onlooker

T = TypeVar("T")

OURS = "petal_s3.plugin:PetalS3"
WRITES = ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload")
_BOUNDARY = "a-boundary-that-no-log-contains"
_numbers = itertools.count(1)


def until(true: Callable[[], T | None], within_s: float = 30, *, every_s: float = 0.05) -> T:
    """Return what ``true`` yields as soon as it is true."""
    deadline = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(every_s)
    return found


def stays(true: Callable[[], bool], for_s: float) -> None:
    """Watch that something holds for so long; fails at the first moment it does not."""
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        assert true(), "it did not stay so"
        time.sleep(0.05)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, errors included."""

    status: int
    body: bytes
    took_s: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(method: str, url: str, body: bytes | None = None, kind: str = "") -> Answer:
    request = urllib.request.Request(url, body, {"Content-Type": kind} if kind else {})
    request.method = method
    began = time.monotonic()
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return Answer(answer.status, answer.read(), time.monotonic() - began)


class Aboard:
    """The host and its surroundings; ``start`` it, then ask it by its own URLs."""

    def __init__(self, host: Host, link: LinkThread, tokens: TokenService, s3: Any) -> None:
        self.host = host
        self.link = link
        self.tokens = tokens
        self.s3 = s3
        """A client of its own, past the link."""
        self.bucket: str = host.env["PETAL_S3_BUCKET_NAME"]
        self.logs = Path(host.env["PETAL_S3_LOG_DIRS"])
        self.state = Path(host.env["PETAL_S3_STATE_DIR"])

    def start(self) -> None:
        self.host.start()
        self.host.wait_ready()

    # -- the host's URLs

    def get(self, path: str, **query: Any) -> Answer:
        return ask("GET", self._url(path, query))

    def post(self, path: str, body: Any = None, **query: Any) -> Answer:
        text = None if body is None else json.dumps(body).encode()
        return ask("POST", self._url(path, query), text or b"", "application/json")

    def delete(self, path: str, body: Any = None, **query: Any) -> Answer:
        text = None if body is None else json.dumps(body).encode()
        return ask("DELETE", self._url(path, query), text, "application/json" if text else "")

    def upload(self, name: str, content: bytes) -> Answer:
        """POST to the host's own bucket API."""
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        form = head.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
        kind = f"multipart/form-data; boundary={_BOUNDARY}"
        return ask("POST", self._url("/test/bucket/upload", {}), form, kind)

    def _url(self, path: str, query: Mapping[str, Any]) -> str:
        path = f"/petals/petal-s3/{path}" if not path.startswith("/") else path
        return f"{self.host.url}{urllib.parse.quote(path)}?{urllib.parse.urlencode(query)}"

    # -- what petal-s3 says

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("status").json
        return found

    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("outbox").json["rows"]
        return found

    def row(self, path: Path | str) -> dict[str, Any] | None:
        """The latest row of a file; none while no row knows it."""
        return next((row for row in self.rows() if row["path"] == str(path)), None)

    def verified(self, path: Path | str, within_s: float = 30) -> dict[str, Any]:
        """Wait until the file's row is proven; gives the row."""
        return until(lambda: _in_state(self.row(path), "verified"), within_s)

    def kept_row(self, row_id: int) -> dict[str, Any]:
        """A row as the disk has it, for when the host is down."""
        with contextlib.closing(sqlite3.connect(self.state / "outbox.db")) as database:
            database.row_factory = sqlite3.Row
            found = database.execute("SELECT * FROM log WHERE id = ?", (row_id,)).fetchone()
        return dict(found)

    # -- what S3 has, and what went there

    @property
    def ledger(self) -> Ledger:
        return self.link.ledger

    def written(self) -> int:
        """How many requests tried to bring bytes."""
        return sum(len(self.ledger.requests(op)) for op in WRITES)

    def begun(self) -> int:
        """How many requests there were; waits until none is on its way any more."""
        until(lambda: all(request.finished for request in self.ledger.requests()))
        return len(self.ledger.requests())

    def half_sent(self, name: str) -> tuple[Path, dict[str, Any]]:
        """A log of six parts, two of them confirmed and the others on a slow way."""
        path = self.logs / name
        write_ulog(path, 30 * MIB, seed=crc32(name.encode()))
        self.link.link.rate_bytes_s = 4_000_000
        row: dict[str, Any] = self.post("outbox", {"path": str(path)}).json
        until(lambda: self.ledger.parts(row["key"]).confirmed >= 2)
        return path, row

    def object(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body

    def objects(self) -> list[str]:
        """The keys in the bucket."""
        found = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [item["Key"] for item in found]

    def open_uploads(self) -> list[str]:
        found = self.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return [item["Key"] for item in found]

    def log_files(self) -> str:
        """Everything the host has printed or logged to a file."""
        files = sorted((self.host.root / "logs").glob("*.log"))
        return "".join([self.host.log_text(), *(file.read_text() for file in files)])


def _in_state(row: dict[str, Any] | None, state: str) -> dict[str, Any] | None:
    return row if row is not None and row["state"] == state else None


@contextlib.contextmanager
def aboard(
    s3: EmbeddedS3,
    directory: Path,
    *,
    flight: Flight | Autopilot | None = None,
    proxies: Sequence[str] = ("bucket",),
    petals: Mapping[str, str] | None = None,
    startup: Sequence[str] = ("petal-s3",),
    enabled: Sequence[str] = (),
    dependencies: Mapping[str, Sequence[str]] | None = None,
    organization: str = "",
    env: Mapping[str, str] | None = None,
) -> Iterator[Aboard]:
    """A host that is not started yet; ``env`` adds to its settings, an empty value removes one.

    It has a bucket, a link to S3 and a token service of its own, and settles in one second.
    """
    bucket = f"logs-{next(_numbers)}"
    s3.create_bucket(bucket)
    (directory / "ulog_records").mkdir(parents=True)
    root = make_root(
        directory / "root",
        proxies=proxies,
        petals={"petal-s3": OURS, **(petals or {})},
        startup=startup,
        enabled=enabled,
        dependencies=dependencies,
        organization=organization,
    )
    client = onlooker(s3.url)
    with (
        contextlib.closing(client),
        LinkThread(s3.url) as link,
        in_thread(TokenService()) as tokens,
        Host(root, env={}) as host,
    ):
        host.env.update(
            {
                "PETAL_S3_BUCKET_NAME": bucket,
                "PETAL_S3_ENDPOINT_URL": link.url,
                "PETAL_S3_SESSION_TOKEN_URL": tokens.url,
                "PETAL_S3_MACHINE_ID": "drone-001",
                "PETAL_S3_STATE_DIR": str(directory / "state"),
                "PETAL_S3_LOG_DIRS": str(directory / "ulog_records"),
                "PETAL_S3_SETTLE_SECONDS": "1",
                "PETAL_S3_REQUEST_TIMEOUT": "2",
                **({"PETAL_MAVLINK_ENDPOINT": flight.endpoint} if flight else {}),
                **(env or {}),
            }
        )
        yield Aboard(host, link, tokens, client)
