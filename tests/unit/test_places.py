"""Where log directories lie is looked at every second: each mount is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from petal_s3.intake import places

_LINE = "{number} 1 8:{number} / {point} rw,relatime - {kind} /dev/x rw\n"


def test_a_mount_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    monkeypatch.setattr(places, "MOUNTS", table)
    first = _LINE.format(number=1, point="/", kind="ext4")
    table.write_text(first)

    before, _ = places.look_at([tmp_path])
    assert places.look_at([tmp_path])[0] == before
    assert before.mounts == {("/", "ext4")}

    table.write_text(first + _LINE.format(number=2, point=tmp_path, kind="nfs4"))
    after, _ = places.look_at([tmp_path])

    assert after.mounts == {(str(tmp_path), "nfs4")}
    assert after.blind == [(str(tmp_path), "nfs4")]
