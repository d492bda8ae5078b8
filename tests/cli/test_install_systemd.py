"""``petal-s3 serve --install-systemd``: a unit that fits the settings of this machine."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
import yaml
from console import Answer, Console

from petal_s3.cli import serve_command
from petal_s3.host import systemd_unit

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ["/opt/my robot/bin/petal-s3"]
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


class Machine:
    """A file system whose ``etc`` is written, and the command line at it."""

    def __init__(self, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
        self.console = console
        self.root = console.directory / "root"
        self.root.mkdir()
        self.settings = self.root / "petal-s3.yaml"
        self.units = self.root / "etc/systemd/system"
        monkeypatch.setattr(serve_command, "ROOT", self.root)
        monkeypatch.setattr(systemd_unit, "command_of", lambda: COMMAND)

    def install(self, *words: str, **env: str) -> Answer:
        none = {name: "" for name in self.console.env if name.startswith("PETAL_S3_")}
        given = {"PETAL_S3_CONFIG": str(self.settings), **none, **env}
        return self.console.type("serve", "--install-systemd", *words, **given)

    @property
    def unit(self) -> str:
        return (self.units / "petal-s3.service").read_text()

    @property
    def drop_in(self) -> list[str]:
        lines = (self.units / "petal-s3.service.d/10-settings.conf").read_text().splitlines()
        return [line for line in lines if not line.startswith(("#", "["))]


@pytest.fixture
def machine(console: Console, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(console, monkeypatch)


def test_it_writes_settings_unit_and_user_and_says_what_is_left(machine: Machine) -> None:
    answer = machine.install("--port", "8100", PETAL_S3_BUCKET_NAME="logs")
    assert answer.code == 0, answer
    found = yaml.safe_load(machine.settings.read_text())
    assert (found["bucket_name"], found["api_port"]) == ("logs", 8100)
    assert found["state_dir"] == "/var/lib/petal-s3"
    shipped = (ROOT / "contrib/petal-s3.service").read_text()
    start = 'ExecStart="/opt/my robot/bin/petal-s3" serve'
    assert machine.unit == shipped.replace("ExecStart=/opt/petal-s3/bin/petal-s3 serve", start)
    assert machine.drop_in == [f"Environment=PETAL_S3_CONFIG={machine.settings}"]
    users = (machine.root / "etc/sysusers.d/petal-s3.conf").read_text()
    assert users == 'u petal-s3 - "petal-s3" /var/lib/petal-s3\n'
    assert "sudo systemctl enable --now petal-s3" in answer.out
    assert answer.out.splitlines()[-1].startswith("Then: sudo -u petal-s3 ")


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    machine.install(PETAL_S3_BUCKET_NAME="logs")
    before = {path: path.stat().st_mtime_ns for path in machine.root.rglob("*") if path.is_file()}
    answer = machine.install()
    assert answer.code == 0
    assert "Wrote" not in answer.out
    assert {one: one.stat().st_mtime_ns for one in machine.root.rglob("*") if one.is_file()} == (
        before
    )


def test_a_unit_that_was_changed_by_hand_is_kept_beside(machine: Machine) -> None:
    machine.install(PETAL_S3_BUCKET_NAME="logs")
    (machine.units / "petal-s3.service").write_text("# mine\n")
    assert machine.install().code == 0
    assert (machine.units / "petal-s3.service.bak").read_text() == "# mine\n"
    assert "ExecStart=" in machine.unit


def test_the_unit_of_a_package_is_left_to_the_package(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd_unit, "command_of", lambda: ["/opt/petal-s3/bin/petal-s3"])
    packaged = machine.root / "usr/lib/systemd/system/petal-s3.service"
    packaged.parent.mkdir(parents=True)
    packaged.write_text((ROOT / "contrib/petal-s3.service").read_text())
    assert machine.install(PETAL_S3_BUCKET_NAME="logs").code == 0
    assert not (machine.units / "petal-s3.service").exists()
    assert machine.drop_in


def test_without_a_bucket_it_says_what_is_still_to_be_set(machine: Machine) -> None:
    answer = machine.install()
    assert f"Still to be set: bucket_name in {machine.settings}." in answer.out


def test_where_others_can_reach_it_the_token_is_named(machine: Machine) -> None:
    answer = machine.install("--host", "0.0.0.0", PETAL_S3_BUCKET_NAME="logs")
    assert "0.0.0.0: PETAL_S3_API_TOKEN has to stand in /etc/petal-s3.env." in answer.out


def test_it_may_write_what_the_settings_have_it_write(machine: Machine) -> None:
    answer = machine.install(
        PETAL_S3_BUCKET_NAME="logs",
        PETAL_S3_LOG_DIRS="/data/logs:/data/100 % bags",
        PETAL_S3_RETENTION_DAYS="14",
        PETAL_S3_AUTOPILOT="/dev/ttyACM0:921600",
        PETAL_S3_AUTOPILOT_TRACE="/data/traces/card.txt",
    )
    assert answer.code == 0, answer
    assert machine.drop_in[:-1] == [
        "ReadWritePaths=-/data/logs",
        'ReadWritePaths="-/data/100 %% bags"',
        "ReadWritePaths=-/data/traces",
        "PrivateDevices=no",
        "DevicePolicy=closed",
        "DeviceAllow=/dev/ttyACM0 rw",
        "SupplementaryGroups=dialout",
    ]


def test_what_its_user_may_not_read_is_said(machine: Machine) -> None:
    home = machine.root / "home/pilot"
    logs = home / "ulog_records"
    logs.mkdir(parents=True)
    for one in (machine.root, home.parent, *machine.root.parents):
        if one.is_relative_to("/tmp") and one != Path("/tmp"):
            one.chmod(0o755)
    home.chmod(0o700)
    answer = machine.install(PETAL_S3_BUCKET_NAME="logs", PETAL_S3_LOG_DIRS=str(logs))
    assert (
        f"petal-s3 may not read {logs}: sudo setfacl -R -m u:petal-s3:rX -m d:u:petal-s3:rX {logs}"
        f" && sudo setfacl -m u:petal-s3:x {home}\n"
    ) in answer.out


@only_root
def test_an_outbox_that_is_there_is_used_by_its_owner(machine: Machine) -> None:
    with machine.console.outbox():
        pass
    owner = pwd.getpwuid(1)
    os.chown(machine.console.state / "outbox.db", 1, 1)
    env = {"PETAL_S3_BUCKET_NAME": "logs", "PETAL_S3_STATE_DIR": str(machine.console.state)}
    answer = machine.install(**env)
    assert answer.code == 0, answer
    assert f"It runs as {owner.pw_name}, to whom the outbox" in answer.out
    assert f"User={owner.pw_name}\n" in machine.unit
    assert "Group=" not in machine.unit
    assert machine.drop_in[:2] == ["StateDirectory=", f"ReadWritePaths={machine.console.state}"]
    assert not (machine.root / "etc/sysusers.d/petal-s3.conf").exists()


@only_root
def test_an_outbox_of_root_is_not_taken_by_another_user(machine: Machine) -> None:
    with machine.console.outbox():
        pass
    env = {"PETAL_S3_BUCKET_NAME": "logs", "PETAL_S3_STATE_DIR": str(machine.console.state)}
    answer = machine.install(**env)
    assert answer.code == 1
    assert "belongs to root" in answer.err
    assert not machine.units.exists()


def test_a_secret_goes_into_the_environment_of_the_service(machine: Machine) -> None:
    answer = machine.install(PETAL_S3_BUCKET_NAME="logs", PETAL_S3_API_TOKEN="0123456789abcdef")
    assert answer.code == 0
    assert "put it into /etc/petal-s3.env, of mode 0600." in answer.out
    written = "".join(one.read_text() for one in machine.root.rglob("*") if one.is_file())
    assert "0123456789abcdef" not in written + answer.out
