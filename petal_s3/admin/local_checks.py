"""What ``check`` looks at on this machine: settings, directories, outbox, REST; blocking."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from petal_s3.admin import way_checks
from petal_s3.admin.directory_checks import log_directories
from petal_s3.admin.finding import Finding, trouble, user_name
from petal_s3.cleanup.retention import free_bytes
from petal_s3.core.settings import MIB, Settings
from petal_s3.core.settings_yaml import CONFIG_FILE, config_file
from petal_s3.errors import LocalStorageError
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.outbox.storage_errors import no_room
from petal_s3.service import no_login
from petal_s3.service.snapshot import read_status

_LITTLE_BYTES = 100 * MIB

Check = Callable[[Settings, KeyOwnership], Iterator[Finding]]


def findings_of(check: Check, settings: Settings, ownership: KeyOwnership) -> list[Finding]:
    """All that a check found; what the disk refuses is one more finding. Blocking."""
    try:
        return list(check(settings, ownership))
    except LocalStorageError as error:
        return [trouble(check.__name__.strip("_").replace("_", " "), error)]


def _configuration(settings: Settings, ownership: KeyOwnership) -> Iterator[Finding]:
    file = config_file() or f"the environment alone ({CONFIG_FILE} is not there)"
    yield Finding(
        "configuration",
        "ok",
        f"from {file}: bucket {settings.bucket_name}, machine {ownership.machine_ids[0]},"
        f" logs go to {ownership.machine_prefix}",
    )


def _state_directory(settings: Settings, _: KeyOwnership) -> Iterator[Finding]:
    check, directory = "state directory", settings.state_dir
    try:
        found = directory.lstat()
    except FileNotFoundError:
        yield _to_be_made(check, directory)
        return
    except OSError as error:
        yield Finding(
            check,
            "failed",
            f"{directory} cannot be looked at ({error.strerror})",
            "Run this as the user who owns it, or set PETAL_S3_STATE_DIR.",
        )
        return
    if not stat.S_ISDIR(found.st_mode):
        yield Finding(check, "failed", f"{directory} is not a directory", "Set PETAL_S3_STATE_DIR.")
    elif not _ours(found.st_uid) or not os.access(directory, os.W_OK | os.X_OK):
        yield Finding(
            check,
            "failed",
            f"{directory} belongs to {user_name(found.st_uid)},"
            f" and we are {user_name(os.geteuid())}",
            f"Run this as {user_name(found.st_uid)}, or set PETAL_S3_STATE_DIR.",
        )
    else:
        yield _room(check, directory)


def _to_be_made(check: str, directory: Path) -> Finding:
    nearest = next(place for place in directory.parents if place.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        return Finding(
            check,
            "failed",
            f"{directory} is not there, and this user cannot make it in {nearest}",
            "Set PETAL_S3_STATE_DIR to a directory that can be written.",
        )
    return Finding(check, "ok", f"{directory} is not there yet; it is made when it is needed")


def _room(check: str, directory: Path) -> Finding:
    full = no_room(directory)
    if full:
        return Finding(check, "failed", full, "Without it nothing new is accepted.")
    free = free_bytes(directory)
    found = f"{directory} can be written, {free // MIB} MiB are free"
    if free < _LITTLE_BYTES:
        return Finding(check, "warning", found, "Free some space: logs are kept here on their way.")
    return Finding(check, "ok", found)


def _ours(uid: int) -> bool:
    return os.geteuid() in {0, uid}


def _outbox(settings: Settings, _: KeyOwnership) -> Iterator[Finding]:
    """Open it as ``status`` does: nothing is created, and a draining process is not disturbed."""
    path = settings.outbox_path
    try:
        exists = path.is_file()
    except OSError as error:
        yield Finding("outbox", "failed", f"{path} cannot be looked at ({error.strerror})")
        return
    if not exists:
        yield Finding("outbox", "ok", f"{path} is not there yet; the first log makes it")
        return
    seen = read_status(settings, 0)
    told = ", ".join(f"{number} {state}" for state, number in seen.counts.items() if number)
    found = f"{path} opens: {told or 'no log has been found yet'}"
    if seen.drained_by is None:
        advice = "Start the host, or run petal-s3 serve or petal-s3 drain."
        yield Finding("outbox", "warning", f"{found}; no process drains it", advice)
    else:
        yield Finding("outbox", "ok", f"{found}; process {seen.drained_by} drains it")


def _rest(settings: Settings, _ownership: KeyOwnership) -> Iterator[Finding]:
    """What the REST interface gives to whoever reaches its port, in the host above all."""
    told = no_login.advice(settings)
    if not told:
        found = "asks for the token; the host itself has no login: its /test/bucket/ is open"
        yield Finding("REST", "ok", found)
        return
    found, _, advice = told[0].partition(". ")
    in_host = False
    with contextlib.suppress(OSError, LocalStorageError):  # said by the check of the outbox
        in_host = told[0] in read_status(settings, 0).advice
    yield Finding("REST", "warning" if in_host else "ok", found, advice if in_host else "")


LOCAL_CHECKS: tuple[Check, ...] = (
    _configuration,
    way_checks.settings_file,
    _state_directory,
    log_directories,
    _outbox,
    _rest,
    way_checks.the_way,
    way_checks.token_login,
)
"""In the order of a log's way."""
