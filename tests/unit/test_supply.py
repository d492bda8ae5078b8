"""What is installed is pinned, by version and by hash."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINNED = re.compile(
    r"^(?P<name>[a-z0-9-]+)(\[[a-z,]+\])?==[^ ]+( ; [^\\]+)? \\\n"
    r"(?P<hashes>( +--hash=sha256:[0-9a-f]{64}( \\)?\n)+)",
    re.MULTILINE,
)
REQUIREMENT = re.compile(r'^    "(?P<name>[A-Za-z0-9_.-]+)(?P<more>[^"]*)",?$', re.MULTILINE)


def locked(file: str = "constraints.txt") -> dict[str, str]:
    text = (ROOT / file).read_text()
    found = {match["name"]: match["hashes"] for match in PINNED.finditer(text)}
    rest = [line for line in PINNED.sub("", text).splitlines() if not line.startswith("#")]
    assert rest == [], "something is not pinned, or has no hash"
    return found


def asked() -> dict[str, str]:
    project = (ROOT / "pyproject.toml").read_text()
    _, _, lists = project.partition("dependencies = [")
    lists, _, _ = lists.partition("[project.scripts]")
    named = {match["name"]: match["more"] for match in REQUIREMENT.finditer(lists)}
    return {re.sub("[._]", "-", name.lower()): more for name, more in named.items()}


def test_everything_that_is_asked_for_is_pinned_by_version_and_hash() -> None:
    wanted = {name for name in asked() if not name.startswith("petal-s3")}
    assert len(wanted) > 30
    apart = set(locked("scripts/mavlink-constraints.txt"))
    assert {"pymavlink", "pyserial"} <= apart
    assert wanted - set(locked()) - apart == set()


def test_what_setup_installs_has_one_module_pymavlink() -> None:
    assert "leaf-pymavlink" in locked()  # of the host; the other would be written over it
    assert "pymavlink" not in locked()


def test_the_tools_that_lock_and_package_are_pinned_by_version_and_hash() -> None:
    assert {"uv", "cyclonedx-bom"} <= set(locked("scripts/tools-constraints.txt"))
    for script in (ROOT / "scripts" / "lock", ROOT / "scripts" / "package"):
        text = re.sub(r"\\\n *", "", script.read_text())
        installs = [line for line in text.splitlines() if "pip install" in line]
        assert installs, script
        for line in installs:
            assert "--no-deps --require-hashes --requirement" in line, (script, line)


def test_the_host_extra_has_upper_bounds() -> None:
    for name in ("petal-app-manager", "petal-flight-log", "leaf-pymavlink"):
        assert re.fullmatch(r">=[0-9.]+,<[0-9.]+", asked()[name]), name
