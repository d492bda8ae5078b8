"""The host's own bucket API and health checks work with our proxy, and tell the truth."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit
from zlib import crc32

import pytest
from aboard import Aboard, aboard, until

from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.demo.logs import write_ulog
from petal_s3.demo.services import EmbeddedS3

MIB = 1024 * 1024
NOT_OURS = "flight_logs/drone-002/20260102_101112_log.ulg"
MISSING = "flight_logs/drone-001/20260102_101112_missing.ulg"
PATIENCE_S = 2  # what a call waits for progress here


@pytest.fixture(scope="module")
def _host(cloud: EmbeddedS3, ashore: Path) -> Iterator[Aboard]:
    with aboard(cloud, ashore / "api", env={"PETAL_S3_MAX_FILE_SIZE": "4MiB"}) as made:
        made.start()
        yield made


@pytest.fixture
def host(_host: Aboard) -> Iterator[Aboard]:
    yield _host
    _host.link.link.on_request = None
    _host.link.forward()


@pytest.fixture
def log(tmp_path: Path, request: pytest.FixtureRequest) -> bytes:
    """A log like no other test's."""
    write_ulog(tmp_path / "log.ulg", MIB, seed=crc32(request.node.name.encode()))
    return (tmp_path / "log.ulg").read_bytes()


def test_an_upload_comes_back_as_it_went(host: Aboard, log: bytes) -> None:
    answer = host.upload("my flight.ulg", log)
    sent = answer.json
    assert answer.status == 200
    assert sent["s3_key"].startswith("flight_logs/drone-001/")
    assert sent["s3_key"].endswith("_my_flight.ulg")
    assert (sent["file_size"], sent["content_type"]) == (len(log), "application/x-ulog")
    assert sent["original_filename"] == "my flight.ulg"
    assert urlsplit(sent["file_url"]).path == f"/{host.bucket}/{sent['s3_key']}"

    told = host.get(f"/test/bucket/download/{sent['s3_key']}")
    assert (told.status, told.json["file_size"]) == (200, len(log))
    back = host.get(f"/test/bucket/download/{sent['s3_key']}", return_file="true")
    assert back.body == log == host.object(sent["s3_key"])


def test_a_listing_shows_what_is_there_until_it_is_deleted(host: Aboard, log: bytes) -> None:
    key = host.upload("listed.ulg", log).json["s3_key"]

    def listed() -> dict[str, int]:
        answer = host.get("/test/bucket/list", prefix=key).json
        assert answer["total_count"] == len(answer["files"])
        return {file["key"]: file["size"] for file in answer["files"]}

    assert listed() == {key: len(log)}
    home = host.get("/test/bucket/list").json
    assert (home["prefix"], home["is_truncated"]) == ("flight_logs/drone-001/", False)
    assert host.get("/test/bucket/list", max_keys=1).json["total_count"] == 1

    gone = host.delete(f"/test/bucket/delete/{key}")
    assert (gone.status, gone.json["s3_key"]) == (200, key)
    assert listed() == {}
    assert host.get(f"/test/bucket/download/{key}").status == 404
    row = next(row for row in host.rows() if row["key"] == key)
    assert (row["state"], row["code"]) == ("cancelled", "deleted")


def test_a_listing_of_more_than_a_thousand_says_so_and_ours_goes_on(host: Aboard) -> None:
    home = "flight_logs/drone-001/many/"
    keys = [f"{home}{number:04}.ulg" for number in range(1005)]
    with ThreadPoolExecutor(8) as at_once:
        list(at_once.map(lambda key: host.s3.put_object(Bucket=host.bucket, Key=key), keys))

    first = host.get("/test/bucket/list", prefix="many/", max_keys=1000).json
    assert [file["key"] for file in first["files"]] == keys[:1000]
    assert (first["total_count"], first["is_truncated"], first["prefix"]) == (1000, True, home)
    assert host.get("/test/bucket/list", prefix="many/", max_keys=1001).status == 422
    assert host.get("/test/bucket/list", prefix="many/").json["total_count"] == 100

    page = host.get("bucket/list", prefix="many/", max_keys=1000).json
    rest = host.get("bucket/list", prefix=home, max_keys=1000, token=page["next_token"]).json
    assert [file["key"] for file in page["files"] + rest["files"]] == keys
    assert (rest["is_truncated"], rest["next_token"]) == (False, None)
    whole = host.get("bucket/list", prefix="many/", max_keys=10_000).json
    assert (whole["total_count"], whole["is_truncated"]) == (1005, False)


def test_info_shows_the_configuration_and_no_secret(host: Aboard, log: bytes) -> None:
    host.upload("info.ulg", log)
    answer = host.get("/test/bucket/info")
    config, status = answer.json["config"], answer.json["status"]
    assert (config["bucket_name"], config["upload_prefix"]) == (host.bucket, "flight_logs/")
    assert sorted(config["allowed_extensions"]) == [
        ".bag",
        ".bin",
        ".mcap",
        ".ulg",
        ".ulgc",
        ".ulge",
    ]
    assert (config["request_timeout"], config["session_token_url"]) == (2, host.tokens.url)
    assert status["s3_client_initialized"] and status["credentials_cached"]
    assert time.time() < status["credentials_expire_time"] < time.time() + 3700
    assert not any(one["sessionToken"].encode() in answer.body for one in host.tokens.issued)


def test_a_cut_link_is_a_503_and_the_log_goes_up_later(host: Aboard, log: bytes) -> None:
    host.link.cut()
    answer = host.upload("offline.ulg", log)
    detail = answer.json["detail"]
    assert (answer.status, detail["status"]) == (503, 503)
    assert PATIENCE_S <= answer.took_s < PATIENCE_S + 8
    assert "stays in the outbox" in detail["error"]
    assert host.get(f"outbox/{detail['id']}").json["state"] in {"queued", "uploading"}
    assert host.get("/test/bucket/list").status == 503
    assert host.get(f"/test/bucket/download/{MISSING}").status == 503
    assert host.delete(f"/test/bucket/delete/{MISSING}").status == 503

    host.link.forward()
    row = until(lambda: _proven(host, detail["id"]))
    assert host.object(row["key"]) == log


def test_asked_again_the_same_bytes_find_their_row(host: Aboard, log: bytes) -> None:
    host.link.cut()
    first = host.upload("twice.ulg", log).json["detail"]["id"]
    with ThreadPoolExecutor(2) as at_once:
        again, other = at_once.map(
            lambda content: host.upload("twice.ulg", content).json["detail"]["id"],
            (log, log[:-1] + b"!"),
        )
    assert again == first != other

    host.link.forward()
    row = until(lambda: _proven(host, first))
    assert host.object(row["key"]) == log


@pytest.mark.guarantee(
    "refusals",
    "S3 refuses an upload over the host's own API",
    "the host answers an error, never success",
)
def test_a_refusal_by_s3_is_no_success(host: Aboard, log: bytes) -> None:
    denied = says(403, b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>")

    async def refuse(request: Request) -> Fault | None:
        return denied if request.op == "PutObject" else None

    host.link.link.on_request = refuse
    answer = host.upload("refused.ulg", log)
    assert answer.status == 503
    assert answer.json["detail"]["code"] == "forbidden"
    assert not any(key.endswith("_refused.ulg") for key in host.objects())

    host.link.link.on_request = None
    assert host.post(f"outbox/{answer.json['detail']['id']}/retry").status == 200
    until(lambda: _proven(host, answer.json["detail"]["id"]))


def test_a_log_that_is_too_large_is_a_413_and_no_row(host: Aboard, log: bytes) -> None:
    before = len(host.rows())
    answer = host.upload("large.ulg", log * 5)
    assert (answer.status, answer.json["detail"]["code"]) == (413, "too_large")
    assert "4194304 bytes" in answer.json["detail"]["error"]
    assert len(host.rows()) == before


def test_a_refused_token_is_a_503_and_health_says_why(host: Aboard, log: bytes) -> None:
    host.tokens.fail_with(403)
    try:
        expire_credentials(host)
        answer = host.upload("no-token.ulg", log)
        assert (answer.status, answer.json["detail"]["code"]) == (503, "token_service_refused")
        assert host.status["credentials"] == "refused"
        health = host.get("/health/detailed").json["proxies"]["bucket"]
        assert health["status"] != "healthy"
        assert "token service" in health["error"]
    finally:
        host.tokens.heal()
    row_id = answer.json["detail"]["id"]
    host.post(f"outbox/{row_id}/retry")
    until(lambda: _proven(host, row_id))
    health = host.get("/health/detailed").json["proxies"]["bucket"]
    assert health["status"] == "healthy"


def expire_credentials(host: Aboard) -> None:
    """S3 takes the credentials for expired from now on, until there are new ones."""
    old = [one["accessKeyId"] for one in host.tokens.issued]

    async def refuse(request: Request) -> Fault | None:
        signed = request.headers.get("Authorization", "")
        if any(key in signed for key in old):
            return says(400, b"<Error><Code>ExpiredToken</Code><Message>old</Message></Error>")
        return None

    host.link.link.on_request = refuse


@pytest.mark.parametrize(
    ("name", "content"),
    [("text.ulg", b"hello world" * 100), ("empty.bag", b""), ("log.txt", b"hello world")],
)
def test_what_is_no_flight_log_is_a_422_and_no_row(host: Aboard, name: str, content: bytes) -> None:
    before = len(host.rows())
    answer = host.upload(name, content)
    assert (answer.status, answer.json["detail"]["status"]) == (422, 422)
    assert len(host.rows()) == before


@pytest.mark.threat(
    "neighbour", "its key is asked for through the host's own API", "403, and S3 is not asked"
)
def test_a_key_of_another_machine_is_a_403_and_s3_is_not_asked(host: Aboard) -> None:
    host.s3.put_object(Bucket=host.bucket, Key=NOT_OURS, Body=b"theirs")
    before = len(host.ledger.requests())
    for answer in (
        host.get(f"/test/bucket/download/{NOT_OURS}"),
        host.delete(f"/test/bucket/delete/{NOT_OURS}"),
        host.get("/test/bucket/list", prefix="flight_logs/drone-002/"),
        host.get("/test/bucket/list", prefix="flight_logs/"),
    ):
        assert (answer.status, answer.json["detail"]["code"]) == (403, "not_allowed")
    assert len(host.ledger.requests()) == before
    assert host.object(NOT_OURS) == b"theirs"


def test_a_missing_object_is_a_404_also_where_it_is_to_be_deleted(host: Aboard) -> None:
    answer = host.get(f"/test/bucket/download/{MISSING}")
    assert (answer.status, answer.json["detail"]) == (404, "File not found")
    assert host.delete(f"/test/bucket/delete/{MISSING}").status == 404


def test_health_costs_nothing_and_knows_a_cut_link(host: Aboard, log: bytes) -> None:
    host.upload("healthy.ulg", log)
    before = len(host.ledger.requests())
    health = host.get("/health/detailed").json["proxies"]
    assert health["bucket"]["status"] == "healthy"
    assert health["bucket"]["s3_test"]["connectivity"] == "ok"
    assert len(host.ledger.requests()) == before

    host.link.cut()
    host.upload("unhealthy.ulg", log + bytes(8))
    health = host.get("/health/detailed").json["proxies"]
    assert health["bucket"]["s3_test"]["connectivity"] == "error"


def test_a_token_service_that_hangs_delays_neither_start_nor_health(
    cloud: EmbeddedS3, tmp_path: Path, log: bytes
) -> None:
    with aboard(cloud, tmp_path / "hang") as host:
        host.tokens.hang = True
        write_ulog(host.logs / "waiting.ulg", MIB)
        began = time.monotonic()
        host.start()
        # The host's own proxy takes 31 s here.
        assert time.monotonic() - began < 15
        until(lambda: host.tokens.fetches)
        for path in ("/health", "/health/detailed", "/health/overview"):
            took = [host.get(path).took_s for _ in range(5)]
            assert statistics.median(took) < 1
        until(lambda: host.status["reason"])
        answer = host.upload("asked.ulg", log)
        assert answer.status == 503
        assert "token service" in answer.json["detail"]["error"]

        host.tokens.heal()
        assert host.verified(host.logs / "waiting.ulg")
        until(lambda: _proven(host, answer.json["detail"]["id"]))


def _proven(host: Aboard, row_id: int) -> dict[str, str] | None:
    row: dict[str, str] = host.get(f"outbox/{row_id}").json
    return row if row["state"] == "verified" else None
