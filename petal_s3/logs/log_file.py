"""Know what a flight log is: kind, identity, verdict.

A file is refused (``NotAFlightLog``), not finished yet (``NotFinished``), or a flight log with
one of these verdicts; a damaged log is still a log and is uploaded:

    complete         no damage seen (a ULog has no end mark: its end cannot be proven)
    truncated        ends inside a record, or before or inside the index of a bag
    unindexed        a bag or MCAP file that its recorder never closed
    header_only      a header and nothing else (of a DataFlash log the formats): power was lost
    unknown_version  a ULog, MCAP file or encrypted ULog of a newer version
    incompat         a ULog with features that its reader must know (unknown incompat bits)
    damaged          a sound start, then an impossible record or offset, or zeros at the end

Logs of other kinds (``text``, ``xml``, ``json``) are taken where their source allows them; they are
``complete``, ``truncated`` (XML or JSON that does not close) or ``damaged`` (zeros at the end).

At most 4 KiB of most files are ever read, in two reads: its first 3 KiB, and 1 KiB where damage
shows (the end of a ULog, the first record of a bag). What more the other formats need (96 KiB of a
DataFlash log, the summary of an MCAP file) is told by their modules; nothing reads a whole file.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.errors import NotFinished
from petal_s3.logs import rosbag, ulog
from petal_s3.logs import text as texts
from petal_s3.logs.opening import Identity, check_regular, open_log, os_refusal
from petal_s3.logs.sniff import (
    check_content,
    kind_of,
    log_suffix,
    refused,
    shown_name,
)

if TYPE_CHECKING:
    from petal_s3.logs.reading import Judge

_HEAD_BYTES = 4096
MAX_BYTES = 2 * 1024**3
CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "ulog": "application/x-ulog",
        "rosbag": "application/x-rosbag",
        "dataflash": "application/x-dataflash",
        "mcap": "application/x-mcap",
        "ulog-encrypted": "application/x-ulog-encrypted",
        "text": "text/plain",
        "xml": "application/xml",
        "json": "application/json",
    }
)

_PROBE_BYTES = 1024
_TEXT_BYTES = 1024  # of a text: enough to be told from what is none
_LEAD_BYTES = _HEAD_BYTES - _PROBE_BYTES
# Of formats of which more is read than their beginning and one other place; imported where met.
_JUDGES = {"dataflash": "dataflash", "mcap": "mcap", "ulog-encrypted": "encrypted_ulog"}


@dataclass(frozen=True)
class FlightLog:
    """A file that is a log; ``kind`` is one of ``core.kinds.SUFFIXES``, ``verdict`` as above.

    ``facts`` are what the header gives cheaply, ASCII, at most 128 characters a value: for a
    ULog ``sys-uuid ver-sw ver-sw-release ver-hw sys-name log-type``, ``boot-us`` and ``end-us``
    (microseconds on the vehicle's clock at the start and at the last messages), ``start-utc``
    (seconds since 1970), ``time-ref-utc`` (seconds), ``appended`` (number of crash dumps added
    after the flight); for a bag ``chunk-count conn-count index-pos``; for a DataFlash log
    ``sys-name ver-sw ver-sw-release boot-us end-us start-utc``; for an MCAP file ``profile library
    message-count channel-count chunk-count start-utc end-utc``; for an encrypted ULog ``boot-us
    key-index``.
    """

    path: Path
    kind: str
    identity: Identity
    verdict: str
    facts: Mapping[str, str] = field(hash=False)

    @property
    def content_type(self) -> str:
        """The media type to store it under."""
        return content_type_of(self.kind, self.path.name)

    @property
    def started_s(self) -> int | None:
        """When the log began, in seconds since 1970, as it tells itself; none where it does not."""
        told = self.facts.get(ulog.START_FACT)
        return None if told is None else int(told)

    @classmethod
    def read(
        cls,
        path: Path,
        *,
        max_bytes: int = MAX_BYTES,
        name: str | None = None,
        real: bool = False,
        kinds: frozenset[str] = FLIGHT_KINDS,
    ) -> FlightLog:
        """Examine the file at ``path``; errors as in :func:`open_log` and :func:`examine`.

        ``name`` is its original name where it lies under another one (a spooled copy).
        """
        fd = open_log(path, real=real)
        try:
            judged = path.name if name is None else name
            kind, verdict, facts, identity = examine(fd, judged, max_bytes=max_bytes, kinds=kinds)
        finally:
            os.close(fd)
        return cls(path, kind, identity, verdict, facts)


def examine(
    fd: int, name: str, *, max_bytes: int = MAX_BYTES, kinds: frozenset[str] = FLIGHT_KINDS
) -> tuple[str, str, Mapping[str, str], Identity]:
    """Give kind, verdict, facts and identity of the open file; a little of it is read, see above.

    ``name`` decides the kind, one of ``kinds``, and the content must agree. Accepted:
    0 < size <= ``max_bytes``.
    Raises ``NotAFlightLog`` with a code for the reason, ``NotFinished`` when the name says so or
    the file changed meanwhile, ``SourceAway`` when reading fails.
    """
    shown = shown_name(name)
    kind = kind_of(name, shown, kinds)
    try:
        before = os.fstat(fd)
        check_regular(before.st_mode, shown)
        _check_size(before.st_size, max_bytes, shown)
        identity = Identity.of(before)
        try:
            verdict, facts = _judged(fd, kind, shown, before.st_size)
        finally:
            _check_unchanged(fd, identity, shown)  # of a file that changes nothing else is told
    except OSError as error:
        raise os_refusal(error, shown) from error
    return kind, verdict, MappingProxyType(facts), identity


def _judge_of(kind: str) -> Judge:
    judge: Judge = importlib.import_module(f"petal_s3.logs.{_JUDGES[kind]}").judge
    return judge


def _judged(fd: int, kind: str, shown: str, size: int) -> tuple[str, dict[str, str]]:
    head = os.pread(fd, _LEAD_BYTES, 0)
    if kind in _JUDGES:
        check_content(head, kind, shown)
        return _judge_of(kind)(shown, head, lambda at, count: os.pread(fd, count, at), size)
    probe = os.pread(fd, _PROBE_BYTES, _probe_at(kind, head, size))
    if kind not in FLIGHT_KINDS:
        check_content(head[:_TEXT_BYTES], kind, shown)
        return texts.verdict(kind, head, probe), {}
    check_content(head, kind, shown)
    return (ulog.judge if kind == "ulog" else rosbag.judge)(shown, head, probe, size)


def _check_unchanged(fd: int, identity: Identity, shown: str) -> None:
    if Identity.of(os.fstat(fd)) != identity:
        raise NotFinished(f"{shown} changed while it was examined: it is still being written.")


def content_type_of(kind: str, name: str) -> str:
    """The media type of a log by its kind and name; that of any bytes for an unknown kind."""
    if kind == "text" and log_suffix(name) == ".csv":
        return "text/csv"
    return CONTENT_TYPES.get(kind, "application/octet-stream")


def _check_size(size: int, max_bytes: int, shown: str) -> None:
    if not size:
        raise refused("empty", f"{shown} is empty (0 bytes).")
    if size > max_bytes:
        raise refused(
            "too_large", f"{shown} is too large: {size} bytes, the limit is {max_bytes} bytes."
        )


def _probe_at(kind: str, head: bytes, size: int) -> int:
    if kind == "rosbag":
        return rosbag.first_record(head)
    return max(_LEAD_BYTES, size - _PROBE_BYTES)
