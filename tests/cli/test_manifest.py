"""``plugin.yaml``, ``pyproject.toml`` and the code say the same."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

import petal_s3
from petal_s3.core.settings import Settings
from petal_s3.core.settings_loading import check_settings
from petal_s3.host import install as host_files
from petal_s3.host import installed

tomllib = pytest.importorskip("tomllib")

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def manifest() -> dict[str, Any]:
    return host_files.manifest()


@pytest.fixture
def pyproject() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    return found


def test_name_version_and_entry_point_are_the_same_everywhere(
    manifest: dict[str, Any], pyproject: dict[str, Any]
) -> None:
    assert manifest["name"] == installed.NAME
    (group,) = pyproject["project"]["entry-points"].values()
    assert list(pyproject["project"]["entry-points"]) == ["petal.plugins"]
    assert group == {manifest["name"]: manifest["entry_point"]}
    assert pyproject["project"]["name"] == manifest["name"]
    assert manifest["version"] == petal_s3.__version__


def test_the_petal_is_what_the_manifest_says(manifest: dict[str, Any]) -> None:
    pytest.importorskip("petal_app_manager")
    module, _, name = manifest["entry_point"].partition(":")
    petal = getattr(importlib.import_module(module), name)
    assert (petal.name, petal.version) == (manifest["name"], manifest["version"])
    keys = importlib.import_module(module).REGISTRY_KEYS
    assert sorted(keys) == sorted(manifest["proxies"]["provided"])


def test_the_settings_are_those_of_the_code_with_the_same_defaults(
    manifest: dict[str, Any],
) -> None:
    said = manifest["settings"]
    assert list(said) == list(Settings.model_fields)
    required = [name for name, field in Settings.model_fields.items() if field.is_required()]
    assert [name for name in said if "default" not in said[name]] == required
    defaults = {n: s["default"] for n, s in said.items() if s.get("default") is not None}
    assert check_settings({"bucket_name": "any", **defaults}) == check_settings(
        {"bucket_name": "any"}
    )


def test_what_is_not_set_by_default_is_null(manifest: dict[str, Any]) -> None:
    said = manifest["settings"]
    unset = [name for name, field in Settings.model_fields.items() if field.default is None]
    assert [name for name in said if said[name].get("default", "") is None] == unset


def test_the_manifest_travels_with_the_package(pyproject: dict[str, Any]) -> None:
    targets = pyproject["tool"]["hatch"]["build"]["targets"]
    travels = {
        "plugin.yaml": "petal_s3/plugin.yaml",
        "contrib/petal-s3.service": "petal_s3/petal-s3.service",
    }
    assert targets["wheel"]["force-include"] == travels
    assert travels.keys() <= set(targets["sdist"]["include"])


def test_the_command_is_the_one_of_the_readme(pyproject: dict[str, Any]) -> None:
    module, _, name = pyproject["project"]["scripts"]["petal-s3"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
