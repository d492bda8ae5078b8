"""Know the host of this Python, where there is one: its files, whether it loads us, its id."""

from __future__ import annotations

import contextlib
import importlib.util
import platform
import subprocess
from pathlib import Path

from petal_s3.core.settings_rules import valid_machine_id

NAME, PROXIES = "petal-s3", "proxies.yaml"


def root() -> Path | None:
    """Where the host looks for its files: three directories above its own code."""
    spec = importlib.util.find_spec("petal_app_manager")
    return None if spec is None or spec.origin is None else Path(spec.origin).parents[2]


def is_registered() -> bool:
    """Whether the host of this Python loads petal-s3."""
    place = root()
    if place is None:
        return False
    with contextlib.suppress(OSError, ValueError):  # mostly there is none
        return NAME in (place / PROXIES).read_text("utf-8")
    return False


def host_machine_id() -> str | None:
    """The machine id that the host of this Python uses; none where there is no host."""
    spec = importlib.util.find_spec("petal_app_manager")
    if spec is None or spec.origin is None:
        return None
    arm = "aarch64" in platform.machine().lower()
    program = Path(spec.origin).parent / "utils" / ("machineid_arm" if arm else "machineid_x86")
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        answer = subprocess.run(  # noqa: S603 - the host's own program
            [program], capture_output=True, text=True, check=True, timeout=30
        )
        return valid_machine_id(answer.stdout.strip())
    return None
