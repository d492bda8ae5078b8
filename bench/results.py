"""Keep figures: one JSON file for each measurement, with versions, machine and load."""

from __future__ import annotations

import json
import os
import platform
import ssl
import subprocess
import time
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from . import peers
from .figures import Figure
from .process import ROOT
from .sink import HOME

FOLDER = ROOT / "bench" / "results"
_OURS = ("aiobotocore", "botocore", "aiohttp", "isal", "zlib-ng")


def machine() -> str:
    """The machine in a line."""
    return (
        f"{os.cpu_count()} cores, {_model()}, {platform.machine()}, Linux {platform.release()},"
        f" Python {platform.python_version()}, {ssl.OPENSSL_VERSION}"
    )


def write(
    name: str,
    figures: list[Figure],
    before: tuple[float, ...],
    versions: dict[str, str],
    *,
    quick: bool,
) -> Path:
    """Write what one measurement has found; a quick one stays out of the repository."""
    folder = HOME / "quick" if quick else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    told = {
        "at": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
        "commit": _commit(),
        "machine": machine(),
        "load": {"before": before, "after": os.getloadavg()},
        "versions": versions,
        "figures": [asdict(figure) for figure in figures],
    }
    file.write_text(json.dumps(told, indent=1) + "\n")
    return file


def read(file: Path) -> tuple[dict[str, object], list[Figure]]:
    """What :func:`write` wrote: all of it, and the figures."""
    told = json.loads(file.read_text())
    return told, [Figure(**{**one, "values": tuple(one["values"])}) for one in told["figures"]]


def versions() -> dict[str, str]:
    """Of the tools that are measured, and of what petal-s3 stands on."""
    found = {}
    for name in _OURS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**peers.versions(), **found}


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return "unknown processor"


def _commit() -> str:
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
