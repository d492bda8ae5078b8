"""Count what work costs a process: bytes hashed and read, thread hops, commits, modules.

Figures that no other load on the machine changes. What is counted is what the process does, by
whatever function of the standard library (or of isal, zlib-ng) it does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import json
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from unittest import mock

_CRC32S = (
    "zlib",
    "isal.isal_zlib",
    "isal.igzip_lib",
    "zlib_ng.zlib_ng",
    "crc32c",
    "awscrt.checksums",
)
_READS = ("read", "readv", "pread", "preadv", "sendfile")
_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


@dataclass(frozen=True)
class Costs:
    """What was spent; all of the process, in all of its threads."""

    md5_bytes: int = 0
    crc_bytes: int = 0
    """By any function named ``crc32``."""
    sha256_bytes: int = 0
    read_bytes: int = 0
    """From regular files, by functions of ``os``."""
    io_bytes: int = 0
    """From anything but sockets, by any call of the process: SQLite's and the importer's, too."""
    hops: int = 0
    """Calls handed to a pool of threads."""
    wakes: int = 0
    """Calls handed to an event loop by another thread; each hop makes one when it has ended."""
    threads: int = 0
    """Threads that were started."""
    commits: int = 0
    """Transactions of SQLite that wrote, those of single statements included."""
    modules: int = 0
    """Modules imported."""

    def __sub__(self, other: Costs) -> Costs:
        mine, theirs = asdict(self), asdict(other)
        return Costs(**{name: mine[name] - theirs[name] for name in mine})

    def json(self) -> str:
        """One line that :meth:`of` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, line: str) -> Costs:
        """What :meth:`json` wrote."""
        return cls(**json.loads(line))


class Meter:
    """Counts from now on; ``so_far`` says how much. Made by :func:`counting`."""

    def __init__(self) -> None:
        self._counts = {field.name: 0 for field in fields(Costs)}
        self._lock = threading.Lock()

    def add(self, name: str, count: int = 1) -> None:
        """Count something of that name."""
        with self._lock:
            self._counts[name] += count

    def so_far(self) -> Costs:
        """All that was counted since the beginning."""
        with self._lock:
            counts = {**self._counts, "io_bytes": _io_bytes(), "modules": len(sys.modules)}
            return Costs(**counts)


@contextlib.contextmanager
def counting() -> Iterator[Meter]:
    """Count what this process does while the block runs.

    Names that a module has taken out of another before (``from zlib import crc32``) are not seen:
    enter it before the import of what is counted, or use the names of the modules.
    """
    meter = Meter()
    with contextlib.ExitStack() as stack:
        put = stack.enter_context
        for name, attribute in (("md5", "md5_bytes"), ("sha256", "sha256_bytes")):
            put(mock.patch.object(hashlib, name, _hash(meter, attribute, getattr(hashlib, name))))
        put(mock.patch.object(hashlib, "new", _new(hashlib.new)))
        for module in _CRC32S:
            with contextlib.suppress(ImportError):
                found = importlib.import_module(module)
                if hasattr(found, "crc32"):
                    put(mock.patch.object(found, "crc32", _crc(meter, found.crc32)))
        for name in _READS:
            put(mock.patch.object(os, name, _reading(meter, name, getattr(os, name))))
        put(_counted(meter, "hops", ThreadPoolExecutor, "submit"))
        put(_counted(meter, "threads", threading.Thread, "start"))
        put(_counted(meter, "wakes", asyncio.BaseEventLoop, "call_soon_threadsafe"))
        put(mock.patch.object(sqlite3, "connect", _connect(meter, sqlite3.connect)))
        yield meter


def _counted(meter: Meter, name: str, owner: type, method: str) -> Any:
    true = getattr(owner, method)

    def counted(self: Any, *given: Any, **named: Any) -> Any:
        meter.add(name)
        return true(self, *given, **named)

    return mock.patch.object(owner, method, counted)


def _size(data: Any) -> int:
    return memoryview(data).nbytes


def _hash(meter: Meter, name: str, true: Callable[..., Any]) -> Callable[..., Any]:
    """In place of ``hashlib.md5``: an object that counts what it is fed."""

    class Hash:
        def __init__(self, data: Any = b"", *, usedforsecurity: bool = True, made: Any = None):
            self._made = made or true(usedforsecurity=usedforsecurity)
            if _size(data):
                self.update(data)

        def update(self, data: Any) -> None:
            meter.add(name, _size(data))
            self._made.update(data)

        def copy(self) -> Hash:
            return Hash(made=self._made.copy())

        def __getattr__(self, attribute: str) -> Any:
            return getattr(self._made, attribute)

    return Hash


def _new(true: Callable[..., Any]) -> Callable[..., Any]:
    def new(name: str, data: Any = b"", **more: Any) -> Any:
        return (
            getattr(hashlib, name)(data, **more)
            if name in ("md5", "sha256")
            else true(name, data, **more)
        )

    return new


def _crc(meter: Meter, true: Callable[..., int]) -> Callable[..., int]:
    def crc32(data: Any, *start: int) -> int:
        meter.add("crc_bytes", _size(data))
        return true(data, *start)

    return crc32


def _reading(meter: Meter, name: str, true: Callable[..., Any]) -> Callable[..., Any]:
    """In place of a function of ``os`` that reads; what is no regular file is not counted."""

    def read(*given: Any, **named: Any) -> Any:
        found = true(*given, **named)
        fd = (given[1] if len(given) > 1 else named["in_fd"]) if name == "sendfile" else given[0]
        if Path(f"/proc/self/fd/{fd}").is_file():
            meter.add("read_bytes", len(found) if isinstance(found, bytes) else found)
        return found

    return read


def _connect(meter: Meter, true: Callable[..., sqlite3.Connection]) -> Callable[..., Any]:
    def connect(*given: Any, **named: Any) -> sqlite3.Connection:
        made = true(*given, **named)
        count_commits(made, lambda _: meter.add("commits"))
        return made

    return connect


def count_commits(connection: sqlite3.Connection, tell: Callable[[str], object]) -> None:
    """Call ``tell`` at each commit that writes, with the statement that it began to write with."""
    written: list[str] = []
    last = [""]

    def look(statement: str) -> None:
        if statement == last[0]:
            return  # told again for each of its triggers
        if statement.startswith(_WRITES):
            written.append(statement)
        # A statement outside a transaction is one by itself.
        if written and (statement.startswith("COMMIT") or not connection.in_transaction):
            tell(written[0])
            last[0] = written[0]
            written.clear()

    connection.set_trace_callback(look)


def _io_bytes() -> int:
    """What the kernel says that this process has read; 0 where it does not say."""
    try:
        return int(Path("/proc/self/io").read_text().split()[1])
    except OSError:
        return 0
