"""A dashboard asks the robot over MQTT: through a real broker, the host's own proxy and ours."""

from __future__ import annotations

import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aboard import Aboard, aboard, stays, until
from mqtt_world import BROKERS, ORGANIZATION, Dashboard, World, broker_command, world

from petal_s3.demo.logs import write_ulog
from petal_s3.demo.services import EmbeddedS3
from petal_s3.host.mqtt_commands import COMMANDS
from tests.servers.catalogue import free_ports
from tests.servers.environments import CannotBeHadError, environment

MIB = 1024 * 1024


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python that has the broker and the client."""
    try:
        return environment("mqtt") / "bin/python"
    except CannotBeHadError as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))


@pytest.fixture(scope="module", params=BROKERS)
def between(request: pytest.FixtureRequest, python: Path, ashore: Path) -> Iterator[World]:
    """Broker and sidecar: with one broker from PyPI, and with Debian's where it is installed."""
    name = str(request.param)
    if broker_command(name, python, 0, ashore) is None:
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    with world(name, python, ashore / f"mqtt-{name}", free_ports(2)) as made:
        yield made


@pytest.fixture(scope="module")
def robot(between: World, cloud: EmbeddedS3, ashore: Path) -> Iterator[Aboard]:
    """A host with MQTT, whose proxies.yaml names no dependency of ours."""
    name = f"robot-{between.sidecar_port}"
    with aboard(
        cloud, ashore / name, proxies=("bucket", "mqtt"), organization=ORGANIZATION
    ) as made:
        made.host.env.update(between.env(made.host.port))
        made.start()
        yield made


@pytest.fixture(scope="module")
def dashboard(between: World, robot: Aboard) -> Dashboard:
    made = between.dashboard()
    until(lambda: "14 MQTT command(s)" in robot.log_files())
    return made


@pytest.fixture
def proven(robot: Aboard) -> dict[str, Any]:
    """The row of a log that is up."""
    path = robot.logs / f"{time.monotonic_ns()}.ulg"
    write_ulog(path, MIB, seed=time.monotonic_ns())
    robot.post("landed")
    return robot.verified(path)


def test_every_command_of_the_contract_is_registered(robot: Aboard, dashboard: Dashboard) -> None:
    answer = dashboard.ask("nothing_of_ours")
    assert answer["error_code"] == "UNKNOWN_COMMAND"
    assert sorted(answer["available_commands"]) == sorted(f"petal-s3/{c.name}" for c in COMMANDS)
    assert {c.name for c in COMMANDS} == {
        "status",
        "outbox",
        "landed",
        "retry",
        "resend",
        "dismiss",
        "cancel",
        "pin",
        "presign",
        "card",
        "fetch",
        "safe_to_erase",
        "subscribe_status_stream",
        "unsubscribe_status_stream",
    }
    assert "Traceback" not in robot.log_files()


def test_status_and_outbox_answer_what_rest_answers(
    robot: Aboard, dashboard: Dashboard, proven: dict[str, Any]
) -> None:
    answer = dashboard.ask("status")
    assert (answer["status"], answer["phase"]) == ("success", "result")
    assert answer["data"].keys() == robot.status.keys()
    assert answer["data"]["counts"] == robot.status["counts"]

    page = dashboard.ask("outbox", {"state": "verified", "limit": 1})["data"]
    assert [row["id"] for row in page["rows"]] == [proven["id"]]
    assert dashboard.ask("outbox", {"id": proven["id"]})["data"] == proven


def test_an_ack_comes_before_the_answer_where_it_is_waited_for(dashboard: Dashboard) -> None:
    number = dashboard.send("status", waitAck=True)
    until(lambda: dashboard.answers(number))
    (ack,) = [one for one in dashboard.heard("ack") if one["messageId"] == number]
    assert (ack["phase"], ack["service"]) == ("ack", "petal-s3")


def test_nothing_is_answered_where_nothing_is_waited_for(
    robot: Aboard, dashboard: Dashboard, proven: dict[str, Any]
) -> None:
    number = dashboard.send("pin", {"id": proven["id"]}, waitResponse=False)
    until(lambda: robot.get(f"outbox/{proven['id']}").json["pinned"])
    dashboard.ask("status")
    assert dashboard.answers(number) == []
    assert dashboard.ask("pin", {"id": proven["id"], "pinned": False})["data"]["pinned"] is False


def test_verbs_on_a_row_do_what_rest_does(
    robot: Aboard, dashboard: Dashboard, proven: dict[str, Any]
) -> None:
    still = dashboard.ask("resend", {"id": proven["id"]})
    assert (still["status"], still["data"]["status"]) == ("error", 409)
    robot.s3.delete_object(Bucket=robot.bucket, Key=proven["key"])
    assert dashboard.ask("resend", {"id": proven["id"]})["status"] == "success"
    again = robot.verified(proven["path"])
    assert robot.object(again["key"]) == Path(proven["path"]).read_bytes()

    path, row = robot.half_sent(f"{time.monotonic_ns()}.ulg")
    assert dashboard.ask("cancel", {"id": row["id"]})["data"]["state"] == "cancelled"
    robot.link.link.rate_bytes_s = 0
    assert dashboard.ask("retry", {"id": row["id"]})["status"] == "success"
    robot.verified(path)


def test_a_landing_is_told_over_mqtt(robot: Aboard, dashboard: Dashboard) -> None:
    path = robot.logs / "landed.ulg"
    write_ulog(path, MIB, seed=7)
    answer = dashboard.ask("landed")
    assert answer["data"].keys() == {"found", "enqueued", "reason", "trouble"}
    robot.verified(path)


@pytest.mark.parametrize(
    ("command", "payload", "code", "status"),
    [
        ("outbox", {"limit": "many"}, "bad_input", 400),
        ("outbox", {"id": 10**6}, "not_found", 404),
        ("retry", {}, "bad_input", 400),
        ("dismiss", {}, "bad_input", 400),
        ("dismiss", {"state": "queued"}, "bad_input", 400),
        ("retry", ["not", "an", "object"], "bad_input", 400),
        ("fetch", {"id": 10**6}, "not_found", 404),
        ("presign", {"s3_key": "x"}, "presign_off", 403),
    ],
)
def test_what_is_wrong_is_answered_with_the_code_of_rest(
    robot: Aboard, dashboard: Dashboard, command: str, payload: object, code: str, status: int
) -> None:
    answer = dashboard.ask(command, payload)
    assert (answer["status"], answer["data"]["status"]) == ("error", status)
    assert answer["error_code"] == answer["data"]["code"] == code
    assert answer["message"] == answer["data"]["error"]
    assert "Traceback" not in robot.log_files()


def test_what_a_dashboard_adds_to_a_payload_does_no_harm(dashboard: Dashboard) -> None:
    assert dashboard.ask("status", {"source": "web-client", "app": "x"})["status"] == "success"


def test_a_card_that_was_never_listed_is_not_safe_to_erase(dashboard: Dashboard) -> None:
    assert dashboard.ask("card")["data"]["files"] == []
    safe = dashboard.ask("safe_to_erase")["data"]
    assert safe["safe_to_erase"] is False
    assert safe["not_safe"]
    assert dashboard.ask("card", {"scan": True})["data"]["code"] == "no_card"


def test_a_stream_tells_what_changes_once_a_second_and_then_is_silent(
    robot: Aboard, dashboard: Dashboard
) -> None:
    name = f"stream-{time.monotonic_ns()}"
    answer = dashboard.ask(
        "subscribe_status_stream", {"subscribed_stream_id": name, "data_rate_hz": 10}
    )
    assert answer["subscribed_stream_id"] == name
    assert (answer["data_rate_hz"], answer["mqtt_topic"]) == (1, "petal-s3/publish_status_stream")
    first = until(lambda: dashboard.stream(name))[0]
    assert first["status"].keys() == robot.status.keys()

    began = time.monotonic()
    path, row = robot.half_sent(f"{name}.ulg")
    until(lambda: _sent(dashboard, name, row["id"]) > 0)
    robot.link.link.rate_bytes_s = 0
    robot.verified(path)
    until(lambda: _states(dashboard, name, row["id"])[-1:] == ["verified"])
    assert "uploading" in _states(dashboard, name, row["id"])
    assert len(dashboard.stream(name)) <= time.monotonic() - began + 3

    until(lambda: not robot.status["rate_bytes_s"])  # it is of the last twenty seconds
    until(lambda: dashboard.stream(name)[-1]["status"]["rate_bytes_s"] == 0)
    told = len(dashboard.stream(name))
    stays(lambda: len(dashboard.stream(name)) == told, 3)

    dashboard.ask("unsubscribe_status_stream", {"unsubscribed_stream_id": name})
    dashboard.ask("status")  # what was on its way has come
    told = len(dashboard.stream(name))
    write_ulog(robot.logs / f"{name}-2.ulg", MIB, seed=3)
    robot.post("landed")
    robot.verified(robot.logs / f"{name}-2.ulg")
    assert len(dashboard.stream(name)) == told


def _of_row(dashboard: Dashboard, name: str, row_id: int) -> list[dict[str, Any]]:
    messages = dashboard.stream(name)
    return [row for one in messages for row in one["rows"] if row["id"] == row_id]


def _sent(dashboard: Dashboard, name: str, row_id: int) -> int:
    return max((row["sent_bytes"] for row in _of_row(dashboard, name, row_id)), default=0)


def _states(dashboard: Dashboard, name: str, row_id: int) -> list[str]:
    return [row["state"] for row in _of_row(dashboard, name, row_id)]


def test_streams_are_few_and_end_by_themselves(dashboard: Dashboard) -> None:
    for number in range(5):
        asked = {"subscribed_stream_id": f"short-{number}", "seconds": 4}
        assert dashboard.ask("subscribe_status_stream", asked)["ends_in_s"] == 4
    over = dashboard.ask("subscribe_status_stream", {"subscribed_stream_id": "one-too-many"})
    assert (over["status"], over["error_code"]) == ("error", "too_many")
    again = until(
        lambda: _success(dashboard.ask("subscribe_status_stream", {"subscribed_stream_id": "x"}))
    )
    assert again["subscribed_stream_id"] == "x"
    dashboard.ask("unsubscribe_status_stream", {"unsubscribed_stream_id": "x"})


def _success(answer: dict[str, Any]) -> dict[str, Any] | None:
    return answer if answer["status"] == "success" else None


def test_a_page_of_rows_fits_into_a_message(robot: Aboard, dashboard: Dashboard) -> None:
    """AWS IoT takes 128 KiB."""
    for number in range(150):
        write_ulog(robot.logs / f"{'long-name-' * 12}{number}.ulg", 4096, seed=number + 1000)
    robot.post("landed")
    until(lambda: robot.status["counts"]["verified"] >= 150, 120)
    answer = dashboard.ask("outbox", {"limit": 1000})
    page = answer["data"]
    assert 20 < len(page["rows"]) < 150
    assert "fit into a message" in answer["message"]
    following = dashboard.ask("outbox", {"limit": 1000, "token": page["next_token"]})["data"]
    assert following["rows"][0]["id"] < page["rows"][-1]["id"]


def test_broker_and_sidecar_may_go_and_come_back(
    between: World, robot: Aboard, dashboard: Dashboard
) -> None:
    name = f"lasting-{time.monotonic_ns()}"
    dashboard.ask("subscribe_status_stream", {"subscribed_stream_id": name})
    until(lambda: dashboard.stream(name))
    between.sidecar.kill()
    path = robot.logs / f"{name}.ulg"
    write_ulog(path, MIB, seed=11)
    robot.post("landed")
    row = robot.verified(path)
    between.sidecar.start()
    until(lambda: _states(dashboard, name, row["id"])[-1:] == ["verified"], 60)
    between.broker.kill()
    assert robot.get("status").status == 200
    between.broker.start()
    assert until(lambda: _eventually(dashboard), 60)["status"] == "success"
    assert "Traceback" not in robot.log_files()


def _eventually(dashboard: Dashboard) -> dict[str, Any] | None:
    number, deadline = dashboard.send("status"), time.monotonic() + 3
    while time.monotonic() < deadline:
        if answers := dashboard.answers(number):
            return answers[0]
        time.sleep(0.1)
    return None


# -- other hosts


@pytest.fixture(scope="module")
def other(between: World, cloud: EmbeddedS3, ashore: Path) -> Iterator[Aboard]:
    """A host that each test starts with settings of its own, and whose proxies.yaml names mqtt."""
    with aboard(
        cloud,
        ashore / f"other-{between.sidecar_port}",
        proxies=("bucket", "mqtt"),
        dependencies={"petal-s3": ["mqtt"]},
        organization=ORGANIZATION,
    ) as made:
        made.host.env.update(between.env(made.host.port))
        yield made


def test_with_a_dependency_and_a_sidecar_that_comes_late_each_command_is_answered_once(
    between: World, other: Aboard, robot: Aboard
) -> None:
    robot.host.kill()
    between.sidecar.kill()
    other.host.env["PETAL_S3_MQTT"] = "presign"
    other.start()
    path = other.logs / "presigned.ulg"
    write_ulog(path, MIB)
    key = other.verified(path)["key"]

    between.sidecar.start()
    dashboard = between.dashboard()
    said = until(lambda: _eventually(dashboard), 60)
    assert said["status"] == "success"
    stays(lambda: len(dashboard.answers(said["messageId"])) == 1, 1)
    found = dashboard.ask("presign", {"s3_key": key, "expires": 60})["data"]
    with urllib.request.urlopen(found["url"]) as answer:
        assert answer.read() == path.read_bytes()
    assert other.host.terminate() == -15
    assert "Traceback" not in other.log_files()


@pytest.mark.guarantee(
    "attack",
    "whoever may publish to the robot's topics at the broker sends commands that change something",
    "PETAL_S3_MQTT=read, or PETAL_S3_REST_READ_ONLY, refuses each with 403",
)
@pytest.mark.threat("wifi")
@pytest.mark.parametrize(
    "setting", [("PETAL_S3_MQTT", "read"), ("PETAL_S3_REST_READ_ONLY", "true")]
)
def test_what_the_settings_forbid_is_refused(
    between: World, other: Aboard, robot: Aboard, setting: tuple[str, str]
) -> None:
    robot.host.kill()
    other.host.env.pop("PETAL_S3_MQTT", None)
    other.host.env |= dict([setting])
    other.start()
    try:
        dashboard = between.dashboard()
        assert until(lambda: _eventually(dashboard), 60)["status"] == "success"
        for command, payload in (("landed", {}), ("pin", {"id": 1}), ("card", {"scan": True})):
            refused = dashboard.ask(command, payload)
            assert (refused["error_code"], refused["data"]["status"]) == ("read_only", 403)
            assert setting[0] in refused["message"]
        assert dashboard.ask("card")["status"] == "success"
    finally:
        other.host.kill()
        del other.host.env[setting[0]]


def test_switched_off_nothing_is_answered(between: World, other: Aboard, robot: Aboard) -> None:
    robot.host.kill()
    other.host.env["PETAL_S3_MQTT"] = "off"
    other.start()
    dashboard = between.dashboard()
    assert _eventually(dashboard) is None
    assert other.get("status").status == 200
    other.host.kill()
