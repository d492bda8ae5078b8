"""Stand in for the host's sidecar: HTTP on one side, a real MQTT broker on the other.

``python mqtt_sidecar.py HTTP_PORT BROKER_PORT``, in an environment that has paho-mqtt. What it
answers is what petal-app-manager 0.2.7 asks (``proxies/mqtt.py``): GET /health, POST /subscribe,
/unsubscribe and /publish; what the broker brings goes to the ``callbackUrl`` of its topic.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import paho.mqtt.client as paho

_PATIENCE_S = 5


class Sidecar:
    """One connection to the broker."""

    def __init__(self, broker_port: int) -> None:
        self._callbacks: dict[str, str] = {}
        self._granted: dict[int, threading.Event] = {}
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="sidecar")
        self._client.on_message = self._on_message
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda _c, _u, mid, *_: self._event(mid).set()
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", broker_port)
        self._client.loop_start()

    @property
    def topics(self) -> list[str]:
        """What the host has subscribed to."""
        return list(self._callbacks)

    def answer(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        """What the sidecar says to a POST."""
        if not self._client.is_connected():
            return {"success": False, "message": "not connected to the broker"}
        if path == "/subscribe":
            self._callbacks[asked["topic"]] = asked["callbackUrl"]
            _, mid = self._client.subscribe(asked["topic"], qos=1)
            return {"success": mid is not None and self._event(mid).wait(_PATIENCE_S)}
        if path == "/unsubscribe":
            self._callbacks.pop(asked["topic"], None)
            self._client.unsubscribe(asked["topic"])
            return {"success": True}
        sent = self._client.publish(asked["topic"], json.dumps(asked["payload"]), qos=asked["qos"])
        sent.wait_for_publish(_PATIENCE_S)
        return {"success": sent.is_published()}

    def _event(self, mid: int) -> threading.Event:
        return self._granted.setdefault(mid, threading.Event())

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        for topic in self._callbacks:
            client.subscribe(topic, qos=1)

    def _on_message(self, _: object, __: object, message: paho.MQTTMessage) -> None:
        url = self._callbacks.get(message.topic)
        if url is not None:
            body = json.dumps(
                {
                    "topic": message.topic,
                    "payload": json.loads(message.payload),
                    "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                    "qos": message.qos,
                }
            ).encode()
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
            with contextlib.suppress(OSError):  # the host is away
                urllib.request.urlopen(request, timeout=_PATIENCE_S).close()


def main(http_port: int, broker_port: int) -> None:
    sidecar = Sidecar(broker_port)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say({"status": "ok", "topics": sidecar.topics})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._say(sidecar.answer(self.path, asked))

        def _say(self, answer: dict[str, Any]) -> None:
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is written."""

    ThreadingHTTPServer(("127.0.0.1", http_port), Handler).serve_forever()


if __name__ == "__main__":
    main(*(int(one) for one in sys.argv[1:3]))
