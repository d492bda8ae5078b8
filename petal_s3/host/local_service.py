"""Build the service that a command or a script on this machine uses."""

from __future__ import annotations

import contextlib
import os
import pwd
from pathlib import Path

from petal_s3.core.settings import Settings
from petal_s3.errors import LocalStorageError, NotAllowed
from petal_s3.host import install as hostfiles
from petal_s3.service.service import Service
from petal_s3.service.snapshot import last_report


def local_service(settings: Settings, *, only_reads: bool = False) -> Service:
    """A service for the keys of this machine, as the host knows it; nothing is opened yet.

    ``only_reads``: the outbox will not be opened, or only after :func:`stay_out`. Else raises
    as that does.
    """
    if not only_reads:
        stay_out(settings.state_dir)
    unread: LocalStorageError | None = None
    known: str | None = None
    try:
        known = last_report(settings).machine_id
    except LocalStorageError as error:
        unread = error
    known = known or hostfiles.host_machine_id()
    if unread is not None and not (only_reads and (known or settings.machine_id)):
        raise unread  # the wrong folder would look like an empty one
    return Service(settings, host_machine_id=known)


def stay_out(state_dir: Path) -> None:
    """As root, make no outbox in the directory of a user whose host could not open it.

    Raises :class:`NotAllowed`.
    """
    if os.geteuid() != 0 or (state_dir / "outbox.db").exists():
        return
    nearest = next(place for place in (state_dir, *state_dir.parents) if place.exists())
    owner = nearest.stat().st_uid
    if owner == 0:
        return
    name = f"#{owner}"
    with contextlib.suppress(KeyError):
        name = pwd.getpwuid(owner).pw_name
    raise NotAllowed(
        f"{nearest} belongs to {name}, whom an outbox made by root would shut out: run this as"
        f" {name} (sudo -u {name} petal-s3 ...)."
    )
