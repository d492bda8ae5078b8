"""A broker, a stand-in for the host's sidecar, and a dashboard: each a program of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aboard import ask, until

from tests.external.debian import CannotBeHadError, program
from tests.servers.running import TIED

SUPPORT = Path(__file__).parents[1] / "support"
ORGANIZATION = "acme"
BROKERS = ("amqtt", "mosquitto")
_PATHS = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"

_AMQTT = """
listeners:
  default:
    type: tcp
    bind: 127.0.0.1:{port}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
"""
_MOSQUITTO = """
listener {port} 127.0.0.1
allow_anonymous true
"""


def broker_command(name: str, python: Path, port: int, directory: Path) -> list[str] | None:
    """How a broker is started; none where it is not installed.

    Asked for by ``scripts/test external``, mosquitto is fetched as other programs of Debian are.
    """
    if name == "amqtt":
        config = directory / "amqtt.yaml"
        config.write_text(_AMQTT.format(port=port))
        return [str(python.with_name("amqtt")), "-c", str(config)]
    config = directory / "mosquitto.conf"
    config.write_text(_MOSQUITTO.format(port=port))
    if shutil.which(name, path=_PATHS) is None and not os.environ.get("EXTERNAL"):
        return None
    try:
        found = program(name)
    except CannotBeHadError:
        return None
    libraries = f"LD_LIBRARY_PATH={found.env.get('LD_LIBRARY_PATH', '')}"
    return ["/usr/bin/env", libraries, str(found.path), "-c", str(config)]


class Program:
    """A process that ends with the tests; it may be ended and started again."""

    def __init__(self, command: list[str], log: Path, port: int = 0) -> None:
        self._command, self._log, self._port = command, log, port
        self.start()

    def start(self) -> None:
        """Returns when its port answers."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", TIED, str(os.getpid()), *self._command],
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
                stdin=subprocess.PIPE,
                stdout=log if self._port else subprocess.PIPE,
                stderr=log,
                text=True,
            )
        if self._port:
            until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            return True
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class Dashboard:
    """Sends commands and collects what the robot publishes."""

    def __init__(self, program: Program) -> None:
        self._process = program.process
        self._heard: list[dict[str, Any]] = []
        threading.Thread(target=self._listen, daemon=True).start()
        until(lambda: len(self._heard) > 0)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._heard.append(json.loads(line))

    def send(self, command: str, payload: object = None, **more: object) -> str:
        """Publish a command of petal-s3; returns its messageId."""
        message = {
            "messageId": uuid.uuid4().hex,
            "deviceId": "dashboard",
            "command": f"petal-s3/{command}",
            "timestamp": "2026-07-27T14:30:22Z",
            "payload": {} if payload is None else payload,
            "waitResponse": True,
            **more,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        return str(message["messageId"])

    def ask(self, command: str, payload: object = None, **more: object) -> dict[str, Any]:
        """Publish a command and wait for what is answered to it."""
        number = self.send(command, payload, **more)
        return until(lambda: next(iter(self.answers(number)), None))

    def answers(self, message_id: str) -> list[dict[str, Any]]:
        found = self.heard("response")
        return [one for one in found if one["messageId"] == message_id]

    def heard(self, topic: str) -> list[dict[str, Any]]:
        """The payloads of a topic below that of the robot, so far."""
        return [one["payload"] for one in list(self._heard) if one.get("topic") == topic]

    def stream(self, name: str = "status") -> list[dict[str, Any]]:
        """What a stream has brought so far."""
        return [
            one["payload"]["stream_payload"]
            for one in self.heard("command/web")
            if one["payload"]["published_stream_id"] == name
        ]


class World:
    """Everything between the host and a dashboard."""

    def __init__(self, broker: str, python: Path, directory: Path, ports: list[int]) -> None:
        directory.mkdir()
        self.sidecar_port, broker_port = ports
        command = broker_command(broker, python, broker_port, directory)
        assert command is not None
        self.broker = Program(command, directory / "broker.log", broker_port)
        support = [str(python), str(SUPPORT / "mqtt_sidecar.py")]
        self.sidecar = Program(
            [*support, str(self.sidecar_port), str(broker_port)],
            directory / "sidecar.log",
            self.sidecar_port,
        )
        self._dashboard = [str(python), str(SUPPORT / "mqtt_dashboard.py"), str(broker_port)]
        self._log = directory / "dashboard.log"
        self._watching: list[Program] = []

    def dashboard(self) -> Dashboard:
        """One that watches the robot, whose name it has from what the host subscribes to."""
        (base, *_) = until(self._bases)
        self._watching.append(Program([*self._dashboard, base], self._log))
        return Dashboard(self._watching[-1])

    def _bases(self) -> list[str]:
        topics = ask("GET", f"http://127.0.0.1:{self.sidecar_port}/health").json["topics"]
        return [one.removesuffix("/command/edge") for one in topics if one.endswith("/edge")]

    def env(self, host_port: int) -> Mapping[str, str]:
        """What the host has to be told."""
        return {
            "PETAL_TS_CLIENT_HOST": "127.0.0.1",
            "PETAL_TS_CLIENT_PORT": str(self.sidecar_port),
            "PETAL_CALLBACK_HOST": "127.0.0.1",
            "PETAL_CALLBACK_PORT": str(host_port),
            "PETAL_MQTT_HEALTH_CHECK_INTERVAL": "1",
        }

    def close(self) -> None:
        for one in (*self._watching, self.sidecar, self.broker):
            one.kill()


@contextlib.contextmanager
def world(broker: str, python: Path, directory: Path, ports: list[int]) -> Iterator[World]:
    made = World(broker, python, directory, ports)
    try:
        yield made
    finally:
        made.close()
