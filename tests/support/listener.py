"""A petal that keeps the number of each heartbeat of the autopilot that its host hears."""

from __future__ import annotations

from typing import Any

from petal_app_manager.plugins.base import Petal
from petal_app_manager.plugins.decorators import http_action

AUTOPILOT = 1


class Listener(Petal):  # type: ignore[misc]
    """``GET /beats``: the numbers since the last call, in the order in which they were heard."""

    name = "listener"
    version = "1"
    use_mqtt_proxy = False

    def __init__(self) -> None:
        super().__init__()
        self._beats: list[int] = []

    def startup(self) -> None:
        pass

    async def async_startup(self) -> None:
        self._proxies["ext_mavlink"].register_handler("HEARTBEAT", self._heard)

    async def _heard(self, message: Any) -> None:
        if message.get_srcComponent() == AUTOPILOT:
            self._beats.append(message.custom_mode)

    @http_action(method="GET", path="/beats")  # type: ignore[untyped-decorator]
    async def beats(self) -> list[int]:
        beats, self._beats = self._beats, []
        return beats
