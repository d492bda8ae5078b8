"""Settings come from arguments, the environment and one YAML file; what is wrong is named."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from petal_s3.core import settings_yaml
from petal_s3.core.machine_ids import machine_ids
from petal_s3.core.settings import GIB, MIB, Settings, SourceSettings
from petal_s3.core.settings_loading import check_settings, load_settings, setting_names
from petal_s3.core.settings_yaml import config_file
from petal_s3.errors import ConfigError

SECRET = "hunter2-and-more"


@pytest.fixture(autouse=True)
def _only_a_bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PETAL_S3_BUCKET_NAME", "logs")
    monkeypatch.setattr(settings_yaml, "CONFIG_FILE", tmp_path / "no-such-system-file.yaml")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file that ``PETAL_S3_CONFIG`` names; empty."""
    path = tmp_path / "petal-s3.yaml"
    path.write_text("")
    monkeypatch.setenv("PETAL_S3_CONFIG", str(path))
    return path


def refusal(**given: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(**given)
    error = caught.value
    assert (error.code, error.waiting_helps) == ("config", False)
    assert error.message.endswith(".")
    assert "\n" not in error.message
    return error.message


# -- defaults and parsing


def test_what_is_not_set_is_as_promised(tmp_path: Path) -> None:
    home = tmp_path / "home"
    expected = {
        "bucket_name": "logs",
        "session_token_url": None,
        "region": "us-east-1",
        "endpoint_url": None,
        "address_style": "auto",
        "machine_id": None,
        "upload_prefix": "flight_logs/",
        "date_folders": False,
        "state_dir": home / ".local/state/petal-s3",
        "log_dirs": (home / "ulog_records", home / "rosbag_records"),
        "sources": (),
        "scan_interval": 900.0,
        "settle_seconds": 10.0,
        "upload_while_flying": False,
        "part_size": "auto",
        "concurrency": "auto",
        "tls_ignore_dates": False,
        "session_token_file": None,
        "session_token_cert": None,
        "retention_over_http": False,
        "max_rate": 0,
        "autopilot": None,
        "autopilot_trace": None,
        "fetch": "new",
        "fetch_max_rate": 0,
        "sse": "AES256",
        "metadata": "full",
        "max_file_size": 2 * GIB,
        "request_timeout": 30.0,
        "retention_days": 0.0,
        "min_free_bytes": 0,
        "rest_read_only": False,
        "mqtt": "change",
        "api_origins": (),
        "api_host": "127.0.0.1",
        "api_port": 8077,
        "api_token": None,
    }
    assert load_settings().model_dump() == expected


READ: list[tuple[str, str, object]] = [
    ("BUCKET_NAME", "my-logs", "my-logs"),
    ("SESSION_TOKEN_URL", "http://127.0.0.1:1/token", "http://127.0.0.1:1/token"),
    ("SESSION_TOKEN_URL", "http://[::1]:8080/token", "http://[::1]:8080/token"),
    ("REGION", "eu-north-1", "eu-north-1"),
    ("FETCH", "all", "all"),
    ("AUTOPILOT_TRACE", "/tmp/card.trace", Path("/tmp/card.trace")),
    ("AUTOPILOT", "udpin:0.0.0.0:14540", "udpin:0.0.0.0:14540"),
    ("AUTOPILOT", "tcp:px4.local:5760", "tcp:px4.local:5760"),
    ("AUTOPILOT", "/dev/ttyACM0", "/dev/ttyACM0"),
    ("AUTOPILOT", "/dev/serial/by-id/px4:921600", "/dev/serial/by-id/px4:921600"),
    ("FETCH_MAX_RATE", "20kB", 20_000),
    ("ENDPOINT_URL", "https://minio.local:9000", "https://minio.local:9000"),
    ("ADDRESS_STYLE", "auto", "auto"),
    ("ADDRESS_STYLE", "path", "path"),
    ("ADDRESS_STYLE", "virtual", "virtual"),
    ("MACHINE_ID", "drone-001_A.b", "drone-001_A.b"),
    ("MACHINE_ID", "x" * 64, "x" * 64),
    ("UPLOAD_PREFIX", "a/b", "a/b/"),
    ("UPLOAD_PREFIX", "/a/", "a/"),
    ("UPLOAD_PREFIX", "/", ""),
    ("DATE_FOLDERS", "true", True),
    ("DATE_FOLDERS", "0", False),
    ("STATE_DIR", "/var/lib/../petal", Path("/var/petal")),
    ("LOG_DIRS", "/a:/b/c:", (Path("/a"), Path("/b/c"))),
    (
        "SOURCES",
        '[{"directory": "/var/events", "kinds": ["xml", "json"], "date_folders": true}]',
        (SourceSettings(directory=Path("/var/events"), kinds=("xml", "json"), date_folders=True),),
    ),
    ("SCAN_INTERVAL", "60", 60.0),
    ("SETTLE_SECONDS", "0", 0.0),
    ("UPLOAD_WHILE_FLYING", "yes", True),
    ("PART_SIZE", "8MiB", 8 * MIB),
    ("PART_SIZE", "5242880", 5 * MIB),
    ("PART_SIZE", "5GiB", 5 * GIB),
    ("CONCURRENCY", "16", 16),
    ("TLS_IGNORE_DATES", "1", True),
    ("MAX_RATE", "1.5MB", 1_500_000),
    ("SSE", "none", "none"),
    ("METADATA", "minimal", "minimal"),
    ("SSE", "aws:kms", "aws:kms"),
    ("SSE", "aws:kms:arn:aws:kms:x:1:key/2", "aws:kms:arn:aws:kms:x:1:key/2"),
    ("MAX_FILE_SIZE", "2gib", 2 * GIB),
    ("REQUEST_TIMEOUT", "2.5", 2.5),
    ("RETENTION_DAYS", "7", 7.0),
    ("MIN_FREE_BYTES", "500MB", 500_000_000),
    ("RETENTION_OVER_HTTP", "true", True),
    ("SESSION_TOKEN_FILE", "/etc/petal/../bearer", Path("/etc/bearer")),
    ("SESSION_TOKEN_CERT", "/etc/robot.pem", Path("/etc/robot.pem")),
    ("REST_READ_ONLY", "true", True),
    ("MQTT", "presign", "presign"),
    (
        "API_ORIGINS",
        "http://Robot.lan:3000, https://x.example:443/ http://[::1]:8077",
        ("http://robot.lan:3000", "https://x.example", "http://[::1]:8077"),
    ),
    ("API_HOST", "0.0.0.0", "0.0.0.0"),
    ("API_PORT", "0", 0),
    ("API_TOKEN", SECRET, SECRET),
]


@pytest.mark.parametrize(("name", "text", "value"), READ)
def test_a_setting_is_read_from_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: object
) -> None:
    monkeypatch.setenv(f"PETAL_S3_{name}", text)
    assert getattr(load_settings(), name.lower()) == value


def test_every_setting_is_in_that_table() -> None:
    assert {f"PETAL_S3_{name}" for name, _, _ in READ} == set(setting_names())


@pytest.mark.parametrize("named", [f"/{'a' * 300}", "/d" * 4000, "/a/b", "/etc"])
def test_a_settings_file_that_cannot_be_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("PETAL_S3_CONFIG", named)
    with pytest.raises(ConfigError, match=r"no such file|is a directory: a file is expected"):
        load_settings()


def test_a_home_directory_is_written_with_a_tilde(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PETAL_S3_STATE_DIR", "~/state")
    monkeypatch.setenv("PETAL_S3_LOG_DIRS", "~/logs")
    settings = load_settings()
    assert settings.outbox_path == tmp_path / "home/state/outbox.db"
    assert settings.log_dirs == (tmp_path / "home/logs",)


def test_links_in_paths_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.setenv("PETAL_S3_STATE_DIR", str(tmp_path / "link"))
    assert load_settings().state_dir == tmp_path / "link"


@pytest.mark.parametrize("name", ["REGION", "API_TOKEN", "MACHINE_ID", "PART_SIZE"])
def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = load_settings()
    monkeypatch.setenv(f"PETAL_S3_{name}", "")
    assert load_settings() == before


def test_settings_do_not_change() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.region = "elsewhere"


# -- refusals

WRONG = [
    ("BUCKET_NAME", "ab", "3 characters"),
    ("BUCKET_NAME", "b" * 256, "255 characters"),
    ("SESSION_TOKEN_URL", "ftp://host/token", "http:// or https:// URL"),
    ("SESSION_TOKEN_URL", "http://", "http:// or https:// URL"),
    ("SESSION_TOKEN_URL", "http://user@/token", "http:// or https:// URL"),
    ("SESSION_TOKEN_URL", "http://host:99999/token", "http:// or https:// URL"),
    ("SESSION_TOKEN_URL", "http://host:0/token", "http:// or https:// URL"),
    ("SESSION_TOKEN_URL", "http://[::1/token", "http:// or https:// URL"),
    ("SESSION_TOKEN_URL", "http://host/to ken", "http:// or https:// URL"),
    ("ENDPOINT_URL", "minio.local:9000", "http:// or https:// URL"),
    ("REGION", "bad region!", "a region like eu-central-1"),
    ("REGION", "eu_central_1", "a region like eu-central-1"),
    ("REGION", "-eu", "a region like eu-central-1"),
    ("REGION", "x" * 64, "a region like eu-central-1"),
    ("ADDRESS_STYLE", "hosted", "'auto', 'path' or 'virtual'"),
    ("MACHINE_ID", "..", "1 to 64 of A-Z a-z 0-9 . _ -"),
    ("MACHINE_ID", ".", "1 to 64 of A-Z a-z 0-9 . _ -"),
    ("MACHINE_ID", "a/b", "1 to 64 of A-Z a-z 0-9 . _ -"),
    ("MACHINE_ID", "drone 1", "1 to 64 of A-Z a-z 0-9 . _ -"),
    ("MACHINE_ID", "drone-1\n", "1 to 64 of A-Z a-z 0-9 . _ -"),
    ("MACHINE_ID", "dröne", "1 to 64 of A-Z a-z 0-9 . _ -"),
    ("MACHINE_ID", "x" * 65, "1 to 64 of A-Z a-z 0-9 . _ -"),
    ("UPLOAD_PREFIX", "a//b", "a prefix like flight_logs/"),
    ("UPLOAD_PREFIX", "../a", "a prefix like flight_logs/"),
    ("UPLOAD_PREFIX", "a/./b", "a prefix like flight_logs/"),
    ("DATE_FOLDERS", "maybe", "boolean"),
    ("STATE_DIR", "~nobody-of-that-name/x", "no such home directory"),
    ("LOG_DIRS", "/a:~nobody-of-that-name/x", "no such home directory"),
    ("SCAN_INTERVAL", "0.5", "greater than or equal to 1"),
    ("SCAN_INTERVAL", "inf", "finite"),
    ("SETTLE_SECONDS", "-1", "greater than or equal to 0"),
    ("SETTLE_SECONDS", "nan", "finite"),
    ("UPLOAD_WHILE_FLYING", "2", "boolean"),
    ("PART_SIZE", "4MiB", "5MiB to 5GiB"),
    ("PART_SIZE", "6GiB", "5MiB to 5GiB"),
    ("PART_SIZE", "big", "a size like 8MiB"),
    ("PART_SIZE", "8MiBs", "a size like 8MiB"),
    ("CONCURRENCY", "0", "greater than or equal to 1"),
    ("CONCURRENCY", "17", "less than or equal to 16"),
    ("CONCURRENCY", "two", "integer"),
    ("TLS_IGNORE_DATES", "dates", "boolean"),
    ("MAX_RATE", "-1", "a size like 8MiB"),
    ("STATE_DIR", f"/{'a' * 256}", "each part at most 255"),
    ("STATE_DIR", "/d" * 2000, "at most 3500 bytes"),
    ("LOG_DIRS", f"/logs:/{'ä' * 128}", "each part at most 255"),
    ("SESSION_TOKEN_FILE", f"/{'a' * 256}", "each part at most 255"),
    ("SSE", "AES", "aws:kms"),
    ("METADATA", "none", "minimal"),
    ("SSE", "aws:kms:", "aws:kms"),
    ("MAX_FILE_SIZE", "0", "greater than 0"),
    ("REQUEST_TIMEOUT", "0", "greater than 0"),
    ("REQUEST_TIMEOUT", "inf", "finite"),
    ("RETENTION_DAYS", "-1", "greater than or equal to 0"),
    ("MIN_FREE_BYTES", "x", "a size like 8MiB"),
    ("API_PORT", "65536", "less than or equal to 65535"),
]


@pytest.mark.parametrize(("name", "text", "expected"), WRONG)
def test_a_wrong_setting_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: str
) -> None:
    monkeypatch.setenv(f"PETAL_S3_{name}", text)
    sentence = refusal()
    assert sentence.startswith(f"PETAL_S3_{name}")
    assert expected in sentence
    if not name.endswith("_URL"):
        assert repr(text)[:5] in sentence
    assert "Input should" not in sentence


def test_the_bucket_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PETAL_S3_BUCKET_NAME")
    assert refusal() == "PETAL_S3_BUCKET_NAME is not set; it is required."


@pytest.mark.parametrize("name", ["PETAL_S3_BUCKET", "PETAL_S3_X", "PETAL_S3_PART_SIZES"])
def test_an_unknown_variable_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, SECRET)
    sentence = refusal()
    assert sentence.startswith(f"{name} is not a setting")
    assert SECRET not in sentence


def test_variables_of_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETAL_LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("PETAL_S4_X", "1")
    assert load_settings().bucket_name == "logs"


# -- the token URL that the host already sets


def test_the_hosts_variable_names_the_token_service_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETAL_SESSION_TOKEN_URL", "http://host/token")
    assert load_settings().session_token_url == "http://host/token"


def test_our_own_variable_wins_over_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETAL_SESSION_TOKEN_URL", "http://host/token")
    monkeypatch.setenv("PETAL_S3_SESSION_TOKEN_URL", "http://own/token")
    assert load_settings().session_token_url == "http://own/token"


def test_the_variable_that_is_wrong_is_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PETAL_SESSION_TOKEN_URL", "nonsense")
    assert refusal().startswith("PETAL_SESSION_TOKEN_URL: ")
    monkeypatch.setenv("PETAL_S3_SESSION_TOKEN_URL", "nonsense")
    assert refusal().startswith("PETAL_S3_SESSION_TOKEN_URL: ")


@pytest.mark.parametrize("variable", ["PETAL_SESSION_TOKEN_URL", "PETAL_S3_SESSION_TOKEN_URL"])
def test_an_argument_wins_over_both(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://environment/token")
    given = load_settings(session_token_url="http://argument/token", region="there")
    assert (given.session_token_url, given.region) == ("http://argument/token", "there")


# -- the file


def test_the_file_names_settings_in_lower_case(file: Path) -> None:
    file.write_text(
        "machine_id: drone-7\n"
        "session_token_url: http://file/token\n"
        "log_dirs: /a:/b\n"
        "part_size: 16MiB\n"
        "date_folders: true\n"
        "api_port: 9000\n"
    )
    settings = load_settings()
    assert (settings.machine_id, settings.session_token_url) == ("drone-7", "http://file/token")
    assert settings.log_dirs == (Path("/a"), Path("/b"))
    assert (settings.part_size, settings.date_folders, settings.api_port) == (16 * MIB, True, 9000)


def test_directories_may_be_a_list_in_the_file(file: Path, tmp_path: Path) -> None:
    file.write_text("log_dirs: [/a, ~/b]")
    assert load_settings().log_dirs == (Path("/a"), tmp_path / "home/b")


@pytest.mark.parametrize(
    ("variable", "name", "there", "here"),
    [
        ("PETAL_S3_REGION", "region", "in-file", "in-environment"),
        ("PETAL_S3_BUCKET_NAME", "bucket_name", "in-file", "in-environment"),
        ("PETAL_S3_SESSION_TOKEN_URL", "session_token_url", "http://file", "http://environment"),
        ("PETAL_SESSION_TOKEN_URL", "session_token_url", "http://file", "http://environment"),
    ],
)
def test_the_environment_wins_over_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, name: str, there: str, here: str
) -> None:
    file.write_text(f"{name}: {there}")
    monkeypatch.delenv("PETAL_S3_BUCKET_NAME")
    if name != "bucket_name":
        file.write_text(f"{name}: {there}\nbucket_name: logs")
    assert getattr(load_settings(), name) == there
    monkeypatch.setenv(variable, here)
    assert getattr(load_settings(), name) == here


def test_an_empty_variable_does_not_hide_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("region: in-file")
    monkeypatch.setenv("PETAL_S3_REGION", "")
    assert load_settings().region == "in-file"


_REGIONS = ("PETAL_S3_REGION", "in the file", "AWS_REGION", "AWS_DEFAULT_REGION")


@pytest.mark.parametrize("first", range(len(_REGIONS)))
def test_the_region_is_the_first_that_is_named_of(
    file: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    for number, name in enumerate(_REGIONS[first:], first):
        if name == "in the file":
            file.write_text(f"region: region-{number}")
        else:
            monkeypatch.setenv(name, f"region-{number}")
    for name in _REGIONS[:first]:
        if name != "in the file":
            monkeypatch.setenv(name, "")  # an empty one names none

    assert load_settings().region == f"region-{first}"
    assert load_settings(region="argument").region == "argument"


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_a_wrong_region_of_the_aws_tools_is_refused_by_its_own_name(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "bad region!")
    assert refusal().startswith(f"{name} is 'bad region!': a region like")
    monkeypatch.setenv("PETAL_S3_REGION", "worse region!")
    assert refusal().startswith("PETAL_S3_REGION is 'worse region!': a region like")


def test_the_region_of_the_aws_tools_is_none_of_the_settings_that_are_checked_for_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert check_settings({"bucket_name": "logs"}).region == "us-east-1"


def test_an_argument_wins_over_the_file(file: Path) -> None:
    file.write_text("region: in-file")
    assert load_settings(region="argument").region == "argument"


def test_the_systems_file_is_read_where_none_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("region: in-file")
    monkeypatch.setattr(settings_yaml, "CONFIG_FILE", file)
    monkeypatch.delenv("PETAL_S3_CONFIG")
    assert config_file() == file
    assert load_settings().region == "in-file"


def test_without_a_file_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PETAL_S3_CONFIG", raising=False)
    assert config_file() is None


@pytest.mark.parametrize("text", ["", "# nothing decided\n", "{}"])
def test_a_file_that_decides_nothing_is_fine(file: Path, text: str) -> None:
    file.write_text(text)
    assert load_settings().region == "us-east-1"


def test_a_named_file_must_exist(file: Path) -> None:
    file.unlink()
    assert refusal() == f"PETAL_S3_CONFIG names {file}, but there is no such file."
    file.mkdir()
    what = "which is a directory: a file is expected."
    assert refusal() == f"PETAL_S3_CONFIG names {file}, {what}"


def test_an_unknown_name_in_the_file_is_refused(file: Path) -> None:
    file.write_text("bucket: logs")
    assert refusal() == "bucket is not a setting; remove it from the settings file."


def test_a_wrong_value_in_the_file_is_refused_by_name(file: Path) -> None:
    file.write_text("part_size: 1MiB")
    assert refusal() == "PETAL_S3_PART_SIZE is '1MiB': S3 takes parts from 5MiB to 5GiB."


@pytest.mark.parametrize("text", ["- a\n- b", "just words", "5", "1: region", "[[region, x]]"])
def test_a_file_that_maps_no_names_to_values_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    assert refusal() == f"The settings file {file}: a mapping of names to values is expected."


@pytest.mark.parametrize("name", ["fetch", "mqtt"])
def test_off_without_quotes_in_the_settings_file_is_off(file: Path, name: str) -> None:
    """YAML 1.1 reads it as false."""
    file.write_text(f"bucket_name: logs\n{name}: off\n")
    assert getattr(Settings(), name) == "off"


def test_a_file_that_is_no_yaml_is_refused_with_the_line(file: Path) -> None:
    file.write_text("region: x\nbucket_name: [a")
    assert refusal() == f"The settings file {file} is no YAML: see its line 2."


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"region: \x01"])
def test_a_file_that_is_no_text_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert refusal() == f"The settings file {file} cannot be read: it is not text."


# -- secrets

LEAKING_YAML = [
    f"api_token: [{SECRET}]",
    f"api_token: {{a: {SECRET}}}",
    f"api_token: *{SECRET}",
    f"api_token: !{SECRET}",
    f"api_token: '{SECRET}",
    f"api_tokn: {SECRET}",
    f"session_token_url: ftp://user:{SECRET}@host/",
    f"session_token_url: [http://user:{SECRET}@host/]",
    f"endpoint_url: user:{SECRET}@host",
    SECRET,
]


def everything_said_about(error: BaseException) -> str:
    seen, texts = [], []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        texts += [str(one), repr(one), *map(repr, one.args)]
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return "\n".join([*texts, *traceback.format_exception(error)])


@pytest.mark.parametrize("text", LEAKING_YAML)
def test_no_refusal_of_the_file_shows_a_secret(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert SECRET not in everything_said_about(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://user:{SECRET}@host/token",
        f"user:{SECRET}@host/token",
        f"http://user:{SECRET}@/token",
        f"http://user:{SECRET}@host:99999/token",
        f"http://user:{SECRET}@[::1/token",
        f"http://host/token?key={SECRET} ",
    ],
)
@pytest.mark.parametrize(
    "variable", ["PETAL_S3_SESSION_TOKEN_URL", "PETAL_SESSION_TOKEN_URL", "PETAL_S3_ENDPOINT_URL"]
)
def test_no_refusal_of_a_url_shows_its_password(
    monkeypatch: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    monkeypatch.setenv(variable, url)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert caught.value.message.startswith(variable)
    assert SECRET not in everything_said_about(caught.value)


def test_a_refusal_of_something_else_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETAL_S3_API_TOKEN", SECRET)
    monkeypatch.setenv("PETAL_S3_SESSION_TOKEN_URL", f"https://user:{SECRET}@host/token")
    monkeypatch.setenv("PETAL_S3_PART_SIZE", "1MiB")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert SECRET not in everything_said_about(caught.value)


def test_settings_that_are_printed_show_no_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PETAL_S3_API_TOKEN", SECRET)
    monkeypatch.setenv("PETAL_S3_SESSION_TOKEN_URL", f"https://user:{SECRET}@host/token")
    monkeypatch.setenv("PETAL_S3_ENDPOINT_URL", f"https://user:{SECRET}@host/")
    with caplog.at_level(logging.DEBUG):
        settings = load_settings()
        logging.getLogger("petal_s3").info("settings %s %r", settings, settings)
    assert isinstance(settings, Settings)
    assert settings.api_token == SECRET
    assert SECRET not in caplog.text
    assert "bucket_name='logs'" in caplog.text


@pytest.mark.parametrize("content", ["uninitialized\n", "", "\n"])
def test_an_image_that_has_no_machine_id_yet_has_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "machine-id"
    file.write_text(content)
    with pytest.raises(ConfigError, match="PETAL_S3_MACHINE_ID is not set"):
        machine_ids(None, None, machine_id_file=file)
    assert machine_ids("drone-7", None, machine_id_file=file) == ("drone-7",)
    file.write_text("0123456789abcdef0123456789abcdef\n")
    assert machine_ids(None, None, machine_id_file=file) == ("0123456789abcdef0123456789abcdef",)


@pytest.mark.parametrize("ending", ["\n", "\r", " ", "é", "\x7f", "\t"])
def test_a_bearer_token_that_no_header_carries_is_refused(
    monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setenv("PETAL_S3_API_TOKEN", f"{SECRET}{ending}")
    with pytest.raises(ConfigError, match=r"PETAL_S3_API_TOKEN: printable ASCII") as refused:
        load_settings()
    assert SECRET not in refused.value.message


@pytest.mark.parametrize(
    "origins",
    ["*", "null", "robot.lan", "http://robot.lan/page", "http://a@robot.lan", "ftp://robot.lan"],
)
def test_what_is_no_web_origin_is_refused(monkeypatch: pytest.MonkeyPatch, origins: str) -> None:
    monkeypatch.setenv("PETAL_S3_API_ORIGINS", f"http://robot.lan, {origins}")
    with pytest.raises(ConfigError, match=r"PETAL_S3_API_ORIGINS .*web origins like"):
        load_settings()
