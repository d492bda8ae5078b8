"""Read and write YAML files of other programs: all of them or none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from petal_s3.errors import LocalStorageError, Permanent
from petal_s3.host.yaml_editing import Json


@dataclass(frozen=True)
class Change:
    """A file and the text it is to hold."""

    path: Path
    text: str


def read(path: Path) -> tuple[str, Json]:
    """The text of ``path`` and the mapping it means.

    Raises :class:`Permanent` when it is no YAML mapping, :class:`LocalStorageError`.
    """
    try:
        text = path.read_bytes().decode()
        found = yaml.safe_load(text) or {}
    except OSError as error:
        raise LocalStorageError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, yaml.YAMLError) as error:
        raise _spoiled(path, "is no YAML") from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise _spoiled(path, "is no mapping of names")
    return text, found


def backup_of(path: Path) -> Path:
    """Where the text is kept that ``path`` held before."""
    return path.with_name(f"{path.name}.bak")


def write(changes: Sequence[Change]) -> None:
    """Write all files, or leave all as they are; owner and mode stay.

    Raises :class:`LocalStorageError`.
    """
    staged: list[tuple[Path, Path]] = []
    path = Path()
    try:
        for change in changes:
            path = change.path.resolve()  # a link stays a link
            half = path.with_name(f".{path.name}.new")
            staged.append((half, path))
            _stage(half, path, change.text)
        for half, path in staged:
            half.replace(path)
    except OSError as error:
        raise LocalStorageError(
            f"{path} cannot be written ({error.strerror}); nothing was changed."
        ) from error
    finally:
        for half, _ in staged:
            with contextlib.suppress(OSError):
                half.unlink(missing_ok=True)


def _stage(half: Path, path: Path, text: str) -> None:
    with half.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    before = path if path.exists() else path.parent
    owner = before.stat()
    half.chmod(owner.st_mode & 0o777 if before == path else 0o644)
    if (owner.st_uid, owner.st_gid) != (half.stat().st_uid, half.stat().st_gid):
        with contextlib.suppress(PermissionError):  # only root may give files away
            os.chown(half, owner.st_uid, owner.st_gid)


def _spoiled(path: Path, what: str) -> Permanent:
    return Permanent(f"{path} {what}: nothing was changed.", code="bad_host_file")
