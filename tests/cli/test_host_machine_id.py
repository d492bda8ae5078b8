"""The host has an id of its own beside the one that is set: the command line knows both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from console import HOME, MACHINE, Console, Sea

from petal_s3.core.settings_loading import load_settings
from petal_s3.outbox import drain_status
from petal_s3.service.service import Service

HOST = "0123456789abcdef0123456789abcdef"
SIBLINGS = f"{HOST}/records/flight.ulg"


@pytest.fixture
def hosted(console: Console, monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    """The host was here, and drained: what it said of itself lies in the outbox."""
    with contextlib.ExitStack() as env:
        for name, value in console.env.items():
            env.enter_context(pytest.MonkeyPatch.context()).setenv(name, value)
        host = Service(load_settings(), host_machine_id=HOST)
    with console.outbox() as outbox:
        drain_status.publish(outbox, host.reporter.report().model_dump())
    yield console


def put(sea: Sea) -> None:
    sea.cloud.put_object(Bucket="logs", Key=SIBLINGS, Body=b"a log of petal-flight-log")


def test_the_keys_of_the_host_are_this_machines(sea: Sea, hosted: Console, tmp_path: Path) -> None:
    put(sea)
    listed = hosted.type("ls", f"{HOST}/")
    assert (listed.code, SIBLINGS in listed.out) == (0, True), listed
    assert hosted.type("get", SIBLINGS, tmp_path / "got.ulg").code == 0
    assert hosted.type("presign", SIBLINGS).code == 0
    assert hosted.type("rm", SIBLINGS, "--yes").code == 0


def test_a_row_of_the_sibling_does_not_stop_verify(sea: Sea, hosted: Console) -> None:
    path = hosted.write("flight.ulg")
    assert hosted.type("enqueue", path, "--key", SIBLINGS).code == 0
    assert hosted.type("drain").code == 0
    answer = hosted.type("verify", "--all", "--json")
    assert (answer.code, [one["key"] for one in answer.json["logs"]]) == (0, [SIBLINGS])


def test_a_drain_by_hand_forgets_the_host_not(sea: Sea, hosted: Console) -> None:
    hosted.write("flight.ulg")
    assert hosted.type("drain").code == 0
    put(sea)
    assert hosted.type("ls", f"{HOST}/").code == 0


def test_the_policy_allows_the_folders_of_the_host(hosted: Console) -> None:
    told = hosted.type("bucket", "policy").out
    for folder in (HOME, f"flight_logs/{HOST}/", f"{HOST}/", f"deleted/{HOST}/"):
        assert f"{folder}*" in told
    alone = hosted.type("bucket", "policy", "--machine", MACHINE).out
    assert HOST not in alone


def test_a_row_under_an_id_of_before_is_a_difference_and_stops_nothing(
    sea: Sea, hosted: Console
) -> None:
    hosted.write("old.ulg")
    assert hosted.type("drain").code == 0
    hosted.env["PETAL_S3_MACHINE_ID"] = "drone-009"
    hosted.write("new.ulg", 30_000)
    assert hosted.type("drain").code == 0
    answer = hosted.type("verify", "--all", "--json")
    assert answer.code == 1
    assert [one["same"] for one in answer.json["logs"]] == [True, False]
    assert "does not belong to this machine" in answer.json["logs"][1]["differs"]
