"""Stand-ins for the services beside the host: redis, the databases and the MQTT sidecar."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from fakeredis import TcpFakeServer

from petal_s3.core.loop_thread import LoopThread

_Body = dict[str, Any]
_Item = dict[str, Any]
_CLOUD_PATH = "/cloud"
_INSTANCES_TABLE = "config-robot_instances"


class Database:
    """Tables in memory, answering as both the onboard and the cloud database do."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, _Item]] = {}

    def put(self, table: str, item: _Item) -> None:
        """Seed a record; without a `robot_instance_id` it belongs to whichever host asks."""
        self.tables.setdefault(table, {})[item["id"]] = item

    def get(self, table: str, item_id: str) -> _Item:
        """The record as it is now; {} when there is none."""
        return self.tables.get(table, {}).get(item_id, {})

    def get_data(self, body: _Body) -> _Item:
        found = self.get(body["table_name"], body["partition_value"])
        if not found and body["table_name"] == _INSTANCES_TABLE:
            found = {"id": body["partition_value"], "robot_type_id": "demo-robot"}
        return _owned(found, body)

    def scan_data(self, body: _Body) -> list[_Item]:
        wanted = {
            line["filter_key_name"]: line["filter_key_value"] for line in body.get("scanFilter", [])
        }
        items = (_owned(item, body) for item in self.tables.get(body["table_name"], {}).values())
        return [item for item in items if wanted.items() <= item.items()]

    def set_data(self, body: _Body) -> _Item:
        self.put(body["table_name"], {**body["data"], body["filter_key"]: body["filter_value"]})
        return self.get(body["table_name"], body["filter_value"])

    def update_data(self, body: _Body) -> _Item:
        known = self.get(body["table_name"], body["filter_value"])
        return self.set_data({**body, "data": {**known, **body["data"]}})


def _owned(item: _Item, body: _Body) -> _Item:
    return {"robot_instance_id": body.get("onBoardId"), **item} if item else {}


class Services:
    """One HTTP server: the onboard database, the cloud database and the MQTT sidecar."""

    def __init__(self) -> None:
        self.local = Database()
        self.cloud = Database()
        self.subscriptions: dict[str, str] = {}
        """topic -> the URL that wants its messages"""
        self.published: list[tuple[str, _Body]] = []
        self.port = 0

    async def start(self) -> None:
        app = web.Application()
        for base, database in (("", self.local), (_CLOUD_PATH, self.cloud)):
            for name, work in (
                ("getData", database.get_data),
                ("scanData", database.scan_data),
                ("setData", database.set_data),
                ("updateData", database.update_data),
            ):
                app.router.add_post(f"{base}/drone/onBoard/config/{name}", _answering(work))
        app.router.add_post("/access-token", _answering(lambda _: {"accessToken": "demo-access"}))
        app.router.add_get("/health", _answering(lambda _: {"status": "healthy"}))
        app.router.add_post("/subscribe", _answering(self._subscribe))
        app.router.add_post("/unsubscribe", _answering(self._unsubscribe))
        app.router.add_post("/publish", _answering(self._publish))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def deliver(self, topic: str, payload: _Body) -> None:
        """Bring a message from the broker to the host that subscribed to `topic`."""
        message = {"topic": topic, "payload": payload}
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.subscriptions[topic], json=message) as answer,
        ):
            answer.raise_for_status()

    def _subscribe(self, body: _Body) -> _Body:
        self.subscriptions[body["topic"]] = body["callbackUrl"]
        return {"success": True}

    def _unsubscribe(self, body: _Body) -> _Body:
        self.subscriptions.pop(body["topic"], None)
        return {"success": True}

    def _publish(self, body: _Body) -> _Body:
        self.published.append((body["topic"], body["payload"]))
        return {"success": True}


def _answering(
    work: Callable[[_Body], _Body | list[_Item]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        return web.json_response(work(await request.json() if request.body_exists else {}))

    return handle


class StandIns:
    """Everything beside the host, in threads of its own; a context manager."""

    def __init__(self) -> None:
        self.services = Services()

    @property
    def local(self) -> Database:
        return self.services.local

    @property
    def cloud(self) -> Database:
        return self.services.cloud

    def start(self) -> None:
        self._redis = TcpFakeServer(("127.0.0.1", 0))
        self._redis_thread = threading.Thread(
            target=self._redis.serve_forever, name="redis", daemon=True
        )
        self._redis_thread.start()
        self._thread = LoopThread("beside-the-host")
        self._thread.run(self.services.start())

    def stop(self) -> None:
        self._thread.run(self.services.stop())
        self._thread.close()
        self._redis.shutdown()
        self._redis.server_close()
        self._redis_thread.join()

    def deliver(self, topic: str, payload: _Body) -> None:
        """Bring a message from the broker to the host that subscribed to `topic`."""
        self._thread.run(self.services.deliver(topic, payload))

    def env(self, host_url: str) -> dict[str, str]:
        """What the host at `host_url` must find in its environment to use these."""
        port = str(self.services.port)
        here = f"http://127.0.0.1:{port}"
        return {
            "PETAL_REDIS_HOST": "127.0.0.1",
            "PETAL_REDIS_PORT": str(self._redis.server_address[1]),
            "PETAL_LOCAL_DB_HOST": "127.0.0.1",
            "PETAL_LOCAL_DB_PORT": port,
            "PETAL_CLOUD_ENDPOINT": here + _CLOUD_PATH,
            "PETAL_ACCESS_TOKEN_URL": f"{here}/access-token",
            "PETAL_TS_CLIENT_HOST": "127.0.0.1",
            "PETAL_TS_CLIENT_PORT": port,
            "PETAL_CALLBACK_HOST": "127.0.0.1",
            "PETAL_CALLBACK_PORT": str(urlsplit(host_url).port),
        }

    def __enter__(self) -> StandIns:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
