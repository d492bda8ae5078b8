"""Name everything that can go wrong, and say whether waiting helps.

    S3IntegrationError
    ├── Transient                  wait; it is tried again until it succeeds
    │   ├── Offline                no answer, a cut link, a 5xx, anything unknown
    │   │   └── NotS3              an answer that S3 cannot have given (captive portal, proxy)
    │   ├── Throttled              S3 asks for patience
    │   ├── ClockSkew              S3 does not accept the time in the signature
    │   ├── Mismatch               S3 holds other bytes than the disk: send anew
    │   ├── UploadGone             S3 no longer knows the multipart upload
    │   ├── NotFinished            the file is still being written
    │   ├── SourceAway             the file cannot be read now (unmounted, I/O error)
    │   ├── SourceChanged          the file changed since it was enqueued
    │   ├── NotNow                 the outbox holds it; it could not be sent in time
    │   ├── LocalStorageError      the state directory is full or not writable
    │   ├── S3CredentialsError     no valid session credentials      (stops the whole drain)
    │   ├── S3BucketError          bucket missing, forbidden, wrong  (stops the whole drain)
    │   └── LeaseLost              another worker owns the row now
    ├── Permanent                  a person has to look
    │   ├── NotAFlightLog          refused for good, with a code per reason
    │   ├── SourceGone             the file was deleted
    │   ├── ConfigError            a setting is missing or wrong
    │   ├── BadInput               the request itself is wrong
    │   ├── NotAllowed             not this machine's key, or outside the log directories
    │   ├── Conflict               the destination is taken
    │   ├── Refused                S3 understood the request for this row and said no
    │   └── S3FileNotFoundError    no such object or row
    ├── S3UploadError              an upload failed; carries the code and status of its cause
    └── S3DownloadError            a download failed; likewise

Every class carries a stable ``code``, the HTTP ``status`` that the servers answer with, whether
``waiting_helps``, and whether it ``blocks_drain``: then every row waits, not only this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

_E = TypeVar("_E", bound="S3IntegrationError")

NO_OBJECT = "File not found"
"""There is no such object: the words that the host and its petals know."""


def plain(text: str) -> str:
    """``text`` on one line, and with nothing in it that steers a terminal: that is escaped."""
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is no text
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


@dataclass(frozen=True)
class Told:
    """What a server answered, in its own words.

    ``code``: the code of S3's error body; empty where the answer had none. ``asked``: the
    operation and the options that it carried.
    """

    asked: str
    status: int
    code: str = ""
    message: str = ""

    @property
    def operation(self) -> str:
        """What was asked, without its options: ``UploadPart``."""
        return self.asked.partition(" ")[0]

    def __str__(self) -> str:
        words = f": {self.message}" if self.message else ""
        return f"{self.asked} was answered {self.status} {self.code or 'without a code'}{words}"


class S3IntegrationError(Exception):
    """The root: one sentence a person can act on, a stable code, an HTTP status.

    ``told`` is the answer of S3 that stands behind it, where there was one.
    """

    code: str = "internal"
    status: int = 500
    waiting_helps: bool = True
    blocks_drain: bool = False
    row_id: int | None = None  # where the log is safe in the outbox all the same
    told: Told | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        peer: tuple[str, int] | None = None,
    ) -> None:
        """Keep the sentence; ``code`` and ``status`` replace those of the class.

        ``peer`` is the ``(host, port)`` that could not be reached: a bare TCP connect to it tells
        when the link is back.
        """
        self.message = plain(message)  # it is logged and printed; a file may be called anything
        super().__init__(self.message)
        self.retry_after_s = retry_after_s
        self.peer = peer
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status

    @classmethod
    def of(cls: type[_E], cause: S3IntegrationError) -> _E:
        """Wrap ``cause`` in this class, with its sentence, code, status and row."""
        error = cls(cause.message, code=cause.code, status=cause.status)
        error.waiting_helps = cause.waiting_helps
        error.row_id = cause.row_id
        error.__cause__ = cause
        return error


class Transient(S3IntegrationError):
    """Waiting helps: the row stays in the outbox and is tried again until it succeeds."""

    code = "not_now"
    status = 503


class Offline(Transient):
    """No usable answer came back."""

    code = "offline"
    blocks_drain = True


class NotS3(Offline):
    """The answer did not come from S3: a captive portal, a proxy, a wrong endpoint."""

    code = "not_s3"
    page: Told | None = None  # the answer that came as a web page


class Throttled(Transient):
    """S3 asks for patience."""

    code = "throttled"
    blocks_drain = True


class ClockSkew(Transient):
    """S3 does not accept the time in the signature."""

    code = "clock"
    blocks_drain = True


class Mismatch(Transient):
    """S3 holds other bytes than the disk: forget the upload and send anew."""

    code = "mismatch"


class UploadGone(Transient):
    """S3 no longer knows the multipart upload."""

    code = "upload_gone"


class NotFinished(Transient):
    """The file is still being written: look again later."""

    code = "not_finished"
    status = 409


class SourceAway(Transient):
    """The file cannot be read now: its file system is not mounted, or reading fails."""

    code = "source_away"


class SourceChanged(Transient):
    """The file changed since it was enqueued: it is examined again and its upload restarts."""

    code = "source_changed"
    status = 409


class NotNow(Transient):
    """The row is safe in the outbox but could not be sent in time; ``row_id`` names it."""

    def __init__(self, message: str, *, row_id: int, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.row_id = row_id


class LocalStorageError(Transient):
    """The state directory is full, read-only or not ours; or no file can be opened any more."""

    code = "storage_full"
    status = 507
    blocks_drain = True


class S3CredentialsError(Transient):
    """There are no valid session credentials."""

    code = "credentials"
    blocks_drain = True


class S3BucketError(Transient):
    """The bucket is missing, forbidden or configured wrongly: a person must act on it."""

    code = "bucket"
    blocks_drain = True
    instead: str = ""  # what was asked for, and what came in its place


class LeaseLost(Transient):
    """Another worker owns the row now: what this one found out no longer counts."""

    code = "lease_lost"
    status = 409


class Permanent(S3IntegrationError):
    """Waiting does not help: a person has to look."""

    code = "refused"
    status = 422
    waiting_helps = False


class NotAFlightLog(Permanent):
    """Refused for good; ``code`` says why (``bad_magic``, ``empty``, ``extension``, ...)."""

    code = "not_a_flight_log"


class SourceGone(Permanent):
    """The file was deleted before it could be proven."""

    code = "source_gone"
    status = 404


class ConfigError(Permanent):
    """A setting is missing or wrong; the sentence names it and what is expected."""

    code = "config"
    status = 503


class BadInput(Permanent):
    """The request itself is wrong."""

    code = "bad_input"
    status = 400


class NotAllowed(Permanent):
    """Not this machine's key, or a file outside the log directories."""

    code = "not_allowed"
    status = 403


class Conflict(Permanent):
    """The destination is taken."""

    code = "conflict"
    status = 409


class Refused(Permanent):
    """S3 understood the request about this one row and said no."""

    code = "s3_refused"


class S3FileNotFoundError(Permanent):
    """There is no such object, row or file."""

    code = "not_found"
    status = 404


class S3UploadError(S3IntegrationError):
    """An upload failed; code, status and whether waiting helps are those of the cause."""

    code = "upload_failed"


class S3DownloadError(S3IntegrationError):
    """A download failed; code, status and whether waiting helps are those of the cause."""

    code = "download_failed"


def as_json(error: S3IntegrationError) -> dict[str, str | int]:
    """How an error reads in every interface: a plain sentence, a stable code, the HTTP status.

    The ``id`` of the row is added where the log is safe in the outbox.
    """
    answer: dict[str, str | int] = {
        "error": error.message,
        "code": error.code,
        "status": error.status,
    }
    return answer if error.row_id is None else {**answer, "id": error.row_id}
