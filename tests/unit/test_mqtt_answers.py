"""Answers to commands over MQTT: they fit into a message, are text, and always come."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from petal_s3.core.settings import Settings
from petal_s3.errors import BadInput, ConfigError
from petal_s3.host.mqtt import Mqtt
from petal_s3.host.mqtt_answers import MOST_BYTES, fitted, plain_json
from petal_s3.host.mqtt_commands import COMMANDS, Command
from petal_s3.service.views.card import CardFileView, CardView
from petal_s3.service.views.status import LandedView
from petal_s3.web.requests import Nothing


class Host:
    """What is used of the host's proxy; it remembers what was answered."""

    is_connected = True
    device_id = "Instance-1"
    organization_id = "acme"

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []

    async def send_command_response(self, message_id: Any, response_data: Any) -> bool:
        self.answers.append(json.loads(json.dumps({"messageId": message_id, **response_data})))
        return True

    async def publish_message(self, payload: Any) -> bool:
        return True


def inactive() -> Any:
    raise ConfigError("PETAL_S3_BUCKET_NAME is not set.")


class _Service:
    """As much of a service as a command asks before it runs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.outbox = type("Open", (), {"is_starting": False})()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Any:
    return _Service(Settings(bucket_name="logs"))


def card(files: int) -> CardView:
    logs = [
        CardFileView(
            id=number,
            path=f"/fs/microsd/log/{'x' * 200}/{number}.ulg",
            size=1,
            time=None,
            state="seen",
            fetched_bytes=0,
            code="",
            reason="",
            row=None,
        )
        for number in range(files)
    ]
    return CardView(
        root="/fs/microsd/log",
        heard=True,
        listed_at=None,
        on_card=files,
        to_fetch=0,
        to_fetch_bytes=0,
        fetching=None,
        rate_bytes_s=0,
        unproven=files,
        left_out=0,
        gone=0,
        deletes_next=None,
        safe_to_erase=False,
        not_safe="",
        code="",
        reason="",
        files=logs,
    )


def test_a_card_of_many_logs_is_cut_and_says_so() -> None:
    whole = card(2000)
    shown, said = fitted(whole)
    assert isinstance(shown, CardView)
    assert len(json.dumps(shown.model_dump())) <= MOST_BYTES
    assert shown.files == whole.files[: len(shown.files)]
    assert said == f"{len(shown.files)} of 2000 fit into a message."
    assert fitted(card(3)) == (card(3), "")


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        fitted(LandedView(found=1, enqueued=0, reason="x" * MOST_BYTES, trouble=""))
    assert (caught.value.code, caught.value.status) == ("too_large", 413)


def test_a_name_that_is_no_text_becomes_one() -> None:
    assert plain_json({"path": "a\udcff.ulg"}) == {"path": "a?.ulg"}


async def test_without_a_service_every_command_says_why() -> None:
    host = Host()
    mqtt = Mqtt(inactive, host)
    for command in COMMANDS:
        await mqtt.handle(command, {"messageId": command.name, "waitResponse": True})
    assert [one["error_code"] for one in host.answers] == ["config"] * len(COMMANDS)
    assert [one["messageId"] for one in host.answers] == [one.name for one in COMMANDS]


async def test_a_fault_of_our_own_is_answered_and_raises_nothing(
    service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> Any:
        raise RuntimeError("a fault")

    host = Host()
    command = Command("broken", "It breaks", broken, (LandedView,))
    said = await Mqtt(lambda: service, host).handle(command, {"waitResponse": True})
    assert said["status"] == host.answers[0]["status"] == "error"
    assert host.answers[0]["messageId"] == "unknown"
    assert "a fault" in caplog.text
    assert "a fault" not in json.dumps(host.answers)


async def test_too_many_at_once_are_refused(service: Any) -> None:
    go = asyncio.Event()

    async def slow(*_: object) -> Any:
        await go.wait()
        return LandedView(found=0, enqueued=0, reason="", trouble="")

    command = Command("slow", "It takes long", slow, (LandedView,), Nothing)
    mqtt = Mqtt(lambda: service, Host())
    running = [asyncio.ensure_future(mqtt.handle(command, {})) for _ in range(16)]
    await asyncio.sleep(0)
    assert (await mqtt.handle(command, {}))["error_code"] == "too_many"
    go.set()
    assert {one["status"] for one in await asyncio.gather(*running)} == {"success"}
    assert (await mqtt.handle(command, {}))["status"] == "success"
