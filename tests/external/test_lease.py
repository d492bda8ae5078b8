"""The one capability of the unit: a recorder of another user is seen to write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
UNIT = CHECKOUT / "contrib" / "petal-s3.service"
_ASK = """
import sys
from petal_s3.intake.writers import open_for_writing
print(sorted(open_for_writing(sys.argv[1:])))
"""
_WRITER = "import sys; held = open(sys.argv[1], 'ab'); print('open', flush=True); sys.stdin.read()"


def seen_by_nobody(capabilities: str, *paths: Path) -> str:
    """What a process of nobody, with these capabilities alone, sees being written."""
    return subprocess.run(
        [
            *("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"),
            *("--no-new-privs", "--bounding-set", capabilities, "--inh-caps", capabilities),
            *("--ambient-caps", capabilities, sys.executable, "-c", _ASK, *map(str, paths)),
        ],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT)},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.strip()


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can be somebody else"
)
def test_a_recorder_of_another_user_is_seen_with_the_capability_and_not_without(
    tmp_path: Path,
) -> None:
    assert "AmbientCapabilities=CAP_LEASE\nCapabilityBoundingSet=CAP_LEASE\n" in UNIT.read_text()
    held, free = tmp_path / "held.ulg", tmp_path / "free.ulg"
    for path in (held, free):
        path.touch(mode=0o644)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(held)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as recorder:
        assert recorder.stdout is not None
        assert recorder.stdout.readline() == b"open\n"
        assert seen_by_nobody("-all,+lease", held, free) == f"['{held}']"
        assert seen_by_nobody("-all", held, free) == "[]"
        recorder.communicate()
