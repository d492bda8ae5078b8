"""petal-flight-log 0.2.7, unchanged, uploads and deletes through our proxy and hears the truth."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from aboard import Aboard, Answer, aboard, until

from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.demo.logs import write_bag, write_ulog
from petal_s3.demo.onboard import StandIns
from petal_s3.demo.services import EmbeddedS3

MIB = 1024 * 1024
SIBLING = "/petals/petal-flight-log"
PROXIES = ("redis", "db", "cloud", "mqtt", "bucket")
RECORDS = "config-log-flight_record"
DENIED = says(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")
SLOW = 1_000_000  # two parts at once take 10 s


@pytest.fixture(scope="module")
def beside() -> Iterator[StandIns]:
    with StandIns() as stand_ins:
        yield stand_ins


@pytest.fixture(scope="module")
def _host(cloud: EmbeddedS3, ashore: Path, beside: StandIns) -> Iterator[Aboard]:
    with aboard(
        cloud,
        ashore / "sibling",
        proxies=PROXIES,
        petals={"petal-flight-log": "petal_flight_log.plugin:FlightLogPetal"},
        enabled=["petal-flight-log"],
        dependencies={"petal-flight-log": PROXIES},
        organization="demo",
    ) as made:
        made.host.env.update(beside.env(made.host.url), PETAL_S3_PART_SIZE="5MiB")
        made.start()
        until(lambda: made.get(f"{SIBLING}/jobs").status == 200)
        yield made


@pytest.fixture
def host(_host: Aboard) -> Iterator[Aboard]:
    yield _host
    _host.link.link.on_request = None
    _host.link.link.rate_bytes_s = 0
    _host.link.forward()


@pytest.fixture
def machine(host: Aboard) -> str:
    """The host's own machine id, which the sibling writes into its keys."""
    status = host.get("/health/detailed").json["proxies"]["db"]
    found: str = status["machine_info"]["machine_id"]
    assert found != "drone-001"
    return found


@pytest.fixture
def log(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A log of three parts, like no other test's, where the sibling keeps it."""
    write_ulog(tmp_path / "log.ulg", 12 * MIB, seed=crc32(request.node.name.encode()))
    return tmp_path / "log.ulg"


def allow_again(host: Aboard) -> None:
    """End a refusal; nobody waits for the next attempt by itself."""
    host.link.link.on_request = None
    host.post("landed")


def upload(host: Aboard, log: Path, key: str, *, wait: bool = True) -> Answer:
    verb = "s3-upload-wait" if wait else "s3-upload"
    return host.post(f"{SIBLING}/{verb}", file_path=str(log), s3_key=key)


def job(host: Aboard, key: str) -> dict[str, Any]:
    """The sibling's latest job for a key, as it tells it."""
    jobs = host.get(f"{SIBLING}/jobs", job_type="S3UploadJob").json["jobs"]
    latest = next(one for one in jobs if one["metadata"]["s3_key"] == key)
    told: dict[str, Any] = host.get(f"{SIBLING}/jobs/{latest['job_id']}/status").json
    return told


def test_its_upload_lands_under_its_key_and_the_job_completes(
    host: Aboard, machine: str, log: Path
) -> None:
    key = f"{machine}/record-1/ulog/{log.name}"
    answer = upload(host, log, key)
    assert (answer.status, answer.json["success"]) == (200, True)
    assert host.object(key) == log.read_bytes()
    told = job(host, key)
    assert told["status"] == "completed"
    assert told["metadata"]["upload_result"]["s3_key"] == key
    assert "error" not in told["metadata"]["upload_result"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://dashboard.example:3000", "Sec-Fetch-Site": "cross-site"},
        {"Host": "robot.example"},
    ],
)
@pytest.mark.threat(
    "page",
    "it asks the host's own API, or another petal, of a host that allows every origin",
    "they answer: the guard stands before the routes of petal-s3 alone, and these refuse it",
)
def test_the_hosts_own_api_and_the_sibling_answer_a_dashboard_from_elsewhere(
    host: Aboard, machine: str, log: Path, headers: dict[str, str]
) -> None:
    """Our guard stands before our routes alone; what others allow is theirs to say."""
    for path in (
        "/health/detailed",
        "/api/petal-proxies-control/status",
        "/test/bucket/list",
        f"{SIBLING}/jobs",
    ):
        request = urllib.request.Request(f"{host.host.url}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200
            if "Origin" in headers:
                assert answer.headers["Access-Control-Allow-Origin"] == "*"
    key = f"{machine}/from-elsewhere-{next(iter(headers))}/ulog/{log.name}"
    body = json.dumps({}).encode()
    asked = urllib.parse.urlencode({"file_path": str(log), "s3_key": key})
    url = f"{host.host.url}{SIBLING}/s3-upload-wait?{asked}"
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
        assert answer.status == 200
    assert host.object(key) == log.read_bytes()
    ours = urllib.request.Request(f"{host.host.url}/petals/petal-s3/status", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(ours, timeout=30)
    with refused.value as answer:
        assert answer.status == 403


@pytest.mark.guarantee(
    "refusals",
    "S3 refuses what the petal beside us uploads",
    "its job fails; it never reports a success",
)
def test_a_refusal_by_s3_is_an_error_of_the_job_and_never_a_success(
    host: Aboard, machine: str, log: Path
) -> None:
    async def refuse(request: Request) -> Fault | None:
        return DENIED if request.op == "CreateMultipartUpload" else None

    host.link.link.on_request = refuse
    key = f"{machine}/record-2/ulog/{log.name}"
    answer = upload(host, log, key)
    assert answer.status == 500
    assert "success" not in answer.json
    assert job(host, key)["status"] == "error"
    assert "stays in the outbox" in job(host, key)["error_message"]
    assert key not in host.objects()

    allow_again(host)
    until(lambda: upload(host, log, key).status == 200)
    assert host.object(key) == log.read_bytes()


@pytest.mark.parametrize("size", [MIB, 12 * MIB], ids=["one part", "three parts"])
@pytest.mark.parametrize("moved", [False, True], ids=["the same file", "a copy elsewhere"])
def test_a_log_that_is_up_already_gets_its_key_without_being_sent_again(
    host: Aboard, machine: str, tmp_path: Path, size: int, moved: bool
) -> None:
    path = host.logs / f"scanned-{size}-{moved}.ulg"
    write_ulog(path, size, seed=size + moved)
    host.post("landed")
    own = host.verified(path)
    if moved:
        path = Path(shutil.copy(path, tmp_path / "in-another-place.ulg"))
    before = bodies(host)

    key = f"{machine}/record-3-{size}-{moved}/ulog/{path.name}"
    answer = upload(host, path, key)
    assert (answer.status, answer.json["success"]) == (200, True)
    assert job(host, key)["metadata"]["upload_result"]["s3_key"] == key
    assert bodies(host) == before
    assert host.ledger.requests("CopyObject", key)
    assert host.object(key) == host.object(own["key"]) == path.read_bytes()
    row = row_at(host, key)
    assert row["id"] != own["id"]
    assert (row["state"], row["receipt"]["size"]) == ("verified", size)
    assert row["receipt"]["proof"]
    assert row["receipt"]["etag"] == host.s3.head_object(Bucket=host.bucket, Key=key)["ETag"][1:-1]


def bodies(host: Aboard) -> tuple[int, int]:
    """How many requests with a stretch of a log were made, and how many bytes were in them."""
    made = [one for op in ("PutObject", "UploadPart") for one in host.ledger.requests(op)]
    return len(made), sum(one.body_bytes for one in made)


def row_at(host: Aboard, key: str) -> dict[str, Any]:
    """The latest row of a key."""
    return next(row for row in host.rows() if row["key"] == key)


def test_asked_again_for_the_same_key_nothing_happens_at_all(
    host: Aboard, machine: str, log: Path
) -> None:
    key = f"{machine}/record-13/ulog/{log.name}"
    assert upload(host, log, key).status == 200
    written = host.written()
    assert upload(host, log, key).status == 200
    assert host.written() == written
    assert [row["key"] for row in host.rows()].count(key) == 1


def test_a_job_in_the_background_tells_how_it_ended(host: Aboard, machine: str, log: Path) -> None:
    key = f"{machine}/record-14/ulog/{log.name}"
    assert upload(host, log, key, wait=False).status == 200
    told = until(lambda: _settled(job(host, key)))
    assert (told["status"], told["metadata"]["upload_result"]["file_size"]) == (
        "completed",
        log.stat().st_size,
    )
    assert host.object(key) == log.read_bytes()


def _settled(told: dict[str, Any]) -> dict[str, Any] | None:
    return told if told["status"] not in {"pending", "in_progress"} else None


@pytest.mark.parametrize(
    ("record", "content", "why"),
    [
        ("drone-002/record-15", None, "does not belong to this machine"),
        ("{machine}/../drone-002/record-15", None, "does not belong to this machine"),
        ("{machine}/record-15", b"no log, however it is named", "not a ULog but text"),
        ("{machine}/record-15", b"", "is empty"),
    ],
)
def test_what_is_refused_fails_its_job_and_nothing_travels(
    host: Aboard, machine: str, log: Path, record: str, content: bytes | None, why: str
) -> None:
    if content is not None:
        log.write_bytes(content)
    key = f"{record.format(machine=machine)}/ulog/{log.name}"
    rows, written = len(host.rows()), host.written()
    answer = upload(host, log, key)
    assert answer.status == 500
    told = job(host, key)
    assert told["status"] == "error"
    assert why in told["error_message"]
    assert (len(host.rows()), host.written()) == (rows, written)


@pytest.mark.guarantee(
    "links",
    "no link when the petal beside us uploads, and it deletes its file then",
    "its job fails, and the log goes up later under its key",
)
def test_without_a_link_its_job_fails_and_the_log_goes_up_later(
    host: Aboard, machine: str, log: Path
) -> None:
    content = log.read_bytes()
    key = f"{machine}/record-16/ulog/{log.name}"
    host.link.cut()
    assert upload(host, log, key).status == 500
    assert "stays in the outbox" in job(host, key)["error_message"]
    log.unlink()

    host.link.forward()
    until(lambda: row_at(host, key)["state"] == "verified")
    assert host.object(key) == content


@pytest.mark.threat(
    "sibling",
    "petal-flight-log cancels its own upload, of which the spool has a copy",
    "the upload is aborted, the copy stays for a day",
)
def test_cancelling_its_job_leaves_no_orphan_and_the_bytes_for_a_day(
    host: Aboard, machine: str, log: Path
) -> None:
    host.link.link.rate_bytes_s = SLOW
    key = f"{machine}/record-4/ulog/{log.name}"
    started = upload(host, log, key, wait=False).json
    until(lambda: host.ledger.requests("UploadPart", key))
    assert host.open_uploads() == [key]

    assert host.post(f"{SIBLING}/jobs/{started['job_id']}/cancel").status == 200
    assert job(host, key)["status"] == "cancelled"
    row = next(row for row in host.rows() if row["key"] == key)
    assert row["state"] == "cancelled"
    until(lambda: not host.open_uploads(), within_s=5)
    assert key not in host.objects()
    [kept] = (host.state / "spool").glob("[!.]*")
    assert kept.read_bytes() == log.read_bytes()


def test_cancelling_its_job_keeps_a_log_that_was_in_the_outbox_before(
    host: Aboard, machine: str
) -> None:
    host.link.link.rate_bytes_s = SLOW
    path = host.logs / "before.ulg"
    write_ulog(path, 12 * MIB, seed=17)
    key = f"{machine}/record-17/ulog/{path.name}"
    assert host.post("outbox", {"path": str(path), "key": key}).status == 200
    until(lambda: host.ledger.requests("UploadPart", key))
    started = upload(host, path, key, wait=False).json
    until(lambda: host.host.log_text().count(f"enqueued key={key}") == 2)  # asked for again
    assert host.post(f"{SIBLING}/jobs/{started['job_id']}/cancel").status == 200
    assert job(host, key)["status"] == "cancelled"
    assert row_at(host, key)["state"] == "uploading"

    host.link.link.rate_bytes_s = 0
    until(lambda: row_at(host, key)["state"] == "verified")
    assert host.object(key) == path.read_bytes()


def record_of(machine: str, record: str, bag: Path) -> dict[str, Any]:
    size = bag.stat().st_size
    return {
        "id": record,
        "robot_instance_id": machine,
        "sync_job_status": "pending",
        "rosbag": {
            "id": f"{record}-bag",
            "file_name": bag.name,
            "file_path": str(bag),
            "file_type": "bag",
            "storage_type": "local",
            "size_bytes": size,
            "size_kb": size / 1024,
            "modified_timestamp_unix_s": 1767348672,
            "creation_timestamp_unix_s": 1767348672,
            "log_duration_seconds": 60.0,
            "date_str": "2026-01-02-10-11-12",
        },
    }


def synced(host: Aboard, beside: StandIns, record: str, status: str) -> dict[str, Any]:
    """Sync a record and wait until the cloud hears how that went."""
    answer = host.post(f"{SIBLING}/sync-flight-record/{record}")
    assert answer.status == 200
    until(lambda: beside.cloud.get(RECORDS, record)["sync_job_status"] == status)
    return beside.cloud.get(RECORDS, record)


def test_its_sync_writes_the_key_only_when_the_object_is_there(
    host: Aboard, machine: str, beside: StandIns
) -> None:
    bag = host.logs / "sync.bag"
    write_bag(bag, 2 * MIB)
    beside.cloud.put(RECORDS, record_of(machine, "record-5", bag))

    async def refuse(request: Request) -> Fault | None:
        return DENIED if request.op == "PutObject" else None

    host.link.link.on_request = refuse
    assert not synced(host, beside, "record-5", "error")["rosbag"].get("s3_key")

    allow_again(host)
    key = f"{machine}/record-5/rosbag/sync.bag"
    assert synced(host, beside, "record-5", "completed")["rosbag"]["s3_key"] == key
    assert host.object(key) == bag.read_bytes()


def test_cancelling_its_sync_leaves_nothing_half_done(
    host: Aboard, machine: str, beside: StandIns, tmp_path: Path
) -> None:
    bag = tmp_path / "cancelled.bag"
    write_bag(bag, 12 * MIB, seed=18)
    beside.cloud.put(RECORDS, record_of(machine, "record-18", bag))
    key = f"{machine}/record-18/rosbag/{bag.name}"
    host.link.link.rate_bytes_s = SLOW
    assert host.post(f"{SIBLING}/sync-flight-record/record-18").status == 200
    until(lambda: host.ledger.requests("UploadPart", key))

    # It calls this an error itself: with its upload cancelled, the sync has ended before.
    assert host.post(f"{SIBLING}/cancel-sync/record-18").status == 200
    until(lambda: row_at(host, key)["state"] == "cancelled")
    until(lambda: not host.open_uploads())
    assert key not in host.objects()
    assert not beside.cloud.get(RECORDS, "record-18")["rosbag"].get("s3_key")


def delete(host: Aboard, record: str) -> Answer:
    message = {"payload": {"flight_record_id": record}, "messageId": f"delete-{record}"}
    path = f"{SIBLING}/test_delete_flight_record_handler"
    return host.delete(path, message, topic="command/edge")


def outcome(beside: StandIns, record: str) -> str:
    """What the sibling published about a deletion; empty before it did."""
    for _, message in beside.services.published:
        payload = message.get("payload", {})
        if payload.get("flight_record_id") == record:
            return str(payload["status"])
    return ""


def test_its_deletion_moves_the_object_aside(
    host: Aboard, machine: str, beside: StandIns, tmp_path: Path
) -> None:
    bag, key = tmp_path / "deleted.bag", f"{machine}/record-6/rosbag/deleted.bag"
    write_bag(bag, 2 * MIB, seed=6)
    content = bag.read_bytes()
    assert upload(host, bag, key).status == 200
    record = record_of(machine, "record-6", bag)
    record["rosbag"]["s3_key"] = key
    beside.cloud.put(RECORDS, record)
    beside.local.put(RECORDS, record)

    assert delete(host, "record-6").status == 200
    assert until(lambda: outcome(beside, "record-6")) == "success"
    assert host.object(f"deleted/{key}") == content
    assert key not in host.objects()
    row = next(row for row in host.rows() if row["key"] == f"deleted/{key}")
    assert row["state"] == "verified"


def test_its_deletion_of_what_never_went_up_is_done(
    host: Aboard, machine: str, beside: StandIns, tmp_path: Path
) -> None:
    record = record_of(machine, "record-8", tmp_path)
    record["rosbag"]["s3_key"] = f"{machine}/record-8/rosbag/never.bag"
    record["rosbag"]["file_path"] = str(tmp_path / "never.bag")
    for database in (beside.cloud, beside.local):
        database.put(RECORDS, record)
    delete(host, "record-8")
    assert until(lambda: outcome(beside, "record-8")) == "success"
    assert beside.cloud.get(RECORDS, "record-8")["deleted"]


@pytest.mark.guarantee(
    "links", "no link when the petal beside us deletes a log", "its record is kept"
)
def test_its_deletion_keeps_the_record_when_s3_cannot_be_asked(
    host: Aboard, machine: str, beside: StandIns, tmp_path: Path
) -> None:
    bag, key = tmp_path / "kept.bag", f"{machine}/record-7/rosbag/kept.bag"
    write_bag(bag, 2 * MIB, seed=7)
    assert upload(host, bag, key).status == 200
    record = record_of(machine, "record-7", bag)
    record["rosbag"]["s3_key"] = key
    beside.cloud.put(RECORDS, record)

    async def fall_silent(_: Request) -> Fault | None:
        return Fault(drop=True)

    host.link.link.on_request = fall_silent
    delete(host, "record-7")
    assert until(lambda: outcome(beside, "record-7")) == "error"
    assert host.ledger.requests("HeadObject", key)
    host.link.link.on_request = None
    assert not beside.cloud.get(RECORDS, "record-7").get("deleted")
    assert key in host.objects()


def test_its_bulk_deletion_moves_every_object_aside(
    host: Aboard, machine: str, beside: StandIns, tmp_path: Path
) -> None:
    keys: dict[str, bytes] = {}
    for number in (20, 21):
        bag = tmp_path / f"bulk-{number}.bag"
        write_bag(bag, MIB, seed=number)
        record = record_of(machine, f"record-{number}", bag)
        key = record["rosbag"]["s3_key"] = f"{machine}/record-{number}/rosbag/{bag.name}"
        keys[key] = bag.read_bytes()
        assert upload(host, bag, key).status == 200
        for database in (beside.cloud, beside.local):
            database.put(RECORDS, record)

    wanted = {"payload": {"flight_record_ids": ["record-20", "record-21"]}, "messageId": "bulk"}
    path = f"{SIBLING}/test_bulk_delete_flight_records_handler"
    assert host.post(path, wanted, topic="command/edge").json["status"] == "success"
    for number in (20, 21):
        until(lambda number=number: beside.cloud.get(RECORDS, f"record-{number}").get("deleted"))
    for key, content in keys.items():
        assert host.object(f"deleted/{key}") == content
        assert key not in host.objects()
        assert row_at(host, f"deleted/{key}")["state"] == "verified"
