"""The demo's own parts do what the other tests rely on: link, cloud, host, flight."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.demo.recorded_link import LinkThread
from petal_s3.demo.services import EmbeddedS3, in_thread, start_s3
from petal_s3.demo.tokens import TokenService

T = TypeVar("T")
BUCKET, KEY = "demo", "flight_logs/drone 1/ä+b.ulg"
PART = bytes(range(256)) * 4096  # 1 MiB
CUT_ERRORS = (ConnectionClosedError, EndpointConnectionError)

PROBE = """
from petal_app_manager.plugins.base import Petal
from petal_app_manager.plugins.decorators import http_action

class Probe(Petal):
    name = "probe"
    version = "1"
    use_mqtt_proxy = False

    def startup(self):
        super().startup()
        self.armed = []
        if "ext_mavlink" in self._proxies:
            self._proxies["ext_mavlink"].register_handler("HEARTBEAT", self.heard)

    async def heard(self, message):
        if message.get_srcComponent() == 1:
            self.armed.append(bool(message.base_mode & 128))

    async def async_startup(self):
        pass

    @http_action(method="GET", path="/armed")
    async def get_armed(self):
        return self.armed
"""


def until(true: Callable[[], T], within_s: float = 15) -> T:
    deadline = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)
    return found


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def s3() -> Iterator[EmbeddedS3]:
    with start_s3() as server:
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def link(s3: EmbeddedS3) -> Iterator[LinkThread]:
    with LinkThread(s3.url) as made:
        yield made


@pytest.fixture
def client(link: LinkThread) -> Iterator[Any]:
    once = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10)
    made = boto3.client(
        "s3",
        endpoint_url=link.url,
        region_name="us-east-1",
        aws_access_key_id="demo",
        aws_secret_access_key="demo-opens-nothing",
        config=once,
    )
    yield made
    made.close()


@pytest.fixture
def upload(client: Any) -> str:
    return str(client.create_multipart_upload(Bucket=BUCKET, Key=KEY)["UploadId"])


def send(client: Any, upload: str, number: int, body: bytes = PART) -> str:
    answer = client.upload_part(
        Bucket=BUCKET, Key=KEY, UploadId=upload, PartNumber=number, Body=body
    )
    return str(answer["ETag"])


def held(client: Any, upload: str) -> list[int]:
    answer = client.list_parts(Bucket=BUCKET, Key=KEY, UploadId=upload)
    return [part["PartNumber"] for part in answer.get("Parts", [])]


def test_the_link_counts_each_part_and_what_was_sent_twice(
    link: LinkThread, client: Any, upload: str
) -> None:
    began = time.monotonic()
    big = PART * 5
    etags = [send(client, upload, 1, big), send(client, upload, 2)]
    send(client, upload, 2)
    parts = [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, start=1)]
    client.complete_multipart_upload(
        Bucket=BUCKET, Key=KEY, UploadId=upload, MultipartUpload={"Parts": parts}
    )

    assert client.get_object(Bucket=BUCKET, Key=KEY)["Body"].read() == big + PART
    assert link.ledger.parts(KEY) == (3, 2, 1)
    assert link.ledger.resent_confirmed_parts == 1
    assert [request.op for request in link.ledger.requests()] == [
        "CreateMultipartUpload",
        *["UploadPart"] * 3,
        "CompleteMultipartUpload",
        "GetObject",
    ]
    first = link.ledger.requests("UploadPart")[0]
    assert (first.body_bytes, first.status, first.answered) == (len(big), 200, True)
    assert first.first_byte is not None
    assert began < first.started <= first.first_byte < time.monotonic()


def test_a_cut_breaks_what_is_on_its_way_and_restore_brings_the_address_back(
    link: LinkThread, client: Any, upload: str
) -> None:
    link.link.rate_bytes_s = 2_000_000
    errors: list[Exception] = []

    def try_to_send() -> None:
        try:
            send(client, upload, 1, PART * 8)
        except CUT_ERRORS as error:
            errors.append(error)

    sending = threading.Thread(target=try_to_send)
    sending.start()
    until(lambda: link.ledger.body_bytes > 500_000)
    link.cut()
    sending.join(timeout=2)
    assert len(errors) == 1
    with pytest.raises(EndpointConnectionError):
        held(client, upload)

    link.forward()
    assert held(client, upload) == []
    assert link.ledger.parts(KEY) == (1, 0, 0)


def test_a_lost_answer_counts_as_confirmed(link: LinkThread, client: Any, upload: str) -> None:
    async def lose_first(request: Request) -> Fault | None:
        first = len(link.ledger.requests("UploadPart")) == 1
        return Fault(deaf=True) if first and request.op == "UploadPart" else None

    link.link.on_request = lose_first
    with pytest.raises(CUT_ERRORS):
        send(client, upload, 7)

    assert link.ledger.parts(KEY) == (1, 1, 0)
    assert held(client, upload) == [7]


def test_a_fault_speaks_for_s3_or_drops_the_request(
    link: LinkThread, client: Any, upload: str
) -> None:
    busy = says(503, b"<Error><Code>SlowDown</Code><Message>wait</Message></Error>")

    async def refuse(request: Request) -> Fault | None:
        return busy if request.part == 1 else Fault(drop=True)

    link.link.on_request = refuse
    with pytest.raises(ClientError, match="SlowDown"):
        send(client, upload, 1)
    with pytest.raises(CUT_ERRORS):
        send(client, upload, 2)
    link.link.on_request = None
    assert held(client, upload) == []


def test_a_slow_link_is_as_slow_as_it_was_told(link: LinkThread, client: Any, upload: str) -> None:
    link.link.rate_bytes_s = 2 * len(PART)
    began = time.monotonic()
    send(client, upload, 1)
    assert 0.35 < time.monotonic() - began < 20  # it may catch up 0.1 s


def test_the_token_service_issues_new_credentials_until_told_otherwise() -> None:
    def ask() -> Any:
        return json.load(urllib.request.urlopen(urllib.request.Request(url, method="POST")))

    with in_thread(TokenService(life_s=60)) as service:
        url = service.url
        one, two = ask(), ask()
        assert set(one) == {"accessKeyId", "secretAccessKey", "sessionToken", "expiration"}
        assert one["sessionToken"] != two["sessionToken"]
        service.fail_with(403, "no")
        with pytest.raises(urllib.error.HTTPError, match="403") as refused:
            ask()
        refused.value.close()
        service.heal()
        ask()
        assert service.fetches == 4


def test_the_embedded_s3_ends_with_its_parent() -> None:
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from petal_s3.demo.services import start_s3; s3 = start_s3(); input()",
        ],
        stdin=subprocess.PIPE,
    )
    child = until(lambda: psutil.Process(parent.pid).children())[0]
    parent.kill()
    parent.communicate()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    """A directory with a petal in it that can be imported and has an entry point."""
    pytest.importorskip("petal_app_manager")
    metadata = tmp_path / "lib" / "probe-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: probe\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[petal.plugins]\nprobe = probe:Probe\n")
    (metadata.parent / "probe.py").write_text(PROBE)
    return metadata.parent


def test_a_flight_reaches_a_host_that_is_killed_and_started_again(
    tmp_path: Path, probe: Path
) -> None:
    from petal_s3.demo.flight import Flight, free_udp_port
    from petal_s3.demo.host import Host, make_root

    root = make_root(
        tmp_path / "root",
        proxies=("bucket", "ext_mavlink"),
        petals={"probe": "probe:Probe"},
        startup=["probe"],
    )
    with Flight(free_udp_port()) as flight, Host(root, env={}) as host:
        host.env.update(PYTHONPATH=str(probe), PETAL_MAVLINK_ENDPOINT=flight.endpoint)
        host.start()
        host.wait_ready()
        until(lambda: False in get(f"{host.url}/petals/probe/armed"))
        flight.arm()
        until(lambda: True in get(f"{host.url}/petals/probe/armed"))

        killed = host.pid
        host.kill()
        flight.disarm()
        host.start()
        host.wait_ready()
        assert host.pid != killed
        assert until(lambda: get(f"{host.url}/petals/probe/armed"))[-1] is False

        assert host.terminate() == -15
    assert "Graceful shutdown completed" in host.log_text()
    assert not list((root / "site-packages").glob("*.yaml"))


def test_two_hosts_of_one_installation_do_not_meet(tmp_path: Path, probe: Path) -> None:
    from petal_s3.demo.host import Host, make_root
    from petal_s3.demo.onboard import StandIns

    (tmp_path / ".env").write_text("PETAL_S3_BUCKET_NAME=leaked\n")
    bare = make_root(tmp_path / "bare", petals={}, startup=[])
    full = make_root(
        tmp_path / "full",
        proxies=("redis", "db", "cloud", "mqtt"),
        petals={},
        startup=[],
        enabled=["probe"],
        organization="demo",
    )
    with StandIns() as beside, Host(bare, env={}) as one, Host(full, env={}) as two:
        two.env.update(beside.env(two.url), PYTHONPATH=str(probe))
        one.start()
        two.start()
        one.wait_ready()
        two.wait_ready()

        health = get(f"{two.url}/health/detailed")
        assert {
            name: proxy["status"] for name, proxy in health["proxies"].items()
        } == dict.fromkeys(("redis", "db", "cloud", "mqtt"), "healthy")
        until(lambda: "probe" in json.dumps(get(f"{two.url}/openapi.json")))
        bucket = get(f"{one.url}/health/detailed")["proxies"]["bucket"]
        assert "leaked" not in json.dumps(bucket)
        assert "probe" not in json.dumps(get(f"{one.url}/openapi.json"))
