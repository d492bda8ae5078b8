"""A petal that downloads from the autopilot by the host's own client, as petal-flight-log does."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from petal_app_manager.plugins.base import Petal
from petal_app_manager.plugins.decorators import http_action


class Downloader(Petal):  # type: ignore[misc]
    """``POST /download`` with the path on the card and where to put it."""

    name = "downloader"
    version = "1"
    use_mqtt_proxy = False

    def startup(self) -> None:
        pass

    async def async_startup(self) -> None:
        pass

    @http_action(method="POST", path="/download")  # type: ignore[untyped-decorator]
    async def download(self, remote: str, target: str) -> dict[str, Any]:
        ftp = self._proxies["ftp_mavlink"]
        try:
            done = await ftp.download_ulog(remote, Path(target), threading.Event())
        except Exception as error:  # noqa: BLE001 - the test is told
            return {"done": None, "error": repr(error)}
        return {"done": str(done)}
