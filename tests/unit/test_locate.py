"""A file that is named lies in a log directory or outside of all, by its real path."""

from __future__ import annotations

from pathlib import Path

import pytest

from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.errors import BadInput, NotAFlightLog, NotAllowed, S3FileNotFoundError
from petal_s3.intake.enqueue import locate
from petal_s3.intake.log_directories import LogDirectory


def directories(*paths: Path) -> list[LogDirectory]:
    return [LogDirectory(path, FLIGHT_KINDS) for path in paths]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A log directory with a log, and beside it another directory with one."""
    folder, outside = tmp_path / "logs", tmp_path / "logs-evil"
    for place in (folder / "day", outside / "day"):
        place.mkdir(parents=True)
        (place / "x.ulg").write_bytes(b"x")
    return folder


def test_a_log_inside_one_of_the_log_directories_may_be_named(logs: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(logs)
    for path, roots in (
        (logs / "day" / "x.ulg", [tmp_path / "other", logs]),
        (logs / "day" / "x.ulg", [link]),
        (link / "day" / "x.ulg", [logs]),
        (logs / "day" / ".." / "day" / "x.ulg", [logs / "day"]),
        (logs / "day" / "x.ulg", [Path("/")]),
    ):
        real, found = locate(path, directories(*roots), inside_only=True)
        assert (real, found) == (logs / "day" / "x.ulg", LogDirectory(roots[-1], FLIGHT_KINDS))


@pytest.mark.guarantee(
    "attack",
    "a path that climbs out of the log directories",
    "refused; nothing tells whether the file exists",
)
@pytest.mark.threat("wifi")
def test_a_log_elsewhere_is_not_allowed_and_its_existence_not_told(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inward = logs / "out"
    inward.symlink_to(tmp_path / "logs-evil")
    for path in (
        tmp_path / "logs-evil" / "day" / "x.ulg",
        logs / ".." / "logs-evil" / "day" / "x.ulg",
        inward / "day" / "x.ulg",
        inward / "missing" / "x.ulg",
        tmp_path / "x.ulg",
        Path("../../etc/passwd.ulg"),
        Path("~/x.ulg"),
        Path("$HOME/x.ulg"),
        Path("file:///etc/x.ulg"),
        Path("/etc/shadow"),
    ):
        with pytest.raises(NotAllowed) as caught:
            locate(path, directories(logs), inside_only=True)
        assert (caught.value.code, caught.value.status) == ("not_allowed", 403), path
        assert str(path) not in caught.value.message
    with pytest.raises(NotAllowed):
        locate(logs / "day" / "x.ulg", [], inside_only=True)


def test_a_log_elsewhere_may_be_named_where_that_is_allowed(logs: Path, tmp_path: Path) -> None:
    path = tmp_path / "logs-evil" / "day" / "x.ulg"
    assert locate(path, directories(logs)) == (path, None)
    with pytest.raises(S3FileNotFoundError):
        locate(path.with_name("y.ulg"), directories(logs))


@pytest.mark.parametrize("path", ["", " ", "\n", "a\0b.ulg"])
def test_what_is_no_path_is_bad_input(logs: Path, path: str) -> None:
    with pytest.raises(BadInput) as caught:
        locate(path, directories(logs), inside_only=True)
    assert caught.value.code == "bad_path"


def test_a_path_that_is_too_long_is_one_sentence(logs: Path) -> None:
    with pytest.raises(NotAFlightLog, match="too long") as caught:
        locate(logs / f"{'a' * 300}.ulg", directories(logs))
    assert (caught.value.code, caught.value.status) == ("bad_name", 400)
