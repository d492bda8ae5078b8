"""Streams of ``S3Client`` in plain code: flat memory, and nothing left where one is dropped."""

from __future__ import annotations

import gc
import io
import shutil
import subprocess
import sys
import textwrap
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from console import HOME, Console, Sea, until

import petal_s3
from petal_s3 import BadInput, S3Client, S3DownloadError, S3FileNotFoundError, S3UploadError
from petal_s3.core.settings import MIB

KEY = f"{HOME}20250727_143022_flight.ulg"
BIG = 24 * MIB


def put(sea: Sea, size: int) -> bytes:
    body = bytes(range(256)) * (size // 256)
    sea.cloud.put_object(Bucket="logs", Key=KEY, Body=body)
    return body


def pieces(path: Path, size: int = 70_000) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(size), b"")


def connections(client: S3Client) -> int:
    """How many readers hold a connection; at most four may."""
    return client._service.objects.readers.count


def spooled(console: Console) -> list[Path]:
    spool = console.state / "spool"
    return list(spool.iterdir()) if spool.is_dir() else []


# -- down


def test_an_object_is_streamed_block_by_block(sea: Sea, client: S3Client) -> None:
    body = put(sea, MIB)

    assert b"".join(client.stream_download(KEY)) == body
    assert connections(client) == 0


def test_a_body_is_read_like_a_file(sea: Sea, client: S3Client) -> None:
    body = put(sea, MIB)

    with client.get_streaming_body(f"s3://logs/{KEY}") as opened:
        assert opened.content_length == MIB
        assert opened.read(4) == body[:4]
        assert next(iter(opened))[:4] == body[4:8]
    assert opened.closed
    copy = io.BytesIO()
    with client.get_streaming_body(KEY) as opened:
        shutil.copyfileobj(opened, copy)
        assert opened.read(None) == b""
    assert copy.getvalue() == body
    with pytest.raises(BadInput):
        opened.read()


@pytest.mark.parametrize("how", ["break", "close", "never begun", "cycle"])
def test_an_iterator_that_is_dropped_half_way_leaves_no_connection(
    sea: Sea, client: S3Client, how: str
) -> None:
    put(sea, BIG)
    blocks: Any = client.stream_download(KEY)
    assert connections(client) == 1
    if how == "break":
        for _ in blocks:
            break
    elif how == "close":
        next(blocks)
        blocks.close()
    elif how == "cycle":
        next(blocks)
        cycle: list[Any] = [blocks]
        cycle.append(cycle)
        del cycle

    del blocks
    gc.collect()

    until(lambda: connections(client) == 0)
    assert b"".join(client.stream_download(KEY)) == put(sea, BIG)


def test_more_than_may_be_read_at_once_are_dropped_one_after_another(
    sea: Sea, client: S3Client
) -> None:
    put(sea, MIB)
    for _ in range(12):
        next(client.stream_download(KEY))


def test_a_missing_object_and_a_foreign_one_are_refused_at_once(client: S3Client) -> None:
    with pytest.raises(S3FileNotFoundError):
        client.stream_download(KEY)
    with pytest.raises(S3DownloadError) as caught:
        client.get_streaming_body("flight_logs/drone-002/flight.ulg")
    assert caught.value.code == "not_allowed"


def test_a_closed_client_says_so(sea: Sea, client: S3Client) -> None:
    put(sea, MIB)
    blocks = client.stream_download(KEY)
    client.close()

    with pytest.raises(S3DownloadError) as caught:
        next(blocks)
    assert caught.value.code == "closed"


# -- up


@pytest.mark.parametrize("form", ["pieces", "file"])
def test_a_log_is_uploaded_piece_by_piece(
    console: Console, sea: Sea, client: S3Client, form: str
) -> None:
    log = console.write(str(console.directory / "flight.ulg"), 300_000)

    with log.open("rb") as file:
        key = client.stream_upload(pieces(log) if form == "pieces" else file, "flight.ulg", KEY)

    assert key == KEY
    assert sea.body(KEY) == log.read_bytes()
    assert [row.state for row in console.rows()] == ["verified"]
    until(lambda: spooled(console) == [])


def test_pieces_are_taken_in_the_callers_own_thread(console: Console, client: S3Client) -> None:
    log = console.write(str(console.directory / "flight.ulg"))
    seen = set()

    def here() -> Iterator[bytes]:
        for piece in pieces(log):
            seen.add(threading.current_thread())
            yield piece

    client.stream_upload(here(), "flight.ulg")
    assert seen == {threading.current_thread()}


class Broken(Exception):
    pass


def test_what_the_iterator_raises_comes_out_and_nothing_is_left(
    console: Console, client: S3Client
) -> None:
    log = console.write(str(console.directory / "flight.ulg"), 3 * MIB)

    def breaks() -> Iterator[bytes]:
        for number, piece in enumerate(pieces(log, MIB)):
            if number == 2:
                raise Broken
            yield piece

    with pytest.raises(Broken):
        client.stream_upload(breaks(), "flight.ulg")
    assert (console.rows(), spooled(console)) == ([], [])


@pytest.mark.parametrize(
    ("chunks", "name", "code"),
    [
        ([b"no log at all" * 100] * 3, "flight.ulg", "bad_magic"),
        ([], "flight.ulg", "empty"),
        ([b"x"], "flight.exe", "extension"),
    ],
)
def test_what_is_no_log_is_refused(
    console: Console, client: S3Client, chunks: list[bytes], name: str, code: str
) -> None:
    with pytest.raises(S3UploadError) as caught:
        client.stream_upload(iter(chunks), name)
    assert (caught.value.code, caught.value.status) == (code, 422)
    assert (console.rows(), spooled(console)) == ([], [])


@pytest.mark.parametrize("chunks", [b"bytes themselves", ["text"]])
def test_other_than_pieces_of_bytes_are_refused(
    console: Console, client: S3Client, chunks: Any
) -> None:
    with pytest.raises(BadInput, match="Pieces of bytes"):
        client.stream_upload(chunks, "flight.ulg")
    assert spooled(console) == []


def test_memory_stays_flat(console: Console, sea: Sea, client: S3Client) -> None:
    log = console.write(str(console.directory / "flight.ulg"), BIG)
    client.stream_upload(pieces(log, MIB), "flight.ulg", KEY)  # what is imported late
    tracemalloc.start()
    try:
        for _ in client.stream_download(KEY):
            pass
        client.stream_upload(pieces(log, MIB), "flight.ulg", KEY)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < BIG / 2


def test_a_script_may_end_in_the_middle_of_a_stream(console: Console, sea: Sea) -> None:
    put(sea, BIG)
    script = """
        import sys
        from petal_s3 import S3Client
        blocks = S3Client().stream_download(sys.argv[1])
        print(len(next(blocks)) > 0)
    """
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), KEY],
        env=console.environment({}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "")


# -- names that users of the seeds know


def test_an_object_is_a_mapping_too(sea: Sea, client: S3Client) -> None:
    put(sea, 512)

    info = client.head_object(KEY)

    assert (info["key"], info["size"]) == (KEY, 512)
    assert dict(info)["etag"] == info.etag
    assert {**info}["last_modified"] == info.last_modified
    assert list(info.keys()) == [
        "key",
        "size",
        "last_modified",
        "etag",
        "storage_class",
        "file_name",
    ]
    assert (info.get("no_such_field"), "size" in info) == (None, True)
    assert info["file_name"] == "20250727_143022_flight.ulg"
    with pytest.raises(KeyError):
        info["url"]
    assert {info: 1}[client.head_object(KEY)] == 1


@pytest.mark.parametrize(
    "key", ["flight_logs/drone-002/flight.ulg", "", "a\0b", "../x", "s3://other/x.ulg", "x" * 2000]
)
def test_no_key_of_another_exists_and_s3_is_not_asked(sea: Sea, client: S3Client, key: str) -> None:
    sea.cloud.put_object(Bucket="logs", Key="flight_logs/drone-002/flight.ulg", Body=b"x")
    sea.ledger.clear()

    assert client.file_exists(key) is False
    assert sea.ledger.requests() == []


def test_the_metadata_of_sessions_are_exported() -> None:
    assert petal_s3.S3LogMetadata.model_fields.keys() >= {"s3_uri", "file_name", "session_id"}
    assert petal_s3.FileUploadMetadata.model_fields.keys() >= {"file_id", "s3Key", "page_count"}
    assert {"S3LogMetadata", "FileUploadMetadata"} <= set(dir(petal_s3))


def test_logs_of_a_session_keep_the_name_that_they_had(
    console: Console, sea: Sea, client: S3Client
) -> None:
    for name in ("größe (1).log", "b.txt"):
        path = console.directory / name
        path.write_text(f"{name}\n")
        client.upload_session_log(path, "s1")
    other = f"{HOME}sessions/s1/logs/by-others.log"
    sea.cloud.put_object(Bucket="logs", Key=other, Body=b"x")
    expected = ["b.txt", "by-others.log", "größe (1).log"]

    found, _ = client.list_session_logs("s1")
    assert sorted(one.file_name for one in found) == expected

    shutil.rmtree(console.state)  # the metadata of the objects tell it, too
    with console.client() as another:
        found, _ = another.list_session_logs("s1")
    assert sorted(one["file_name"] for one in found) == expected
