"""Four plain functions for agents that work on a diagnosis session; failures are dicts too.

Settings come from the environment or the settings file. A megabyte (MB) has 1024 * 1024 bytes. A
failure is ``{"success": False, "error": <one sentence>, "code": <stable>, "status": <HTTP>}``, with
``id`` of the outbox row where the log is safe and will be sent later.
"""

# No postponed annotations: frameworks that wrap these functions read the types themselves.

import contextlib
import functools
import os
import threading
from collections.abc import Callable
from typing import Any, ParamSpec

from pydantic import ValidationError, validate_call

from petal_s3.client import S3Client
from petal_s3.core.settings import Settings
from petal_s3.core.settings_loading import load_settings
from petal_s3.core.wrong_values import first_mistake
from petal_s3.errors import BadInput, S3FileNotFoundError, S3IntegrationError, as_json
from petal_s3.logs.text import readable
from petal_s3.service.sessions import MIB, megabytes

P = ParamSpec("P")
Answer = dict[str, Any]


class ProcessClient:
    """One client for all calls of a process, made anew when the settings have changed."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start afresh: after a fork the lock may be held by a thread that is gone."""
        self.lock = threading.Lock()
        self.held: tuple[Settings, S3Client] | None = None

    def get(self) -> S3Client:
        """The client for the settings as they are now."""
        settings = load_settings()
        with self.lock:
            # Not closed: a call of another thread may still work with it, and it ends with that.
            if self.held is None or self.held[0] != settings or self.held[1].closed:
                self.held = settings, S3Client()
            return self.held[1]


process_client = ProcessClient()
os.register_at_fork(after_in_child=process_client.forget)


def _answered(work: Callable[P, Answer]) -> Callable[P, Answer]:
    checked = validate_call(work)  # an agent may give anything

    @functools.wraps(work)
    def answer(*args: P.args, **kwargs: P.kwargs) -> Answer:
        named = {name: _plain(value) for name, value in kwargs.items()}
        try:
            return checked(*map(_plain, args), **named)  # type: ignore[arg-type]
        except ValidationError as error:
            return {"success": False, **as_json(BadInput(_mistake(error)))}
        except S3IntegrationError as error:
            return {"success": False, **as_json(error)}

    return answer


def _plain(value: object) -> object:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _mistake(error: ValidationError) -> str:
    place, expected = first_mistake(error)
    return f"{'.'.join(map(str, place))}: {expected}."


@_answered
def upload_log_to_s3(file_path: str, session_id: str, file_description: str = "") -> Answer:
    """Upload a text log of this machine to a diagnosis session, and return when it is proven.

    Args:
        file_path: Path of the log: .log, .txt, .csv, .out or .err, at most 500 MB, readable text.
            It may still be written to: what it holds now is sent.
        session_id: The session, 1 to 128 of A-Z a-z 0-9 . _ -; a new one begins with its first log.
        file_description: What the log is about; kept with the object.

    Returns:
        success, message, s3_uri, bucket, key, file_name, file_size (bytes), file_size_mb,
        upload_timestamp (ISO 8601, UTC), session_id, presigned_url (opens the log without
        credentials) and presigned_url_expires (ISO 8601, UTC); these two are None where no URL
        can be signed now.
    """
    client = process_client.get()
    made = client.upload_session_log(file_path, session_id, file_description)
    opens: Answer = {"url": None, "expires_at": None}
    with contextlib.suppress(S3IntegrationError):  # the log is proven all the same
        opens = client.presigned(made.key)
    size_mb = round(megabytes(made.file_size), 2)
    return {
        "success": True,
        "message": f"Uploaded {made.file_name} ({size_mb}MB) to {made.s3_uri}.",
        "s3_uri": made.s3_uri,
        "bucket": made.bucket,
        "key": made.key,
        "file_name": made.file_name,
        "file_size": made.file_size,
        "file_size_mb": size_mb,
        "upload_timestamp": made.upload_timestamp,
        "session_id": made.session_id,
        "presigned_url": opens["url"],
        "presigned_url_expires": opens["expires_at"],
    }


@_answered
def get_s3_file_content(
    s3_uri: str | None = None, s3_key: str | None = None, max_size_mb: float = 50
) -> Answer:
    """Read a text of this machine out of the bucket.

    Args:
        s3_uri: s3://bucket/key, as the other functions give it; or
        s3_key: the key alone.
        max_size_mb: A larger object is not read; the answer then says how to read a stretch of it.

    Returns:
        success, content (text; bytes that are no UTF-8 are replaced), file_size (bytes),
        file_size_mb, s3_key and s3_uri; or success (false), error, code, file_size, file_size_mb
        and a suggestion for an object that is too large or no text.
    """
    if not 0 < max_size_mb <= 1024:
        raise BadInput("max_size_mb is more than 0 and at most 1024.")
    client, key = process_client.get(), _named(s3_uri, s3_key)
    found = client.head_object(key)
    size_mb = round(megabytes(found.size), 2)
    about = {"file_size": found.size, "file_size_mb": size_mb, **_where(client, found.key)}
    if found.size > max_size_mb * MIB:
        error = f"File too large: {megabytes(found.size):.1f}MB (max: {max_size_mb:g}MB)."
        return _unread(error, "too_large", 413, about, _STRETCH.format(key=found.key))
    text = _text(client.read_file(found.key))
    if text is None:
        error = "This object is not readable text."
        return _unread(error, "not_text", 422, about, _WHOLE.format(key=found.key))
    return {"success": True, "content": text, **about}


def _unread(error: str, code: str, status: int, about: Answer, suggestion: str) -> Answer:
    failed = {"success": False, "error": error, "code": code, "status": status}
    return failed | about | {"suggestion": suggestion}


_STRETCH = (
    "Read a stretch of it: petal_s3.S3Client().get_file_range({key!r}, start, end), both ends"
    " included, or GET /bucket/download/<key> with the header Range."
)
_WHOLE = (
    "Fetch it as a file: petal_s3.S3Client().download_file({key!r}, local_path), or hand on a URL"
    " from generate_presigned_url."
)


def _text(body: bytes) -> str | None:
    if body and not readable(body[:1024]):
        return None
    encoding = "utf-16" if body.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return body.decode(encoding, "replace")


@_answered
def list_session_logs(session_id: str) -> Answer:
    """List the logs of a diagnosis session that this machine has in the bucket.

    Args:
        session_id: The session.

    Returns:
        session_id, files_found, total_size_mb, files (each key, size in bytes, last_modified as
        ISO 8601 in UTC, file_name as it was here) and message; for an unknown session also success
        (false), error and code ``no_session``.
    """
    empty: Answer = {"session_id": session_id, "files_found": 0, "total_size_mb": 0.0, "files": []}
    try:
        found, waiting = process_client.get().list_session_logs(session_id)
    except S3FileNotFoundError as error:
        return {"success": False, **empty, "message": error.message, **as_json(error)}
    files = [
        {
            "key": one.key,
            "size": one.size,
            "last_modified": one.last_modified.isoformat() if one.last_modified else None,
            "file_name": one.file_name,
        }
        for one in found
    ]
    message = f"Found {len(files)} log{'s' * (len(files) != 1)} in session {session_id}."
    if waiting:
        message += f" {waiting} more in the outbox of this machine, not up yet."
    size_mb = round(megabytes(sum(one.size for one in found)), 2)
    found_files = {"files_found": len(files), "total_size_mb": size_mb, "files": files}
    return {**empty, **found_files, "message": message}


@_answered
def generate_presigned_url(
    s3_uri: str | None = None, s3_key: str | None = None, expiration_hours: float = 1
) -> Answer:
    """Make a URL that opens an object of this machine without credentials, for a while.

    Args:
        s3_uri: s3://bucket/key; or
        s3_key: the key alone.
        expiration_hours: How long it opens, at most 168; it ends sooner where the credentials
            that sign it do.

    Returns:
        success, presigned_url, s3_key, s3_uri, expires_in_hours (the real life) and expires_at
        (ISO 8601, UTC).
    """
    client, key = process_client.get(), _named(s3_uri, s3_key)
    found = client.head_object(key)  # no URL for an object that does not exist
    made = client.presigned(found.key, expiration_hours)
    return {
        "success": True,
        "presigned_url": made["url"],
        **_where(client, found.key),
        "expires_in_hours": round(made["expires_in"] / 3600, 4),
        "expires_at": made["expires_at"],
    }


def _named(s3_uri: str | None, s3_key: str | None) -> str:
    """The one object that is meant; either argument may hold either spelling."""
    given = [one for one in (s3_uri, s3_key) if one]
    if len(given) != 1:
        raise BadInput("Either s3_uri or s3_key is expected.")
    scheme, separator, _ = given[0].partition("://")
    if separator and scheme.lower() != "s3":
        raise BadInput("A URI like s3://bucket/key is expected.", code="bad_uri")
    return given[0]


def _where(client: S3Client, key: str) -> Answer:
    return {"s3_key": key, "s3_uri": f"s3://{client.bucket_name}/{key}"}
