"""The kinds of logs, and the suffixes by which their names tell them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SUFFIXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ulog": (".ulg",),
        "rosbag": (".bag",),
        "text": (".log", ".txt", ".csv", ".out", ".err"),
        "xml": (".xml",),
        "json": (".json",),
    }
)
FLIGHT_KINDS = frozenset({"ulog", "rosbag"})
TEXT_KINDS = frozenset({"text"})
ALL_KINDS = frozenset(SUFFIXES)
LOG_SUFFIXES = frozenset(suffix for kind in FLIGHT_KINDS for suffix in SUFFIXES[kind])
