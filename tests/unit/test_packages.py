"""Packages that do not fit are found by what they say of themselves, and named."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from petal_s3.core.packages import fits, unfit

NEEDS = "botocore<1.43.118,>=1.43.115"


def installed(directory: Path, name: str, version: str, *requires: str) -> None:
    """A package as pip leaves it; only what it says of itself."""
    about = directory / f"{name}-{version}.dist-info"
    about.mkdir(parents=True)
    lines = [f"Requires-Dist: {one}" for one in requires]
    head = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    (about / "METADATA").write_text("\n".join([*head, *lines, ""]))


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place in which nothing is installed yet; nothing else is seen."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()
    return tmp_path


def test_what_is_installed_here_fits() -> None:
    assert unfit() is None


@pytest.mark.parametrize("version", ["1.43.115", "1.43.117", "1.43.117.post1"])
def test_packages_that_fit_are_let_through(alone: Path, version: str) -> None:
    installed(alone, "aiobotocore", "3.10.0", "aiohttp<4", NEEDS, 'botocore>9; extra == "x"')
    installed(alone, "botocore", version)
    assert unfit() is None


@pytest.mark.parametrize("version", ["1.44.0", "1.43.118", "1.43.114", "1.9.117", "2.0"])
@pytest.mark.parametrize("written", [NEEDS, "botocore (<1.43.118,>=1.43.115)"])
def test_packages_that_do_not_fit_are_named_with_what_to_install(
    alone: Path, version: str, written: str
) -> None:
    installed(alone, "aiobotocore", "3.10.0", written)
    installed(alone, "botocore", version)
    found = unfit()
    assert found is not None
    assert found.message == (
        "Nothing can be sent: aiobotocore 3.10.0 needs botocore<1.43.118,>=1.43.115, and botocore"
        f" {version} is installed. Install what fits: {sys.executable} -m pip install"
        " 'aiobotocore==3.10.0' boto3"
    )
    assert (found.code, found.status) == ("packages", 503)
    assert not found.waiting_helps


@pytest.mark.parametrize("name", ["aiobotocore", "botocore"])
def test_a_package_that_is_missing_is_named(alone: Path, name: str) -> None:
    for other, version in (("aiobotocore", "3.10.0"), ("botocore", "1.43.117")):
        if other != name:
            installed(alone, other, version, *([NEEDS] if other == "aiobotocore" else []))
    found = unfit()
    assert found is not None
    assert f"Nothing can be sent: {name} is not installed." in found.message


@pytest.mark.parametrize(
    ("version", "wanted", "fine"),
    [
        ("1.2", "", True),
        ("1.2", "whatever", True),
        ("1.2", ">=1.2.0", True),
        ("1.2.0", "==1.2", True),
        ("1.2.1", "==1.2", False),
        ("1.2.1", "==1.2.*", True),
        ("1.3.1", "==1.2.*", False),
        ("1.3.1", "!=1.2.*", True),
        ("1.2.0", "!=1.2", False),
        ("1.2.9", "~=1.2.3", True),
        ("1.2.2", "~=1.2.3", False),
        ("1.3.0", "~=1.2.3", False),
        ("1.9", "~=1.2", True),
        ("1.10", ">1.9", True),
        ("1.9", ">1.9,<2", False),
        ("1.44.0rc1", "<1.44", False),
        ("unknown", ">=1", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, wanted: str, fine: bool) -> None:
    assert fits(version, wanted) is fine
