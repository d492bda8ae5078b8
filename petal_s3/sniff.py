"""Say what a file is by its name and its first bytes, or why it is no flight log."""

from __future__ import annotations

import re

from . import rosbag, ulog
from .errors import NotAFlightLog, NotFinished, plain

LOG_SUFFIXES = frozenset({".ulg", ".bag"})
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
_SPOKEN = {"ulog": "a ULog", "rosbag": "a ROS bag"}
_BEGINS = {"ulog": "the bytes 55 4C 6F 67 01 12 35", "rosbag": "'#ROSBAG V2.0'"}
_PACKED_SUFFIXES = frozenset({".gz", ".tgz", ".zip", ".zst", ".bz2", ".xz", ".lz4", ".7z"})
_PACKED = re.compile(
    rb"\x1f\x8b|PK\x03\x04|PK\x05\x06|\x28\xb5\x2f\xfd|BZh|\xfd7zXZ\0|\x04\x22\x4d\x18|7z\xbc\xaf"
)
_ENCRYPTED_SUFFIXES = frozenset({".ulge", ".ulgc"})
_OTHER_LOG_SUFFIXES = frozenset({".mcap", ".db3", ".tlog", ".bin"})
_SEEN = (
    (rb"ulogdata", "text that begins with 'ULogData', which no ULog does"),
    (rb"version https://git-lfs", "a git-LFS pointer instead of the log itself"),
    (rb"<!doctype html|<html", "an HTML page"),
    (rb"<\?xml", "XML"),
    (rb"[{\[]", "JSON"),
    (rb"\x89mcap", "an MCAP file"),
    (rb"sqlite format 3", "an SQLite database"),
    (rb"[\t\n\r\f\x20-\x7e]*\Z", "text"),
)
_BAG_LINE = re.compile(rb"#ROS(?:BAG|RECORD|LOG) V([0-9]{1,3}\.[0-9]{1,3})")


def suffix_of(name: str) -> str:
    """The last suffix in lower case with its dot; "" for none and for a name like ``.ulg``."""
    stem, dot, suffix = name.rpartition(".")
    return (dot + suffix).lower() if stem else ""


def kind_of(name: str, shown: str) -> str:
    """Give ``ulog`` or ``rosbag`` by the suffix of a file name, in any case.

    Raises ``NotFinished`` for a name that its writer changes at the end, ``NotAFlightLog``
    (``extension``, ``compressed``, ``encrypted``, ``bad_name``, ``bad_path``) for the others.
    """
    _check_name(name, shown)
    suffix = suffix_of(name)
    if suffix in LOG_SUFFIXES:
        return "ulog" if suffix == ".ulg" else "rosbag"
    if suffix in UNFINISHED_SUFFIXES:
        raise NotFinished(
            f"{shown} is still being recorded or copied: it is taken once '{suffix}' is gone"
            " from its name."
        )
    if suffix in _PACKED_SUFFIXES:
        raise refused("compressed", f"{shown} is compressed: unpack it first.")
    if suffix in _ENCRYPTED_SUFFIXES:
        raise refused("encrypted", f"{shown} is an encrypted ULog: decrypt it first.")
    if suffix in _OTHER_LOG_SUFFIXES:
        raise refused("extension", f"{shown}: logs of type {suffix} are not supported yet.")
    raise refused("extension", f"{shown} is no flight log: its name must end in .ulg or .bag.")


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


def check_content(head: bytes, kind: str, shown: str) -> None:
    """Raise unless ``head`` begins as ``kind`` does, and say what it is instead.

    The code is ``too_short``, ``encrypted``, ``zero_filled``, ``compressed``, ``type_mismatch``,
    ``bag_version`` or ``bad_magic``.
    """
    wanted = _SPOKEN[kind]
    if len(head) < _SMALLEST_BYTES:
        raise refused("too_short", f"{shown} is too short for {wanted}: {len(head)} bytes.")
    if head.startswith(ulog.MAGIC if kind == "ulog" else rosbag.MAGIC):
        return
    if head.startswith(ulog.ENCRYPTED_MAGIC):
        raise refused("encrypted", f"{shown} is an encrypted ULog: decrypt it first.")
    if not head.strip(b"\0"):
        raise refused("zero_filled", f"{shown} contains only zeros: nothing was recorded in it.")
    if _PACKED.match(head):
        raise refused("compressed", f"{shown} is compressed: unpack it first.")
    line = _BAG_LINE.match(head)
    found = "rosbag" if line else "ulog" if head.startswith(ulog.MAGIC) else kind
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
