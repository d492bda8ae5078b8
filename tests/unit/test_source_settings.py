"""Sources: what is said of them in the settings, and the keys that follow from it."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from petal_s3.core import settings_yaml
from petal_s3.core.kinds import ALL_KINDS, FLIGHT_KINDS, SUFFIXES
from petal_s3.core.settings import SourceSettings
from petal_s3.core.settings_loading import check_settings, load_settings
from petal_s3.errors import ConfigError
from petal_s3.host import settings_file
from petal_s3.intake.descriptions import Description, describe, described
from petal_s3.intake.log_directories import (
    LogDirectory,
    checked_log_directories,
    directory_of,
)
from petal_s3.intake.looking import find_logs
from petal_s3.intake.spool import copy_path
from petal_s3.logs.log_time import log_time
from petal_s3.logs.opening import Identity
from petal_s3.objects.key_names import key_with_crc, log_key, stamped
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.service.snapshot import read_status

MACHINE = "drone-001"
HOME = f"flight_logs/{MACHINE}/"
MINE = KeyOwnership("flight_logs/", (MACHINE, "host-id"), "logs")
NOON = datetime(2025, 7, 27, 14, 30, 22, tzinfo=timezone.utc)
NS = 1_700_000_000_000_000_000  # 2023-11-14 22:13:20
SOURCE = {"directory": "/var/events", "kinds": ["xml"]}


@pytest.fixture(autouse=True)
def _only_a_bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PETAL_S3_BUCKET_NAME", "logs")
    monkeypatch.setattr(settings_yaml, "CONFIG_FILE", tmp_path / "no-such-system-file.yaml")


def in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "petal-s3.yaml").write_text(text)
    monkeypatch.setenv("PETAL_S3_CONFIG", str(tmp_path / "petal-s3.yaml"))


def refusal(sources: Any) -> str:
    """The sentence, from settings that parse or from the keys that they would make."""
    with pytest.raises(ConfigError) as caught:
        checked_log_directories(load_settings(sources=sources), MINE)
    message = caught.value.message
    assert message.isprintable()
    assert message.endswith(".")
    assert len(message) < 600
    return message


def log_directory(template: str = "{timestamp}_{name}", **more: Any) -> LogDirectory:
    made = load_settings(sources=[{**SOURCE, "key": template, "kinds": sorted(ALL_KINDS), **more}])
    return checked_log_directories(made, MINE)[-1]


# -- the settings


def test_the_settings_file_tells_of_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_file(
        tmp_path,
        monkeypatch,
        """
sources:
  - directory: ~/events
    kinds: [xml, json]
    key: "events/{timestamp}_{name}"
    date_folders: true
    content_type: application/vnd.events+xml
  - directory: /var/log/autopilot
    kinds: text
""",
    )
    first, second = load_settings().sources

    assert first.directory == tmp_path / "home/events"
    assert (first.kinds, first.key) == (("xml", "json"), "events/{timestamp}_{name}")
    assert (first.date_folders, first.content_type) == (True, "application/vnd.events+xml")
    assert second == SourceSettings(directory=Path("/var/log/autopilot"), kinds=("text",))
    assert (second.key, second.date_folders, second.content_type) == (
        "{timestamp}_{name}",
        False,
        None,
    )


def test_the_environment_counts_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_file(tmp_path, monkeypatch, "sources: [{directory: /a, kinds: xml}]")
    monkeypatch.setenv("PETAL_S3_SOURCES", '[{"directory": "/b", "kinds": "json"}]')

    assert [str(one.directory) for one in load_settings().sources] == ["/b"]


def test_directories_are_those_of_flight_logs_and_of_sources_once_each() -> None:
    made = load_settings(
        log_dirs="/a:/b", sources=[{**SOURCE, "directory": d} for d in ("/b", "/c")]
    )

    assert made.directories == (Path("/a"), Path("/b"), Path("/c"))


WRONG: dict[str, tuple[Any, str]] = {
    "no list": (5, "sources is 5: a list is expected."),
    "no list either": ({"directory": "/a"}, "sources is a dict: a list is expected."),
    "no JSON": ('[{"directory"', "as JSON."),
    "JSON without an end": ("[" * 30_000, "as JSON."),
    "no mapping": (["/a"], "sources[0] is '/a': a mapping with directory and kinds is expected."),
    "no directory": ([{"kinds": "xml"}], "sources[0].directory is not set; it is required."),
    "no kinds": ([SOURCE, {"directory": "/a"}], "sources[1].kinds is not set; it is required."),
    "an empty directory": ([{**SOURCE, "directory": " "}], "sources[0].directory is ' ': the path"),
    "a number": ([{**SOURCE, "directory": 5}], "sources[0].directory is 5: the path"),
    "a NUL": ([{**SOURCE, "directory": "/a\0b"}], "sources[0].directory is '/a\\x00b': the path"),
    "no Unicode": ([{**SOURCE, "directory": "/\ud800"}], "sources[0].directory is '/\\ud800': the"),
    "nobody's home": ([{**SOURCE, "directory": "~no-one-/a"}], "sources[0].directory is '~no-one-"),
    "an unknown kind": ([{**SOURCE, "kinds": ["xml", "pdf"]}], "sources[0].kinds is a list: some"),
    "two kinds in one": ([{**SOURCE, "kinds": "xml,json"}], "sources[0].kinds"),
    "no kind": (
        [{**SOURCE, "kinds": []}],
        "sources[0].kinds is a list: some of dataflash, json,",
    ),
    "a kind that is a number": ([{**SOURCE, "kinds": [1]}], "sources[0].kinds[0] is 1"),
    "kinds that are a mapping": ([{**SOURCE, "kinds": {"xml": 1}}], "sources[0].kinds is a dict"),
    "a placeholder too many": ([{**SOURCE, "key": "{host}"}], "sources[0].key is '{host}': a key"),
    "a place by number": ([{**SOURCE, "key": "{0}"}], "sources[0].key is '{0}': a key like"),
    "a place without name": ([{**SOURCE, "key": "{}"}], "sources[0].key is '{}': a key like"),
    "an open brace": ([{**SOURCE, "key": "{name"}], "sources[0].key is '{name': a key like"),
    "an attribute": ([{**SOURCE, "key": "{name.__class__}"}], "sources[0].key"),
    "a huge width": ([{**SOURCE, "key": "{name:>999999999}"}], "sources[0].key"),
    "a conversion": ([{**SOURCE, "key": "{name!r}"}], "sources[0].key is '{name!r}': a key"),
    "a key that is a number": ([{**SOURCE, "key": 5}], "sources[0].key is 5"),
    "perhaps": ([{**SOURCE, "date_folders": "perhaps"}], "sources[0].date_folders is 'perhaps'"),
    "no media type": ([{**SOURCE, "content_type": "xml"}], "sources[0].content_type is 'xml': a"),
    "two headers": ([{**SOURCE, "content_type": "a/b\r\nx: y"}], "sources[0].content_type is"),
    "a long media type": ([{**SOURCE, "content_type": "a/" + "b" * 999}], "sources[0].content_"),
    "another field": ([{**SOURCE, "colour": "red"}], "sources[0].colour is not a setting; remove"),
    "a forged line": ([{**SOURCE, "a\n\x1b[31m": 1}], "sources[0].a\\n\\x1b[31m is not a setting"),
    "a field without end": ([{**SOURCE, "x" * 60_000: 1}], "x… is not a setting"),
}


@pytest.mark.parametrize(("sources", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_value_is_one_sentence_that_names_its_place(sources: Any, says: str) -> None:
    assert says in refusal(sources)


@pytest.mark.parametrize(
    "template",
    [
        "../{name}",
        "events/../../other/{name}",
        "%2e%2e/{name}",
        "..\\{name}",
        "/{name}",
        "events//{name}",
        "events/",
        "{name}/",
        "{upload_prefix}{name}",
        "{upload_prefix}drone-002/{name}",
        "{upload_prefix}{machine_id}{name}",
        "{upload_prefix}{machine_id}/tmp/{name}",
        "tmp/{name}",
        "tmp/{date}/{timestamp}_{name}",
        "events\n/{name}",
        "x" * 1000 + "/{name}",
        "/".join(["{name}"] * 6),
    ],
)
@pytest.mark.guarantee(
    "attack",
    "a key template of a source that leads out of the folder of this machine, or into its tmp/",
    "refused at start, with one sentence that names the source",
)
def test_a_template_that_leads_elsewhere_is_refused(template: str) -> None:
    sentence = refusal([SOURCE, {**SOURCE, "key": template}])
    assert sentence.startswith("sources[1].key leads out of the folder of this machine")


def test_a_template_may_not_reach_tmp_by_the_name_of_the_machine() -> None:
    made = load_settings(sources=[{**SOURCE, "key": "{machine_id}/{name}"}])
    with pytest.raises(ConfigError, match=r"sources\[0\]\.key"):
        checked_log_directories(made, KeyOwnership("flight_logs/", ("tmp",)))


def test_sources_are_written_down_as_they_were_said(tmp_path: Path) -> None:
    said = [{"directory": str(tmp_path), "kinds": ["xml"], "key": "e/{name}", "date_folders": True}]
    file = tmp_path / "petal-s3.yaml"

    changes, _, _ = settings_file.plan(file, {"sources": json.dumps(said)})

    written = yaml.safe_load(changes[-1].text)
    assert written["sources"] == said
    assert check_settings({"bucket_name": "logs", **written}).sources == (
        SourceSettings(**said[0]),
    )


@pytest.mark.parametrize(
    ("written", "kinds"),
    [
        (".xml", ("xml",)),
        ([".xml", ".json"], ("xml", "json")),
        ([".log"], ("text",)),
        ((".ulg", ".bag", ".csv"), ("ulog", "rosbag", "text")),
    ],
)
def test_kinds_may_be_written_as_suffixes(written: object, kinds: tuple[str, ...]) -> None:
    assert load_settings(sources=[{"directory": "/a", "kinds": written}]).sources[0].kinds == kinds


# -- the keys


@pytest.mark.parametrize(
    ("template", "more", "key"),
    [
        ("{timestamp}_{name}", {}, "20250727_143022_events.xml"),
        ("{timestamp}_{name}", {"date_folders": True}, "2025/07/27/20250727_143022_events.xml"),
        ("events/{timestamp}_{name}", {}, "events/20250727_143022_events.xml"),
        ("events/{name}", {"date_folders": True}, "events/2025/07/27/events.xml"),
        ("{date}/{kind}/{name}", {}, "2025/07/27/xml/events.xml"),
        ("{upload_prefix}{machine_id}/a/{name}", {}, "a/events.xml"),
        ("{machine_id}/{name}", {}, f"{MACHINE}/events.xml"),
        ("{upload_prefix}{machine_id}/{filename}", {}, "events.xml"),
        ("e/{timestamp}_{filename}", {}, "e/20250727_143022_events.xml"),
        ("current.xml", {}, "current.xml"),
        ("{{x}}/{name}", {}, "{x}/events.xml"),
        ("", {}, "20250727_143022_events.xml"),
    ],
)
def test_a_template_says_where_logs_go(template: str, more: dict[str, Any], key: str) -> None:
    assert log_directory(template, **more).key(MINE, "events.xml", NOON, "xml") == HOME + key


def test_a_name_that_begins_with_its_time_says_it_once() -> None:
    assert stamped("20250727_143022_events.xml", NOON) == "20250727_143022_events.xml"
    assert stamped("20250727_143022.xml", NOON) == "20250727_143022.xml"
    assert stamped("20250727_1430221_events.xml", NOON).startswith("20250727_143022_2025")
    assert stamped("20250727_143023_events.xml", NOON).startswith("20250727_143022_2025")


@given(
    name=st.text(min_size=1, max_size=255).filter(lambda name: "/" not in name),
    template=st.sampled_from(
        ["{timestamp}_{name}", "{name}", "{kind}/{name}", "{name}/{name}", "e/{date}/{name}"]
    ),
    folders=st.booleans(),
    kind=st.sampled_from([*sorted(ALL_KINDS), "unknown"]),
    seconds=st.integers(0, 253_402_300_799),
)
@pytest.mark.guarantee(
    "attack",
    "a file in a source is named to lead out of the folder of this machine",
    "its key stands in that folder, whatever the name",
)
def test_every_key_of_a_source_is_this_machines_own(
    name: str, template: str, folders: bool, kind: str, seconds: int
) -> None:
    where = LogDirectory(Path("/a"), ALL_KINDS, template, folders)
    at = datetime.fromtimestamp(seconds, timezone.utc)
    for suffix in ("", *(ends for some in SUFFIXES.values() for ends in some)):
        key = where.key(MINE, name + suffix, at, kind)
        for spelled in (key, key_with_crc(key, 0xDEADBEEF)):
            assert MINE.owns(spelled)
            assert MINE.check_lasting(spelled).startswith(HOME)


@given(name=st.text(max_size=60), folders=st.booleans())
def test_flight_logs_in_log_directories_keep_their_keys(name: str, folders: bool) -> None:
    where = LogDirectory(Path("/a"), FLIGHT_KINDS, date_folders=folders)
    path = Path("/a") / "x.ulg"
    for kind in ("ulog", "rosbag", "unknown"):
        known = log_key(HOME, name, NOON, date_folders=folders)
        assert where.key(MINE, name, NOON, kind) == known
        assert where.logged_at(path, NS, kind) == log_time(path, NS)


# -- the time of a log


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("20250727_143022_events.xml", "2025-07-27 14:30:22"),
        ("events_20250727-143022.xml.1", "2025-07-27 14:30:22"),
        ("events-20250727T143022.json", "2025-07-27 14:30:22"),
        ("events_20250727143022.json", "2025-07-27 14:30:22"),
        ("events_2025-07-27_14-30-22.log", "2025-07-27 14:30:22"),
        ("20240229_000000.xml", "2024-02-29 00:00:00"),
        ("20250229_000000.xml", "2023-11-14 22:13:20"),
        ("20251327_143022.xml", "2023-11-14 22:13:20"),
        ("20250727_256199.xml", "2023-11-14 22:13:20"),
        ("00000000_000000.xml", "2023-11-14 22:13:20"),
        ("19691231_235959.xml", "2023-11-14 22:13:20"),
        ("99999999_999999.xml", "2023-11-14 22:13:20"),
        ("20251327_143022_20250727_143022.xml", "2025-07-27 14:30:22"),
        ("1202507271430220.xml", "2023-11-14 22:13:20"),
        ("20250727.xml", "2023-11-14 22:13:20"),
    ],
)
def test_the_name_tells_the_time_where_it_is_one(name: str, at: str) -> None:
    for kind in ("xml", "ulog"):
        told = log_directory().logged_at(Path("/a") / name, NS, kind)
        assert f"{told:%Y-%m-%d %H:%M:%S}" == at


@given(name=st.from_regex(r"[0-9_T-]{0,30}\.xml", fullmatch=True), mtime=st.integers())
def test_no_name_and_no_mtime_is_without_a_time(name: str, mtime: int) -> None:
    told = log_directory().logged_at(Path("/a") / name, mtime, "xml")
    assert told.year >= 1970
    assert MINE.owns(log_directory(date_folders=True).key(MINE, name, told, "xml"))


# -- where a file belongs


def test_a_file_belongs_to_the_most_particular_place_that_takes_it(tmp_path: Path) -> None:
    logs, events = tmp_path / "logs", tmp_path / "logs/events"
    (events / "deep").mkdir(parents=True)
    made = checked_log_directories(
        load_settings(
            log_dirs=str(logs),
            sources=[
                {"directory": str(logs), "kinds": "text"},
                {"directory": str(events), "kinds": "xml"},
                {"directory": str(events / "deep"), "kinds": "ulog", "key": "deep/{name}"},
            ],
        ),
        MINE,
    )

    def belongs(path: Path) -> int | None:
        found = directory_of(path, made)
        return made.index(found) if found is not None else None

    assert belongs(logs / "a.ulg") == 0
    assert belongs(events / "a.ulg") == 0
    assert belongs(events / "deep/a.ulg") == 3
    assert belongs(events / "deep/a.xml.1") == 2
    assert belongs(events / "a.log") == 1
    assert belongs(tmp_path / "a.xml") is None
    assert belongs(tmp_path / "logs-2/a.ulg") is None


def test_each_file_is_found_once_and_none_in_the_spool(tmp_path: Path) -> None:
    for name in ("logs/a.ulg", "logs/e/a.xml", "logs/e/a.log", "state/spool/c.xml", "state/d.xml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("<a/>")
    made = load_settings(
        log_dirs=str(tmp_path / "logs"),
        state_dir=str(tmp_path / "state"),
        sources=[
            {"directory": str(tmp_path), "kinds": "xml"},
            {"directory": str(tmp_path / "logs/e"), "kinds": ["xml"]},
            {"directory": str(tmp_path / "not-mounted"), "kinds": ["xml"]},
        ],
    )
    found = [os.path.relpath(path, tmp_path) for path, _ in find_logs(made)]

    assert sorted(found) == ["logs/a.ulg", "logs/e/a.xml", "state/d.xml"]
    assert read_status(made, 10).unscanned == 3


# -- what is written beside a copy


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "0123.xml"


@given(
    name=st.text(min_size=1, alphabet=st.characters(codec="utf-8")),
    facts=st.dictionaries(
        st.from_regex(r"[a-z-]{1,20}", fullmatch=True),
        st.text(min_size=1, alphabet=st.characters(codec="utf-8")),
    ),
)
def test_what_is_written_of_a_copy_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, name: str, facts: dict[str, str]
) -> None:
    copy = tmp_path_factory.getbasetemp() / "0123.xml"
    description = Description(name, facts=facts)
    describe(copy, description)
    assert described(copy) == description


GARBAGE = [
    b"",
    b"\0\0\0",
    b"{",
    b"[]",
    b"5",
    b"null",
    b'"name"',
    b"[" * 100_000,
    b"\xff\xfe\xfd",
    b'{"name": 5, "asked_key": {}, "session_id": ["a"], "facts": "x"}',
    b'{"name": "\\ud800", "session_id": "\\udfff", "asked_key": "\\ud800"}',
    b'{"name": null, "facts": null}',
]


@pytest.mark.parametrize("noise", GARBAGE)
def test_garbage_beside_a_copy_says_nothing(copy: Path, noise: bytes) -> None:
    copy.with_name(f".{copy.name}.about").write_bytes(noise)
    assert described(copy) == Description()


def test_facts_that_no_header_could_carry_are_left_out(copy: Path) -> None:
    facts = {"ok": "x", "a b": "x", "a\r\nb": "x", "": "x", "n": 5, "s": "\ud800"}
    copy.with_name(f".{copy.name}.about").write_text(json.dumps({"facts": facts}))
    assert described(copy) == Description(facts={"ok": "x"})


def test_each_key_that_is_asked_for_has_a_copy_with_its_own_description(tmp_path: Path) -> None:
    file = Identity(1, 2, 3, 4)
    places = {copy_path(tmp_path, "/a/b.xml.1", file, key) for key in ("", "x/1", "x/2")}
    assert len(places) == 3
    assert {one.suffix for one in places} == {".xml"}


@given(st.binary(max_size=300))
def test_whatever_stands_beside_a_copy_is_no_trouble(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    copy = tmp_path_factory.getbasetemp() / "4567.xml"
    copy.with_name(f".{copy.name}.about").write_bytes(noise)
    assert described(copy).session_id != ""
