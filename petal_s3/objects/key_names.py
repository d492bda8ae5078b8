"""The keys that logs and other objects of a machine get; ``machine_prefix`` ends with a slash."""

from __future__ import annotations

import re
from datetime import datetime

from petal_s3.errors import BadInput

_MAX_NAME_BYTES = 200
_OTHER = re.compile(r"[^A-Za-z0-9_.-]+")
_SESSION_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def key_name(name: str) -> str:
    """Reduce a file name to ``[A-Za-z0-9_.-]``, keeping its extension.

    Each run of other characters becomes one ``_``, ``_`` at the ends of the stem is dropped,
    an empty stem is ``log``; long names are cut.
    """
    stem, dot, extension = _OTHER.sub("_", name).rstrip("._").rpartition(".")
    if not dot:
        stem, extension = extension, ""
    clean = stem.strip("_")[:_MAX_NAME_BYTES].rstrip("_") or "log"
    suffix = extension.strip("_")[:_MAX_NAME_BYTES].rstrip("_")
    return f"{clean}.{suffix}" if suffix else clean


def log_key(
    machine_prefix: str, name: str, logged_at: datetime, *, date_folders: bool = False
) -> str:
    """The key of a log; ``logged_at`` in UTC.

    ``{machine_prefix}[YYYY/MM/DD/]{YYYYmmdd_HHMMSS}_{name}``
    """
    folders = logged_at.strftime("%Y/%m/%d/") if date_folders else ""
    return f"{machine_prefix}{folders}{logged_at.strftime('%Y%m%d_%H%M%S')}_{key_name(name)}"


def stamped(name: str, logged_at: datetime) -> str:
    """``{YYYYmmdd_HHMMSS}_{name}``; a name that begins with that very time says it once."""
    stamp, clean = logged_at.strftime("%Y%m%d_%H%M%S"), key_name(name)
    return clean if re.match(rf"{stamp}(?![0-9])", clean) else f"{stamp}_{clean}"


def session_folder(machine_prefix: str, session_id: str, what: str = "") -> str:
    """Where what belongs to a diagnosis session stands: ``{machine_prefix}sessions/{id}/[what/]``.

    Raises :class:`BadInput` for what cannot name a session.
    """
    return f"{machine_prefix}sessions/{valid_session_id(session_id)}/" + (
        f"{what}/" if what else ""
    )


def temporary_folder(machine_prefix: str, session_id: str | None = None) -> str:
    """Where what is handed over by key stands for a while: ``{machine_prefix}tmp/[{id}/]``.

    Raises :class:`BadInput` for what cannot name a session.
    """
    return f"{machine_prefix}tmp/" + (
        f"{valid_session_id(session_id)}/" if session_id is not None else ""
    )


def valid_session_id(session_id: str) -> str:
    """Return ``session_id`` when it may stand in a key; else raise :class:`BadInput`."""
    if not _SESSION_ID.fullmatch(session_id) or not session_id.strip("."):
        raise BadInput(
            "This cannot name a session: 1 to 128 of A-Z a-z 0-9 . _ - are expected, and not only"
            " dots.",
            code="bad_session",
        )
    return session_id


def key_with_crc(key: str, crc32: int) -> str:
    """The second spelling, for a key taken by other bytes: ``-<8 hex>`` before the extension.

    There is no third: that of a second spelling is itself.
    """
    folder, slash, name = key.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if (stem if dot else name).endswith(f"-{crc32:08x}"):
        return key
    if not dot:
        return f"{key}-{crc32:08x}"
    return f"{folder}{slash}{stem}-{crc32:08x}.{extension}"
