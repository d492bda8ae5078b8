"""``S3Client`` in scripts: plain calls, and nothing left behind, however the script ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import signal
import subprocess
import sys
import textwrap
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from console import HOME, TEMPORARY, Console, Sea, until

import petal_s3
from petal_s3 import (
    BadInput,
    ConfigError,
    Conflict,
    NotAllowed,
    S3Client,
    S3CredentialsError,
    S3DownloadError,
    S3FileInfo,
    S3FileNotFoundError,
    S3UploadError,
    errors,
)
from petal_s3.core import clock
from petal_s3.core.loop_thread import LoopThread
from petal_s3.core.settings import MIB
from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.outbox import transitions
from petal_s3.outbox.state_dir import DrainLock
from tests.support.mind import Many
from tests.support.server import FaultServer

BIG = 12 * MIB + 12_345
KEY = f"{HOME}20250727_143022_flight.ulg"
FOREIGN = "flight_logs/drone-002/flight.ulg"
NOWHERE = {"PETAL_S3_SESSION_TOKEN_URL": "", "AWS_EC2_METADATA_DISABLED": "true"}


def elsewhere(
    console: Console, name: str = "flight.ulg", size: int = 20_000, seed: int = 0
) -> Path:
    """A log outside the log directories."""
    return console.write(str(console.directory / name), size, seed)


def is_free(console: Console) -> bool:
    """Whether somebody else could drain."""
    lock = DrainLock(console.state)
    try:
        return lock.take()
    finally:
        lock.give()


def ours() -> set[str]:
    return {one.name for one in threading.enumerate() if one.name.startswith("petal-s3")}


class Script:
    """A script of a user, in a process of its own, in which every warning is an error."""

    def __init__(self, console: Console, text: str, *words: object, **env: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(text), *map(str, words)],
            env={**console.environment(env)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        out, err = self._process.communicate(timeout=60)
        return self._process.returncode, out, err


def crawling(sea: Sea) -> None:
    """At the third part the link begins to crawl."""

    async def crawl(request: Request) -> None:
        if request.part == 3:
            sea.slow(MIB // 16)

    sea.link.link.on_request = crawl


def until_third_part(sea: Sea, script: Script) -> None:
    until(lambda: sea.ledger.resent_confirmed_parts or _third(sea) or not script.runs)
    assert script.runs, script.end()
    sea.link.link.on_request = None


def _third(sea: Sea) -> bool:
    return any(request.part == 3 for request in sea.ledger.requests())


UPLOADS = """
    import sys
    from petal_s3 import S3Client
    client = S3Client()
    print(client.upload_file(sys.argv[1]))
"""


# -- a bucket, in plain calls


def test_a_log_goes_up_and_comes_down_again(
    console: Console, sea: Sea, client: S3Client, tmp_path: Path
) -> None:
    log = elsewhere(console)

    key = client.upload_file(log)

    assert key.startswith(HOME)
    assert key.endswith("_flight.ulg")
    assert sea.body(key) == log.read_bytes()
    assert client.list_files() == [client.head_object(key)]
    target = tmp_path / "down" / "got.ulg"
    assert client.download_file(key, target) == str(target)
    assert target.read_bytes() == log.read_bytes()
    assert client.get_file_range(f"s3://logs/{key}", 0, 3) == b"ULog"
    with urllib.request.urlopen(client.generate_presigned_url(key, 0.5)) as got:
        assert got.read() == log.read_bytes()
    assert client.file_exists(key)


def test_a_url_that_adds_an_object_says_that_a_script_made_it(
    console: Console, sea: Sea, client: S3Client
) -> None:
    made = client.presigned(KEY, 0.5, method="PUT")
    assert made["headers"]["x-amz-meta-received-by"] == "cli"
    asked = urllib.request.Request(made["url"], b"x", made["headers"], method="PUT")
    with urllib.request.urlopen(asked) as got:
        assert got.status == 200
    about = sea.cloud.head_object(Bucket="logs", Key=KEY)["Metadata"]
    assert about["received-by"] == "cli"


def test_what_is_told_of_an_object(console: Console, sea: Sea, client: S3Client) -> None:
    sea.cloud.put_object(Bucket="logs", Key=KEY, Body=b"x", StorageClass="STANDARD_IA")
    told = sea.cloud.head_object(Bucket="logs", Key=KEY)
    expected = S3FileInfo(KEY, 1, told["LastModified"], told["ETag"].strip('"'), "STANDARD_IA")
    assert client.head_object(KEY) == expected
    assert client.list_files("2025") == [expected]
    assert client.list_files("2024") == []


def test_a_key_of_ones_own(console: Console, sea: Sea, client: S3Client) -> None:
    log = elsewhere(console)
    assert client.upload_file(str(log), f"s3://logs/{HOME}mine.ulg") == f"{HOME}mine.ulg"
    assert sea.body(f"{HOME}mine.ulg") == log.read_bytes()


def test_move_and_delete_take_the_row_along(console: Console, sea: Sea, client: S3Client) -> None:
    key = client.upload_file(elsewhere(console))
    new = client.move_file(key, f"s3://logs/{HOME}new.ulg")
    assert new == f"{HOME}new.ulg"
    assert [row.key for row in console.rows()] == [new]
    assert not client.file_exists(key)

    assert client.delete_file(new) is True
    assert client.delete_file(new) is False
    assert [row.state for row in console.rows()] == ["cancelled"]


def test_a_move_never_overwrites(console: Console, sea: Sea, client: S3Client) -> None:
    for name in ("a", "b"):
        sea.cloud.put_object(Bucket="logs", Key=f"{HOME}{name}.ulg", Body=name.encode())
    with pytest.raises(Conflict):
        client.move_file(f"{HOME}a.ulg", f"{HOME}b.ulg")
    assert sea.body(f"{HOME}a.ulg") == b"a"


def test_all_objects_are_listed_not_only_the_first_thousand(console: Console) -> None:
    server = FaultServer()
    thread = LoopThread("faults", at_end=server.stop)
    thread.run(server.start())
    server.mind.many = Many(HOME, 2_345)
    console.env["PETAL_S3_SESSION_TOKEN_URL"] = server.token_url
    with contextlib.closing(thread), console.client(endpoint_url=server.url) as client:
        found = client.list_files()
    assert len({one.key for one in found}) == 2_345


# -- settings


def test_arguments_come_before_the_environment(console: Console, sea: Sea, s3_server: Any) -> None:
    s3_server.create_bucket("given")
    wrong = {
        "PETAL_S3_SESSION_TOKEN_URL": "http://127.0.0.1:9/none",
        "PETAL_S3_ENDPOINT_URL": "http://127.0.0.1:9",
    }
    right = {name: console.env[name] for name in wrong}
    console.env |= wrong
    with console.client(
        bucket_name="given",
        session_token_url=right["PETAL_S3_SESSION_TOKEN_URL"],
        endpoint_url=right["PETAL_S3_ENDPOINT_URL"],
        machine_id="drone-007",
    ) as client:
        assert client.list_files() == []
        with pytest.raises(NotAllowed):
            client.list_files(HOME)
    assert sea.ledger.requests("ListObjectsV2")[0].bucket == "given"


def test_a_missing_bucket_is_named_at_once(console: Console) -> None:
    del console.env["PETAL_S3_BUCKET_NAME"]
    with pytest.raises(ConfigError, match="PETAL_S3_BUCKET_NAME is not set"):
        console.client()


def test_everything_has_its_name_in_the_package() -> None:
    for name in petal_s3.__all__:
        assert getattr(petal_s3, name) is not None
    tree = {
        name
        for name, found in vars(errors).items()
        if isinstance(found, type) and issubclass(found, errors.S3IntegrationError)
    }
    assert tree <= set(petal_s3.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        petal_s3.nothing  # noqa: B018


def test_the_package_alone_imports_nothing_slow(console: Console) -> None:
    slow = "import sys, petal_s3; print({'aiohttp', 'botocore', 'pydantic'} & set(sys.modules))"
    assert Script(console, slow).end() == (0, "set()\n", "")


# -- the outbox is shared


def test_the_drain_lock_is_free_when_the_call_has_returned(
    console: Console, sea: Sea, client: S3Client
) -> None:
    client.upload_file(elsewhere(console))
    assert is_free(console)
    sea.link.cut()
    with pytest.raises(S3UploadError):
        client.upload_file(elsewhere(console, "other.ulg", seed=1))
    assert is_free(console)


def test_deleting_what_vanished_gives_its_row_up(
    console: Console, sea: Sea, client: S3Client
) -> None:
    key = client.upload_file(elsewhere(console))
    sea.cloud.delete_object(Bucket="logs", Key=key)
    assert client.delete_file(key) is False
    assert [(row.state, row.code) for row in console.rows()] == [("cancelled", "deleted")]


def test_a_caller_that_only_looks_drains_nothing(
    console: Console, sea: Sea, client: S3Client
) -> None:
    console.type("enqueue", console.write("waits.ulg"))
    client.list_files()
    client.delete_file(KEY)
    sea.cloud.put_object(Bucket="logs", Key=KEY, Body=b"x")
    client.delete_file(KEY)
    assert [row.state for row in console.rows()] == ["queued"]
    assert is_free(console)


def test_beside_a_process_that_drains_it_watches(console: Console, sea: Sea) -> None:
    serve = console.start("serve", "--port", "0")
    lock = DrainLock(console.state)
    until(lambda: lock.holder() == serve.pid or not serve.runs)
    crawling(sea)
    log = elsewhere(console, "big.bag", BIG)

    script = Script(console, UPLOADS, log)
    until_third_part(sea, script)
    assert lock.holder() == serve.pid
    sea.slow(0)

    code, out, err = script.end()
    assert (code, err) == (0, "")
    assert sea.body(out.strip()) == log.read_bytes()
    assert lock.holder() == serve.pid
    assert len(sea.about_logs("UploadPart")) == 3


def test_when_that_process_dies_the_script_goes_on(console: Console, sea: Sea) -> None:
    serve = console.start("serve", "--port", "0")
    until(lambda: DrainLock(console.state).holder() == serve.pid or not serve.runs)
    crawling(sea)
    log = elsewhere(console, "big.bag", BIG)
    script = Script(console, UPLOADS, log)
    until_third_part(sea, script)
    serve.kill()
    sea.slow(0)

    code, out, err = script.end()

    assert (code, err) == (0, "")
    assert sea.body(out.strip()) == log.read_bytes()
    assert sea.ledger.resent_confirmed_parts == 0
    assert is_free(console)


def test_what_holds_up_the_process_that_drains_is_told(
    console: Console, sea: Sea, client: S3Client
) -> None:
    with console.host(reason="The vehicle is armed.", code="armed"):
        with pytest.raises(S3UploadError, match="The vehicle is armed") as caught:
            client.upload_file(elsewhere(console))
        row = console.rows()[0]
    assert (caught.value.code, caught.value.row_id) == ("armed", row.id)
    assert client.upload_file(elsewhere(console)) == row.key


# -- from anywhere


async def test_it_works_where_an_event_loop_runs(console: Console, sea: Sea) -> None:
    with console.client() as client:
        key = client.upload_file(elsewhere(console))
        assert await asyncio.to_thread(client.file_exists, key)


def test_eight_threads_share_one_client(console: Console, sea: Sea, client: S3Client) -> None:
    logs = [elsewhere(console, f"{number}.ulg", seed=number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(client.upload_file, logs))
        found = list(pool.map(client.get_file_range, keys, [0] * 8, [100_000] * 8))
    assert found == [log.read_bytes() for log in logs]
    assert len(set(keys)) == 8
    assert is_free(console)


def test_the_first_log_outlasts_the_timeout_while_it_is_learnt_what_s3_offers(
    console: Console, sea: Sea
) -> None:
    console.env["PETAL_S3_REQUEST_TIMEOUT"] = "3"

    async def late(request: Request) -> None:
        if request.key.startswith(TEMPORARY):
            await asyncio.sleep(0.5)  # all of them together take longer than the timeout

    sea.link.link.on_request = late
    with console.client() as client:
        assert client.upload_file(elsewhere(console, "small.ulg")).endswith("_small.ulg")
    first = sea.ledger.requests()[0].started
    assert sea.about_logs("PutObject")[0].started - first > 3


def test_a_log_that_waits_its_turn_outlasts_the_timeout(console: Console, sea: Sea) -> None:
    console.env["PETAL_S3_REQUEST_TIMEOUT"] = "3"
    crawling(sea)
    with console.client() as client, ThreadPoolExecutor(2) as pool:
        # Longer than the timeout, though what the system's buffers hold leaves within it.
        first = pool.submit(client.upload_file, elsewhere(console, "big.bag", 4 * BIG))
        until(lambda: _third(sea) or first.done())
        sea.slow(4 * MIB)
        second = pool.submit(client.upload_file, elsewhere(console, "small.ulg"))
        assert second.result().endswith("_small.ulg")
        assert first.result().endswith("_big.bag")


# -- how it ends


@pytest.mark.parametrize(
    "end",
    [
        "",
        "client.close()",
        "del client",
        "raise SystemExit(0)",
        "keep = [client]; keep.append(keep); del client, keep",
    ],
    ids=["forgotten", "closed", "deleted", "exit", "cycle"],
)
def test_a_script_ends_by_itself_and_says_nothing(console: Console, sea: Sea, end: str) -> None:
    script = Script(
        console, textwrap.dedent(UPLOADS) + f"client.list_files()\n{end}", elsewhere(console)
    )
    code, out, err = script.end()
    assert (code, err) == (0, "")
    assert out.startswith(HOME)


def test_a_script_ends_while_another_thread_of_it_still_uploads(console: Console, sea: Sea) -> None:
    crawling(sea)
    text = """
        import sys, threading
        from petal_s3 import S3Client
        client = S3Client()
        def send():
            try:
                client.upload_file(sys.argv[1])
            except Exception as error:
                assert error.code == "closed"
        threading.Thread(target=send, daemon=True).start()
        sys.stdin.readline()
    """
    script = Script(console, text, elsewhere(console, "big.bag", BIG))
    until_third_part(sea, script)
    assert script.end() == (0, "", "")
    assert [row.state for row in console.rows()] == ["queued"]
    assert is_free(console)


def test_a_client_that_is_not_kept_ends(console: Console, sea: Sea) -> None:
    client = console.client()
    client.list_files()
    client.upload_file(elsewhere(console))
    assert ours()
    del client
    gc.collect()
    until(lambda: not ours())


def test_a_closed_client_says_so(console: Console, sea: Sea, client: S3Client) -> None:
    client.list_files()
    client.close()
    client.close()
    with pytest.raises(BadInput, match="closed") as caught:
        client.list_files()
    assert caught.value.code == "closed"
    assert not ours()


def test_a_caller_that_waits_when_it_is_closed_hears_of_it(console: Console, sea: Sea) -> None:
    crawling(sea)
    client = console.client()
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(client.upload_file, elsewhere(console, "big.bag", BIG))
        until(lambda: _third(sea) or sent.done())
        client.close()
        with pytest.raises(S3UploadError) as caught:
            sent.result()
    assert caught.value.code == "closed"
    assert [row.state for row in console.rows()] == ["queued"]
    assert is_free(console)


def test_ctrl_c_leaves_the_outbox_intact(console: Console, sea: Sea) -> None:
    crawling(sea)
    text = """
        import sys
        from petal_s3 import S3Client
        client = S3Client()
        try:
            client.upload_file(sys.argv[1])
        except KeyboardInterrupt:
            print("stopped", client._service.lock.held, len(client.list_files()))
    """
    log = elsewhere(console, "big.bag", BIG)
    script = Script(console, text, log)
    until_third_part(sea, script)
    script.send(signal.SIGINT)

    assert script.end() == (0, "stopped False 0\n", "")
    assert [row.state for row in console.rows()] == ["queued"]
    assert is_free(console)
    sea.slow(0)
    code, out, _ = Script(console, UPLOADS, log).end()
    assert (code, sea.body(out.strip())) == (0, log.read_bytes())
    assert sea.ledger.resent_confirmed_parts == 0


def test_a_killed_script_is_finished_by_the_next_without_resending(
    console: Console, sea: Sea
) -> None:
    crawling(sea)
    log = elsewhere(console, "big.bag", BIG)
    first = Script(console, UPLOADS, log)
    until_third_part(sea, first)
    until(lambda: sea.ledger.parts(console.rows()[0].key).confirmed == 2)
    first.send(signal.SIGKILL)
    assert first.end()[0] == -signal.SIGKILL
    sea.slow(0)

    code, out, err = Script(console, UPLOADS, log).end()

    assert (code, err) == (0, "")
    assert sea.body(out.strip()) == log.read_bytes()
    assert sea.ledger.resent_confirmed_parts == 0
    assert [row.state for row in console.rows()] == ["verified"]


def test_a_forked_process_ends_and_cannot_use_it(console: Console, sea: Sea) -> None:
    text = """
        import os, sys, warnings
        from petal_s3 import BadInput, S3Client
        warnings.simplefilter("ignore")  # a fork beside threads, from 3.12 on
        client = S3Client()
        client.list_files()
        child = os.fork()
        if not child:
            try:
                client.list_files()
            except BadInput as error:
                sys.exit(7)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), client.list_files())
    """
    script = Script(console, text)
    assert script.end() == (0, "7 []\n", "")


# -- failures


def test_without_a_link_it_fails_with_the_row_which_is_found_again(
    console: Console, sea: Sea, client: S3Client
) -> None:
    log = elsewhere(console)
    sea.link.cut()

    with pytest.raises(S3UploadError, match=r"No link to 127\.0\.0\.1") as caught:
        client.upload_file(log)

    row = console.rows()[0]
    error = caught.value
    assert (error.code, error.status, error.row_id) == ("offline", 503, row.id)
    assert error.waiting_helps
    assert isinstance(error.__cause__, errors.NotNow)
    sea.link.forward()
    assert client.upload_file(log) == row.key
    assert [(one.id, one.state) for one in console.rows()] == [(row.id, "verified")]


def test_a_caller_that_asks_again_does_not_wait_for_a_backoff(
    console: Console, sea: Sea, client: S3Client
) -> None:
    log = console.write("flight.ulg")
    console.type("enqueue", log)
    with console.outbox() as outbox:
        row = transitions.claim(outbox, 0, 900)
        assert row is not None
        transitions.defer(outbox, row, clock.now() + 1e6, "bucket", "The bucket cannot be used.")
    assert client.upload_file(log) == row.key


def test_a_file_that_is_no_log_fails_for_good(console: Console, sea: Sea, client: S3Client) -> None:
    wrong = console.directory / "notes.ulg"
    wrong.write_text("no log, however it is named")
    with pytest.raises(S3UploadError) as caught:
        client.upload_file(wrong)
    error = caught.value
    assert (error.status, error.waiting_helps, error.row_id) == (422, False, None)
    assert isinstance(error.__cause__, errors.NotAFlightLog)
    assert console.rows() == []


def test_a_file_that_is_not_there(console: Console, sea: Sea, client: S3Client) -> None:
    with pytest.raises(S3FileNotFoundError, match="There is no file 'gone"):
        client.upload_file(console.directory / "gone.ulg")


def test_a_row_that_dies_is_named(console: Console, sea: Sea, client: S3Client) -> None:
    log = console.write("flight.ulg")

    async def vanish(request: Request) -> Fault | None:
        if request.op != "PutObject":
            return None
        log.unlink()
        return says(status=500)

    sea.link.link.on_request = vanish
    with pytest.raises(S3UploadError) as caught:
        client.upload_file(log)
    error, row = caught.value, console.rows()[0]
    assert (row.state, error.row_id) == ("dead", row.id)
    assert (error.code, error.status, error.waiting_helps) == ("source_gone", 409, False)


def test_a_missing_object_and_one_of_another_machine(
    console: Console, sea: Sea, client: S3Client, tmp_path: Path
) -> None:
    sea.cloud.put_object(Bucket="logs", Key=FOREIGN, Body=b"x")
    target = tmp_path / "got.ulg"
    for call in (client.head_object, lambda key: client.download_file(key, target)):
        with pytest.raises(S3FileNotFoundError):
            call(KEY)
    for call in (
        client.head_object,
        client.delete_file,
        client.generate_presigned_url,
        client.list_files,
        lambda key: client.move_file(key, KEY),
        lambda key: client.move_file(KEY, key),
        lambda key: client.get_file_range(key, 0, 1),
    ):
        with pytest.raises(NotAllowed):
            call(FOREIGN)
    assert client.file_exists(FOREIGN) is False
    with pytest.raises(S3DownloadError) as caught:
        client.download_file(FOREIGN, target)
    assert (caught.value.code, caught.value.status) == ("not_allowed", 403)
    with pytest.raises(S3UploadError) as refused:
        client.upload_file(elsewhere(console), FOREIGN)
    assert (refused.value.code, refused.value.status) == ("not_allowed", 403)
    assert not target.exists()
    assert sea.body(FOREIGN) == b"x"


def test_a_key_that_is_no_text_is_refused(client: S3Client) -> None:
    nothing: Any = None
    for call in (client.file_exists, client.head_object, client.delete_file):
        with pytest.raises(BadInput, match="A key is text"):
            call(nothing)


@pytest.mark.parametrize("hours", [0, -1, float("nan")])
def test_a_url_lives_for_a_while(client: S3Client, hours: float) -> None:
    with pytest.raises(BadInput):
        client.generate_presigned_url(KEY, hours)


def test_reading_needs_no_place_to_write(console: Console, sea: Sea, tmp_path: Path) -> None:
    sea.cloud.put_object(Bucket="logs", Key=KEY, Body=b"body")
    (tmp_path / "file").touch()
    console.env["PETAL_S3_STATE_DIR"] = str(tmp_path / "file" / "state")
    with console.client() as client:
        assert client.list_files() == [client.head_object(KEY)]
        assert client.get_file_range(KEY, 0, 9) == b"body"
        client.download_file(KEY, tmp_path / "got.ulg")
        assert client.generate_presigned_url(KEY).startswith("http")
        with pytest.raises(S3UploadError) as caught:
            client.upload_file(elsewhere(console))
    assert (caught.value.code, caught.value.status) == ("storage_full", 507)


# -- credentials


def signers(sea: Sea) -> set[str]:
    """Whose keys have signed."""
    said = (request.headers["Authorization"] for request in sea.ledger.requests())
    return {one.partition("Credential=")[2].partition("/")[0] for one in said}


@pytest.fixture
def nothing(console: Console, sea: Sea, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token service, no instance role."""
    console.env |= NOWHERE
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("nothing")
def test_credentials_of_the_environment(
    console: Console, sea: Sea, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "opens-nothing")
    with console.client() as client:
        client.upload_file(elsewhere(console))
    assert signers(sea) == {"AKIAENVIRONMENT"}


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize("named", [False, True], ids=["at home", "where it is said"])
def test_credentials_of_a_profile(
    console: Console, sea: Sea, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: bool
) -> None:
    file = tmp_path / ("elsewhere" if named else "home/.aws/credentials")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = opens-nothing\n"
        "[robot]\naws_access_key_id = AKIAROBOT\naws_secret_access_key = opens-nothing\n"
    )
    if named:
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "robot")
    with console.client() as client:
        client.list_files()
    assert signers(sea) == {"AKIAROBOT"}


def test_credentials_of_the_token_service(
    console: Console, sea: Sea, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "opens-nothing")
    with console.client() as client:
        client.list_files()
    assert all(one.startswith("ASIADEMO") for one in signers(sea))


@pytest.mark.usefixtures("nothing")
def test_no_credentials_at_all_until_there_are_some(
    console: Console, sea: Sea, tmp_path: Path
) -> None:
    log = elsewhere(console)
    with console.client() as client:
        with pytest.raises(S3CredentialsError, match="There are no credentials") as caught:
            client.list_files()
        with pytest.raises(S3UploadError) as refused:
            client.upload_file(log)
        row = console.rows()[0]
        assert (refused.value.code, refused.value.row_id) == ("no_credentials", row.id)
        file = tmp_path / "home/.aws/credentials"
        file.parent.mkdir(parents=True)
        file.write_text(
            "[default]\naws_access_key_id = AKIALATE\naws_secret_access_key = opens-nothing\n"
        )
        assert client.upload_file(log) == row.key
    assert caught.value.code == "no_credentials"
    for way in ("PETAL_S3_SESSION_TOKEN_URL", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "instance role"):
        assert way in caught.value.message
    assert signers(sea) == {"AKIALATE"}


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIAHALF"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_PROFILE": "nobody"}, "nobody"),
    ],
    ids=["half", "profile"],
)
def test_what_is_wrong_with_credentials_is_named(
    console: Console, sea: Sea, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], said: str
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with console.client() as client, pytest.raises(S3CredentialsError, match=said) as caught:
        client.list_files()
    assert caught.value.code == "no_credentials"
    assert sea.ledger.requests() == []


# -- what the documentation shows


def test_the_examples_of_the_documentation_run(
    console: Console, sea: Sea, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "scripts.md").read_text()
    examples = dict(re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL))
    assert {"python", "sh"} <= set(examples)
    log = elsewhere(console)
    monkeypatch.chdir(tmp_path)
    code, out, err = Script(console, examples["python"]).end()
    assert (code, err) == (0, "")
    assert out.splitlines()[-2:] == ["True False", "gone"]
    assert (tmp_path / "copy.ulg").read_bytes() == log.read_bytes()

    sea.cloud.put_object(Bucket="logs", Key=KEY, Body=b"x")
    names = {"KEY": KEY, "NEW": f"{HOME}new.ulg"}
    for line in examples["sh"].splitlines():
        command, *words = line.partition("#")[0].partition(" > ")[0].split()
        answer = console.type(*(names.get(word, word) for word in words))
        assert (command, answer.code) == ("petal-s3", 0), answer
    assert (tmp_path / KEY.rpartition("/")[2]).read_bytes() == b"x"
