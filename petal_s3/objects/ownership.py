"""Decide which keys belong to this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from petal_s3.errors import BadInput, ConfigError, NotAllowed
from petal_s3.objects.key_names import temporary_folder

MAX_KEY_BYTES = 1024
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DELETED = "deleted/"
_URI = re.compile(r"[Ss]3://([^/]*)/?(.*)", re.DOTALL)
_READINGS = 4  # a key that is decoded once more than we did must still be one of ours


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
        if any(folder.startswith(one) for folder in shared for one in self.owned_prefixes):
            raise ConfigError(
                f"PETAL_S3_MACHINE_ID: {' or '.join(self.machine_ids)} names a folder that all "
                "machines share; another id is needed."
            )

    @property
    def machine_prefix(self) -> str:
        """Where new logs go; ends with a slash."""
        return f"{self.prefix}{self.machine_ids[0]}/"

    @property
    def owned_prefixes(self) -> tuple[str, ...]:
        """Every key prefix that is owned; each ends with a slash."""
        plain: list[str] = []
        for machine_id in self.machine_ids:
            plain += [f"{self.prefix}{machine_id}/", f"{machine_id}/"]
        unique = tuple(dict.fromkeys(plain))
        return unique + tuple(_DELETED + one for one in unique)

    @property
    def listed(self) -> tuple[str, ...]:
        """The prefixes that a listing of all owned keys asks for: none lies below another."""
        owned = tuple(dict.fromkeys(self.owned_prefixes))
        return tuple(one for one in owned if not any(one != o and one.startswith(o) for o in owned))

    def owns(self, key: str) -> bool:
        """Whether ``key`` is a well-formed key of this machine, and stays so when it is decoded."""
        return all(
            well_formed(reading)
            and any(
                reading.startswith(one) and len(reading) > len(one) for one in self.owned_prefixes
            )
            for reading in _readings(key)
        )

    def check_machine(self, machine_id: str | None) -> None:
        """Raise :class:`NotAllowed` for the id of another machine; none is this one."""
        if machine_id is not None and machine_id not in self.machine_ids:
            raise NotAllowed(f"This machine is not {machine_id!r}.")

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

    def named(self, key: str) -> str:
        """The whole key that a person names, who may leave out the machine's folder.

        What begins like a whole key is one, of whatever machine: :meth:`check` refuses others'.
        """
        whole = _URI.fullmatch(key) or key.startswith((self.prefix or "\0", _DELETED))
        if not key or whole or self.owns(key):
            return key
        return self.machine_prefix + key

    def short(self, key: str) -> str:
        """A key as :meth:`named` takes it: without the machine's folder, where that is clear."""
        rest = key.removeprefix(self.machine_prefix)
        return rest if self.named(rest) == key else key

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

    def listing_prefix(self, prefix: str | None, machine_id: str | None = None) -> str:
        """Turn what a caller asks to list into a whole prefix that is owned.

        ``machine_id``: the one of our ids below which a relative ``prefix`` lies. Raises as
        :meth:`check` and :meth:`check_machine`.
        """
        self.check_machine(machine_id)
        home = self.machine_prefix if machine_id is None else f"{self.prefix}{machine_id}/"
        if not prefix:
            return home
        prefix = self._plain(prefix)
        _check_text(prefix)
        if any(prefix.startswith(one) for one in self.owned_prefixes):
            whole = prefix
        elif prefix.startswith((self.prefix or "\0", _DELETED)):
            raise NotAllowed("This prefix does not belong to this machine.")
        else:
            whole = home + prefix
            _check_text(whole)
        for reading in _readings(whole):
            inside = any(reading.startswith(one) for one in self.owned_prefixes)
            if not inside or not well_formed(reading.rstrip("/") or "/", partial=True):
                raise NotAllowed("This prefix leads out of the folders of this machine.")
        return whole

    def _plain(self, text: str) -> str:
        """The key of a URI; anything else is a key already."""
        if not isinstance(text, str):  # a script may give anything
            raise BadInput("A key is text.")
        uri = _URI.fullmatch(text)
        if uri is None:
            return text
        if not self.bucket or uri[1] != self.bucket:
            raise NotAllowed("This is another bucket; only keys of this machine's own are served.")
        return uri[2]


def _readings(key: str) -> Iterator[str]:
    """A key, and what it becomes where it is decoded once more or ``\\`` is taken for ``/``."""
    for _ in range(_READINGS):
        yield key
        again = unquote(key).replace("\\", "/")
        if again == key:
            return
        key = again
    yield ""  # no log has such a name


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
