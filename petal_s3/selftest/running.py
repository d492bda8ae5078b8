"""Run the checks one by one, each in a temporary folder, and say the result of each in a line."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from petal_s3 import __version__
from petal_s3.admin.finding import Finding
from petal_s3.core.release import JSON_SCHEMA
from petal_s3.errors import LocalStorageError, S3IntegrationError, plain
from petal_s3.selftest.known import Skipped, WrongAnswer

Check = Callable[[Path], str]
"""Takes an empty folder and returns what it has found in order; raises where something is not."""

_SIGNS = {"ok": "ok", "warning": "warning", "failed": "FAILED", "skipped": "skipped"}
_TEMPORARY = "Make room there, let this user write there, or set TMPDIR to another folder."
_AGAIN = f"Install petal-s3 anew: {sys.executable} -m pip install --force-reinstall petal-s3"
# What code that is damaged, mixed up or stubbed raises.
_BROKEN = (AttributeError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)


def selftest(*, for_programs: bool = False, checks: Sequence[tuple[str, Check]] = ()) -> int:
    """Run the checks and print their results; return the exit code: 0 fine, 1 something failed.

    No setting, no credentials and no link are used, and nothing stays on the disk.
    """
    findings: list[Finding] = []
    with without_settings():
        for name, check in checks or every_check():
            findings.append(found(name, check))
            if not for_programs:
                _say(findings[-1])
    code = int(any(one.state == "failed" for one in findings))
    if for_programs:
        said = {
            "schema": JSON_SCHEMA,
            "done": code == 0,
            "version": __version__,
            "python": platform.python_version(),
        }
        checked = [dataclasses.asdict(one) for one in findings]
        sys.stdout.write(json.dumps({**said, "checks": checked}, indent=2) + "\n")
    return code


def every_check() -> list[tuple[str, Check]]:
    """The checks by name; what is slow to import, or may be missing, each imports itself."""
    from petal_s3.selftest import offline, upload  # noqa: PLC0415 - after the environment is bare

    return [
        ("packages", offline.packages),
        ("temporary folder", offline.temporary_folder),
        ("checksums", offline.checksums),
        ("flight logs", offline.flight_logs),
        ("texts", offline.texts),
        ("keys", offline.keys),
        ("outbox", offline.outbox),
        ("upload", upload.upload),
    ]


def found(name: str, check: Check) -> Finding:
    """Run one check in a folder of its own; what it raises becomes a finding."""
    try:
        with tempfile.TemporaryDirectory(prefix="petal-s3-selftest-") as folder:
            return Finding(name, "ok", check(Path(folder)))
    except Skipped as why:
        return Finding(name, "skipped", why.what, why.advice)
    except (WrongAnswer, ImportError, S3IntegrationError, OSError, *_BROKEN) as error:
        return Finding(name, "failed", *_trouble(error))


def _trouble(error: Exception) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    if isinstance(error, WrongAnswer):
        return error.what, error.advice or _AGAIN
    if isinstance(error, ImportError):
        told = f"{error.name or 'a part of petal-s3'} cannot be imported ({error})"
        return told, f"Install it: {sys.executable} -m pip install petal-s3"
    if isinstance(error, S3IntegrationError):
        return error.message, _TEMPORARY if isinstance(error, LocalStorageError) else _AGAIN
    if isinstance(error, OSError):
        where = error.filename or "the temporary folder"
        return f"{where} cannot be used ({error.strerror or error})", _TEMPORARY
    return f"it broke off: {error}", _AGAIN


def _say(finding: Finding) -> None:
    lines = [f"{_SIGNS[finding.state]:<8} {finding.check}: {plain(finding.found)}"]
    if finding.advice:
        lines.append(f"{'':<8} {plain(finding.advice)}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def without_settings() -> Iterator[None]:
    """Take the settings, credentials and proxies of this machine out of the environment."""
    kept = dict(os.environ)
    for name in kept:
        if name.startswith(("PETAL_", "AWS_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
