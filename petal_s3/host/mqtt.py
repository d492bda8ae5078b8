"""Commands over MQTT, through the host's own connection to the broker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Protocol

from petal_s3.core.tasks import cancel_and_wait
from petal_s3.errors import S3IntegrationError, Throttled
from petal_s3.host.guarded import guarded
from petal_s3.host.mqtt_answers import Json, answer, failure
from petal_s3.host.mqtt_commands import COMMANDS, STREAM, Command
from petal_s3.host.mqtt_stream import StatusStreams
from petal_s3.service.service import Service

_LOOK_S = 1.0
_MOST_AT_ONCE = 16
Message = Mapping[str, Any]
Handler = Callable[[Any, str, Message], Awaitable[Json]]


class MqttProxy(Protocol):
    """What is used of the host's ``mqtt``."""

    is_connected: bool
    device_id: str | None
    organization_id: str | None

    async def send_command_response(self, message_id: Any, response_data: Json) -> bool:
        """Publish the answer to a command."""

    async def publish_message(self, payload: Json) -> bool:
        """Publish to whoever watches the robot."""


class Mqtt:
    """Answers commands and publishes streams; nothing that it raises gets into the host."""

    def __init__(self, active: Callable[[], Service], proxy: MqttProxy) -> None:
        """``active`` gives the service or raises why there is none."""
        self._active = active
        self._proxy = proxy
        self._streams = StatusStreams(active, self._publish)
        self._registering: asyncio.Task[None] | None = None
        self._at_once = 0

    def begin(self, register: Callable[[], Awaitable[object]]) -> None:
        """Register as soon as the host is connected: it may be long after its start.

        ``register`` has the host dispatch our commands, and says whether it does. The host calls
        it too where its ``petal_dependencies`` name mqtt; but once only, and there it would not
        load the petal without MQTT at all.
        """
        self._registering = asyncio.create_task(self._look(register))

    async def stop(self) -> None:
        """Publish nothing more."""
        if self._registering is not None:
            await cancel_and_wait(self._registering)
        await self._streams.stop()

    async def handle(self, command: Command, message: Message) -> Json:
        """Run a command, answer where an answer is waited for, and return the answer."""
        said = failure(S3IntegrationError("An error of petal-s3 itself; see the host's log."))
        with guarded("a command over MQTT failed"):
            said = await self._answered(command, message)
        if message.get("waitResponse", False):
            with guarded("an answer over MQTT could not be sent"):
                await self._proxy.send_command_response(
                    message_id=message.get("messageId", "unknown"), response_data={**said}
                )
        return said

    async def _answered(self, command: Command, message: Message) -> Json:
        if self._at_once >= _MOST_AT_ONCE:
            return failure(Throttled("Too many commands at once.", code="too_many"))
        self._at_once += 1
        try:
            return await answer(command, self._active, message.get("payload"), self._streams)
        finally:
            self._at_once -= 1

    async def _look(self, register: Callable[[], Awaitable[object]]) -> None:
        with guarded("commands over MQTT are not answered"):
            registered: object = None
            while not registered:
                await asyncio.sleep(_LOOK_S)
                registered = await register() if self._is_ready() else None

    def _is_ready(self) -> bool:
        return bool(self._proxy.is_connected and self._proxy.organization_id)

    async def _publish(self, name: str, payload: Json) -> bool:
        if not self._is_ready():
            return False
        message: Json = {
            "messageId": str(uuid.uuid4()),
            "deviceId": self._proxy.device_id,
            "command": f"/{STREAM}",
            "timestamp": datetime.now(timezone.utc).isoformat(),
            "payload": {"published_stream_id": name, "stream_payload": payload},
            "waitResponse": False,
        }
        return await self._proxy.publish_message(payload=message)


def mount(petal: type, mqtt_action: Callable[[str], Callable[[Handler], Handler]]) -> None:
    """Give the petal a method for each command, marked for the host's dispatch.

    Each lets ``mqtt`` of the petal handle the message: a :class:`Mqtt`.
    """
    for command in COMMANDS:
        setattr(petal, f"mqtt_{command.name}", mqtt_action(command.name)(_method(command)))


def _method(command: Command) -> Handler:
    async def method(self: Any, topic: str, message: Message) -> Json:  # noqa: ARG001 - the host's
        said: Json = await self.mqtt.handle(command, message)
        return said

    method.__name__, method.__doc__ = f"mqtt_{command.name}", command.summary
    return method
