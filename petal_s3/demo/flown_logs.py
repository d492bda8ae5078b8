"""The logs of the show: of an earlier flight, and of the one that is flown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from petal_s3.core.settings import MIB
from petal_s3.demo.bag_recorder import BagRecorder
from petal_s3.demo.logs import recorder
from petal_s3.demo.ulog_recorder import UlogRecorder

_SMALL_BYTES = 3 * MIB
_CARD_BYTES = 2 * MIB


@dataclass(frozen=True)
class Log:
    """A log of the show."""

    path: Path
    kind: str
    size: int

    @property
    def name(self) -> str:
        return self.path.name

    @contextlib.contextmanager
    def recorded(self) -> Iterator[UlogRecorder | BagRecorder]:
        """A recorder for it, which at the latest stops with the context."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        made = recorder(self.path, self.kind, self.size, seed=self.size)
        try:
            yield made
        finally:
            made.lose_power()  # changes nothing once it is closed


def logs_of(directory: Path, card: Path, big_bytes: int, now: datetime) -> tuple[Log, list[Log]]:
    """The log of an earlier flight, and those of this one: the autopilot's on its ``card``, then
    the big one."""

    def path(at: datetime, name: str, directory: Path = directory) -> Path:
        return directory / at.strftime("%Y-%m-%d") / at.strftime(name)

    before = now - timedelta(days=1, hours=2, minutes=17, seconds=40)
    return Log(path(before, "%H_%M_%S.ulg"), "ulog", big_bytes // 16), [
        Log(path(now, "%H_%M_%S.ulg", card), "ulog", _CARD_BYTES),
        Log(path(now, "%H_%M_%S_camera.bag"), "rosbag", big_bytes),
        Log(path(now, "%H_%M_%S_gimbal.bag"), "rosbag", _SMALL_BYTES),
    ]
