"""A settings file may hold anything: it is read as plain values, in bounded time and memory."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from petal_s3.core.settings_loading import load_settings
from petal_s3.errors import ConfigError

ROOM_BYTES = 256 * 1024 * 1024


def laughs(per_line: str) -> str:
    """Nine lines, each of which means ten times the one before."""
    lines = ["region: &a [ha]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} {per_line.format(', '.join([f'*{before}'] * 10))}")
    return "\n".join([*lines, "bucket_name: *i"])


MERGES = "a: &a {x: 1}\n" + laughs("{{<<: [{}]}}").partition("\n")[2]

HOSTILE = {
    "an object": "bucket_name: !!python/object/apply:os.system ['touch {}']",
    "a module": "bucket_name: !!python/module:os",
    "a name": "bucket_name: !!python/name:os.system",
    "a tag of its own": "bucket_name: !Anything logs",
    "a billion laughs": laughs("[{}]"),
    "a billion merges": MERGES,
    "itself": "bucket_name: &x [*x]",
    "itself as a mapping": "&x {region: *x}",
    "a great depth": "log_dirs: " + "[" * 30_000,
    "a great depth of mappings": "log_dirs: " + "{a: " * 10_000,
    "a great length": "bucket_name: " + "x" * 100_000,
    "a huge number": "bucket_name: logs\napi_port: " + "9" * 4000,
    "a number to base 60": "bucket_name: logs\napi_port: " + ":".join(["59"] * 9000),
    "a list for a text": "bucket_name: [logs]",
    "a list of lists": "bucket_name: logs\nlog_dirs: [[a, [b]]]",
    "a key that is a list": "? [a]\n: 1",
    "a date": "bucket_name: 2025-07-27",
    "a date that is none": "bucket_name: 2025-99-99",
    "bytes": "bucket_name: !!binary //8=",
    "infinity": "bucket_name: logs\nrequest_timeout: .inf",
    "a NUL": "bucket_name: logs\0",
    "two documents": "bucket_name: logs\n---\nbucket_name: other",
    "an escape": 'bucket_name: logs\nregion: ["\\e[31m\\nFORGED"]',
}


@pytest.fixture
def little_memory() -> Iterator[None]:
    """What would fill the memory fails at once instead."""
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + ROOM_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.guarantee(
    "attack",
    "a settings file in YAML that builds objects, refers to itself, or grows when it is read",
    "refused with one sentence; nothing is built, nothing grows",
)
@pytest.mark.threat("user")
def test_a_hostile_settings_file_is_refused_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, little_memory: None, text: str
) -> None:
    file, made = tmp_path / "settings.yaml", tmp_path / "made"
    file.write_text(text.replace("{}", str(made)) if "apply" in text else text)
    monkeypatch.setenv("PETAL_S3_CONFIG", str(file))

    with pytest.raises(ConfigError) as caught:
        load_settings()

    assert len(caught.value.message) < 600
    assert caught.value.message.isprintable()
    assert not made.exists()


def test_a_long_wrong_value_is_cut_in_the_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETAL_S3_BUCKET_NAME", "logs")
    monkeypatch.setenv("PETAL_S3_API_PORT", "x" * 5000)
    with pytest.raises(
        ConfigError, match=r"^PETAL_S3_API_PORT is 'x{199}…: an integer is expected"
    ) as caught:
        load_settings()
    assert len(caught.value.message) < 600
