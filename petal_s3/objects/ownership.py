"""Derive keys, encode metadata, decide who owns a key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, unquote

from petal_s3.errors import BadInput, ConfigError, NotAllowed

MAX_KEY_BYTES = 1024
DESCRIPTION = "description"
_MAX_NAME_BYTES = 200
_OTHER = re.compile(r"[^A-Za-z0-9_.-]+")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DELETED = "deleted/"
_CUT_ESCAPE = re.compile(r"%[0-9A-F]?\Z")
_URI = re.compile(r"[Ss]3://([^/]*)/?(.*)", re.DOTALL)
_SESSION_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_READINGS = 4  # whoever decodes a key once more than we did must still see one of ours


@dataclass(frozen=True)
class KeyOwnership:
    """The keys of one machine: ``{prefix}{machine}/``, ``{machine}/``, and ``deleted/`` of both.

    ``machine_ids``: the configured id first, then others that are owned beside it (the host's).
    ``bucket``: keys may be given as ``s3://bucket/key``; of another bucket they are not ours.
    Raises :class:`ConfigError` for an id whose folder would hold the keys of other machines.
    """

    prefix: str
    machine_ids: tuple[str, ...]
    bucket: str = ""

    def __post_init__(self) -> None:
        shared = (self.prefix, _DELETED + self.prefix, _DELETED)
        if any(folder.startswith(root) for folder in shared for root in self.roots):
            raise ConfigError(
                f"PETAL_S3_MACHINE_ID: {' or '.join(self.machine_ids)} names a folder that all "
                "machines share; another id is needed."
            )

    @property
    def home(self) -> str:
        """Where new logs go; ends with a slash."""
        return f"{self.prefix}{self.machine_ids[0]}/"

    @property
    def roots(self) -> tuple[str, ...]:
        """Every key prefix that is owned; each ends with a slash."""
        plain: list[str] = []
        for machine_id in self.machine_ids:
            plain += [f"{self.prefix}{machine_id}/", f"{machine_id}/"]
        unique = tuple(dict.fromkeys(plain))
        return unique + tuple(_DELETED + root for root in unique)

    @property
    def listed(self) -> tuple[str, ...]:
        """The roots that a listing of all owned keys asks for: none lies below another."""
        roots = tuple(dict.fromkeys(self.roots))
        return tuple(
            root for root in roots if not any(root != o and root.startswith(o) for o in roots)
        )

    def owns(self, key: str) -> bool:
        """Whether ``key`` is a well-formed key of this machine, and stays so when it is decoded."""
        return all(
            well_formed(reading)
            and any(reading.startswith(root) and len(reading) > len(root) for root in self.roots)
            for reading in _readings(key)
        )

    def check(self, key: str) -> str:
        """Return the key that ``key``, or the URI ``s3://bucket/key``, names.

        Raises :class:`NotAllowed` (403) for what is not ours, or climbs out of its folder by any
        reading, and :class:`BadInput` (400) for what can be no key at all.
        """
        key = self._plain(key)
        _check_text(key)
        if not self.owns(key):
            raise NotAllowed("This key does not belong to this machine.")
        return key

    def check_lasting(self, key: str) -> str:
        """As :meth:`check`, for what is to stay: nothing stays below ``tmp/``.

        Raises :class:`NotAllowed` for a key there.
        """
        key = self.check(key)
        if self.is_temporary(key):
            raise NotAllowed(
                "What stands below tmp/ is deleted after a day; a log needs a key elsewhere."
            )
        return key

    def is_temporary(self, key: str) -> bool:
        """Whether ``key`` stands where things are only handed over, and deleted after a day."""
        return key.startswith(self.temporary_folders)

    @property
    def temporary_folders(self) -> tuple[str, ...]:
        """Below what things are only handed over, also under an id that was used before."""
        return tuple(temporary_folder(f"{self.prefix}{one}/") for one in self.machine_ids)

    def listing_prefix(self, prefix: str | None) -> str:
        """Turn what a caller asks to list into a whole prefix inside an owned root.

        Raises as :meth:`check`.
        """
        if not prefix:
            return self.home
        prefix = self._plain(prefix)
        _check_text(prefix)
        if any(prefix.startswith(root) for root in self.roots):
            whole = prefix
        elif prefix.startswith((self.prefix or "\0", _DELETED)):
            raise NotAllowed("This prefix does not belong to this machine.")
        else:
            whole = self.home + prefix
            _check_text(whole)
        for reading in _readings(whole):
            inside = any(reading.startswith(root) for root in self.roots)
            if not inside or not well_formed(reading.rstrip("/") or "/", partial=True):
                raise NotAllowed("This prefix leads out of the folders of this machine.")
        return whole

    def _plain(self, text: str) -> str:
        """The key of a URI; anything else is a key already."""
        uri = _URI.fullmatch(text)
        if uri is None:
            return text
        if not self.bucket or uri[1] != self.bucket:
            raise NotAllowed("This is another bucket; only keys of this machine's own are served.")
        return uri[2]


def _readings(key: str) -> Iterator[str]:
    """A key, and what those make of it who decode it once more or take ``\\`` for ``/``."""
    for _ in range(_READINGS):
        yield key
        again = unquote(key).replace("\\", "/")
        if again == key:
            return
        key = again
    yield ""  # nobody names a log like that


def _check_text(key: str) -> None:
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= MAX_KEY_BYTES or _CONTROL.search(key):
        raise BadInput(
            "This is not a valid key: it is empty, too long or holds characters that no key has."
        )


def well_formed(key: str, *, partial: bool = False) -> bool:
    """Whether ``key`` is safe to sign and to log: no empty, ``.`` or ``..`` segment, no control
    character, no end of a line.
    """
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return False
    if not 0 < size <= MAX_KEY_BYTES or _CONTROL.search(key):
        return False
    segments = key.split("/")
    if partial:
        segments = [*segments[:-1], segments[-1] or "x"]
    return not any(segment in {"", ".", ".."} for segment in segments)


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


def log_key(home: str, name: str, logged_at: datetime, *, date_folders: bool = False) -> str:
    """The key of a log: ``{home}[YYYY/MM/DD/]{YYYYmmdd_HHMMSS}_{name}``; ``logged_at`` in UTC."""
    folders = logged_at.strftime("%Y/%m/%d/") if date_folders else ""
    return f"{home}{folders}{logged_at.strftime('%Y%m%d_%H%M%S')}_{key_name(name)}"


def stamped(name: str, logged_at: datetime) -> str:
    """``{YYYYmmdd_HHMMSS}_{name}``; a name that begins with that very time says it once."""
    stamp, clean = logged_at.strftime("%Y%m%d_%H%M%S"), key_name(name)
    return clean if re.match(rf"{stamp}(?![0-9])", clean) else f"{stamp}_{clean}"


def session_folder(home: str, session_id: str, what: str = "") -> str:
    """Where what belongs to a diagnosis session stands: ``{home}sessions/{id}/[what/]``.

    Raises :class:`BadInput` for what cannot name a session.
    """
    return f"{home}sessions/{valid_session_id(session_id)}/" + (f"{what}/" if what else "")


def temporary_folder(home: str, session_id: str | None = None) -> str:
    """Where what is handed over by key stands for a while: ``{home}tmp/[{id}/]``.

    Raises :class:`BadInput` for what cannot name a session.
    """
    return f"{home}tmp/" + (f"{valid_session_id(session_id)}/" if session_id is not None else "")


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


def header_value(text: str) -> str:
    """Percent-encode ``text`` so that it may travel as user metadata (US-ASCII headers)."""
    encoded = quote(text.encode("utf-8", "surrogateescape"), safe="/:+,=@")
    return _CUT_ESCAPE.sub("", encoded[:1024])


def metadata(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Encode user metadata; empty values are left out, S3's limit of 2 KB in all is kept.

    A ``description`` is cut where it does not fit; any other value would then say another thing,
    and is left out.
    """
    encoded: dict[str, str] = {}
    room = 2048
    for name, value in pairs:
        text = header_value(value)
        if name == DESCRIPTION:
            text = _CUT_ESCAPE.sub("", text[: max(0, room - len(name))])
        size = len(name) + len(text)
        if text and size <= room:
            encoded[name] = text
            room -= size
    return encoded
