"""What only the outbox knows of a copy in the spool, written beside it: the outbox may be lost."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from petal_s3.core.files import check_descriptors, create_private, flush_to_disk, remove, sync
from petal_s3.core.kinds import RECEIVED_BY, Way
from petal_s3.errors import LocalStorageError

log = logging.getLogger("petal_s3")

_FACT = re.compile(r"[A-Za-z0-9-]{1,64}")  # it travels as the name of a header


@dataclass(frozen=True)
class Description:
    """What only the outbox knows of a copy, written beside it in case the outbox is lost.

    Each field is empty where it was never known, or cannot be read any more.
    """

    name: str = ""
    asked_key: str = ""
    session_id: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)
    cancelled: bool = False
    received_by: Way = ""


def description_path(copy: Path) -> Path:
    """Where the description of a copy lies: beside it."""
    return copy.with_name(f".{copy.name}.about")


def describe(copy: Path, description: Description) -> None:
    """Write the description of a copy, durably, in place of what was written before.

    Blocking; raises :class:`LocalStorageError`, and what was written before stays.
    """
    content = {
        "name": description.name,
        "asked_key": description.asked_key,
        "session_id": description.session_id,
        "facts": dict(description.facts),
        "cancelled": description.cancelled,
        "received_by": description.received_by,
    }
    path = description_path(copy)
    half = path.with_name(f"{path.name}.part")
    try:
        with contextlib.ExitStack() as undo:
            undo.callback(remove, half)
            with create_private(half) as file:
                file.write(json.dumps(content).encode())
                flush_to_disk(file)
            half.replace(path)
            undo.pop_all()
        sync(path.parent)
    except OSError as error:
        check_descriptors(error)
        raise LocalStorageError(
            f"The state directory cannot be written to ({error.strerror})."
        ) from error


def described(copy: Path) -> Description:
    """What :func:`describe` wrote about a copy, as far as it can still be read; blocking."""
    found: object = None
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads(description_path(copy).read_bytes())
    if not isinstance(found, dict):
        return Description()
    facts, way = found.get("facts"), _text(found.get("received_by"))
    return Description(
        name=_text(found.get("name")),
        asked_key=_text(found.get("asked_key")),
        session_id=_text(found.get("session_id")) or None,
        facts={
            name: text
            for name, text in (facts.items() if isinstance(facts, dict) else ())
            if _FACT.fullmatch(name) and _text(text)
        },
        cancelled=found.get("cancelled") is True,
        received_by=cast("Way", way) if way in RECEIVED_BY else "",
    )


def mark(copy: Path, *, cancelled: bool) -> None:
    """Write down whether the row of a copy is cancelled: without the outbox it would be sent.

    Blocking. Where the disk refuses it stays as it was.
    """
    about = described(copy)
    if about.cancelled != cancelled and copy.exists():
        try:
            describe(copy, replace(about, cancelled=cancelled))
        except LocalStorageError as error:
            log.warning("copy not marked name=%s reason=%s", copy.name, error.message)


def forget(copy: Path) -> None:
    """Remove what :func:`describe` wrote of a copy that got no row; blocking."""
    remove(description_path(copy))


def _text(value: object) -> str:
    """``value`` where it is text that a row can hold, else empty; no row holds lone surrogates."""
    if isinstance(value, str) and value == value.encode(errors="replace").decode():
        return value
    return ""
