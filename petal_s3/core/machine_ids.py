"""Which machine this is: the ids whose keys it owns."""

from __future__ import annotations

import contextlib
from pathlib import Path

from petal_s3.core.settings_rules import valid_machine_id
from petal_s3.errors import ConfigError


def machine_ids(
    configured: str | None, host: str | None, *, machine_id_file: Path = Path("/etc/machine-id")
) -> tuple[str, ...]:
    """The ids whose keys this machine owns, its own first; raises :class:`ConfigError`."""
    ids = [one for one in (configured, host) if one]
    if not ids:
        with contextlib.suppress(OSError):
            told = machine_id_file.read_text().strip()
            # systemd's word, from the image to the end of the first boot (machine-id(5)).
            ids += [told] if told != "uninitialized" else []
    try:
        found = tuple(dict.fromkeys(valid_machine_id(one) for one in ids if one))
    except ValueError as error:
        raise ConfigError(f"PETAL_S3_MACHINE_ID: the machine id is unusable: {error}.") from error
    if not found:
        raise ConfigError(
            "PETAL_S3_MACHINE_ID is not set, and neither the host nor /etc/machine-id knows an id."
        )
    return found
