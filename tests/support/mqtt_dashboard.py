"""What a dashboard is: it publishes what it is told on stdin, and prints what it hears.

``python mqtt_dashboard.py BROKER_PORT BASE_TOPIC``, in an environment that has paho-mqtt. A line of
stdin is a JSON object that goes to ``BASE_TOPIC/command/edge``; a line of stdout is
``{"topic": ..., "payload": ...}`` of any topic below the base; the first line is ``{}``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

import paho.mqtt.client as paho


def main(broker_port: int, base: str) -> None:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"dashboard-{os.getpid()}")

    def say(told: object) -> None:
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()

    def heard(_: object, __: object, message: paho.MQTTMessage) -> None:
        if message.topic != f"{base}/command/edge":
            topic = message.topic.removeprefix(f"{base}/")
            say({"topic": topic, "payload": json.loads(message.payload)})

    client.on_connect = lambda *_: client.subscribe(f"{base}/#", qos=1)
    client.on_subscribe = lambda *_: say({})
    client.on_message = heard
    client.reconnect_delay_set(1, 1)
    client.connect("127.0.0.1", broker_port)
    client.loop_start()
    for line in sys.stdin:
        with contextlib.suppress(RuntimeError):  # the broker is away: it is sent when it is back
            client.publish(f"{base}/command/edge", line.strip(), qos=1).wait_for_publish(5)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
