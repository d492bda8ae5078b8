"""Every operation of REST answers alike in the host and in the stand-alone server."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

import pytest
from apis import (
    BOUNDARY,
    FORM,
    HOME,
    MACHINE,
    MOST_BYTES,
    SECRETS,
    SMALL,
    TOKEN_LIFE_S,
    TWO_PARTS,
    Api,
    at,
    form,
    log,
    opens,
    parsed,
    part,
    until,
)
from prometheus_client.parser import text_string_to_metric_families as parser

from petal_s3.demo.ledger import Request
from petal_s3.objects.readers import MOST_READERS
from petal_s3.outbox.capabilities import keep
from petal_s3.outbox.outbox import Outbox
from petal_s3.s3.capabilities import LACKS, Capabilities, written
from petal_s3.service.views.status import InfoView, StatusView
from petal_s3.service.views.view import iso
from petal_s3.web.page import POLICY, static_files

LARGE = 24_000_000

# -- uploads


@pytest.mark.parametrize(
    ("size", "suffix"), [(SMALL, ".ulg"), (TWO_PARTS, ".ulg"), (SMALL, ".bag")]
)
def test_an_upload_is_answered_when_it_is_proven(api: Api, size: int, suffix: str) -> None:
    content = log(size, suffix)
    told = api.upload(content, f"mission log{suffix}")

    assert told.status == 200
    found = told.json
    assert re.fullmatch(HOME + r"\d{8}_\d{6}_mission_log(-[0-9a-f]{8})?" + suffix, found["s3_key"])
    assert found["file_size"] == size
    assert (
        found["content_type"]
        == {".ulg": "application/x-ulog", ".bag": "application/x-rosbag"}[suffix]
    )
    assert found["file_url"].endswith(f"/{api.bucket}/{found['s3_key']}")
    assert api.object(found["s3_key"]) == content
    row = api.row(found["id"])
    assert (row["state"], row["receipt"]["size"]) == ("verified", size)
    assert until(lambda: api.spool() == [])


def test_a_caller_that_does_not_wait_gets_the_row(api: Api) -> None:
    content = log()
    told = api.upload(content, "later.ulg", wait="false")
    assert told.status == 202
    assert told.json["state"] in {"queued", "uploading"}
    row = api.in_state(told.json["id"], "verified")
    assert api.object(row["key"]) == content


@pytest.mark.parametrize("first", ["name", "file"])
def test_another_name_may_stand_before_or_after_the_file(api: Api, first: str) -> None:
    name, file = part("custom_filename", b"chosen.ulg"), part("file", log(), "x.bin")
    told = api.send(form(name, file) if first == "name" else form(file, name))
    assert told.status == 200
    assert re.search(r"_chosen(-[0-9a-f]{8})?\.ulg$", told.json["s3_key"])


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.ulg", "..\\..\\boot.ulg", "/root/a.ulg", "a\nb.ulg", "é 日本.ulg"]
)
def test_a_hostile_name_stays_below_home(api: Api, name: str) -> None:
    told = api.send(form(part("custom_filename", name.encode()), part("file", log(), "x.ulg")))
    assert told.status == 200
    assert re.fullmatch(HOME + r"[A-Za-z0-9_.-]+\.ulg", told.json["s3_key"])


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/", "a\x00.ulg", "plain", ".ulg.", "x.exe"])
def test_a_name_that_is_no_log_is_refused(api: Api, name: str) -> None:
    rows = api.rows()
    told = api.send(form(part("file", log(), name)))
    assert told.status in {400, 422}
    assert (api.rows(), api.spool()) == (rows, [])


def test_the_same_bytes_twice_are_one_row_and_one_object(api: Api) -> None:
    content, keys = log(), len(api.stored_keys())
    api.link.cut()
    first = api.upload(content, "same.ulg", wait="false").json
    second = api.upload(content, "same.ulg", wait="false").json
    assert first["id"] == second["id"]
    api.link.forward()
    api.in_state(first["id"], "verified")
    assert len(api.stored_keys()) == keys + 1
    until(lambda: api.spool() == [])


def test_what_is_no_log_leaves_nothing(api: Api) -> None:
    rows = api.rows()
    for content, name, code in (
        (b"#!/bin/sh\n" * 1000, "a.ulg", "bad_magic"),
        (log(), "a.bag", None),
        (log(suffix=".bag"), "a.ulg", None),
        (b"", "a.ulg", "empty"),
    ):
        told = api.upload(content, name)
        assert told.status == 422, told
        assert code in (None, told.code)
    assert (api.rows(), api.spool()) == (rows, [])


def test_too_large_is_told_before_all_of_it_came(api: Api) -> None:
    rows = api.rows()
    told = api.upload(log(MOST_BYTES + 1), "large.ulg")
    assert (told.status, told.code) == (413, "too_large")
    assert (api.rows(), api.spool()) == (rows, [])
    assert api.upload(log(MOST_BYTES), "just.ulg", wait="false").status == 202


def _cuts(whole: bytes, file_at: int) -> Iterator[bytes]:
    end = f"--{BOUNDARY}--\r\n".encode()
    yield whole[: file_at + 100_000]
    yield whole[: -len(end)]
    yield whole[: -len(end) - 2]
    yield whole[:-4]  # the boundary stands, its end does not
    yield whole[: -len(end)] + f"--{BOUNDARY}\r\n".encode()
    yield whole[:10]
    yield b""


@pytest.mark.guarantee(
    "attack",
    "an upload whose form was cut off, while the HTTP around it is whole",
    "it is refused: half a log is never taken for a log",
)
@pytest.mark.threat("wifi")
def test_a_form_that_was_cut_is_never_a_log(api: Api) -> None:
    rows = api.rows()
    whole = form(part("file", log(), "cut.ulg"))
    for cut in _cuts(whole, whole.index(b"ULog")):
        assert api.send(cut).status == 400
    assert (api.rows(), api.spool()) == (rows, [])


def test_a_body_that_ends_before_its_length_is_never_a_log(api: Api) -> None:
    rows = api.rows()
    whole = form(part("file", log(), "short.ulg"))
    head = (
        f"POST {api.prefix}/bucket/upload HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: {FORM}\r\nContent-Length: {len(whole) + 1}\r\n\r\n"
    )
    with socket.create_connection(api.address, timeout=10) as wire:
        wire.sendall(head.encode() + whole[:-1])
        wire.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            assert b"200 OK" not in wire.recv(65536)
    until(lambda: api.spool() == [])
    assert api.rows() == rows


def test_chunks_that_are_broken_are_never_a_log(api: Api) -> None:
    rows = api.rows()
    whole = form(part("file", log(), "chunks.ulg"))
    head = (
        f"POST {api.prefix}/bucket/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    broken = f"{len(whole) - 30:x}\r\n".encode() + whole[:-30] + b"\r\nno number\r\n"
    with socket.create_connection(api.address, timeout=10) as wire:
        wire.sendall(head.encode() + broken)
        answer = parsed(wire.recv(65536))
    assert answer.status in {0, 400, 408}
    until(lambda: api.spool() == [])
    assert api.rows() == rows


def test_a_body_in_chunks_is_taken(api: Api) -> None:
    whole = form(part("file", log(), "chunked.ulg"))
    told = api.send(iter([whole[:7], whole[7:90_000], whole[90_000:]]))
    assert told.status == 200


@pytest.mark.parametrize(
    "body",
    [
        form(),
        form(part("custom_filename", b"a.ulg")),
        form(part("file", b"no file name")),
        form(part("other", b"x", "a.ulg")),
        b"no form at all",
        b"\r\n" * 5000,
        b"--" + b"x" * 100,
    ],
)
def test_a_form_without_a_file_is_refused(api: Api, body: bytes) -> None:
    assert api.send(body).status == 400


def test_two_files_are_refused(api: Api) -> None:
    rows = api.rows()
    told = api.send(form(part("file", log(), "a.ulg"), part("file", log(), "b.ulg")))
    assert told.status == 400
    assert (api.rows(), api.spool()) == (rows, [])


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 71,
        "multipart/mixed; boundary=x",
        'multipart/form-data; boundary="',
        "multipart/form-data; boundary=\xff\xfe",
    ],
)
def test_another_content_type_is_no_form(api: Api, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    told = api.ask(
        "POST", "/bucket/upload", body=form(part("file", log(), "a.ulg")), headers=headers
    )
    assert told.status == 400


def test_a_content_type_is_read_without_regard_to_case(api: Api) -> None:
    form_type = FORM.replace("multipart/form-data", "Multipart/Form-Data")
    body = form(part("file", log(), "case.ulg"))
    headers = {"Content-Type": form_type}
    assert api.ask("POST", "/bucket/upload", body=body, headers=headers).status == 200
    as_json = {"Content-Type": "Application/JSON; charset=UTF-8"}
    told = api.ask("POST", "/flight", body=b'{"armed": false}', headers=as_json)
    assert told.status == 200


# -- not now


def test_an_upload_without_a_link_is_kept_and_sent_later(api: Api) -> None:
    content = log()
    api.link.cut()
    told = api.upload(content, "cut.ulg")
    assert told.status == 503
    assert "stays in the outbox" in told.json["error"]
    assert told.took_s < 10
    row = api.row(told.json["id"])
    assert (row["state"], bool(row["reason"])) == ("queued", True)

    again = api.upload(content, "cut.ulg")
    assert (again.status, again.json["id"]) == (503, row["id"])
    assert "No link" in again.json["error"], "the drain is blocked: it says why at once"

    api.link.forward()
    found = api.in_state(row["id"], "verified")
    assert api.object(found["key"]) == content


def test_an_upload_while_it_flies_is_kept_and_sent_after_the_flight(api: Api) -> None:
    content = log()
    assert api.post("/flight", {"armed": True}).json == {"flight_state": "armed"}
    assert api.get("/status").json["flight_state"] == "armed"
    told = api.upload(content, "armed.ulg")
    assert (told.status, told.code) == (503, "armed")
    assert told.took_s < 1.5
    assert api.row(told.json["id"])["state"] == "queued"

    assert api.post("/flight", {"armed": False}).json == {"flight_state": "disarmed"}
    found = api.in_state(told.json["id"], "verified")
    assert api.object(found["key"]) == content


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"armed": 1}',
        b'{"armed": "true"}',
        b'{"armed": null}',
        b'{"armed": true, "more": 1}',
        b'{"armed": true',
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"armed": ' + b"9" * 10_000 + b"}",
        b'{"\\ud800": true}',
    ],
)
def test_a_wrong_body_changes_no_flight_state(api: Api, body: bytes) -> None:
    before = api.get("/status").json["flight_state"]
    told = api.ask("POST", "/flight", body=body, headers={"Content-Type": "application/json"})
    assert told.status == 400
    assert len(told.body) < 1000
    assert api.get("/status").json["flight_state"] == before


def test_a_mistake_does_not_echo_what_was_sent(api: Api) -> None:
    told = api.post("/flight", {"armed": True, "<script>" * 5000: 1})
    assert told.status == 400
    assert len(told.body) < 1000


# -- listing and reading


def test_a_list_has_the_own_objects_page_by_page(api: Api) -> None:
    for number in range(5):
        api.s3.put_object(Bucket=api.bucket, Key=f"{HOME}paged/{number}.ulg", Body=b"x" * number)
    api.s3.put_object(Bucket=api.bucket, Key="flight_logs/drone-0010/paged/9.ulg", Body=b"x")

    whole = api.get("/bucket/list", prefix="paged/").json
    assert [item["key"] for item in whole["files"]] == [f"{HOME}paged/{n}.ulg" for n in range(5)]
    assert [item["size"] for item in whole["files"]] == list(range(5))
    assert (whole["total_count"], whole["is_truncated"]) == (5, False)
    assert (whole["prefix"], whole["next_token"]) == (f"{HOME}paged/", None)
    assert whole["files"][0]["last_modified"]
    assert whole == api.get("/bucket/list", prefix=f"{HOME}paged/").json

    found, token = [], {}
    for _ in range(3):
        page = api.get("/bucket/list", prefix="paged/", max_keys=2, **token).json
        found += [item["key"] for item in page["files"]]
        token = {"token": page["next_token"]}
    assert (found, token) == ([item["key"] for item in whole["files"]], {"token": None})
    assert api.get("/bucket/list").json["prefix"] == HOME
    assert api.get("/bucket/list", prefix=f"deleted/{HOME}").json["files"] == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"prefix": "flight_logs/drone-002/"}, 403),
        ({"prefix": "flight_logs/drone-0010/"}, 403),
        ({"prefix": "flight_logs/"}, 403),
        ({"prefix": "deleted/"}, 403),
        ({"prefix": "../drone-002/"}, 403),
        ({"prefix": "a\x00"}, 400),
        ({"prefix": "x" * 1024}, 400),
        ({"prefix": "x" * 5000}, 400),
        ({"max_keys": 0}, 400),
        ({"max_keys": 10_001}, 400),
        ({"max_keys": "many"}, 400),
        ({"token": "x" * 2049}, 400),
    ],
)
def test_a_list_of_anything_else_is_refused(api: Api, query: dict[str, Any], status: int) -> None:
    asked = len(api.ledger.requests("ListObjectsV2"))
    assert api.get("/bucket/list", **query).status == status
    assert len(api.ledger.requests("ListObjectsV2")) == asked


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (
            {"state": "foo"},
            "state: 'queued', 'uploading', 'verified', 'dead', 'cancelled' or 'dismissed' is"
            " expected.",
        ),
        ({"limit": "many"}, "limit: an integer is expected."),
        ({"limit": 0}, "limit: a number greater than or equal to 1 is expected."),
        ({"token": "x"}, "token: it is none that was given here."),
    ],
)
def test_a_wrong_parameter_is_told_in_our_own_words(
    api: Api, query: dict[str, Any], sentence: str
) -> None:
    told = api.get("/outbox", **query)
    assert (told.status, told.json["error"]) == (400, sentence)


@pytest.fixture(scope="module")
def _thing(_door: Api) -> tuple[str, bytes]:
    content = log()
    return _door.stored(content)["s3_key"], content


@pytest.fixture
def thing(api: Api, _thing: tuple[str, bytes]) -> tuple[str, bytes]:
    """A stored log: its key and its bytes."""
    return _thing


def test_a_download_has_every_byte(api: Api) -> None:
    content = log(TWO_PARTS)
    key = api.stored(content)["s3_key"]
    told = api.get(f"/bucket/download/{at(key)}")
    assert (told.status, told.body == content) == (200, True)
    assert told.headers["content-length"] == str(TWO_PARTS)
    assert told.headers["content-type"] == "application/x-ulog"
    assert told.headers["accept-ranges"] == "bytes"
    assert told.headers["x-content-type-options"] == "nosniff"
    assert told.headers["content-disposition"].startswith("attachment;")
    assert told.headers["etag"] == f'"{api.get(f"/bucket/head/{at(key)}").json["etag"]}"'
    assert api.get(f"/bucket/download/s3://{api.bucket}/{at(key)}").body == content


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=5-14", 5, 14),
        ("bytes=100000-", 100_000, SMALL - 1),
        ("bytes=-4", SMALL - 4, SMALL - 1),
        (f"bytes=-{SMALL * 2}", 0, SMALL - 1),
        (f"bytes={SMALL - 1}-", SMALL - 1, SMALL - 1),
        (f"bytes=10-{SMALL * 2}", 10, SMALL - 1),
        ("bytes=10-18446744073709551615", 10, SMALL - 1),
        ("BYTES=7-9", 7, 9),
    ],
)
def test_a_range_gets_its_bytes(
    api: Api, thing: tuple[str, bytes], asked: str, first: int, last: int
) -> None:
    key, content = thing
    told = api.ask("GET", f"/bucket/download/{at(key)}", headers={"Range": asked})
    assert told.status == 206
    assert told.body == content[first : last + 1]
    assert told.headers["content-range"] == f"bytes {first}-{last}/{SMALL}"
    assert told.headers["content-length"] == str(last - first + 1)


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=0-4,10-14",
        "bytes=9-5",
        "bytes=-",
        "bytes=a-b",
        "lines=0-1",
        "",
        "bytes",
        "bytes=1-2-3",
    ],
)
def test_what_is_no_single_range_gets_the_whole(
    api: Api, thing: tuple[str, bytes], asked: str
) -> None:
    key, content = thing
    told = api.ask("GET", f"/bucket/download/{at(key)}", headers={"Range": asked})
    assert (told.status, told.body == content) == (200, True)
    assert "content-range" not in told.headers


@pytest.mark.parametrize("asked", [f"bytes={SMALL}-", "bytes=99999999999999999999-", "bytes=-0"])
def test_a_range_beyond_the_end_says_how_long_it_is(
    api: Api, thing: tuple[str, bytes], asked: str
) -> None:
    told = api.ask("GET", f"/bucket/download/{at(thing[0])}", headers={"Range": asked})
    assert (told.status, told.code) == (416, "no_such_range")
    assert told.headers["content-range"] == f"bytes */{SMALL}"


def test_a_range_of_another_version_gets_the_whole(api: Api, thing: tuple[str, bytes]) -> None:
    key, content = thing
    etag = api.get(f"/bucket/head/{at(key)}").json["etag"]
    path = f"/bucket/download/{at(key)}"
    for version, status in ((f'"{etag}"', 206), ('"other"', 200), (f'W/"{etag}"', 200)):
        asked = {"Range": "bytes=0-9", "If-Range": version}
        told = api.ask("GET", path, headers=asked)
        assert (told.status, told.body) == (status, content[:10] if status == 206 else content)


def test_an_empty_object_is_read_as_such(api: Api) -> None:
    key = f"{HOME}empty.ulg"
    api.s3.put_object(Bucket=api.bucket, Key=key, Body=b"")
    path = f"/bucket/download/{at(key)}"
    assert (api.get(path).status, api.get(path).body) == (200, b"")
    told = api.ask("GET", path, headers={"Range": "bytes=0-"})
    assert (told.status, told.headers["content-range"]) == (416, "bytes */0")


def test_what_was_stored_as_a_page_is_no_page_of_ours(api: Api) -> None:
    key = f"{HOME}page<script>.ulg"
    kinds = ["text/html", "text/html; charset=日本".encode().decode("latin-1")]
    for kind in kinds:
        api.s3.put_object(Bucket=api.bucket, Key=key, Body=b"<script>", ContentType=kind)
        told = api.get(f"/bucket/download/{at(key)}")
        assert told.status == 200
        assert told.headers["x-content-type-options"] == "nosniff"
        assert told.headers["content-disposition"] == (
            "attachment; filename*=UTF-8''page%3Cscript%3E.ulg"
        )


# -- those who stay or leave in the middle


@pytest.fixture(scope="module")
def _large(_door: Api) -> str:
    key = f"{HOME}large.ulg"
    _door.s3.put_object(Bucket=_door.bucket, Key=key, Body=b"x" * LARGE)
    return key


def _begin(api: Api, key: str) -> socket.socket:
    """Ask for an object that fits into no buffer, and read no more than its beginning."""
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.settimeout(20)
    wire.connect(api.address)
    target = f"{api.prefix}/bucket/download/{at(key)}"
    wire.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return wire


def test_a_caller_that_leaves_in_the_middle_of_a_download_gives_its_connection_back(
    api: Api, _large: str
) -> None:
    for _ in range(20):
        with _begin(api, _large) as wire:
            assert parsed(wire.recv(1000)).status == 200
    told = api.get(f"/bucket/download/{at(_large)}")
    assert (told.status, len(told.body)) == (200, LARGE)


def _under_way(api: Api) -> list[Request]:
    return [one for one in api.ledger.requests("GetObject") if not one.finished]


@pytest.mark.guarantee(
    "attack",
    "downloads whose callers read nothing, more than there are connections to S3",
    "a few are begun, and let go after the request timeout; logs go up all the same",
)
@pytest.mark.threat("wifi")
def test_a_caller_that_reads_nothing_does_not_hold_up_the_logs(api: Api, _large: str) -> None:
    with contextlib.ExitStack() as stuck:
        for _ in range(12):
            stuck.enter_context(_begin(api, _large))
        until(lambda: len(_under_way(api)) == MOST_READERS)
        row = api.upload(log(), "held.ulg", wait="false").json["id"]
        api.in_state(row, "verified")
    until(lambda: not _under_way(api))


def test_head_tells_what_s3_knows(api: Api, thing: tuple[str, bytes]) -> None:
    key, content = thing
    found = api.get(f"/bucket/head/{at(key)}").json
    assert (found["s3_key"], found["content_length"]) == (key, SMALL)
    assert found["content_type"] == "application/x-ulog"
    assert found["etag"] == hashlib.md5(content).hexdigest()
    assert found["metadata"]["machine-id"] == MACHINE
    assert found["last_modified"]


@pytest.mark.parametrize("verb", ["head", "download", "presign"])
@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("flight_logs/drone-002/x.ulg", 403),
        ("flight_logs/drone-0010/x.ulg", 403),
        ("x.ulg", 403),
        ("flight_logs/drone-001/", 403),
        ("s3://other-bucket/flight_logs/drone-001/x.ulg", 403),
        ("flight_logs/drone-001/a%00b", 400),
        ("flight_logs/drone-001/" + "x" * 1100, 400),
    ],
)
def test_a_key_of_another_owner_is_never_asked_for(
    api: Api, verb: str, key: str, status: int
) -> None:
    assert api.get(f"/bucket/{verb}/{key}").status == status
    asked = {(one.bucket, one.key) for one in api.asked_s3()}
    assert {bucket for bucket, _ in asked} <= {api.bucket}
    assert not any(key.endswith(found) for _, found in asked if found)


@pytest.mark.parametrize("verb", ["head", "download"])
def test_what_is_not_there_is_not_found(api: Api, verb: str) -> None:
    told = api.get(f"/bucket/{verb}/{HOME}nothing.ulg")
    assert (told.status, told.code) == (404, "not_found")


def test_without_a_link_every_question_to_the_bucket_is_answered_with_not_now(api: Api) -> None:
    api.link.cut()
    key = f"{HOME}nothing.ulg"
    for method, path, body in (
        ("GET", "/bucket/list", None),
        ("GET", f"/bucket/head/{key}", None),
        ("GET", f"/bucket/download/{key}", None),
        ("POST", "/bucket/move", {"source_key": key, "dest_key": f"{HOME}b.ulg"}),
        ("DELETE", f"/bucket/delete/{key}", None),
    ):
        told = api.ask(method, path, body=body)
        assert (told.status, told.took_s < 5) == (503, True), (method, path)
    for path in ("/status", "/health", "/metrics", "/outbox", "/bucket/info", "/"):
        assert api.get(path).status == 200


# -- URLs


def test_a_url_opens_its_object(api: Api, thing: tuple[str, bytes]) -> None:
    key, content = thing
    told = api.get(f"/bucket/presign/{at(key)}", expires=60).json
    assert (told["s3_key"], told["method"], told["headers"]) == (key, "GET", {})
    assert told["expires_in"] == 60
    assert opens(told["url"]).body == content


def test_a_url_never_claims_to_live_longer_than_what_signs_it(
    api: Api, thing: tuple[str, bytes]
) -> None:
    told = api.get(f"/bucket/presign/{at(thing[0])}", expires=604_800).json
    assert 0 < told["expires_in"] <= TOKEN_LIFE_S
    assert f"X-Amz-Expires={told['expires_in']}&" in told["url"]


def test_a_url_for_writing_adds_and_never_replaces(api: Api, thing: tuple[str, bytes]) -> None:
    key = f"{HOME}added-{hashlib.md5(thing[1]).hexdigest()}.ulg"
    told = api.get(f"/bucket/presign/{key}", method="PUT").json
    assert told["headers"] == {
        "If-None-Match": "*",
        "x-amz-server-side-encryption": "AES256",  # as all is: never silently unencrypted
        "x-amz-meta-received-by": "rest",
    }
    assert opens(told["url"], "PUT", b"new", **told["headers"]).status == 200
    assert opens(told["url"], "PUT", b"newer", **told["headers"]).status == 412
    assert api.object(key) == b"new"
    assert api.get(f"/bucket/head/{key}").json["metadata"]["received-by"] == "rest"


@pytest.mark.parametrize(
    "query",
    [
        {"expires": 0},
        {"expires": -5},
        {"expires": 604_801},
        {"expires": "soon"},
        {"expires": "nan"},
        {"method": "DELETE"},
        {"method": "get"},
    ],
)
def test_a_url_that_cannot_be_is_refused(api: Api, query: dict[str, Any]) -> None:
    assert api.get(f"/bucket/presign/{HOME}a.ulg", **query).status == 400


# -- moving and deleting


def test_a_move_carries_its_row_along(api: Api) -> None:
    content = log()
    stored = api.stored(content)
    key, new = stored["s3_key"], f"deleted/{stored['s3_key']}"
    told = api.post("/bucket/move", {"source_key": key, "dest_key": new})
    assert told.status == 200
    assert (told.json["source_key"], told.json["dest_key"]) == (key, new)
    assert (key in api.stored_keys(), api.object(new)) == (False, content)
    assert api.row(stored["id"])["key"] == new
    assert api.post("/bucket/move", {"source_key": key, "dest_key": new}).status == 200


def test_a_move_replaces_nothing(api: Api, thing: tuple[str, bytes]) -> None:
    key, content = thing
    taken = f"{HOME}taken.ulg"
    api.s3.put_object(Bucket=api.bucket, Key=taken, Body=b"somebody's")
    told = api.post("/bucket/move", {"source_key": key, "dest_key": taken})
    assert (told.status, told.code) == (409, "conflict")
    assert (api.object(taken), api.object(key)) == (b"somebody's", content)


@pytest.mark.parametrize(
    ("source", "target", "status"),
    [
        (f"{HOME}nothing.ulg", f"{HOME}b.ulg", 404),
        ("flight_logs/drone-002/a.ulg", f"{HOME}b.ulg", 403),
        (f"{HOME}a.ulg", "flight_logs/drone-002/b.ulg", 403),
        ("flight_logs/drone-002/a.ulg", "flight_logs/drone-002/b.ulg", 403),
        (f"{HOME}a.ulg", f"{HOME}../drone-002/b.ulg", 403),
        (f"{HOME}a.ulg", "", 400),
        ("", f"{HOME}a.ulg", 400),
        (f"{HOME}a.ulg", f"{HOME}\ud800.ulg", 400),
    ],
)
def test_a_move_that_may_not_be_moves_nothing(
    api: Api, source: str, target: str, status: int
) -> None:
    told = api.post("/bucket/move", {"source_key": source, "dest_key": target})
    assert told.status == status
    assert api.ledger.requests("CopyObject", target) == []


def test_a_deletion_cancels_its_row(api: Api) -> None:
    stored = api.stored(log())
    told = api.delete(f"/bucket/delete/{at(stored['s3_key'])}")
    assert (told.status, told.json["s3_key"]) == (200, stored["s3_key"])
    assert stored["s3_key"] not in api.stored_keys()
    row = api.row(stored["id"])
    assert (row["state"], row["reason"]) == ("cancelled", "Deleted on request.")
    assert row["receipt"] is None


def test_what_was_never_stored_is_not_deleted(api: Api) -> None:
    told = api.delete(f"/bucket/delete/{HOME}never.ulg")
    assert (told.status, told.code) == (404, "not_found")


@pytest.mark.parametrize("token", ["zzz", "00000000.", "00000000.x"])
def test_a_token_of_another_listing_is_wrong_and_not_sent(api: Api, token: str) -> None:
    told = api.get("/bucket/list", token=token)
    assert (told.status, told.code) == (400, "bad_input")
    asked = api.ledger.requests("ListObjectsV2")
    assert [one for one in asked if f"continuation-token={token}" in one.query] == []


def test_a_file_in_the_wrong_field_is_a_wrong_request(api: Api) -> None:
    told = api.send(form(part("logfile", log(), "flight.ulg")))
    assert (told.status, told.code) == (400, "bad_input")
    assert "the part 'file'" in told.json["error"]


def test_a_path_that_is_too_long_or_cannot_be_entered_is_refused(api: Api) -> None:
    (api.logs / "plain").touch()
    for path in ("x" * 300, "plain/x.ulg", "a/" * 2000 + "x.ulg"):
        told = api.post("/outbox", {"path": f"{api.logs}/{path}"})
        assert told.status in {400, 404}, told


def test_no_other_owners_object_is_deleted(api: Api) -> None:
    key = "flight_logs/drone-0010/theirs.ulg"
    api.s3.put_object(Bucket=api.bucket, Key=key, Body=b"theirs")
    assert api.delete(f"/bucket/delete/{key}").status == 403
    assert api.object(key) == b"theirs"


# -- the outbox


def test_a_file_in_the_log_directories_is_enqueued_once(api: Api) -> None:
    path = api.logs / "asked.ulg"
    path.write_bytes(log())
    first = api.post("/outbox", {"path": str(path), "priority": 50})
    assert (first.status, first.json["path"], first.json["priority"]) == (200, str(path), 50)
    second = api.post("/outbox", {"path": str(path)})
    assert second.json["id"] == first.json["id"]
    row = api.in_state(first.json["id"], "verified")
    assert api.object(row["key"]) == path.read_bytes()
    assert row["receipt"]["checksum"].startswith("crc32:")


def test_a_file_may_be_given_its_key(api: Api) -> None:
    path = api.logs / "keyed.ulg"
    path.write_bytes(log())
    told = api.post("/outbox", {"path": str(path), "key": f"{HOME}chosen/key.ulg"})
    assert told.json["key"] == f"{HOME}chosen/key.ulg"
    assert api.post("/outbox", {"path": str(path), "key": "flight_logs/x/a.ulg"}).status == 403


def test_a_file_elsewhere_is_refused_without_a_word_about_it(api: Api) -> None:
    outside = api.state.parent / "outside.ulg"
    outside.write_bytes(log())
    link = api.logs / "link.ulg"
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    there = [
        api.post("/outbox", {"path": path})
        for path in (str(outside), f"{api.logs}/../outside.ulg", str(link), "/etc/shadow")
    ]
    link.unlink()
    nowhere = api.post("/outbox", {"path": "/no/such/file.ulg"})
    assert {told.status for told in there} == {403}
    assert {told.body for told in there} == {nowhere.body}, "who asks must not learn what exists"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"path": "{logs}/missing.ulg"}, 404),
        ({"path": "{logs}"}, 422),
        ({"path": "{logs}/text.ulg"}, 422),
        ({"path": ""}, 400),
        ({"path": "a\x00b"}, 400),
        ({"path": "\ud800"}, 400),
        ({"path": "x" * 5000}, 400),
        ({"path": ["a"]}, 400),
        ({"path": "{logs}/text.ulg", "priority": 1e9}, 400),
        ({"path": "{logs}/text.ulg", "priority": float("nan")}, 400),
        ({"path": "{logs}/text.ulg", "unknown": 1}, 400),
        ({}, 400),
    ],
)
def test_what_cannot_be_enqueued_is_refused(api: Api, body: dict[str, Any], status: int) -> None:
    (api.logs / "text.ulg").write_bytes(b"only text, again and again\n" * 100)
    alive = api.rows(but="dead")  # a scan may see the text, too, and refuse it
    text = json.dumps(body).replace("{logs}", str(api.logs)).encode()
    told = api.ask("POST", "/outbox", body=text, headers={"Content-Type": "application/json"})
    (api.logs / "text.ulg").unlink()
    assert told.status == status, told.body
    assert api.rows(but="dead") == alive


def test_rows_come_page_by_page_the_latest_first(api: Api) -> None:
    for number in range(3):
        api.stored(log(), f"page{number}.ulg")
    whole = [row["id"] for row in api.get("/outbox", limit=1000).json["rows"]]
    assert whole == sorted(whole, reverse=True)
    found, token = [], {}
    while True:
        page = api.get("/outbox", limit=9, **token).json
        assert 0 < len(page["rows"]) <= 9
        found += [row["id"] for row in page["rows"]]
        if page["next_token"] is None:
            break
        token = {"token": page["next_token"]}
    assert found == whole
    states = {row["state"] for row in api.get("/outbox", state="verified").json["rows"]}
    assert states == {"verified"}
    all_of_them = api.get("/outbox", limit=len(whole)).json
    assert (len(all_of_them["rows"]), all_of_them["next_token"]) == (len(whole), None)


@pytest.mark.parametrize(
    "query",
    [
        {"state": "lost"},
        {"limit": 0},
        {"limit": 1001},
        {"limit": "x"},
        {"token": "x"},
        {"token": "-1"},
        {"token": "1 OR 1=1"},
        {"token": "9" * 19},
        {"token": "1\n"},
    ],
)
def test_rows_that_cannot_be_are_refused(api: Api, query: dict[str, Any]) -> None:
    assert api.get("/outbox", **query).status == 400


@pytest.mark.parametrize(
    ("row_id", "status"),
    [
        ("999999", 404),
        ("9223372036854775807", 404),
        ("9223372036854775808", 400),
        ("0", 400),
        ("-1", 400),
        ("x", 400),
        ("1.5", 400),
        ("1e3", 400),
        ("9" * 500, 400),
        ("%00", 400),
    ],
)
def test_a_row_that_is_not_there_is_not_found(api: Api, row_id: str, status: int) -> None:
    assert api.get(f"/outbox/{row_id}").status == status
    assert api.post(f"/outbox/{row_id}/retry").status == status
    assert api.delete(f"/outbox/{row_id}").status == status


def test_a_retry_of_what_is_no_log_is_refused(api: Api) -> None:
    path = api.logs / "script.ulg"
    path.write_bytes(log())
    api.post("/flight", {"armed": True})
    row_id = api.post("/outbox", {"path": str(path)}).json["id"]
    api.delete(f"/outbox/{row_id}")
    path.write_text("#!/bin/sh\nrm -rf /\n" * 20)
    told = api.post(f"/outbox/{row_id}/retry")
    api.post("/flight", {"armed": False})
    assert (told.status, told.code) == (422, "bad_magic")
    assert api.row(row_id)["state"] == "cancelled"


def test_a_row_is_cancelled_and_tried_again(api: Api) -> None:
    path = api.logs / "again.ulg"
    path.write_bytes(log())
    api.post("/flight", {"armed": True})
    row_id = api.post("/outbox", {"path": str(path)}).json["id"]
    assert api.delete(f"/outbox/{row_id}").json["state"] == "cancelled"
    assert api.delete(f"/outbox/{row_id}").json["state"] == "cancelled"
    assert api.post(f"/outbox/{row_id}/retry").json["state"] == "queued"
    api.post("/flight", {"armed": False})
    assert api.object(api.in_state(row_id, "verified")["key"]) == path.read_bytes()
    for asked in (api.delete(f"/outbox/{row_id}"), api.post(f"/outbox/{row_id}/retry")):
        assert (asked.status, asked.code) == (409, "proven")
    assert api.row(row_id)["state"] == "verified"


def test_what_vanished_from_the_bucket_is_sent_again(api: Api) -> None:
    path = api.logs / "vanished.ulg"
    path.write_bytes(log())
    row_id = api.post("/outbox", {"path": str(path)}).json["id"]
    key = api.in_state(row_id, "verified")["key"]
    holds = api.post(f"/outbox/{row_id}/resend")
    assert (holds.status, holds.code) == (409, "object_holds")
    api.s3.delete_object(Bucket=api.bucket, Key=key)
    api.post("/flight", {"armed": True})
    queued = api.post(f"/outbox/{row_id}/resend").json
    assert (queued["state"], queued["receipt"], queued["sent_bytes"]) == ("queued", None, 0)
    assert api.post(f"/outbox/{row_id}/resend").code == "not_proven"
    api.post("/flight", {"armed": False})
    assert api.object(api.in_state(row_id, "verified")["key"]) == path.read_bytes()
    api.s3.delete_object(Bucket=api.bucket, Key=key)
    path.unlink()
    gone = api.post(f"/outbox/{row_id}/resend")
    assert (gone.status, gone.code) == (409, "source_gone")
    assert api.get("/health").json["status"] == "degraded"
    assert api.delete(f"/bucket/delete/{key}").status == 200  # a person gives it up
    assert api.row(row_id)["state"] == "cancelled"
    assert api.get("/health").json["status"] == "healthy"


def test_a_file_is_pinned_and_let_go(api: Api) -> None:
    row_id = api.stored(log())["id"]
    for verb, pinned in ((api.post, True), (api.post, True), (api.delete, False)):
        told = verb(f"/outbox/{row_id}/pin")
        assert (told.status, told.json["pinned"]) == (200, pinned)
    assert api.row(row_id)["pinned"] is False


def dead(api: Api) -> int:
    """A dead row: a file whose name says more than its bytes."""
    path = api.logs / f"{time.monotonic_ns()}.ulg"
    path.write_text("no log")
    api.post("/landed")

    def found() -> list[dict[str, Any]]:
        rows = api.get("/outbox", state="dead").json["rows"]
        return [row for row in rows if row["path"] == str(path)]

    return int(until(found)[0]["id"])


def shown(api: Api, **query: str) -> list[int]:
    return [row["id"] for row in api.get("/outbox", limit=1000, **query).json["rows"]]


def test_a_dead_row_that_is_dismissed_is_shown_when_asked_for(api: Api) -> None:
    first, second = dead(api), dead(api)
    counted = api.get("/status").json["counts"]["dead"]
    assert api.post("/outbox/dismiss", {"ids": [first]}).json == {"dismissed": 1}
    assert api.get("/status").json["counts"]["dead"] == counted - 1
    for query in ({}, {"state": "dead"}):
        assert first not in shown(api, **query)
        assert second in shown(api, **query)
    assert first in shown(api, state="dismissed")
    assert (api.row(first)["state"], api.row(first)["dismissed"]) == ("dead", True)
    assert api.post("/outbox/dismiss", {"ids": [first]}).json == {"dismissed": 0}
    assert api.post("/outbox/dismiss", {"state": "dead"}).json["dismissed"] >= 1
    assert api.get("/status").json["counts"]["dead"] == 0
    assert shown(api, state="dead") == []


def test_only_dead_rows_are_dismissed(api: Api) -> None:
    proven, died = api.stored(log())["id"], dead(api)
    told = api.post("/outbox/dismiss", {"ids": [died, proven]})
    assert (told.status, told.code) == (409, "not_dead")
    assert died in shown(api, state="dead")
    assert api.post("/outbox/dismiss", {"ids": [1 << 40]}).status == 404


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"ids": []}, {"ids": [0]}, {"ids": ["1"]}, {"state": "queued"}, {"all": True}),
        *({"ids": [1], "state": "dead"}, {"ids": [True]}, {"ids": [1 << 63]}),
    ],
)
def test_a_wrong_dismissal_dismisses_nothing(api: Api, body: dict[str, Any]) -> None:
    assert api.post("/outbox/dismiss", body).status == 400


def test_a_landing_is_scanned_for(api: Api) -> None:
    path = api.logs / "landed" / "new.ulg"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(log())
    told = api.post("/landed").json
    assert told["found"] >= told["enqueued"] >= 0
    found = until(lambda: [r for r in api.get("/outbox").json["rows"] if r["path"] == str(path)])
    api.in_state(found[0]["id"], "verified")


# -- how things are


def test_status_says_how_things_are(api: Api) -> None:
    api.stored(log())
    found = api.get("/status").json
    assert (found["link"], found["credentials"]) == ("up", "ok")
    assert set(found["counts"]) == {"queued", "uploading", "verified", "dead", "cancelled"}
    assert api.get("/health").json["status"] == "healthy"


def test_health_says_that_the_link_is_down(api: Api) -> None:
    api.link.cut()
    row_id = api.upload(log(), "unwell.ulg").json["id"]
    found = api.get("/health").json
    assert (found["status"], found["link"], bool(found["reason"])) == ("degraded", "down", True)
    api.link.forward()
    api.in_state(row_id, "verified")


def test_nothing_that_is_told_holds_a_secret(api: Api) -> None:
    key = api.stored(log())["s3_key"]
    told = b"".join(
        api.get(path).body
        for path in (
            "/bucket/info",
            "/status",
            "/health",
            "/metrics",
            "/outbox",
            "/history",
            "/bucket/list",
            f"/bucket/head/{key}",
        )
    ).decode()
    assert [secret for secret in SECRETS if secret in told] == []
    info = api.get("/bucket/info").json
    assert (info["machine_id"], info["bucket_name"]) == (MACHINE, api.bucket)
    assert (info["max_file_size"], info["has_token_service"]) == (MOST_BYTES, True)


def test_what_is_known_of_the_server_is_told(api: Api) -> None:
    known = Capabilities(asked_at=1_760_000_000)
    known = known.with_("md5_etags", offered=True, at=1_760_000_000, by="PUT told the md5.")
    known = known.with_("list_parts", offered=False, at=1_760_000_001, by="501 came.")
    outbox = Outbox(api.state / "outbox.db")
    keep(outbox, f"{api.link.url} {api.bucket}", written(known))
    outbox.close()
    for path, model in (("/status", StatusView), ("/bucket/info", InfoView)):
        told = api.get(path).json
        assert told["capabilities"] == known.as_json()
        read = model.model_validate(told).capabilities
        assert read is not None
        assert read.features["list_parts"].means == LACKS["list_parts"]


FIGURES = {
    *("build_info", "rows", "rows_by_code", "oldest_unsent_seconds", "backlog_bytes", "link"),
    *("sent_bytes", "resent_bytes", "parts_sent", "parts_resent", "proofs", "link_seen_seconds"),
    *("last_proof_timestamp_seconds", "credentials", "credentials_seen_age_seconds", "free_bytes"),
    *("clock_offset_seconds", "state_free_bytes", "landing_to_proof_seconds", "unsent_deleted"),
}


def test_the_figures_for_alarms_are_there_after_an_upload(api: Api) -> None:
    before = time.time()
    api.stored(log())
    api.post("/flight", {"armed": True})
    held = api.upload(log(), "counted.ulg", wait="false").json["id"]
    text = api.get("/metrics").body.decode()
    api.post("/flight", {"armed": False})
    families = {one.name.removeprefix("petal_s3_"): one for one in parser(text)}
    assert set(families) >= FIGURES, FIGURES - set(families)

    def value(name: str, sample: str = "", **labels: str) -> float:
        [found] = [
            one.value
            for one in families[name].samples
            if one.name == f"petal_s3_{sample or name}" and labels.items() <= one.labels.items()
        ]
        return float(found)

    assert value("rows_by_code", state="queued", code="armed") >= 1
    assert value("link", state="up") == 1
    assert value("link", state="down") == 0
    assert value("credentials", state="ok") == 1
    assert value("unsent_deleted", "unsent_deleted_total") == 0
    assert before - 5 <= value("last_proof_timestamp_seconds") <= time.time() + 5
    proven = [one for one in families["proofs"].samples if one.name.endswith("_total")]
    assert {one.labels["proof"] for one in proven} >= {"crc32+etag", "etag", "crc32", "read-back"}
    assert sum(one.value for one in proven) >= 1
    after = value("landing_to_proof_seconds", "landing_to_proof_seconds_count")
    assert after == sum(one.value for one in proven)
    api.in_state(held, "verified")


def test_figures_are_what_prometheus_reads(api: Api) -> None:
    text = api.get("/metrics").body.decode()
    assert 'petal_s3_rows{state="verified"}' in text
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) .+|[a-z_0-9]+(\{.+\})? [-+0-9.e]+", line), line


@pytest.mark.threat(
    "page",
    "it shows the status page in a frame, or has a file named like a script",
    "the browser is told to show it in no frame and to run only its own script; no name is in it",
)
def test_the_page_holds_no_name_and_may_load_only_its_own_files(api: Api) -> None:
    key = f"{HOME}<script>alert(1)</script>\"'&.ulg"
    path = api.logs / "hostile.ulg"
    path.write_bytes(log())
    row_id = api.post("/outbox", {"path": str(path), "key": key}).json["id"]
    api.in_state(row_id, "verified")

    told = api.get("/")
    assert told.headers["content-type"] == "text/html; charset=utf-8"
    assert told.body == static_files()["index.html"].content
    assert told.headers["content-security-policy"] == POLICY
    assert told.headers["x-content-type-options"] == "nosniff"
    assert told.headers["referrer-policy"] == "no-referrer"
    row = api.get(f"/outbox/{row_id}")
    assert row.headers["content-type"].startswith("application/json"), "no browser runs that"


@pytest.mark.parametrize("name", sorted(static_files()))
def test_a_file_of_the_page_is_asked_for_again_only_when_it_has_changed(
    api: Api, name: str
) -> None:
    file = static_files()[name]
    told = api.get(f"/static/{name}")
    assert (told.body, told.headers["content-type"]) == (file.content, file.content_type)
    assert (told.headers["cache-control"], told.headers["etag"]) == ("no-cache", file.etag)
    again = api.plain("GET", f"/static/{name}", headers={"If-None-Match": f'"x", W/{file.etag}'})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", file.etag)
    other = api.plain("GET", f"/static/{name}", headers={"If-None-Match": '"x"'})
    assert (other.status, other.body) == (200, file.content)


@pytest.mark.parametrize(
    "name", ["page.py", "..%2Fpage.py", "%2e%2e%2fpage.py", "..%5cpage.py", "a%00b", "x" * 65]
)
def test_no_other_file_is_given(api: Api, name: str) -> None:
    told = api.plain("GET", f"/static/{name}")
    assert told.status in {400, 404}
    assert b"import" not in told.body


def test_in_the_host_the_page_is_found_without_its_last_slash(host: Api) -> None:
    told = host.plain("GET", "")
    assert (told.status, told.headers["location"]) == (307, "petal-s3/")
    refused = host.plain("GET", "", headers={"Origin": "http://evil.example"})
    assert (refused.status, refused.code) == (403, "foreign_page")


# -- what the page shows


def test_a_row_says_when_and_how_long_its_log_was(api: Api) -> None:
    path = api.logs / "2025-07-27-14-30-22.ulg"
    path.write_bytes(log())
    before = int(time.time())
    row = api.post("/outbox", {"path": str(path)}).json
    assert row["name"] == path.name
    assert row["log_time"] == "2025-07-27T14:30:22+00:00"
    assert before <= datetime.fromisoformat(row["entered_at"]).timestamp() <= time.time()
    assert row["duration_s"] is None or row["duration_s"] >= 0


def test_the_journal_of_a_row_tells_its_way_from_found_to_proven(api: Api) -> None:
    row_id = api.upload(log(), "journal.ulg").json["id"]
    told = api.get(f"/outbox/{row_id}/journal").json
    assert (told["id"], told["state"]) == (row_id, "verified")
    events = [one["event"] for one in told["events"]]
    assert (events[0], events[-1]) == ("found", "proven")
    moments = [datetime.fromisoformat(one["device_time"]) for one in told["events"]]
    assert moments == sorted(moments)
    assert api.get("/outbox/999999/journal").status == 404


def test_the_status_says_since_when_and_what_would_end_it(api: Api) -> None:
    free = api.get("/status").json
    assert (free["since"], free["ends"]) == (None, "")
    assert (free["machine_id"], free["bucket_name"]) == (MACHINE, api.bucket)
    assert free["read_only"] is False
    before = time.time()
    api.post("/flight", {"armed": True})
    row_id = api.upload(log(), "held.ulg", wait="false").json["id"]
    held = until(lambda: said if (said := api.get("/status").json)["code"] == "armed" else None)
    since = datetime.fromisoformat(held["since"]).timestamp()
    assert before - 2 <= since <= time.time() + 2
    assert "landing" in held["ends"]
    api.post("/flight", {"armed": False})
    api.in_state(row_id, "verified")
    assert api.get("/status").json["since"] is None


def test_the_last_day_is_told(api: Api) -> None:
    with contextlib.closing(sqlite3.connect(api.state / "outbox.db", timeout=20)) as outbox:
        now = int(time.time())
        for at, rate, left in ((now - 100_000, 1, 1), (now - 3600, 500, 2000), (now - 60, 0, 0)):
            outbox.execute("INSERT INTO sample VALUES (NULL, ?, ?, ?)", (at, rate, left))
        outbox.commit()
    samples = api.get("/history").json["samples"]
    assert {"at": iso(now - 3600), "rate_bytes_s": 500, "backlog_bytes": 2000} in samples
    assert iso(now - 100_000) not in [one["at"] for one in samples], "older than a day"


# -- events


class Ear:
    """Listens to the events in a thread."""

    def __init__(self, api: Api) -> None:
        self.events: list[tuple[str, Any]] = []
        self.wire = socket.create_connection(api.address, timeout=30)
        self.wire.sendall(f"GET {api.prefix}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        self._file = self.wire.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers = {}
        while line := self._file.readline().decode().strip():
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        name = ""
        with contextlib.suppress(OSError, ValueError):
            for line in self._file:
                if line.startswith(b"event: "):
                    name = line[7:].decode().strip()
                elif line.startswith(b"data: "):
                    self.events.append((name, json.loads(line[6:])))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.wire.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._file.close()
        self.wire.close()


def test_a_caller_that_listens_hears_a_log_go_up(api: Api) -> None:
    ear = Ear(api)
    try:
        assert ear.status == 200
        assert ear.headers["content-type"].startswith("text/event-stream")
        until(lambda: "status" in [name for name, _ in ear.events])
        row_id = api.upload(log(TWO_PARTS), "heard.ulg", wait="false").json["id"]

        def states() -> list[str]:
            told = [row for name, row in ear.events if name == "progress" and row["id"] == row_id]
            return [row["state"] for row in told]

        until(lambda: "verified" in states())
        assert states()[-1] == "verified"
        api.post("/flight", {"armed": True})
        until(lambda: any(n == "status" and s["flight_state"] == "armed" for n, s in ear.events))
        assert {name for name, _ in ear.events} == {"status", "progress"}
    finally:
        ear.close()


def test_the_progress_of_a_row_is_told_twice_a_second(api: Api) -> None:
    api.link.link.rate_bytes_s = 1_000_000
    ear = Ear(api)
    heard: list[float] = []
    try:
        until(lambda: ear.events)
        row_id = api.upload(log(6_000_000), "paced.ulg", wait="false").json["id"]

        def proven() -> bool:
            told = [row for name, row in ear.events if name == "progress" and row["id"] == row_id]
            heard.extend([time.monotonic()] * (len(told) - len(heard)))
            return bool(told) and told[-1]["state"] == "verified"

        until(proven)
        sent = [
            row["sent_bytes"] for n, row in ear.events if n == "progress" and row["id"] == row_id
        ]
        assert sent == sorted(sent)
        lasted = heard[-1] - heard[0]
        assert len(heard) >= 2 * lasted, (len(heard), lasted)
        left = {s["backlog_bytes"] for name, s in ear.events if name == "status"}
        assert len(left) >= 3, "what is left is told as it gets less"
    finally:
        api.link.link.rate_bytes_s = 0
        ear.close()


def _says(ear: Ear, flight_state: str) -> bool:
    told = [status for name, status in ear.events if name == "status"]
    return bool(told[-1]["flight_state"] == flight_state)


def test_a_change_of_the_status_is_told_within_a_second(api: Api) -> None:
    ear = Ear(api)
    try:
        until(lambda: ear.events)
        for armed in (True, False):
            wanted = "armed" if armed else "disarmed"
            began = time.monotonic()
            api.post("/flight", {"armed": armed})
            until(partial(_says, ear, wanted))
            assert time.monotonic() - began < 1.5
    finally:
        ear.close()


def test_listeners_who_leave_make_room_for_others(api: Api) -> None:
    ears = [Ear(api) for _ in range(30)]
    try:
        told = Counter(ear.status for ear in ears)
        assert set(told) == {200, 503}
        assert 15 <= told[200] <= 20, "those who left just before may still be counted"
    finally:
        for ear in ears:
            ear.close()
    last = until(lambda: ear if (ear := Ear(api)).status == 200 else ear.close(), 5)
    last.close()
