"""Diagnosis sessions over REST: text logs into the outbox, large files handed over by key."""

from __future__ import annotations

import base64
import itertools
import os
from pathlib import Path
from typing import Any

import pytest
from apis import HOME, MOST_BYTES, SECRETS, Api, log, opens, until

from petal_s3.service.temporary_files import INLINE_BYTES

MOMENT_NS = 1_753_626_622 * 10**9  # 2025-07-27 14:30:22 UTC
BODY = b"%PDF-1.7 a report\n" * 5000
_numbers = itertools.count(1)


@pytest.fixture
def session() -> str:
    """A session that no other test knows."""
    return f"session-{next(_numbers)}"


def write(api: Api, body: bytes, name: str = "app.log") -> str:
    path = api.logs / name
    path.write_bytes(body)
    os.utime(path, ns=(MOMENT_NS, MOMENT_NS))
    return str(path)


def begin(api: Api, session: str, **more: Any) -> Any:
    asked = {"session_id": session, "name": "Bericht ä.pdf", "size": len(BODY), **more}
    return api.post("/bucket/presign-upload", asked)


def complete(api: Api, session: str, **more: Any) -> Any:
    return api.post("/bucket/complete-upload", {"session_id": session, **more})


def end(api: Api, session: str) -> Any:
    return api.post("/bucket/end-session", {"session_id": session})


def below(api: Api, session: str) -> list[str]:
    return [key for key in api.stored_keys() if key.startswith(f"{HOME}tmp/{session}/")]


def refused(answer: Any, status: int, code: str) -> bool:
    return (answer.status, answer.json["code"]) == (status, code)


# -- logs


def test_a_text_log_with_a_session_goes_to_its_logs(api: Api, session: str) -> None:
    path = write(api, b"line\n", f"error log ({session}).txt")

    told = api.post("/outbox", {"path": path, "session_id": session})
    again = api.post("/outbox", {"path": path, "session_id": session})
    row = api.in_state(told.json["id"], "verified")

    assert told.status == 200
    assert again.json["key"] == row["key"]
    name = f"20250727_143022_error_log_{session}.txt"
    assert row["key"] == f"{HOME}sessions/{session}/logs/{name}"
    assert row["session_id"] == session
    assert api.object(row["key"]) == b"line\n"


@pytest.mark.parametrize(
    ("name", "body", "session", "status", "code"),
    [
        ("a.pdf", b"%PDF", "s1", 422, "extension"),
        ("b.log", b"\0\1" * 99, "s1", 422, "not_text"),
        ("c.log", b"", "s1", 422, "empty"),
        ("d.log", b"x\n", "a/b", 400, "bad_session"),
        ("e.log", b"x\n", "", 400, "bad_session"),
        ("f.log", b"x\n", "..", 400, "bad_session"),
        ("g.ulg", b"x\n", "../x", 400, "bad_session"),
        ("h.log", b"x" * (MOST_BYTES + 1), "s1", 413, "too_large"),
    ],
)
def test_a_bad_log_of_a_session_is_refused(
    api: Api, name: str, body: bytes, session: str, status: int, code: str
) -> None:
    rows = api.rows()
    path = write(api, body, name)
    try:
        told = api.post("/outbox", {"path": path, "session_id": session})
    finally:
        Path(path).unlink()

    assert refused(told, status, code), told
    if name == "a.pdf":
        assert told.json["error"] == (
            "Invalid file type: .pdf. Allowed: .log, .txt, .csv, .out, .err."
        )
    assert (api.rows(), api.spool()) == (rows, [])


def test_a_log_of_a_session_outside_the_log_directories_is_refused(api: Api) -> None:
    for path in ("/etc/hosts.txt", "/etc/passwd", f"{api.logs}/../app.log"):
        told = api.post("/outbox", {"path": path, "session_id": "s1"})
        assert refused(told, 403, "not_allowed")


# -- handed over by key


def test_a_large_file_is_put_completed_and_gone_with_its_session(api: Api, session: str) -> None:
    made = begin(api, session).json
    assert made["method"] == "PUT"
    assert made["s3_key"].startswith(f"{HOME}tmp/{session}/{made['file_id']}_")
    early = complete(api, session, s3_key=made["s3_key"])
    put = opens(made["url"], "PUT", BODY, **made["headers"])
    told = complete(api, session, s3Key=made["s3_key"], index=3, page_count=5)

    assert refused(early, 404, "not_uploaded")
    assert (put.status, told.status) == (200, 200)
    assert {**told.json, "s3Url": ""} == {
        "success": True,
        "name": "Bericht ä.pdf",
        "type": "application/pdf",
        "extension": ".pdf",
        "size": len(BODY),
        "index": 3,
        "file_id": made["file_id"],
        "page_count": 5,
        "s3Key": made["s3_key"],
        "s3Url": "",
    }
    assert api.object(made["s3_key"]) == BODY
    ended = end(api, session)
    assert (ended.status, ended.json["deleted"]) == (200, 1)
    assert below(api, session) == []


def test_a_small_file_comes_with_the_request(api: Api, session: str) -> None:
    body = os.urandom(INLINE_BYTES - 1)

    told = complete(api, session, name="a.bin", content=base64.b64encode(body).decode())

    assert told.status == 200
    assert (told.json["size"], told.json["type"]) == (len(body), "application/octet-stream")
    assert api.object(told.json["s3Key"]) == body
    assert end(api, session).json["deleted"] == 1


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        (
            {"name": "a", "content": base64.b64encode(b"x" * INLINE_BYTES).decode()},
            413,
            "too_large",
        ),
        ({"name": "a", "content": "A" * 300_000}, 413, "too_large"),
        ({"name": "a", "content": ""}, 400, "empty"),
        ({"name": "a", "content": "%%%"}, 400, "bad_input"),
        ({"name": "../a", "content": "QUJD"}, 400, "bad_name"),
        ({"content": "QUJD"}, 400, "bad_input"),
        ({"name": "a"}, 400, "bad_input"),
        ({}, 400, "bad_input"),
        ({"s3_key": "a", "content": "QUJD", "name": "a"}, 400, "bad_input"),
        ({"s3_key": f"{HOME}flight.ulg"}, 403, "not_allowed"),
        ({"s3_key": f"{HOME}tmp/another/a.pdf"}, 403, "not_allowed"),
        ({"s3_key": "flight_logs/drone-002/tmp/s1/a.pdf"}, 403, "not_allowed"),
        ({"s3_key": "s3://other/a"}, 403, "not_allowed"),
        ({"s3_key": f"{HOME}tmp/s1/../../flight.ulg"}, 403, "not_allowed"),
        ({"name": "a", "content": "QUJD", "index": -1}, 400, "bad_input"),
        ({"name": "a", "content": "QUJD", "page_count": "many"}, 400, "bad_input"),
        ({"name": "a", "content": "QUJD", "type": "text"}, 400, "bad_type"),
        ({"name": "a", "content": "QUJD", "what": 1}, 400, "bad_input"),
        ({"name": "a", "content": "QUJD", "session_id": ".."}, 400, "bad_session"),
    ],
)
def test_what_is_no_file_is_refused(
    api: Api, asked: dict[str, Any], status: int, code: str
) -> None:
    before = api.stored_keys()

    told = complete(api, "s1", **asked)

    assert refused(told, status, code), told
    assert api.stored_keys() == before


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"size": 0}, 400, "empty"),
        ({"size": -1}, 400, "bad_input"),
        ({"size": MOST_BYTES + 1}, 413, "too_large"),
        ({"size": 1 << 70}, 400, "bad_input"),
        ({"name": "a/b"}, 400, "bad_name"),
        ({"name": ".."}, 400, "bad_name"),
        ({"name": ""}, 400, "bad_name"),
        ({"name": "x" * 300}, 400, "bad_name"),
        ({"type": "a/b\r\nX-Evil: 1"}, 400, "bad_type"),
        ({"session_id": ""}, 400, "bad_input"),
        ({"session_id": "a/../b"}, 400, "bad_session"),
        ({"size": "big"}, 400, "bad_input"),
        ({"size": True}, 400, "bad_input"),
    ],
)
def test_what_can_be_no_file_gets_no_url(
    api: Api, asked: dict[str, Any], status: int, code: str
) -> None:
    assert refused(begin(api, "s1", **asked), status, code)


def test_the_end_of_a_session_that_is_unknown_deletes_nothing(api: Api, session: str) -> None:
    made = complete(api, f"{session}0", name="a", content="QUJD").json

    ended = end(api, session)

    assert (ended.status, ended.json["deleted"]) == (200, 0)
    assert below(api, f"{session}0") == [made["s3Key"]]
    assert refused(end(api, "../.."), 400, "bad_session")
    assert end(api, f"{session}0").json["deleted"] == 1


def test_offline_a_sentence_comes_back_and_later_it_works(api: Api, session: str) -> None:
    made = complete(api, session, name="a", content="QUJD").json
    api.link.cut()

    told = [
        complete(api, session, name="a", content="QUJD"),
        complete(api, session, s3_key=made["s3Key"]),
        end(api, session),
    ]
    api.link.forward()

    for answer in told:
        assert answer.status == 503
        assert not any(secret in answer.body.decode() for secret in SECRETS)
    until(lambda: end(api, session).status == 200)
    assert below(api, session) == []


def test_a_flight_log_may_belong_to_a_session(api: Api, session: str) -> None:
    path = write(api, log(), f"{session}.ulg")

    told = api.post("/outbox", {"path": path, "session_id": session})
    row = api.in_state(told.json["id"], "verified")

    assert (row["kind"], row["session_id"]) == ("ulog", session)
    assert row["key"].startswith(HOME)
    assert "/sessions/" not in row["key"]
