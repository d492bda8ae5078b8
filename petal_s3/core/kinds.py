"""The kinds of logs, the suffixes by which their names tell them, and the ways they come in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

SUFFIXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ulog": (".ulg",),
        "rosbag": (".bag",),
        "dataflash": (".bin",),
        "mcap": (".mcap",),
        "ulog-encrypted": (".ulge", ".ulgc"),
        "text": (".log", ".txt", ".csv", ".out", ".err"),
        "xml": (".xml",),
        "json": (".json",),
    }
)
FLIGHT_KINDS = frozenset({"ulog", "rosbag", "dataflash", "mcap", "ulog-encrypted"})
TEXT_KINDS = frozenset({"text"})
ALL_KINDS = frozenset(SUFFIXES)
LOG_SUFFIXES = frozenset(suffix for kind in FLIGHT_KINDS for suffix in SUFFIXES[kind])

ReceivedBy = Literal["scan", "card", "rest", "proxy", "cli", "session"]
"""How a log came in: found in a log directory, fetched from the autopilot's card, over REST, from
another petal, from the command line or a script, for a diagnosis session. ``scan`` and ``card`` are
of this machine's own recorders, all others were handed over."""
RECEIVED_BY: frozenset[str] = frozenset(get_args(ReceivedBy))
Way = ReceivedBy | Literal[""]
"""The same, empty where it is not known."""
