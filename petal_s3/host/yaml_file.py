"""Read and write YAML files of other programs: all of them or none."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from petal_s3.core.files import cannot_write
from petal_s3.errors import LocalStorageError, Permanent
from petal_s3.host import whole_files
from petal_s3.host.whole_files import Staged

Json = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """A file and the text it is to hold.

    ``like``: the file whose owner and mode it gets; none: those that it has.
    """

    path: Path
    text: str
    like: Path | None = None


def read(path: Path) -> tuple[str, Json]:
    """The text of ``path`` and the mapping it means.

    Raises :class:`Permanent` when it is no YAML mapping, :class:`LocalStorageError`.
    """
    try:
        text = whole_files.read(path).decode()
        found = yaml.safe_load(text) or {}
    except OSError as error:
        said = f"{path} cannot be read ({error.strerror})."
        raise LocalStorageError(said, code="not_read") from error
    except (ValueError, yaml.YAMLError) as error:
        raise _spoiled(path, "is no YAML") from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise _spoiled(path, "is no mapping of names")
    return text, found


def backup_of(path: Path) -> Path:
    """Where the text is kept that ``path`` held before."""
    return path.with_name(f"{path.name}.bak")


def backup(path: Path, text: str) -> Change:
    """Keep ``text``, which ``path`` holds; who may not read the one may not read the other."""
    return Change(backup_of(path), text, like=path)


def changed(path: Path, text: str, old: Json, new: Json) -> Change:
    """Have ``path``, whose ``text`` means ``old``, mean ``new``; the rest of it stays as it is."""
    from petal_s3.host.yaml_editing import rewritten  # noqa: PLC0415 - slow, and only for this

    return Change(path, rewritten(text, old, new))


def write(changes: Sequence[Change]) -> None:
    """Write all files, or leave all as they are; owner and mode stay.

    Raises :class:`LocalStorageError`.
    """
    path = Path()
    try:
        with contextlib.ExitStack() as held:
            staged: list[Staged] = []
            for change in changes:
                path = change.path
                path = whole_files.real_path(path)  # a link stays a link
                folder = held.enter_context(whole_files.folder_of(path))
                staged.append(whole_files.stage(folder, path.name, change.text, change.like))
                held.callback(whole_files.discard, staged[-1])
            for one in staged:
                path = path.with_name(one.name)
                whole_files.put(one)
    except OSError as error:
        said = f"{path} cannot be written ({error.strerror}); nothing was changed."
        raise cannot_write(said, error) from error


def _spoiled(path: Path, what: str) -> Permanent:
    return Permanent(f"{path} {what}: nothing was changed.", code="bad_host_file")
