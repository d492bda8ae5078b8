"""Say what a file is by its name and its first bytes, or why it is no log."""

from __future__ import annotations

import re
from collections.abc import Iterable

from petal_s3.core.kinds import FLIGHT_KINDS, SUFFIXES
from petal_s3.errors import NotAFlightLog, NotFinished, plain
from petal_s3.logs import rosbag, ulog
from petal_s3.logs import text as texts

UNFINISHED_SUFFIXES: frozenset[str] = frozenset(
    {".active", ".crdownload", ".download", ".filepart", ".incomplete"}
    | {".part", ".partial", ".temp", ".tmp"}
)

_NAME_BYTES = 255
_SHOWN_CHARS = 120
_SMALLEST_BYTES = 16
_STATUS = {
    "bad_path": 400,
    "bad_name": 400,
    "not_allowed": 403,
    "unreadable": 403,
    "too_large": 413,
}
_SPOKEN = {
    "ulog": "a ULog",
    "rosbag": "a ROS bag",
    "dataflash": "a DataFlash log",
    "mcap": "an MCAP file",
    "ulog-encrypted": "an encrypted ULog",
    "text": "readable text",
    "xml": "XML",
    "json": "JSON",
}
# By logrotate (.1, -20250727, -1753626622) and by Python's handlers (.1, .2025-07-27_14-30-22).
_ROTATED = re.compile(
    r"(\.[0-9]{1,6}|[.-]([0-9]{4}-?[0-9]{2}-?[0-9]{2}([-_T]?[0-9-]{1,8})?|[0-9]{10}))\Z"
)
_KINDS = {suffix: kind for kind, suffixes in SUFFIXES.items() for suffix in suffixes}
_FIRST = {"xml": b"<", "json": b"{["}
_PAGE = re.compile(rb"<!doctype html|<html", re.IGNORECASE)
_MAGICS = {
    "ulog": ulog.MAGIC,
    "rosbag": rosbag.MAGIC,
    "dataflash": b"\xa3\x95\x80",
    "mcap": b"\x89MCAP",
    "ulog-encrypted": b"ULogEnc",
}
_BEGINS = {
    "ulog": "the bytes 55 4C 6F 67 01 12 35",
    "rosbag": "'#ROSBAG V2.0'",
    "dataflash": "the bytes A3 95 80",
    "mcap": "the bytes 89 4D 43 41 50",
    "ulog-encrypted": "'ULogEnc' since PX4 1.16; before, its key lay in a file of its own",
}
_PACKED_SUFFIXES = frozenset({".gz", ".tgz", ".zip", ".zst", ".bz2", ".xz", ".lz4", ".7z"})
_PACKED = re.compile(
    rb"\x1f\x8b|PK\x03\x04|PK\x05\x06|\x28\xb5\x2f\xfd|BZh|\xfd7zXZ\0|\x04\x22\x4d\x18|7z\xbc\xaf"
)
_OTHER_LOG_SUFFIXES = frozenset({".db3", ".tlog"})
_SEEN = (
    (rb"ulogdata", "text that begins with 'ULogData', which no ULog does"),
    (rb"version https://git-lfs", "a git-LFS pointer instead of the log itself"),
    (rb"<!doctype html|<html", "an HTML page"),
    (rb"<\?xml", "XML"),
    (rb"[{\[]", "JSON"),
    (rb"sqlite format 3", "an SQLite database"),
    (rb"[\t\n\r\f\x20-\x7e]*\Z", "text"),
)
_BAG_LINE = re.compile(rb"#ROS(?:BAG|RECORD|LOG) V([0-9]{1,3}\.[0-9]{1,3})")


def suffix_of(name: str) -> str:
    """The last suffix in lower case with its dot; "" for none and for a name like ``.ulg``."""
    stem, dot, suffix = name.rpartition(".")
    return (dot + suffix).lower() if stem else ""


def log_suffix(name: str) -> str:
    """As :func:`suffix_of`, of what was rotated too: that of ``events.xml.1`` is ``.xml``."""
    suffix = suffix_of(_ROTATED.sub("", name))
    return suffix if _KINDS.get(suffix, "ulog") not in FLIGHT_KINDS else suffix_of(name)


def named_like(name: str, kinds: Iterable[str]) -> bool:
    """Whether a file of this name may be a log of one of ``kinds``; a hidden one never is."""
    return not name.startswith(".") and _KINDS.get(log_suffix(name)) in frozenset(kinds)


def kind_of(name: str, shown: str, kinds: frozenset[str] = FLIGHT_KINDS) -> str:
    """Give the kind by the suffix of a file name, in any case; one of ``kinds``.

    Raises ``NotFinished`` for a name that its writer changes at the end, ``NotAFlightLog``
    (``extension``, ``compressed``, ``bad_name``, ``bad_path``) for the others.
    """
    _check_name(name, shown)
    suffix = log_suffix(name)
    kind = _KINDS.get(suffix, "")
    if kind in kinds:
        return kind
    if suffix in UNFINISHED_SUFFIXES:
        raise NotFinished(
            f"{shown} is still being recorded or copied: it is taken once '{suffix}' is gone"
            " from its name."
        )
    if suffix in _PACKED_SUFFIXES:
        raise refused("compressed", f"{shown} is compressed: unpack it first.")
    if not kinds & FLIGHT_KINDS:
        allowed = ", ".join(one for kind in SUFFIXES if kind in kinds for one in SUFFIXES[kind])
        raise refused("extension", f"Invalid file type: {suffix or 'none'}. Allowed: {allowed}.")
    if suffix in _OTHER_LOG_SUFFIXES:
        raise refused("extension", f"{shown}: logs of type {suffix} are not supported yet.")
    if kinds - FLIGHT_KINDS:
        raise refused("extension", f"{shown} is no log that petal-s3 knows by its name.")
    raise refused(
        "extension",
        f"{shown} is no flight log: its name must end in .ulg or .bag, or in .bin, .mcap, .ulge"
        " or .ulgc.",
    )


def check_text(text: str, shown: str) -> None:
    """Raise ``bad_path`` for a NUL and ``bad_name`` for what no database or key could hold."""
    if "\0" in text:
        raise refused("bad_path", f"{shown}: a path cannot contain a NUL byte.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise refused(
            "bad_name", f"The path of {shown} is not valid UTF-8: rename the file or its folder."
        ) from None


def kind_of_content(head: bytes) -> str | None:
    """The kind of flight log that begins with ``head``; none for anything else."""
    return next((kind for kind, magic in _MAGICS.items() if head.startswith(magic)), None)


def check_content(head: bytes, kind: str, shown: str) -> None:
    """Raise unless ``head`` begins as ``kind`` does, and say what it is instead.

    The code is ``too_short``, ``encrypted``, ``zero_filled``, ``compressed``, ``type_mismatch``,
    ``bag_version``, ``bad_magic`` or ``not_text``.
    """
    (_check_flight if kind in FLIGHT_KINDS else _check_readable)(head, kind, shown)


def _check_flight(head: bytes, kind: str, shown: str) -> None:
    wanted = _SPOKEN[kind]
    if len(head) < _SMALLEST_BYTES:
        raise refused("too_short", f"{shown} is too short for {wanted}: {len(head)} bytes.")
    if head.startswith(_MAGICS[kind]):
        return
    _check_content_at_all(head, shown)
    line = _BAG_LINE.match(head)
    found = "rosbag" if line else kind_of_content(head) or kind
    if found == "ulog-encrypted" and kind == "ulog":
        raise refused(
            "encrypted",
            f"{shown} is an encrypted ULog: rename it so that its name ends in .ulge, or decrypt"
            " it first.",
        )
    if found != kind:
        raise refused(
            "type_mismatch",
            f"{shown} is named like {wanted}, but its content is {_SPOKEN[found]}: rename it.",
        )
    if line:
        raise refused(
            "bag_version",
            f"{shown} is a ROS bag of version {line[1].decode()}; only bags that begin with the"
            " whole line '#ROSBAG V2.0' are supported.",
        )
    raise refused(
        "bad_magic",
        f"{shown} is not {wanted} but {_seen(head)}; {wanted} begins with {_BEGINS[kind]}.",
    )


def _check_readable(head: bytes, kind: str, shown: str) -> None:
    _check_content_at_all(head, shown)
    if not texts.readable(head):
        found = kind_of_content(head)
        what = f"its content is {_SPOKEN[found]}" if found else "its first bytes are binary"
        raise refused("not_text", f"{shown} is not readable text: {what}.")
    first = _FIRST.get(kind)
    start = texts.begins(head)
    if first is not None and (start[:1] not in [bytes((c,)) for c in first] or _PAGE.match(start)):
        what = "an HTML page" if _PAGE.match(start) else "something else"
        raise refused("bad_magic", f"{shown} is not {_SPOKEN[kind]} but {what}.")


def _check_content_at_all(head: bytes, shown: str) -> None:
    if not head.strip(b"\0"):
        raise refused("zero_filled", f"{shown} contains only zeros: nothing was recorded in it.")
    if _PACKED.match(head):
        raise refused("compressed", f"{shown} is compressed: unpack it first.")


def shown_name(name: str) -> str:
    """Quote a file name for a sentence: unprintable characters escaped, at most 120 shown."""
    text = plain(name)
    return f"'{text[:_SHOWN_CHARS]}…'" if len(text) > _SHOWN_CHARS else f"'{text}'"


def refused(code: str, sentence: str) -> NotAFlightLog:
    """Make the refusal with the HTTP status of its ``code``; 422 where none is listed."""
    return NotAFlightLog(sentence, code=code, status=_STATUS.get(code))


def _check_name(name: str, shown: str) -> None:
    check_text(name, shown)
    if not name or "/" in name:
        raise refused("bad_name", f"The file name {shown} is empty or contains a slash.")
    if len(name.encode()) > _NAME_BYTES:
        raise refused("bad_name", f"The file name {shown} is longer than 255 bytes: shorten it.")


def _seen(head: bytes) -> str:
    """Name the type of content in plain words, never the content itself."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    words = (words for pattern, words in _SEEN if re.match(pattern, text))
    return next(words, "something else, or its beginning is missing")
