"""``petal-s3 host install``: the petal gets into the host's files, and nothing else changes."""

from __future__ import annotations

import json
import os
import re
import stat
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from console import Answer, Console, until

import petal_s3
from petal_s3.core.settings import MIB
from petal_s3.core.settings_loading import load_settings
from petal_s3.demo.host import Host, make_root
from petal_s3.demo.logs import write_ulog
from petal_s3.demo.recorded_link import LinkThread
from petal_s3.demo.services import EmbeddedS3, in_thread
from petal_s3.demo.tokens import TokenService

pytest.importorskip("petal_app_manager")

OURS = {"petal-s3": "petal_s3.plugin:PetalS3"}
EARLIER = """\
# Written by hand: keep me.
enabled_proxies: [redis, bucket]   # two are enough
enabled_petals:
- flight_records
petal_dependencies:
  flight_records: [redis, bucket]
proxy_dependencies: {}
"""
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


class Onboard:
    """The root of a host, and the settings file; ``install`` and ``remove`` typed there."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.root = make_root(console.directory / "root", petals={}, startup=[])
        self.proxies = self.root / "proxies.yaml"
        self.proxies.write_text(EARLIER)
        self.backup = self.root / "proxies.yaml.bak"
        self.settings = console.directory / "petal-s3.yaml"

    def install(self, *words: str, **env: str) -> Answer:
        return self._type("install", *words, **env)

    def remove(self, **env: str) -> Answer:
        return self._type("remove", **env)

    def _type(self, verb: str, *words: str, **env: str) -> Answer:
        given = {name: "" for name in self.console.env if name.startswith("PETAL_S3_")}
        given |= {"PETAL_S3_CONFIG": str(self.settings), **env}
        return self.console.type("host", verb, "--root", self.root, *words, **given)

    def files(self) -> dict[str, tuple[bytes, int]]:
        """What lies there, to the nanosecond."""
        return {
            path.name: (path.read_bytes(), path.stat().st_mtime_ns)
            for path in (*self.root.iterdir(), *self.console.directory.iterdir())
            if path.is_file()
        }


def meaning(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


@pytest.fixture
def onboard(console: Console) -> Onboard:
    """A host's root with a proxies.yaml that somebody wrote by hand."""
    return Onboard(console)


# -- proxies.yaml


def test_the_petal_comes_in_and_everything_else_stays(onboard: Onboard) -> None:
    answer = onboard.install()
    assert answer.code == 0
    earlier = yaml.safe_load(EARLIER)
    assert meaning(onboard.proxies) == {**earlier, "petals": OURS, "startup_petals": ["petal-s3"]}
    assert onboard.backup.read_text() == EARLIER
    assert f"Wrote petal-s3 into {onboard.proxies} as a startup petal" in answer.out
    assert "Restart the host" in answer.out


def test_comments_stay_where_something_is_only_added(onboard: Onboard) -> None:
    onboard.install()
    assert onboard.proxies.read_text().startswith(EARLIER)


def test_only_our_lines_are_added_where_others_have_theirs(onboard: Onboard) -> None:
    written = (
        f"{EARLIER}petals:\n  a: 'a:A'  # quoted\n\n# loaded at once\nstartup_petals:\n- a\n# end\n"
    )
    onboard.proxies.write_text(written)
    onboard.install()
    assert onboard.proxies.read_text() == written.replace(
        "# quoted\n", "# quoted\n  petal-s3: petal_s3.plugin:PetalS3\n"
    ).replace("- a\n", "- a\n- petal-s3\n")
    onboard.backup.unlink()
    onboard.remove()
    assert onboard.proxies.read_text() == written


def test_other_petals_stay_beside_ours(onboard: Onboard) -> None:
    others = {"petals": {"a": "a:A"}, "startup_petals": ["a"], "enabled_proxies": ["bucket"]}
    onboard.proxies.write_text(json.dumps(others))
    onboard.install()
    assert meaning(onboard.proxies) == {
        "petals": {"a": "a:A", **OURS},
        "startup_petals": ["a", "petal-s3"],
        "enabled_proxies": ["bucket"],
    }


def test_a_second_time_changes_nothing_and_says_so(onboard: Onboard) -> None:
    onboard.install("--set", "BUCKET_NAME=logs")
    before = onboard.files()
    answer = onboard.install("--set", "BUCKET_NAME=logs")
    assert answer.code == 0
    assert onboard.files() == before
    assert f"{onboard.proxies} names petal-s3 already." in answer.out
    assert f"{onboard.settings} says all of it already." in answer.out
    assert "Restart" not in answer.out


def test_a_petal_in_two_lists_would_be_loaded_twice(onboard: Onboard) -> None:
    onboard.proxies.write_text("enabled_petals: [petal-s3, other]\nenabled_proxies: [bucket]\n")
    onboard.install()
    found = meaning(onboard.proxies)
    assert (found["enabled_petals"], found["startup_petals"]) == (["other"], ["petal-s3"])


def test_an_old_path_of_the_petal_is_replaced(onboard: Onboard) -> None:
    onboard.proxies.write_text("petals: {petal-s3: old.place:Petal}\nstartup_petals: [petal-s3]\n")
    onboard.install()
    assert meaning(onboard.proxies)["petals"] == OURS


def test_without_proxies_yaml_the_host_s_own_default_is_written_with_ours(
    onboard: Onboard,
) -> None:
    onboard.proxies.unlink()
    assert onboard.install().code == 0
    by_the_host = onboard.console.directory / "default.yaml"
    _host_module().ensure_proxies_config_exists(by_the_host)
    assert meaning(onboard.proxies) == {
        **meaning(by_the_host),
        "petals": OURS,
        "startup_petals": ["petal-s3"],
    }
    assert not onboard.backup.exists()


def _host_module() -> Any:
    from petal_app_manager import config as host_config

    return host_config


def test_a_bucket_proxy_that_is_switched_off_stays_off_with_a_note(onboard: Onboard) -> None:
    onboard.proxies.write_text("enabled_proxies: [redis]\n")
    answer = onboard.install()
    assert answer.code == 0
    assert meaning(onboard.proxies)["enabled_proxies"] == ["redis"]
    assert "bucket is not among the enabled_proxies" in answer.out


@pytest.mark.parametrize("text", ["petals: [unclosed", "- a\n- b\n", "petals: [a, b]\n", "\x80"])
def test_what_the_host_could_not_read_is_left_alone(onboard: Onboard, text: str) -> None:
    onboard.proxies.write_bytes(text.encode("latin-1"))
    before = onboard.files()
    answer = onboard.install()
    assert answer.code == 1
    assert answer.err.count("\n") == 1
    assert str(onboard.proxies) in answer.err
    assert onboard.files() == before


def test_mode_and_links_stay(onboard: Onboard) -> None:
    elsewhere = onboard.console.directory / "elsewhere.yaml"
    onboard.proxies.rename(elsewhere)
    elsewhere.chmod(0o640)
    onboard.proxies.symlink_to(elsewhere)
    onboard.install()
    assert onboard.proxies.is_symlink()
    assert meaning(elsewhere)["petals"] == OURS
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o640


@only_root
def test_the_owner_stays_though_root_writes(onboard: Onboard) -> None:
    os.chown(onboard.proxies, 65534, 65534)
    onboard.install()
    assert onboard.proxies.stat().st_uid == 65534


# -- both files or none


def test_a_settings_file_that_cannot_be_written_leaves_the_host_alone(onboard: Onboard) -> None:
    before = onboard.files()
    answer = onboard.install(PETAL_S3_CONFIG=f"{onboard.root}/none/petal-s3.yaml")
    assert answer.code == 1
    assert answer.err.count("\n") == 1
    assert f"{onboard.root}/none/petal-s3.yaml cannot be written" in answer.err
    assert onboard.files() == before


def test_a_proxies_yaml_that_cannot_be_written_leaves_no_settings_file(onboard: Onboard) -> None:
    onboard.backup.mkdir()
    before = onboard.files()
    answer = onboard.install()
    assert answer.code == 1
    assert "cannot be written" in answer.err
    assert onboard.files() == before


def test_without_config_json_the_host_does_not_start_and_that_is_said(onboard: Onboard) -> None:
    (onboard.root / "config.json").unlink()
    answer = onboard.install()
    assert answer.code == 0
    assert f"Warning: without {onboard.root}/config.json the host does not start." in answer.out


def test_a_directory_without_a_host_is_wrong_use(onboard: Onboard) -> None:
    onboard.root = onboard.console.directory / "empty"
    onboard.root.mkdir()
    answer = onboard.install()
    assert answer.code == 2
    assert f"{onboard.root} is not where a petal-app-manager looks for its files" in answer.err
    assert list(onboard.root.iterdir()) == []


def test_the_host_is_found_three_directories_above_its_code(onboard: Onboard) -> None:
    found = onboard.console.start(
        "host",
        "install",
        PETAL_S3_CONFIG=str(onboard.settings),
        PYTHONPATH=f"{onboard.root}/site-packages:{Path(petal_s3.__file__).parents[1]}",
    )
    assert found.end() == 0, found.said
    assert meaning(onboard.proxies)["petals"] == OURS


# -- the settings file


def test_the_settings_file_holds_absolute_directories_and_what_was_given(
    onboard: Onboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path.home()
    answer = onboard.install(
        "--set", "part_size=8MiB", PETAL_S3_BUCKET_NAME="logs", PETAL_SESSION_TOKEN_URL="http://t/x"
    )
    assert meaning(onboard.settings) == {
        "state_dir": f"{home}/.local/state/petal-s3",
        "log_dirs": [f"{home}/ulog_records", f"{home}/rosbag_records"],
        "bucket_name": "logs",
        "session_token_url": "http://t/x",
        "part_size": "8MiB",
    }
    assert "Still to be set" not in answer.out
    monkeypatch.setenv("PETAL_S3_CONFIG", str(onboard.settings))
    assert load_settings().part_size == 8 * MIB


def test_relative_directories_become_absolute(onboard: Onboard) -> None:
    onboard.install("--set", "STATE_DIR=here", "--set", "LOG_DIRS=a:/b")
    found = meaning(onboard.settings)
    assert found["state_dir"] == f"{Path.cwd()}/here"
    assert found["log_dirs"] == [f"{Path.cwd()}/a", "/b"]


def test_what_is_still_missing_is_said(onboard: Onboard) -> None:
    answer = onboard.install()
    assert "Still to be set: the bucket" in answer.out
    assert "Not set: SESSION_TOKEN_URL." in answer.out
    assert f"PETAL_S3_CONFIG={onboard.settings} in their environment" in answer.out


@pytest.mark.threat(
    "user",
    "host install finds the API token and logins in its environment",
    "they are not written down, and that is said",
)
def test_secrets_are_not_written_down(onboard: Onboard) -> None:
    answer = onboard.install(
        PETAL_S3_API_TOKEN="opens-the-door", PETAL_S3_ENDPOINT_URL="http://me:hidden@s3.example"
    )
    written = onboard.settings.read_text() + onboard.proxies.read_text() + repr(answer)
    assert answer.code == 0
    assert "opens-the-door" not in written
    assert "hidden" not in written
    assert "PETAL_S3_API_TOKEN holds a secret and was not written down" in answer.out
    assert "PETAL_S3_ENDPOINT_URL holds a secret" in answer.out


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("BUCKET=logs", "BUCKET: NAME=VALUE with the name of a setting is expected"),
        ("BUCKET_NAME", "NAME=VALUE"),
        ("API_TOKEN=opens-the-door", "API_TOKEN would be a secret"),
        ("PART_SIZE=1KiB", "PETAL_S3_PART_SIZE is '1KiB': S3 takes parts from 5MiB"),
        ("PETAL_S3_REGION=", "PETAL_S3_REGION: NAME=VALUE"),
    ],
)
def test_a_word_that_is_no_setting_is_wrong_use(onboard: Onboard, word: str, sentence: str) -> None:
    before = onboard.files()
    answer = onboard.install("--set", word)
    assert answer.code == 2
    assert sentence in answer.err
    assert onboard.files() == before


def test_what_the_file_says_otherwise_stays_without_force(onboard: Onboard) -> None:
    onboard.settings.write_text("bucket_name: theirs\n")
    before = onboard.files()
    answer = onboard.install("--set", "BUCKET_NAME=ours")
    assert answer.code == 1
    assert f"{onboard.settings} says otherwise about bucket_name" in answer.err
    assert onboard.files() == before


def test_force_changes_what_was_given_and_keeps_the_rest(onboard: Onboard) -> None:
    earlier = "bucket_name: theirs\nregion: eu-west-1\nstate_dir: /s\nlog_dirs: /l\n"
    onboard.settings.write_text(earlier)
    assert onboard.install("--set", "BUCKET_NAME=ours", "--force").code == 0
    found = meaning(onboard.settings)
    assert (found["bucket_name"], found["region"]) == ("ours", "eu-west-1")
    kept = onboard.settings.with_name("petal-s3.yaml.bak")
    assert kept.read_text() == earlier


def test_what_is_new_is_added_below_what_was_there(onboard: Onboard) -> None:
    earlier = "# ours since May\nbucket_name: logs\npart_size: 5MiB\n"
    onboard.settings.write_text(earlier)
    answer = onboard.install("--set", "REGION=eu-west-1", "--set", "PART_SIZE=5242880")
    assert answer.code == 0, answer
    assert onboard.settings.read_text().startswith(earlier)
    assert meaning(onboard.settings)["region"] == "eu-west-1"
    assert meaning(onboard.settings)["part_size"] == "5MiB"


def test_the_region_of_the_aws_tools_is_written_where_the_file_names_none(
    onboard: Onboard,
) -> None:
    assert onboard.install("--set", "BUCKET_NAME=ours", AWS_REGION="eu-west-1").code == 0
    assert meaning(onboard.settings)["region"] == "eu-west-1"

    again = onboard.install(AWS_REGION="us-west-2")
    assert again.code == 0, again
    assert meaning(onboard.settings)["region"] == "eu-west-1"


@only_root
def test_behind_sudo_the_home_is_that_of_the_person(onboard: Onboard) -> None:
    import pwd

    onboard.install(SUDO_USER="nobody")
    home = pwd.getpwnam("nobody").pw_dir
    assert meaning(onboard.settings)["state_dir"] == f"{home}/.local/state/petal-s3"


# -- remove


def test_remove_gives_back_the_very_file(onboard: Onboard) -> None:
    onboard.install()
    answer = onboard.remove()
    assert answer.code == 0
    assert onboard.proxies.read_text() == EARLIER
    assert not onboard.backup.exists()
    assert onboard.settings.exists()


def test_remove_takes_out_only_ours_when_more_has_changed(onboard: Onboard) -> None:
    onboard.install()
    changed = meaning(onboard.proxies)
    changed["enabled_petals"].append("new")
    changed["petals"]["new"] = "n:N"
    onboard.proxies.write_text(yaml.safe_dump(changed))
    onboard.remove()
    found = meaning(onboard.proxies)
    assert "petal-s3" not in onboard.proxies.read_text()
    assert (found["petals"], found["enabled_petals"]) == ({"new": "n:N"}, ["flight_records", "new"])


def test_remove_without_install_changes_nothing(onboard: Onboard) -> None:
    before = onboard.files()
    answer = onboard.remove()
    assert (answer.code, onboard.files()) == (0, before)
    assert "does not mention petal-s3: nothing to remove" in answer.out
    onboard.proxies.unlink()
    assert "nothing to remove" in onboard.remove().out


# -- and then the host itself


@pytest.fixture
def sea(s3_server: EmbeddedS3) -> Iterator[dict[str, str]]:
    """Settings of a link to S3 and a token service."""
    with LinkThread(s3_server.url) as link, in_thread(TokenService()) as tokens:
        yield {"PETAL_S3_ENDPOINT_URL": link.url, "PETAL_SESSION_TOKEN_URL": tokens.url}


def test_the_real_host_loads_the_petal_and_shares_its_outbox(
    onboard: Onboard, sea: dict[str, str]
) -> None:
    """One settings file, and nothing in the environment: host and command line agree."""
    console = onboard.console
    onboard.proxies.write_text("enabled_proxies: [bucket]\n")
    onboard.install(**{**console.env, **sea, "PETAL_S3_MACHINE_ID": ""})
    console.env = {"PETAL_S3_CONFIG": str(onboard.settings), "COLUMNS": "80"}
    with Host(onboard.root, env=console.env) as host:
        host.start()
        host.wait_ready()
        with urllib.request.urlopen(f"{host.url}/petals/petal-s3/status", timeout=10) as answer:
            assert json.load(answer)["outbox"] == str(console.state / "outbox.db")
        _share(console, host)
        assert host.terminate() == -15
    assert "drained by no process" in console.type("status").out


def _share(console: Console, host: Host) -> None:
    assert f"drained by process {host.pid} (" in console.type("status").out
    elsewhere = console.directory / "by-hand.ulg"
    write_ulog(elsewhere, 20_000)
    answer = console.type("enqueue", elsewhere)
    assert (answer.code, answer.err) == (0, "")
    assert console.type("drain").code == 0
    (row,) = until(lambda: console.type("status", "--json").json["rows"])
    assert (row["state"], row["id"]) == ("verified", int(answer.out.split()[0]))
    with urllib.request.urlopen(f"{host.url}/petals/petal-s3/health", timeout=10) as told:
        machine = json.load(told)["machine_id"]
    assert re.match(rf"flight_logs/{re.escape(machine)}/\d{{8}}_\d{{6}}_by-hand\.ulg", row["key"])


@pytest.mark.parametrize("verb", ["install", "remove"])
def test_a_root_that_is_too_long_is_wrong_use(console: Console, verb: str) -> None:
    for root in ("/" + "a/" * 3000, f"/{'a' * 300}"):
        answer = console.type("host", verb, "--root", root)
        assert (answer.code, answer.out) == (2, "")
        assert "cannot be looked at (File name too long)." in answer.err
