"""Register the petal in the host's own files."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from petal_s3.core.settings_yaml import HOST_TOKEN_URL
from petal_s3.errors import BadInput, Permanent, plain
from petal_s3.host import installed
from petal_s3.host import settings_file as settings
from petal_s3.host.host_code import code_of, default_proxies
from petal_s3.host.installed import PROXIES
from petal_s3.host.yaml_file import Change, Json, backup, backup_of, changed, read, write

_LISTS = ("startup_petals", "enabled_petals")
_MAPPINGS = ("petals", "petal_dependencies")


def manifest() -> Json:
    """The content of ``plugin.yaml``, in the package, or beside it in a checkout."""
    here = Path(__file__).parents[1]
    places = (here / "plugin.yaml", here.parent / "plugin.yaml")
    found: Json = yaml.safe_load(next(p for p in places if p.is_file()).read_text("utf-8"))
    return found


def find_root(named: Path | None) -> Path:
    """Where the host looks for its files: three directories above its own code.

    ``named`` is checked instead. Raises :class:`BadInput` when there is no host.
    """
    if named is None:
        found = installed.root()
        if found is None:
            raise BadInput(
                "petal-app-manager is not installed in this Python: name the directory that holds"
                f" its config.json and {PROXIES} with --root."
            )
        return found
    root = Path(os.path.abspath(named))  # noqa: PTH100 - the host does not follow links either
    try:
        is_root = (root / PROXIES).is_file() or code_of(root) is not None
    except OSError as error:  # too long, or in a folder that may not be entered
        raise BadInput(
            f"--root: {plain(str(root))[:120]} cannot be looked at ({error.strerror}).",
            code="bad_path",
        ) from error
    if not is_root:
        raise BadInput(
            f"{root} is not where a petal-app-manager looks for its files: there is no {PROXIES},"
            " and no host two directories below."
        )
    return root


def install(
    root: Path, settings_file: Path, given: Mapping[str, str], *, force: bool = False
) -> list[str]:
    """Write the petal into ``proxies.yaml``, ``given`` into the settings file; say what was done.

    Both or neither. What the settings file says otherwise stays, unless ``force`` is given.
    Raises :class:`Conflict`, :class:`NotAllowed` where another user's code would have to be run,
    :class:`ConfigError`, :class:`LocalStorageError`, or :class:`Permanent` for a file that the
    host could not read either.
    """
    planned, now, said = settings.plan(settings_file, given, force=force)
    registered, also_said = _register(root / PROXIES)
    write([*planned, *registered])
    said += [*also_said, *_still_missing(root, now)]
    if planned or registered:
        said.append("Restart the host: it reads these files when it starts.")
    return said


def remove(root: Path) -> list[str]:
    """Take the petal out of ``proxies.yaml`` again; say what was done. Errors as in `install`."""
    name = str(manifest()["name"])
    path = root / PROXIES
    if not path.is_file():
        return [f"There is no {path}: nothing to remove."]
    text, config = _read_proxies(path)
    left = _without(config, name)
    if left == config:
        return [f"{path} does not mention {name}: nothing to remove."]
    earlier = backup_of(path)
    if earlier.is_file() and _meaning(read(earlier)[1]) == _meaning(left):
        # Nothing else has changed since: with this text its comments come back.
        write([Change(path, read(earlier)[0])])
        earlier.unlink()
    else:
        write([backup(path, text), changed(path, text, config, left)])
    return [
        f"Took {name} out of {path}; settings and outbox stay as they are.",
        "Restart the host: it then has its own bucket proxy again.",
    ]


# -- proxies.yaml


def _register(path: Path) -> tuple[list[Change], list[str]]:
    petal = manifest()
    name, exists = petal["name"], path.is_file()
    text, config = _read_proxies(path) if exists else default_proxies(path.parent)
    wanted = _with(config, petal)
    note = f"Note: bucket is not among the enabled_proxies of {path}: the host will refuse to load"
    notes = [f"{note} petals that depend on it, although {name} provides it."]
    if "bucket" in (wanted.get("enabled_proxies") or []):
        notes.clear()
    if exists and wanted == config:
        return [], [f"{path} names {name} already.", *notes]
    change = changed(path, text, config, wanted)
    told = f"Wrote {name} into {path} as a {petal['load']} petal"
    if not exists:
        return [change], [f"{told}, beside what the host enables by itself.", *notes]
    return [backup(path, text), change], [
        f"{told}; what it held before is in {backup_of(path).name}.",
        *notes,
    ]


def _read_proxies(path: Path) -> tuple[str, Json]:
    text, config = read(path)
    wrong = [key for key in _LISTS if not isinstance(config.get(key) or [], list)]
    wrong += [key for key in _MAPPINGS if not isinstance(config.get(key) or {}, dict)]
    if wrong:
        raise Permanent(
            f"{path} is not what the host reads: {wrong[0]} is of the wrong kind. Nothing was"
            " changed.",
            code="bad_host_file",
        )
    return text, config


def _with(config: Json, petal: Json) -> Json:
    name, loads = petal["name"], f"{petal['load']}_petals"
    wanted = {**config, "petals": {**(config.get("petals") or {}), name: petal["entry_point"]}}
    if name not in (config.get(loads) or []):
        wanted[loads] = [*(config.get(loads) or []), name]
    for other in _LISTS:  # in two lists it could be loaded twice
        if other != loads and name in (config.get(other) or []):
            wanted[other] = [one for one in config[other] if one != name]
    if petal["proxies"]["required"]:
        needs = config.get("petal_dependencies") or {}
        wanted["petal_dependencies"] = {**needs, name: petal["proxies"]["required"]}
    return wanted


def _without(config: Json, name: str) -> Json:
    left = dict(config)
    for key in _LISTS:
        if name in (config.get(key) or []):
            left[key] = [one for one in config[key] if one != name]
    for key in _MAPPINGS:
        if name in (config.get(key) or {}):
            left[key] = {one: value for one, value in config[key].items() if one != name}
    return left


def _meaning(config: Json) -> Json:
    return {key: value for key, value in config.items() if value}


# -- what else the host needs


def _still_missing(root: Path, now: Mapping[str, Any]) -> list[str]:
    said = []
    if "bucket_name" not in now:
        said.append("Still to be set: the bucket; run this again with --set BUCKET_NAME=...")
    if "session_token_url" not in now:
        said.append(
            f"Not set: SESSION_TOKEN_URL. Unless the host has {HOST_TOKEN_URL}, credentials come"
            " from AWS's own chain (environment, ~/.aws, instance role)."
        )
    if not (root / "config.json").is_file():
        said.append(f"Warning: without {root / 'config.json'} the host does not start.")
    code = code_of(root)
    if code is not None and str(code.parents[1]) not in sys.path:
        said.append(f"Note: petal-s3 must be installed for the host too, in {code.parents[1]}.")
    return said
