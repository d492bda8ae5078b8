"""``petal-s3 selftest`` proves offline that it works here, and names what does not."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from console import Console

from petal_s3.admin.finding import Finding
from petal_s3.core import packages
from petal_s3.errors import Permanent
from petal_s3.logs import rosbag, text, ulog
from petal_s3.objects import key_names
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.outbox import entering
from petal_s3.outbox.rows import Row
from petal_s3.s3 import checksums
from petal_s3.selftest import offline, running, upload

CHECKOUT = Path(__file__).resolve().parents[2]
NAMES = [
    "packages",
    "temporary folder",
    "checksums",
    "flight logs",
    "texts",
    "keys",
    "outbox",
    "upload",
]


def state(check: running.Check) -> Finding:
    return running.found("it", check)


def broken(check: running.Check, *parts: str) -> None:
    """The check fails, in one line, and says what to do."""
    finding = state(check)
    assert finding.state == "failed", finding
    assert finding.advice
    said = f"{finding.found} {finding.advice}"
    assert "\n" not in said
    for part in parts:
        assert part in said


# -- as it is


def test_everything_is_proven_without_settings_and_nothing_stays(
    tmp_path: Path, console: Console
) -> None:
    (tmp_path / "t").mkdir()
    wrong = {"PETAL_S3_NO_SUCH": "1", "PETAL_S3_PART_SIZE": "nonsense", "AWS_PROFILE": "nobody"}
    env = {**wrong, "http_proxy": "http://127.0.0.1:1", "TMPDIR": str(tmp_path / "t")}

    ended = subprocess.run(
        [sys.executable, "-m", "petal_s3.selftest", "--json"],
        env={**console.environment(env), "HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert ended.returncode == 0, ended
    told = json.loads(ended.stdout)
    assert [(one["check"], one["state"]) for one in told["checks"]] == [
        (name, "ok") for name in NAMES
    ]
    assert told["done"] is True
    assert ended.stderr == ""
    assert list((tmp_path / "t").iterdir()) == []
    assert not (tmp_path / "home").exists()


def fast(monkeypatch: pytest.MonkeyPatch, *checks: tuple[str, running.Check]) -> None:
    monkeypatch.setattr(running, "every_check", lambda: list(checks))


def test_the_command_says_each_result_in_a_line(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = [("checksums", offline.checksums), ("keys", offline.keys)]
    fast(monkeypatch, *checks)

    answer = console.type("selftest")

    assert answer.code == 0
    assert [line.split()[:2] for line in answer.out.splitlines()] == [
        ["ok", "checksums:"],
        ["ok", "keys:"],
    ]


def test_one_failure_is_exit_code_1_and_the_others_go_on(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Path) -> str:
        raise OSError(30, "Read-only file system", "/tmp/x")

    fast(monkeypatch, ("first", fails), ("keys", offline.keys))
    before = dict(os.environ)

    answer = console.type("selftest", "--json")

    assert answer.code == 1
    assert answer.json["done"] is False
    assert [one["state"] for one in answer.json["checks"]] == ["failed", "ok"]
    assert answer.json["checks"][0]["found"] == "/tmp/x cannot be used (Read-only file system)"
    assert "TMPDIR" in answer.json["checks"][0]["advice"]
    assert dict(os.environ) == before


# -- what is broken is seen


def test_packages_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Permanent(
        "Nothing can be sent: aiobotocore 3 needs botocore<2. Install what fits: pip install 'x'",
        code="packages",
    )
    monkeypatch.setattr(packages, "unfit", lambda: wrong)
    monkeypatch.setattr(offline, "unfit", packages.unfit)
    monkeypatch.setattr(upload, "unfit", packages.unfit)

    broken(offline.packages, "needs botocore<2", "Install what fits: pip install 'x'")
    assert state(upload.upload).state == "skipped"


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(running.tempfile, "tempdir", str(tmp_path / "file" / "below"))

    broken(offline.temporary_folder, "TMPDIR", "file/below")
    broken(offline.outbox, "TMPDIR")


def test_a_disk_that_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda _: b"")
    broken(offline.temporary_folder, "a file that was written")


def test_a_wrong_zlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zlib, "crc32", lambda *_: 1)
    broken(offline.checksums, "zlib", "another build of Python")


@pytest.mark.parametrize(
    ("name", "stub"),
    [
        ("combine_crc32", lambda *_: 1),
        ("multipart_etag", lambda _: "0" * 32),
        ("crc32_base64", lambda _: "AAAA"),
    ],
)
def test_wrong_sums_of_our_own(monkeypatch: pytest.MonkeyPatch, name: str, stub: Any) -> None:
    monkeypatch.setattr(checksums, name, stub)
    broken(offline.checksums, "is right")


@pytest.mark.parametrize("format_", [ulog, rosbag])
@pytest.mark.parametrize("verdict", ["complete", "truncated"])
def test_formats_that_are_judged_wrongly(
    monkeypatch: pytest.MonkeyPatch, format_: Any, verdict: str
) -> None:
    monkeypatch.setattr(format_, "judge", lambda *_: (verdict, {}))
    broken(offline.flight_logs)


def test_texts_that_are_judged_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "verdict", lambda *_: "complete")
    broken(offline.texts, "zeros", "is right")


def test_keys_that_are_made_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_names, "key_name", lambda name: name)
    broken(offline.keys, "a key", "mission_log")


def test_keys_of_others_that_are_taken_for_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyOwnership, "owns", lambda *_: True)
    broken(offline.keys, "drone-002", "was to be refused")


def test_an_sqlite_without_returning(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if "RETURNING" in sql:
                raise sqlite3.OperationalError('near "RETURNING": syntax error')
            return super().execute(sql, *values)

    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *args, **more: connect(*args, **{**more, "factory": Old})
    )
    broken(offline.outbox, "RETURNING", "SQLite 3.35")


def test_an_outbox_that_enters_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    enqueue = entering.enqueue
    made: list[Row] = []

    def twice(*args: Any) -> Row:
        row = enqueue(*args)
        made.append(row)
        from dataclasses import replace

        return replace(row, id=row.id + len(made) - 1)

    monkeypatch.setattr(entering, "enqueue", twice)
    broken(offline.outbox, "a log entered twice")


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "petal_s3.outbox.outbox", None)
    broken(offline.outbox, "pip install")


def test_without_the_extra_the_upload_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    found = upload.importlib.util.find_spec
    monkeypatch.setattr(
        upload.importlib.util, "find_spec", lambda name: None if name == "moto" else found(name)
    )
    finding = state(upload.upload)
    assert (finding.state, "moto" in finding.found) == ("skipped", True)
    assert "petal-s3[demo]" in finding.advice


def test_an_upload_that_is_not_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    from petal_s3.demo.tokens import TokenService

    init = TokenService.__init__

    def refusing(self: TokenService, **more: Any) -> None:
        init(self, **more)
        self.fail_with(500)

    monkeypatch.setattr(TokenService, "__init__", refusing)
    with running.without_settings():
        broken(upload.upload, "token service", "127.0.0.1")
