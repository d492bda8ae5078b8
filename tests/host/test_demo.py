"""The demo shows what it promises, says so when it does not hold, and leaves nothing behind."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import boto3
import psutil
import pytest
from botocore.config import Config
from rich.console import Console

from petal_s3.demo.audit import Bucket, Finding, find
from petal_s3.demo.recorded_link import LinkThread
from petal_s3.demo.screen import Bar, Screen
from petal_s3.demo.services import EmbeddedS3

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
BIG = 40 * MIB
FINDING = Finding("p/drone/a.ulg", 5, "crc32:AAAAAA==", "crc32+etag", 42, 2, 0, "")


def until(true: Callable[[], T], within_s: float = 120) -> T:
    deadline = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)
    return found


class Demo:
    """A demo without a terminal, whose every file and process is below one directory."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory / "tmp"
        self.directory.mkdir()
        self.out = directory / "out.txt"
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-W", "error::ResourceWarning", "-m", "petal_s3.demo.show"),
                    *("--big-bytes", str(BIG), *options),
                ],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(self.directory), "PYTHONUTF8": "1"},
            )

    @property
    def text(self) -> str:
        return self.out.read_text()

    def wait_for(self, words: str) -> None:
        until(lambda: words in self.text or self.process.poll() is not None)
        assert words in self.text, self.text

    def wait(self, within_s: float = 120) -> int:
        return self.process.wait(within_s)

    def told(self, name: str) -> str:
        """The first word that the demo said beside ``name``."""
        found = re.search(rf"^ +{name} +(\S+)", self.text, re.MULTILINE)
        assert found, self.text
        return found[1]

    def processes(self) -> list[psutil.Process]:
        """Everything that it started and that still runs."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                place = process.environ().get("TMPDIR", "")
                if Path(place).is_relative_to(self.directory) and process.pid != self.process.pid:
                    found.append(process)
        return found

    def left(self) -> list[Any]:
        """What remains of it: processes and files."""
        return [*self.processes(), *self.directory.iterdir()]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    pytest.importorskip("petal_app_manager")
    started: list[Demo] = []

    def start(*options: str) -> Demo:
        started.append(Demo(tmp_path, *options))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def client(url: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="demo",
        aws_secret_access_key="demo-opens-nothing",
        config=Config(retries={"total_max_attempts": 1}),
    )


def crc32_of(content: bytes) -> str:
    return f"crc32:{base64.b64encode(zlib.crc32(content).to_bytes(4, 'big')).decode()}"


def objects(url: str) -> list[bytes]:
    with contextlib.closing(client(url)) as s3:
        keys = [item["Key"] for item in s3.list_objects_v2(Bucket="demo-logs")["Contents"]]
        return [s3.get_object(Bucket="demo-logs", Key=key)["Body"].read() for key in keys]


def test_the_demo_holds_what_it_promises_and_keeps_running_on_request(
    demo: Callable[..., Demo],
) -> None:
    show = demo("--keep")
    show.wait_for("petal-s3 status")

    assert "0 bytes of any log were sent while armed" in show.text
    assert "The vehicle is armed; uploads wait until it has landed." in show.text
    row = re.compile(r"^ 20\d{6}_\S+ .+ (\d+) +\d+ +(\d+) +identical", re.MULTILINE)
    assert row.findall(show.text) == [("1", "0"), ("8", "0"), ("1", "0"), ("1", "0")]
    assert "left open in the bucket: 0" in show.text

    # What it says is checked without its help.
    logs = [
        path.read_bytes()
        for place in ("log directory", "autopilot's card")
        for path in Path(show.told(place)).rglob("*.*")
    ]
    assert sorted(objects(show.told("S3 server"))) == sorted(logs)
    with urllib.request.urlopen(show.told("petal"), timeout=10) as answer:
        assert json.load(answer)["counts"]["verified"] == len(logs) == 4
    settings = Path(show.text.rpartition("PETAL_S3_CONFIG=")[2].split()[0])
    assert json.loads(settings.read_text())["bucket_name"] == "demo-logs"

    show.process.send_signal(signal.SIGINT)
    assert show.wait() == 0
    assert show.left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_leaves_nothing(
    demo: Callable[..., Demo], number: signal.Signals
) -> None:
    show = demo()
    show.wait_for("1. ")
    until(lambda: len(show.processes()) == 2)

    show.process.send_signal(number)
    assert show.wait() == 1
    assert "interrupted" in show.text
    assert "Traceback" not in show.text
    assert show.left() == []


def test_a_demo_that_fails_shows_the_last_words_of_the_host(demo: Callable[..., Demo]) -> None:
    show = demo()
    host = until(lambda: [one for one in show.processes() if one.cwd().endswith("/host")])[0]
    until(lambda: "Application startup complete" in (Path(host.cwd()) / "host.log").read_text())

    host.kill()
    assert show.wait() == 1
    assert "Failed: " in show.text
    assert "Application startup complete" in show.text
    assert "identical" not in show.text
    assert show.left() == []


@pytest.mark.parametrize(
    ("on_disk", "difference"),
    [
        (b"a" * MIB + b"bc", ""),
        (b"a" * MIB + b"bd", "other bytes"),
        (b"a" * MIB + b"b", "other bytes"),
        (b"a" * MIB + b"bcd", "fewer bytes"),
    ],
)
def test_the_audit_finds_every_difference(
    s3_server: EmbeddedS3, tmp_path: Path, on_disk: bytes, difference: str
) -> None:
    with contextlib.closing(client(s3_server.url)) as s3:
        s3.put_object(Bucket="logs", Key="k", Body=b"a" * MIB + b"bc")
    path = tmp_path / "log"
    path.write_bytes(on_disk)
    with Bucket(s3_server.url, "logs") as bucket:
        found, crc32 = bucket.differs("k", path)
    assert difference in found
    assert bool(found) is bool(difference)
    assert crc32 == crc32_of(b"a" * MIB + b"bc")


def test_the_audit_names_a_confirmed_part_that_was_sent_again(
    s3_server: EmbeddedS3, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a" * MIB)
    row = {
        "key": "k",
        "path": str(path),
        "receipt": {"size": MIB, "checksum": crc32_of(path.read_bytes()), "proof": "etag"},
    }
    with (
        LinkThread(s3_server.url) as link,
        contextlib.closing(client(link.url)) as s3,
        Bucket(s3_server.url, "logs") as bucket,
    ):
        upload = {"Bucket": "logs", "Key": "k"}
        upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
        for _ in range(2):
            etag = s3.upload_part(**upload, PartNumber=1, Body=path.read_bytes())["ETag"]
        assert bucket.held("k") == [MIB]
        parts = [{"PartNumber": 1, "ETag": etag}]
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        assert bucket.open_uploads() == []
        finding = find(bucket, link.ledger, row, path)
    assert (finding.parts, finding.cut_off, finding.resent) == (1, 0, 1)
    assert finding.trouble == "1 confirmed parts were sent again"


def drawn(width: int, *, terminal: bool) -> tuple[Console, Callable[[], str]]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    return console, file.getvalue


@pytest.mark.parametrize(("width", "terminal"), [(40, False), (80, True), (120, True)])
def test_no_figure_of_the_table_is_lost_on_a_narrow_screen(width: int, terminal: bool) -> None:
    console, text = drawn(width, terminal=terminal)
    Screen(console).findings("logs", "p/drone/", [FINDING])
    assert {"crc32:AAAAAA==", "crc32+etag", "42", "2", "0", "identical"} <= set(text().split())
    assert "s3://logs/p/drone/" in text()


def test_without_a_terminal_a_log_has_a_line_for_each_quarter() -> None:
    console, text = drawn(80, terminal=False)
    with Screen(console).board() as board:
        for done in range(101):
            board.show([Bar("a.ulg", done, 100, "sending", f"{done} B/s")], "footer")
    lines = text().splitlines()
    assert [int(line.split()[0]) for line in lines] == [0, 25, 50, 75, 100]
    assert lines[1].strip() == "25 %  a.ulg  25 bytes of 100 bytes  sending, 25 B/s"
