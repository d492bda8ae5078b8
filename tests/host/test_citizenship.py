"""petal-s3 is a good citizen of the host: it takes over, steps back and leaves in order."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aboard import Aboard, aboard, until

from petal_s3.demo.logs import write_ulog
from petal_s3.demo.services import EmbeddedS3
from petal_s3.web.routes import ROUTES

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def _host(cloud: EmbeddedS3, ashore: Path) -> Iterator[Aboard]:
    talkative = {"PETAL_LOG_LEVEL": "DEBUG", "PETAL_S3_SCAN_INTERVAL": "300"}
    with aboard(cloud, ashore / "citizen", env=talkative) as made:
        made.start()
        yield made


@pytest.fixture
def host(_host: Aboard) -> Iterator[Aboard]:
    yield _host
    _host.link.forward()


@pytest.fixture
def log(host: Aboard) -> Path:
    """A log like no other, inside the log directories."""
    path = host.logs / f"{time.monotonic_ns()}.ulg"
    write_ulog(path, MIB, seed=time.monotonic_ns())
    return path


# -- taking over


def test_both_names_are_ours_and_the_replaced_proxy_was_stopped(host: Aboard) -> None:
    assert host.get("/debug/proxies").json == {"proxies": ["bucket", "s3_bucket"]}
    assert host.get("/test/bucket/info").json["config"]["request_timeout"] == 2
    assert "S3BucketProxy stopped" in host.host.log_text()


def test_loaded_in_the_background_it_takes_over_as_well(cloud: EmbeddedS3, tmp_path: Path) -> None:
    with aboard(cloud, tmp_path / "late", startup=(), enabled=("petal-s3",)) as host:
        path = host.logs / "late.ulg"
        write_ulog(path, MIB)
        host.start()
        until(lambda: host.get("status").status == 200)
        assert host.get("/debug/proxies").json == {"proxies": ["bucket", "s3_bucket"]}
        assert host.object(host.verified(path)["key"]) == path.read_bytes()
        key = host.upload("asked.ulg", path.read_bytes()).json["s3_key"]
        assert host.object(key) == path.read_bytes()
        assert "S3BucketProxy stopped" in host.host.log_text()
        assert "Traceback" not in host.host.log_text()


# -- stepping back


@pytest.fixture(scope="module")
def crooked(cloud: EmbeddedS3, ashore: Path) -> Iterator[Aboard]:
    """A host whose settings each test spoils in another way."""
    with aboard(cloud, ashore / "crooked") as made:
        yield made


@contextlib.contextmanager
def spoilt(host: Aboard, name: str, value: str | None) -> Iterator[str]:
    """The host running with one setting spoilt (none: missing); gives what it logged."""
    sound = dict(host.host.env)
    host.host.log.unlink(missing_ok=True)
    host.host.env.pop(name, None)
    if value is not None:
        host.host.env[name] = value
    try:
        host.start()
        yield host.host.log_text()
        assert host.host.terminate() == -15
        assert "Graceful shutdown completed" in host.host.log_text()
    finally:
        host.host.env = sound
        host.host.kill()  # does nothing to one that has ended


def assert_it_stepped_back(host: Aboard, log: str, name: str) -> None:
    said = [line for line in log.splitlines() if "petal-s3 is not active" in line]
    assert len(said) == 1
    assert name in said[0]
    assert "Traceback" not in log

    assert host.get("/debug/proxies").json == {"proxies": ["bucket"]}
    assert host.get("/test/bucket/info").json["config"]["request_timeout"] == 30
    assert "S3BucketProxy stopped" not in log

    answer = host.get("status")
    assert (answer.status, answer.json["status"], answer.json["code"]) == (503, 503, "config")
    assert name in answer.json["error"]


def assert_it_waits_for_its_disk(host: Aboard, log: str) -> None:
    """It has taken over, and says why it can do nothing yet."""
    said = [line for line in log.splitlines() if "drain deferred" in line]
    assert len(said) == 1
    assert "PETAL_S3_STATE_DIR" in said[0]
    assert "Traceback" not in log
    assert host.get("/debug/proxies").json == {"proxies": ["bucket", "s3_bucket"]}

    for answer in (host.get("status"), host.get("outbox"), host.post("landed")):
        assert (answer.status, answer.json["code"]) == (507, "storage_full")
        assert "PETAL_S3_STATE_DIR" in answer.json["error"]
    refused = host.upload("asked.ulg", b"\x55\x4c\x6f\x67\x01\x12\x35\x01" + bytes(100))
    assert refused.status == 507
    assert "PETAL_S3_STATE_DIR" in refused.body.decode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PETAL_S3_BUCKET_NAME", None),
        ("PETAL_S3_PART_SIZE", "1MiB"),
        ("PETAL_S3_MACHINE_ID", "drone 1/.."),
        ("PETAL_S3_BUCKET", "logs"),
    ],
)
def test_a_wrong_setting_is_named_and_the_host_keeps_its_own_proxy(
    crooked: Aboard, name: str, value: str | None
) -> None:
    with spoilt(crooked, name, value) as log:
        assert_it_stepped_back(crooked, log, name)


def test_a_state_directory_that_cannot_be_written_is_named(crooked: Aboard, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with spoilt(crooked, "PETAL_S3_STATE_DIR", str(in_the_way / "state")) as log:
        assert_it_waits_for_its_disk(crooked, log)


def test_an_outbox_that_cannot_be_opened_is_named(crooked: Aboard, tmp_path: Path) -> None:
    (tmp_path / "outbox.db").mkdir()
    with spoilt(crooked, "PETAL_S3_STATE_DIR", str(tmp_path)) as log:
        assert_it_waits_for_its_disk(crooked, log)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system without a free byte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root and the right to mount")
    try:
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.guarantee(
    "device",
    "no room for the outbox when the host starts",
    "the host runs, every request is told why not, and it begins by itself when there is room",
)
def test_a_full_state_directory_is_named_and_used_as_soon_as_it_has_room(
    crooked: Aboard, full_disk: Path
) -> None:
    path = crooked.logs / "waits-for-room.ulg"
    write_ulog(path, MIB)
    with spoilt(crooked, "PETAL_S3_STATE_DIR", str(full_disk)) as log:
        assert_it_waits_for_its_disk(crooked, log)

        (full_disk / "filler").unlink()
        until(lambda: crooked.get("status").status == 200)
        assert crooked.object(crooked.verified(path)["key"]) == path.read_bytes()
        assert "Traceback" not in crooked.host.log_text()


def test_a_drain_lock_that_cannot_be_had_is_asked_for_again(
    cloud: EmbeddedS3, tmp_path: Path
) -> None:
    with aboard(cloud, tmp_path / "locked") as host:
        in_the_way = host.state / "drain.lock"
        in_the_way.mkdir(parents=True)
        path = host.logs / "waiting.ulg"
        write_ulog(path, MIB)
        host.start()
        assert "drain.lock" in host.get("status").json["error"]
        in_the_way.rmdir()
        until(lambda: host.get("status").status == 200)
        assert host.object(host.verified(path)["key"]) == path.read_bytes()


# -- leaving


def test_a_shutdown_in_mid_upload_is_clean_and_the_log_stays_queued(
    cloud: EmbeddedS3, tmp_path: Path
) -> None:
    with aboard(cloud, tmp_path / "leaving") as host:
        path = host.logs / "large.ulg"
        write_ulog(path, 30 * MIB)
        host.link.link.rate_bytes_s = 4_000_000
        host.start()
        row = until(lambda: host.row(path))
        until(lambda: host.ledger.parts(row["key"]).confirmed >= 2)

        assert host.host.terminate() == -15
        said = host.host.log_text()
        assert "Graceful shutdown completed" in said
        assert "Application shutdown complete." in said
        # One object under two names: the host stops it twice.
        assert "Shutdown proxy: bucket" in said and "Shutdown proxy: s3_bucket" in said
        for word in ("Traceback", "Application shutdown failed", "ERROR", "never retrieved"):
            assert word not in said.replace("root — ERROR — Failed to start proxy bucket", "")
        kept = host.kept_row(row["id"])
        assert (kept["state"], bool(kept["upload_id"])) == ("queued", True)
        assert kept["sent_bytes"] >= 10 * MIB

        host.link.link.rate_bytes_s = 0
        host.start()
        assert host.verified(path)["parts_resent"] == 0
        assert host.ledger.parts(row["key"]).resent == 0
        assert host.object(row["key"]) == path.read_bytes()


@contextlib.contextmanager
def asking(host: Aboard, path: str, *, reads: bool) -> Iterator[None]:
    """Somebody who has asked for an answer that does not end soon, and takes it slowly, or does
    not take it at all."""
    with socket.create_connection(("127.0.0.1", host.host.port), timeout=30) as made:
        request = f"GET /petals/petal-s3/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        made.sendall(request.encode())
        assert made.recv(15) == b"HTTP/1.1 200 OK"
        gone = threading.Event()

        def take() -> None:
            with contextlib.suppress(OSError):
                while not gone.wait(0.05) and made.recv(16 * 1024):
                    pass

        taker = threading.Thread(target=take if reads else gone.wait)
        taker.start()
        try:
            yield
        finally:
            gone.set()
            taker.join()


@pytest.mark.guarantee(
    "device",
    "somebody takes an answer slowly, or not at all, when the host is told to stop",
    "the host stops within seconds",
)
def test_answers_without_an_end_do_not_keep_the_host(cloud: EmbeddedS3, tmp_path: Path) -> None:
    with aboard(cloud, tmp_path / "leaving") as host:
        key = "flight_logs/drone-001/large.ulg"
        host.s3.put_object(Bucket=host.bucket, Key=key, Body=bytes(40 * MIB))
        host.start()
        with (
            asking(host, "events", reads=True),
            asking(host, f"bucket/download/{key}", reads=True),
            asking(host, f"bucket/download/{key}", reads=False),
        ):
            assert host.host.terminate(timeout_s=10) == -15
        said = host.host.log_text()
        assert "Graceful shutdown completed" in said
        assert "Traceback" not in said


# -- routes


def test_openapi_shows_every_route_of_ours(host: Aboard) -> None:
    found = host.get("/openapi.json").json
    prefix = "/petals/petal-s3"
    shown = {
        (method.upper(), path.removeprefix(prefix))
        for path, about in found["paths"].items()
        if path.startswith(prefix)
        for method in about
    }
    assert shown == {(route.method, route.path.replace(":path", "")) for route in ROUTES}

    for route in ROUTES:
        about = found["paths"][prefix + route.path.replace(":path", "")][route.method.lower()]
        assert about["summary"] == route.summary
        assert {str(status) for status in (route.status, *route.errors)} <= about[
            "responses"
        ].keys()
    ids = [
        about["operationId"]
        for path in found["paths"].values()
        for about in path.values()
        if "operationId" in about
    ]
    assert len(ids) == len(set(ids))
    upload = found["paths"][f"{prefix}/bucket/upload"]["post"]
    form = upload["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"].keys() == {"file", "custom_filename"}
    move = found["paths"][f"{prefix}/bucket/move"]["post"]["requestBody"]
    assert move["content"]["application/json"]["schema"]["required"] == ["source_key", "dest_key"]
    problem = upload["responses"]["503"]["content"]["application/json"]["schema"]["$ref"]
    fields = found["components"]["schemas"][problem.rpartition("/")[2]]["properties"]
    assert {"error", "code", "status"} <= fields.keys()


def test_status_says_how_things_are(host: Aboard, log: Path) -> None:
    host.post("outbox", {"path": str(log)})
    host.verified(log)
    said = host.status
    assert {"counts", "backlog_bytes", "rate_bytes_s", "eta_s", "oldest_unsent_s"} <= said.keys()
    assert (said["link"], said["credentials"], said["flight_state"]) == ("up", "ok", "unknown")
    assert (said["reason"], said["backlog_bytes"], said["drained_by"]) == ("", 0, host.host.pid)
    assert said["counts"]["verified"] == len(host.get("outbox", state="verified").json["rows"])
    health = host.get("health").json
    assert (health["status"], health["machine_id"]) == ("healthy", "drone-001")


def test_a_row_shows_its_receipt(host: Aboard, log: Path) -> None:
    row_id = host.post("outbox", {"path": str(log)}).json["id"]
    host.verified(log)
    row = host.get(f"outbox/{row_id}").json
    assert (row["path"], row["state"], row["kind"], row["size"]) == (
        *(str(log), "verified", "ulog", MIB),
    )
    assert row["receipt"]["size"] == MIB
    assert row["receipt"]["proof"] and row["receipt"]["etag"] and row["receipt"]["checksum"]


def test_rows_come_in_pages(host: Aboard, log: Path) -> None:
    host.post("outbox", {"path": str(log)})
    host.verified(log)
    seen: list[int] = []
    token: dict[str, Any] = {}
    while True:
        page = host.get("outbox", limit=1, **token).json
        seen += [row["id"] for row in page["rows"]]
        if page["next_token"] is None:
            break
        token = {"token": page["next_token"]}
    assert seen == sorted((row["id"] for row in host.rows()), reverse=True)
    assert host.get("outbox", state="nonsense").status == 400
    assert host.get("outbox", token="nonsense").status == 400
    assert host.get("outbox/999999").status == 404
    assert host.get("outbox/nonsense").status == 400


def test_a_file_is_enqueued_once_and_only_from_inside(
    host: Aboard, log: Path, tmp_path: Path
) -> None:
    first = host.post("outbox", {"path": str(log), "priority": 5})
    again = host.post("outbox", {"path": str(log)})
    assert (first.status, again.status, again.json["id"]) == (200, 200, first.json["id"])

    outside, link = tmp_path / "outside.ulg", host.logs / "link.ulg"
    write_ulog(outside, MIB)
    link.symlink_to(outside)
    for path in (outside, link, host.logs / ".." / "root" / "config.json", Path("/etc/passwd")):
        answer = host.post("outbox", {"path": str(path)})
        assert (answer.status, answer.json["code"]) == (403, "not_allowed")
        assert "outside.ulg" not in answer.json["error"]
    link.unlink()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"path": 7}, 400),
        ({"path": "x", "more": 1}, 400),
        ({"path": ""}, 400),
        ({"path": "a\0b"}, 400),
        ({"path": "missing.ulg"}, 404),
        ({"path": "text.ulg"}, 422),
        ({"path": "good.ulg", "key": "flight_logs/drone-002/x.ulg"}, 403),
        ({"path": "good.ulg", "key": "flight_logs/drone-001/../x.ulg"}, 403),
    ],
)
def test_a_bad_request_to_enqueue_is_told_so(host: Aboard, body: Any, status: int) -> None:
    (host.logs / "text.ulg").write_text("no log at all")
    write_ulog(host.logs / "good.ulg", MIB)
    before = len(host.rows())
    if str(body.get("path", "")).endswith(".ulg"):
        body = {**body, "path": str(host.logs / body["path"])}
    assert host.post("outbox", body).status == status
    assert len(host.rows()) == before


def test_a_body_that_is_no_json_is_told_so(host: Aboard) -> None:
    assert host.post("outbox").status == 400


def test_a_row_can_be_given_up_and_tried_again(host: Aboard, log: Path) -> None:
    host.link.cut()
    row_id = host.post("outbox", {"path": str(log)}).json["id"]
    until(lambda: host.status["link"] == "down")
    assert host.get("health").json["status"] == "degraded"
    gone = host.delete(f"outbox/{row_id}")
    assert (gone.status, gone.json["state"]) == (200, "cancelled")
    assert host.delete(f"outbox/{row_id}").json["state"] == "cancelled"

    again = host.post(f"outbox/{row_id}/retry")
    assert (again.status, again.json["id"]) == (200, row_id)
    assert again.json["state"] in {"queued", "uploading"}
    host.link.forward()
    assert host.object(host.verified(log)["key"]) == log.read_bytes()
    assert host.post("outbox/999999/retry").status == 404
    assert host.delete("outbox/999999").status == 404


@pytest.mark.guarantee("credentials", "the real host logs everything", "no secret is in its logs")
@pytest.mark.threat("sibling")
def test_no_secret_is_in_the_logs_of_a_talkative_host(host: Aboard, log: Path) -> None:
    key = host.upload("secret.ulg", log.read_bytes()).json["s3_key"]
    host.get(f"/test/bucket/download/{key}")
    said = host.log_files()
    assert " — DEBUG — " in said
    assert key in said
    assert host.tokens.issued
    for one in host.tokens.issued:
        assert one["secretAccessKey"] not in said
        assert one["sessionToken"] not in said
