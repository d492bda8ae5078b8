"""The unit of systemd, as systemd itself judges it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from petal_s3.host import systemd_unit
from tests.external.conftest import Have

UNIT = Path(__file__).resolve().parents[2] / "contrib" / "petal-s3.service"
MOST_EXPOSED = 2.0


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a command that is there, as verify wants it."""
    text = UNIT.read_text("utf-8")
    here = text.replace("/opt/petal-s3/bin/petal-s3", sys.executable)
    assert here != text
    path = tmp_path / UNIT.name
    path.write_text(here)
    return path


def installed(root: Path, **env: str) -> Path:
    """The unit and its drop-in, as ``--install-systemd`` writes them."""
    place = systemd_unit.Place(root, root / "petal-s3.yaml", [sys.executable, "-m", "petal_s3"])
    systemd_unit.install(place, {"bucket_name": "logs", **env})
    return root / "etc/systemd/system/petal-s3.service"


def test_systemd_finds_nothing_to_say_against_it(have: Have, unit: Path) -> None:
    assert have("systemd-analyze").run("verify", "--man=no", unit) == (0, "")


def test_what_systemd_would_not_understand_is_found(have: Have, unit: Path) -> None:
    unit.write_text(unit.read_text().replace("MemoryMax=", "MemoryMost="))
    assert "MemoryMost" in have("systemd-analyze").run("verify", "--man=no", unit)[1]


def test_it_is_hardly_exposed(have: Have, unit: Path) -> None:
    _, said = have("systemd-analyze").run("security", "--offline=yes", "--no-pager", unit)
    assert exposure(said) <= MOST_EXPOSED, said


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"autopilot": "/dev/ttyACM0:921600", "retention_days": "14"},
        {"log_dirs": "/data/100 % of logs", "min_free_bytes": "20GiB", "state_dir": "/data/state"},
    ],
    ids=["nothing more", "a serial line", "other places"],
)
def test_what_is_installed_is_sound_and_hardly_exposed(
    have: Have, tmp_path: Path, settings: dict[str, str]
) -> None:
    unit = installed(tmp_path, **settings)
    analyze = have("systemd-analyze")
    assert analyze.run("verify", "--man=no", unit) == (0, "")
    _, said = analyze.run("security", "--offline=yes", "--no-pager", unit)
    assert exposure(said) <= MOST_EXPOSED, said


def exposure(said: str) -> float:
    """What ``systemd-analyze security`` ends with."""
    (found,) = re.findall(r"Overall exposure level for \S+: ([0-9.]+)", said)
    return float(found)
