"""Four plain functions for agents: the names and keys they know, whatever they are given."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import signal
import threading
import typing
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import pytest
from robot import BUCKET, HOME, refusal

from petal_s3 import tools
from petal_s3.client import S3Client
from petal_s3.demo.recorded_link import LinkThread
from petal_s3.demo.services import EmbeddedS3, in_thread
from petal_s3.demo.tokens import TokenService

FOUR = (
    tools.upload_log_to_s3,
    tools.get_s3_file_content,
    tools.list_session_logs,
    tools.generate_presigned_url,
)
Answer = dict[str, Any]


@dataclass
class Bench:
    """Where an agent works: settings in the environment, a wire, and files."""

    link: LinkThread
    tokens: TokenService
    cloud: Any
    tmp: Path

    def write(self, text: str | bytes = "a line\n", name: str = "app.log") -> str:
        path = self.tmp / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def put(self, key: str, body: bytes) -> str:
        self.cloud.put_object(Bucket=BUCKET, Key=key, Body=body)
        return key

    def stored(self) -> list[str]:
        found = self.cloud.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [item["Key"] for item in found]


@pytest.fixture
def bench(
    s3_server: EmbeddedS3, cloud: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    with LinkThread(s3_server.url) as link, in_thread(TokenService()) as tokens:
        for name, value in {
            "bucket_name": BUCKET,
            "endpoint_url": link.url,
            "session_token_url": tokens.url,
            "machine_id": "drone-001",
            "state_dir": tmp_path / "state",
            "log_dirs": tmp_path / "l",
            "request_timeout": 2,
        }.items():
            monkeypatch.setenv(f"PETAL_S3_{name.upper()}", str(value))
        yield Bench(link, tokens, cloud, tmp_path)
        if tools.process_client.held is not None:
            tools.process_client.held[1].close()
        tools.process_client.forget()


def failed(answer: Answer, code: str, status: int) -> bool:
    """Whether it is a failure as documented: one sentence and a code."""
    assert isinstance(answer["error"], str)
    assert answer["error"].count("\n") == 0
    assert "Traceback" not in answer["error"]
    json.dumps(answer)
    return (answer["success"], answer["code"], answer["status"]) == (False, code, status)


# -- the names and keys that agents know


def test_a_log_is_uploaded_listed_read_and_given_a_url(bench: Bench) -> None:
    made = tools.upload_log_to_s3(bench.write("größe\n", "error log (1).txt"), "s1", "why")
    key = made["key"]
    listed = tools.list_session_logs("s1")
    content = tools.get_s3_file_content(s3_uri=made["s3_uri"])
    url = tools.generate_presigned_url(s3_key=key, expiration_hours=0.5)

    assert set(made) == {
        "success",
        "message",
        "s3_uri",
        "bucket",
        "key",
        "file_name",
        "file_size",
        "file_size_mb",
        "upload_timestamp",
        "session_id",
        "presigned_url",
        "presigned_url_expires",
    }
    assert re.fullmatch(HOME + r"sessions/s1/logs/\d{8}_\d{6}_error_log_1.txt", key)
    assert (made["success"], made["bucket"], made["file_size"]) == (True, BUCKET, 8)
    assert made["file_name"] == "error log (1).txt"
    assert set(listed) == {"session_id", "files_found", "total_size_mb", "files", "message"}
    assert (listed["session_id"], listed["files_found"]) == ("s1", 1)
    [file] = listed["files"]
    assert set(file) == {"key", "size", "last_modified", "file_name"}
    assert (file["key"], file["size"]) == (key, 8)
    assert file["file_name"] == "error log (1).txt"
    assert set(content) == {"success", "content", "file_size", "file_size_mb", "s3_key", "s3_uri"}
    assert content["content"] == "größe\n"
    assert set(url) == {
        "success",
        "presigned_url",
        "s3_key",
        "s3_uri",
        "expires_in_hours",
        "expires_at",
    }
    assert url["expires_in_hours"] == 0.5
    for answer in (made, listed, content, url):
        assert json.loads(json.dumps(answer)) == answer


@pytest.mark.parametrize("tool", FOUR)
def test_any_framework_can_wrap_them(tool: Callable[..., Any]) -> None:
    signature = inspect.signature(tool)
    doc = inspect.getdoc(tool) or ""

    assert typing.get_type_hints(tool).keys() == {*signature.parameters, "return"}
    for name, argument in signature.parameters.items():
        assert argument.annotation in {str, float, str | None}, "a type, not its name"
        assert argument.kind is argument.POSITIONAL_OR_KEYWORD
        assert re.search(rf"^    {name}: \S", doc, re.MULTILINE)
    assert "\nArgs:\n" in doc
    assert "\nReturns:\n" in doc
    assert not inspect.iscoroutinefunction(tool)
    schema = pydantic.TypeAdapter(tool).json_schema()
    assert schema["properties"].keys() == signature.parameters.keys()


def test_the_arguments_are_those_that_agents_know() -> None:
    assert [str(inspect.signature(tool)).partition(" ->")[0] for tool in FOUR] == [
        "(file_path: str, session_id: str, file_description: str = '')",
        "(s3_uri: str | None = None, s3_key: str | None = None, max_size_mb: float = 50)",
        "(session_id: str)",
        "(s3_uri: str | None = None, s3_key: str | None = None, expiration_hours: float = 1)",
    ]


# -- what is larger, or no text


def test_what_is_too_large_comes_with_a_way_that_works(bench: Bench) -> None:
    key = bench.put(f"{HOME}sessions/s1/logs/big {{0}}.log", b"0123456789" * 200_000)

    told = tools.get_s3_file_content(s3_key=key, max_size_mb=1)

    assert failed(told, "too_large", 413)
    assert told["error"] == "File too large: 1.9MB (max: 1MB)."
    assert (told["file_size_mb"], told["s3_key"]) == (1.91, key)
    method = re.search(
        r"petal_s3\.S3Client\(\)\.(\w+)\((['\"].*['\"]), start, end\)", told["suggestion"]
    )
    assert method is not None
    assert method[2] == repr(key)
    with S3Client() as client:
        assert getattr(client, method[1])(key, 10, 14) == b"01234"
    assert tools.get_s3_file_content(s3_key=key, max_size_mb=2)["success"] is True


def test_what_is_no_text_comes_with_a_way_that_works(bench: Bench) -> None:
    key = bench.put(f"{HOME}a.ulg", b"ULog\x01\x12\x35\0" * 100)

    told = tools.get_s3_file_content(s3_key=key)

    assert failed(told, "not_text", 422)
    method = re.search(r"petal_s3\.S3Client\(\)\.(\w+)\(", told["suggestion"])
    assert method is not None
    with S3Client() as client:
        got = getattr(client, method[1])(key, bench.tmp / "got")
    assert Path(got).read_bytes() == b"ULog\x01\x12\x35\0" * 100
    assert tools.generate_presigned_url(s3_key=key)["success"] is True


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", ""),
        (b"\xef\xbb\xbfhi", "hi"),
        ("hi ü".encode("utf-16"), "hi ü"),
        (b"caf\xe9", "caf\ufffd"),
        (b"a" * 2000 + b"\0\xff", "a" * 2000 + "\0\ufffd"),
    ],
)
def test_a_text_is_read_in_its_encoding(bench: Bench, body: bytes, text: str) -> None:
    key = bench.put(f"{HOME}a.log", body)

    told = tools.get_s3_file_content(s3_uri=f"s3://{BUCKET}/{key}")

    assert (told["success"], told["content"], told["file_size"]) == (True, text, len(body))
    json.dumps(told)


# -- what agents get wrong


def test_whatever_is_given_a_dict_comes_back(bench: Bench) -> None:
    path = bench.write()
    theirs = bench.put("flight_logs/drone-002/a.log", b"theirs")
    wrong: list[tuple[Answer, str, int]] = [
        (tools.upload_log_to_s3(path, "a/b"), "bad_session", 400),
        (tools.upload_log_to_s3(path, ""), "bad_session", 400),
        (tools.upload_log_to_s3(bench.write("%PDF", "a.pdf"), "s1"), "extension", 422),
        (tools.upload_log_to_s3(bench.write(b"\0\1" * 99, "b.log"), "s1"), "not_text", 422),
        (tools.upload_log_to_s3(bench.write("", "c.log"), "s1"), "empty", 422),
        (tools.upload_log_to_s3("/nowhere/a.log", "s1"), "not_found", 404),
        (tools.upload_log_to_s3("", "s1"), "bad_path", 400),
        (tools.upload_log_to_s3("a\0.log", "s1"), "bad_path", 400),
        (tools.list_session_logs("../s1"), "bad_session", 400),
        (tools.get_s3_file_content(), "bad_input", 400),
        (tools.get_s3_file_content("s3://a/b", "b"), "bad_input", 400),
        (tools.get_s3_file_content(s3_key=""), "bad_input", 400),
        (tools.get_s3_file_content(s3_uri="https://x/y"), "bad_uri", 400),
        (tools.get_s3_file_content(s3_uri=f"s3://other/{HOME}a.log"), "not_allowed", 403),
        (tools.get_s3_file_content(s3_key=theirs), "not_allowed", 403),
        (tools.get_s3_file_content(s3_key=f"{HOME}../drone-002/a.log"), "not_allowed", 403),
        (tools.get_s3_file_content(s3_key=f"{HOME}gone.log"), "not_found", 404),
        (tools.get_s3_file_content(s3_key=f"{HOME}a", max_size_mb=0), "bad_input", 400),
        (tools.get_s3_file_content(s3_key=f"{HOME}a", max_size_mb=float("nan")), "bad_input", 400),
        (tools.get_s3_file_content(s3_key=f"{HOME}a", max_size_mb=1e9), "bad_input", 400),
        (tools.generate_presigned_url(s3_key=f"{HOME}gone.log"), "not_found", 404),
        (tools.generate_presigned_url(s3_key=theirs), "not_allowed", 403),
    ]
    for number, (answer, code, status) in enumerate(wrong):
        assert failed(answer, code, status), (number, answer)
    key = bench.put(f"{HOME}a.log", b"x")
    for hours in (0, -1, float("nan"), -float("inf")):
        told = tools.generate_presigned_url(s3_key=key, expiration_hours=hours)
        assert failed(told, "bad_input", 400)
    for hours in (169, 1e300, float("inf")):
        told = tools.generate_presigned_url(s3_key=key, expiration_hours=hours)
        assert 0 < told["expires_in_hours"] <= 1, "it ends with the credentials"
    unknown = tools.list_session_logs("nobody")
    assert failed(unknown, "no_session", 404)
    assert (unknown["session_id"], unknown["files_found"], unknown["files"]) == ("nobody", 0, [])
    assert sorted(bench.stored()) == [key, theirs]
    assert list((bench.tmp / "state" / "spool").iterdir()) == []


def test_arguments_of_another_type_are_told_and_never_raise(bench: Bench) -> None:
    call: Any
    for call in (
        lambda: tools.upload_log_to_s3(None, "s1"),  # type: ignore[arg-type]
        lambda: tools.upload_log_to_s3(bench.write(), 7),  # type: ignore[arg-type]
        lambda: tools.upload_log_to_s3(bench.write(), "s1", {}),  # type: ignore[arg-type]
        lambda: tools.list_session_logs(["s1"]),  # type: ignore[arg-type]
        lambda: tools.get_s3_file_content(s3_key=7),  # type: ignore[arg-type]
        lambda: tools.get_s3_file_content(s3_key="x", max_size_mb="many"),  # type: ignore[arg-type]
        lambda: tools.generate_presigned_url(s3_key="x", expiration_hours=None),  # type: ignore[arg-type]
        tools.upload_log_to_s3,
        lambda: tools.upload_log_to_s3("a.log", "s1", no_such="x"),  # type: ignore[call-arg]
    ):
        assert failed(call(), "bad_input", 400)
    assert bench.stored() == []


def test_a_path_and_a_number_in_words_are_understood(bench: Bench) -> None:
    path: Any = Path(bench.write())
    size: Any = "50"

    made = tools.upload_log_to_s3(path, "s1")

    assert tools.get_s3_file_content(s3_key=made["key"], max_size_mb=size)["success"] is True


def test_without_settings_it_says_which_is_missing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PETAL_S3_BUCKET_NAME")

    for answer in (tools.list_session_logs("s1"), tools.upload_log_to_s3(bench.write(), "s1")):
        assert answer["success"] is False
        assert "PETAL_S3_BUCKET_NAME" in answer["error"]


# -- when the world is against it


@pytest.mark.guarantee(
    "links",
    "an agent uploads a log while the machine is offline, again and again",
    "each answer is a dict with the id of one and the same row; online it arrives",
)
def test_offline_the_answer_carries_the_row(bench: Bench) -> None:
    path = bench.write()
    bench.link.cut()

    told = [tools.upload_log_to_s3(path, "s1") for _ in range(2)]
    bench.link.forward()
    made = tools.upload_log_to_s3(path, "s1")

    assert all(one["success"] is False and one["status"] == 503 for one in told)
    assert len({one["id"] for one in told}) == 1
    assert made["success"] is True
    assert bench.stored() == [made["key"]]


def test_without_credentials_a_sentence_comes_back(bench: Bench) -> None:
    bench.tokens.fail_with(403, "no")
    path = bench.write()

    up, read = tools.upload_log_to_s3(path, "s1"), tools.get_s3_file_content(s3_key=f"{HOME}a")

    assert (up["status"], read["status"]) == (503, 503)
    assert up["code"] == read["code"]
    assert "demo-secret" not in json.dumps([up, read])
    bench.tokens.heal()
    assert tools.upload_log_to_s3(path, "s1")["success"] is True


def test_a_proven_log_is_a_success_though_no_url_can_be_signed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise tools.BadInput("no")

    monkeypatch.setattr(S3Client, "presigned", refuse)

    made = tools.upload_log_to_s3(bench.write(), "s1")

    assert (made["success"], made["presigned_url"], made["presigned_url_expires"]) == (
        True,
        None,
        None,
    )


# -- wherever it is called from


async def test_it_works_inside_a_running_loop(bench: Bench) -> None:
    made = tools.upload_log_to_s3(bench.write(), "s1")
    told = await asyncio.to_thread(tools.list_session_logs, "s1")

    assert (made["success"], told["files_found"]) == (True, 1)


def test_several_threads_share_one_client(bench: Bench) -> None:
    paths = [bench.write(f"log {n}\n", f"{n}.log") for n in range(8)]

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda path: tools.upload_log_to_s3(path, "s1"), paths))

    assert all(one["success"] for one in made)
    assert sorted(bench.stored()) == sorted(one["key"] for one in made)
    assert sum(thread.name == "petal-s3" for thread in threading.enumerate()) == 1


def test_after_a_fork_parent_and_child_go_on(bench: Bench) -> None:
    assert tools.upload_log_to_s3(bench.write(), "s1")["success"] is True
    reader, writer = os.pipe()
    held = tools.process_client.lock
    held.acquire()  # as another thread might; in the child nobody gives it back
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            signal.alarm(120)
            told = tools.upload_log_to_s3(bench.write("child\n", "child.log"), "s1")
            os.write(writer, json.dumps(told).encode())
        finally:
            os._exit(0)
    held.release()
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = json.loads(pipe.read() or b"{}")
    os.waitpid(child, 0)

    assert told.get("success") is True, told
    assert tools.upload_log_to_s3(bench.write("parent\n", "parent.log"), "s1")["success"] is True
    assert tools.list_session_logs("s1")["files_found"] == 3


def test_settings_that_change_count_at_the_next_call(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tools.upload_log_to_s3(bench.write(), "s1")
    monkeypatch.setenv("PETAL_S3_MACHINE_ID", "drone-007")
    monkeypatch.setenv("PETAL_S3_STATE_DIR", str(bench.tmp / "other"))
    second = tools.upload_log_to_s3(bench.write(), "s1")

    assert first["key"].startswith(HOME)
    assert second["key"].startswith("flight_logs/drone-007/sessions/s1/logs/")
    assert failed(tools.get_s3_file_content(s3_key=first["key"]), "not_allowed", 403)


def test_settings_that_change_break_no_call_of_another_thread(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = bench.put(f"{HOME}a.log", b"x" * 3_000_000)
    bench.link.link.rate_bytes_s = 2_000_000
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(tools.get_s3_file_content, s3_key=key)
        while not bench.link.ledger.requests("GetObject"):
            threading.Event().wait(0.01)
        monkeypatch.setenv("PETAL_S3_MACHINE_ID", "drone-007")
        tools.list_session_logs("s1")

        assert slow.result()["file_size"] == 3_000_000


def test_a_bucket_of_another_owner_is_told(bench: Bench) -> None:
    bench.link.link.on_request = denied
    path = bench.write()

    for answer in (
        tools.upload_log_to_s3(path, "s1"),
        tools.list_session_logs("s1"),
        tools.get_s3_file_content(s3_key=f"{HOME}a.log"),
    ):
        assert answer["success"] is False
        assert answer["code"] == "forbidden", answer
    bench.link.link.on_request = None
    assert tools.upload_log_to_s3(path, "s1")["success"] is True


async def denied(_: object) -> Any:
    return refusal(403, "AccessDenied")
