"""Make flight logs in the real formats: PX4 ULog version 1 and ROS 1 bag 2.0.

The files are structurally real: PX4's and ROS's own readers open them and find every message.
The same seed, size and kind give the same bytes; the data barely compresses, as real sensor
data does, and no two parts of a file are alike.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from petal_s3.demo.bag_recorder import BagRecorder
from petal_s3.demo.ulog_recorder import UlogRecorder


def write_ulog(
    path: Path,
    size_bytes: int,
    *,
    seed: int = 0,
    on_block: Callable[[int], None] | None = None,
) -> None:
    """Write a whole ULog of exactly ``size_bytes``.

    ``on_block`` hears the size reached, about once per MiB.
    Raises ``ValueError`` when so few bytes hold no log; it names the least.
    """
    _write(UlogRecorder(path, size_bytes, seed=seed), on_block)


def write_bag(
    path: Path,
    size_bytes: int,
    *,
    seed: int = 0,
    indexed: bool = True,
    on_block: Callable[[int], None] | None = None,
) -> None:
    """Write a ROS bag of exactly ``size_bytes``; not ``indexed`` leaves it as a dead recorder.

    ``on_block`` hears the size reached, about once per chunk (768 KiB).
    Raises ``ValueError`` when so few bytes hold no bag with a message; it names the least.
    """
    _write(BagRecorder(path, size_bytes, seed=seed, indexed=indexed), on_block)


def recorder(
    path: Path, kind: str, total_bytes: int, *, seed: int = 0
) -> UlogRecorder | BagRecorder:
    """Begin a log that grows during flight; ``kind`` is ``ulog`` or ``rosbag``."""
    if kind == "ulog":
        return UlogRecorder(path, total_bytes, seed=seed)
    return BagRecorder(path, total_bytes, seed=seed)


def _write(log: UlogRecorder | BagRecorder, on_block: Callable[[int], None] | None) -> None:
    reached = 0
    while written := log.write(1 << 20):
        reached += written
        if on_block is not None:
            on_block(reached)
    log.close()
