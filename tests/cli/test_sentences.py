"""What people read in many states of failure: sentences, and no words of a library."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

import pytest
from console import Console, Sea, entry

from petal_s3.outbox import entering

# Names of classes, of libraries, of numbers that only programmers know.
_NOT_FOR_PEOPLE = re.compile(
    r"\b[A-Z]\w+(Error|Exception|Warning|Timeout)\b|Traceback|\[Errno|\berrno\b|aiohttp|botocore"
    r"|urllib|sqlite3|\bssl:|_ssl\.c|object at 0x|<class|Cannot connect to host|Could not connect"
)
COMMANDS = (("check",), ("ls",), ("verify", "--all"), ("status",), ("drain", "--patience", "1"))


def nowhere() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def no_server(console: Console, _: Sea) -> None:
    console.env["PETAL_S3_ENDPOINT_URL"] = f"http://{nowhere()}"


def no_name(console: Console, _: Sea) -> None:
    console.env["PETAL_S3_ENDPOINT_URL"] = "http://s3.invalid"


def no_tls(console: Console, sea: Sea) -> None:
    console.env["PETAL_S3_ENDPOINT_URL"] = sea.link.url.replace("http:", "https:")


def cut(_: Console, sea: Sea) -> None:
    sea.link.cut()


def no_token_service(console: Console, _: Sea) -> None:
    console.env["PETAL_S3_SESSION_TOKEN_URL"] = f"http://{nowhere()}/session"


def token_service_is_s3(console: Console, sea: Sea) -> None:
    console.env["PETAL_S3_SESSION_TOKEN_URL"] = sea.link.url


def token_service_without_tls(console: Console, _: Sea) -> None:
    url = console.env["PETAL_S3_SESSION_TOKEN_URL"]
    console.env["PETAL_S3_SESSION_TOKEN_URL"] = url.replace("http:", "https:")


def no_bucket(console: Console, _: Sea) -> None:
    console.env["PETAL_S3_BUCKET_NAME"] = "no-such-bucket"


def no_profile(console: Console, _: Sea) -> None:
    del console.env["PETAL_S3_SESSION_TOKEN_URL"]
    console.env |= {"AWS_PROFILE": "nobody", "AWS_EC2_METADATA_DISABLED": "true"}


def damaged(console: Console, _: Sea) -> None:
    console.state.mkdir(mode=0o700, exist_ok=True)
    (console.state / "outbox.db").write_bytes(b"not a database" * 1000)


def no_state(console: Console, _: Sea) -> None:
    console.env["PETAL_S3_STATE_DIR"] = "/proc/no/such"


STATES = (
    *(no_server, no_name, no_tls, cut, no_token_service, token_service_is_s3),
    *(token_service_without_tls, no_bucket, no_profile, damaged, no_state),
)


@pytest.mark.parametrize("state", STATES, ids=lambda one: one.__name__)
def test_no_sentence_holds_the_words_of_a_library(
    console: Console, sea: Sea, state: Callable[[Console, Sea], None]
) -> None:
    if state not in {damaged, no_state}:
        with console.outbox() as outbox:
            entering.enqueue(outbox, entry("a.ulg"))
    state(console, sea)
    for command in COMMANDS:
        answer = console.type(*command, PETAL_S3_REQUEST_TIMEOUT="2")
        said = answer.out + answer.err
        found = _NOT_FOR_PEOPLE.search(said)
        assert found is None, (command, found, said)


@pytest.mark.parametrize(
    "state",
    [no_server, no_name, no_token_service, token_service_is_s3, cut],
    ids=lambda state: state.__name__,
)
def test_check_says_what_to_do_about_a_link_or_a_token_service_that_fails(
    console: Console, sea: Sea, state: Callable[[Console, Sea], None]
) -> None:
    state(console, sea)
    answer = console.type("check", "--json", PETAL_S3_REQUEST_TIMEOUT="2")
    failed = [one for one in answer.json["checks"] if one["state"] == "failed"]
    assert failed
    assert all(one["advice"] for one in failed), failed
