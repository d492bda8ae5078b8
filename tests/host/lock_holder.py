"""A petal that holds a MAVLink lock of its host, as a download from the autopilot does."""

from __future__ import annotations

import threading
from typing import Any

from petal_app_manager.plugins.base import Petal
from petal_app_manager.plugins.decorators import http_action

LOCKS = {"mavlink": ["_mav_lock"], "download": ["_mav_lock", "_download_lock"]}


class LockHolder(Petal):  # type: ignore[misc]
    """``POST /hold/{which}``, then ``POST /let-go``."""

    name = "lock-holder"
    version = "1"
    use_mqtt_proxy = False

    def __init__(self) -> None:
        super().__init__()
        self._let_go = threading.Event()
        self._held = threading.Event()
        self._holding: threading.Thread | None = None

    def startup(self) -> None:
        pass

    async def async_startup(self) -> None:
        pass

    @http_action(method="POST", path="/hold/{which}")  # type: ignore[untyped-decorator]
    def hold(self, which: str) -> dict[str, Any]:
        self._let_go.clear()
        self._held.clear()
        self._holding = threading.Thread(target=self._hold, args=(LOCKS[which],), daemon=True)
        self._holding.start()
        return {"held": self._held.wait(10)}

    @http_action(method="POST", path="/let-go")  # type: ignore[untyped-decorator]
    def let_go(self) -> dict[str, Any]:
        self._let_go.set()
        if self._holding is not None:
            self._holding.join(10)
        return {"held": False}

    def _hold(self, names: list[str]) -> None:
        mavlink = self._proxies["ext_mavlink"]
        locks = [getattr(mavlink, name) for name in names]
        for lock in locks:
            lock.acquire()
        self._held.set()
        self._let_go.wait()
        for lock in reversed(locks):
            lock.release()
