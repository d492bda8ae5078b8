"""Check the log directories: whether logs that lie there are seen."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from petal_s3.admin.finding import Finding
from petal_s3.core.settings import Settings
from petal_s3.errors import LocalStorageError, plain
from petal_s3.intake import log_directories as places
from petal_s3.intake.looking import GONE, UNMOUNTED, find_named, look_through
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.service.snapshot import directories_before, left_in


def log_directories(settings: Settings, _: KeyOwnership) -> Iterator[Finding]:
    """Whether each log directory, and each folder in it, can be read; blocking."""
    check = "log directories"
    if not settings.log_dirs:
        yield Finding(check, "warning", "there are none", "Set PETAL_S3_LOG_DIRS.")
    known: dict[str, bool] = {}
    with contextlib.suppress(LocalStorageError):  # said by the check of the outbox
        known = directories_before(settings)
    lies = look_through(settings, known)
    for place in places.log_directories(settings):
        yield _log_directory(check, place, lies.unread.get(str(place.directory), ""))
    tops = {os.path.realpath(directory) for directory in settings.directories}
    tops |= set(map(str, settings.directories))
    for advice in left_in(lies):
        yield Finding(check, "warning", advice)
    for folder, why in sorted(lies.unread.items()):
        if folder not in tops:
            yield _cannot_be_read(check, folder, why)


def _log_directory(check: str, place: places.LogDirectory, why: str) -> Finding:
    """``why`` it is unread, where an earlier scan has seen it and it is gone."""
    directory = place.directory
    named = "sources" if place.template else "PETAL_S3_LOG_DIRS"
    if why in {GONE, UNMOUNTED}:
        advice = f"Mount it or make it again, or take it out of {named}."
        return Finding(check, "failed", f"{directory}: {why}; logs in it are not seen", advice)
    try:
        os.scandir(directory).close()
    except FileNotFoundError:
        advice = f"Make it, or set {named}: until then no log is found there."
        return Finding(check, "warning", f"{directory} is not there", advice)
    except NotADirectoryError:
        return Finding(check, "failed", f"{directory} is no directory", f"Set {named}.")
    except OSError as error:
        return _cannot_be_read(check, str(directory), str(error.strerror))
    number = len(find_named([directory], place.kinds))
    return Finding(check, "ok", f"{directory} holds {number} logs")


def _cannot_be_read(check: str, folder: str, why: str) -> Finding:
    found = f"{plain(folder)} cannot be read ({why}): logs in it are not seen"
    return Finding(check, "failed", found, "Let this user read it.")
