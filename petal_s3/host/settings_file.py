"""Write the settings file that host and command line share."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from petal_s3.core.settings import Settings, SourceSettings
from petal_s3.core.settings_loading import check_settings
from petal_s3.core.settings_yaml import HOST_TOKEN_URL, PREFIX, aws_region
from petal_s3.core.urls import holds_secret
from petal_s3.errors import BadInput, Conflict
from petal_s3.host.yaml_file import Change, Json, backup, changed, read

_TITLE = "# Settings of petal-s3, for the host and the command line alike.\n"
_ANY_BUCKET = "not-yet-named"
_SECRETS = frozenset({"api_token"})


def given_now(
    environ: Mapping[str, str],
    named: Iterable[str],
    secrets: str = "the host needs it in its environment",
) -> tuple[dict[str, str], list[str]]:
    """The settings in the environment and in ``NAME=VALUE`` words; and what is left out, and why.

    ``secrets``: what has to be done with a secret, for the sentence about one. Raises
    :class:`BadInput` for what is no setting, or a secret.
    """
    found = {
        variable: value
        for variable, value in environ.items()
        if variable.startswith(PREFIX) and value and variable != f"{PREFIX}CONFIG"
    }
    found.setdefault(f"{PREFIX}SESSION_TOKEN_URL", environ.get(HOST_TOKEN_URL, ""))
    given: dict[str, str] = {}
    left_out: list[str] = []
    for variable, value in found.items():
        name = _setting(variable)
        if _secret(name, value):
            left_out.append(f"{variable} holds a secret and was not written down: {secrets}.")
        elif value:
            given[name] = value
    for word in named:
        variable, _, value = word.partition("=")
        name = _setting(variable, sound=bool(value))
        if _secret(name, value):
            raise BadInput(f"{variable} would be a secret in a file that every user may read.")
        given[name] = value
    return given, left_out


def _setting(variable: str, *, sound: bool = True) -> str:
    name = variable.strip().lower().removeprefix(PREFIX.lower())
    if not sound or name not in Settings.model_fields:
        raise BadInput(f"{variable}: NAME=VALUE with the name of a setting is expected.")
    return name


def _secret(name: str, value: str) -> bool:
    if name in _SECRETS:
        return True
    return bool(value) and name.endswith("_url") and holds_secret(value)


def _defaults() -> dict[str, str]:
    """What is written where nothing else is said: the directories, absolute, as ``~`` differs
    between users; and the region of the AWS tools, which the host's environment may lack.
    """
    fields = Settings.model_fields
    log_dirs = ":".join(str(path) for path in fields["log_dirs"].default)
    defaults = {"state_dir": str(fields["state_dir"].default), "log_dirs": log_dirs}
    home = str(_home())
    found = {name: value.replace("~", home) for name, value in defaults.items()}
    region = aws_region(os.environ)
    return {**found, "region": region} if region else found


def _home() -> Path:
    """The home directory of the user, also of the one behind sudo."""
    user = os.environ.get("SUDO_USER")
    if user and os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            return Path(pwd.getpwnam(user).pw_dir)
    return Path.home()


def plan(
    file: Path, given: Mapping[str, str], *, force: bool = False
) -> tuple[list[Change], Json, list[str]]:
    """The changes to ``file``, the settings it then holds, and the sentences to show.

    ``given`` are the settings to write; defaults are added where the file says nothing. Raises
    :class:`Conflict` when the file says otherwise than ``given`` and ``force`` is not set,
    :class:`ConfigError` for a wrong value.
    """
    exists = file.is_file()
    text, old = read(file) if exists else (_TITLE, {})
    wanted = {**{n: v for n, v in _defaults().items() if n not in old}, **given}
    judged = check_settings({"bucket_name": _ANY_BUCKET, **old, **wanted})
    if not force:
        before = check_settings({"bucket_name": _ANY_BUCKET, **old})
        differing = [n for n in wanted if n in old and getattr(judged, n) != getattr(before, n)]
        if differing:
            raise Conflict(
                f"{file} says otherwise about {', '.join(differing)}: leave it out, or change"
                " the file with --force. Nothing was changed."
            )
    fresh = {n: _plain(getattr(judged, n), wanted[n]) for n in wanted if n not in old or force}
    now = {**old, **fresh}
    if exists and now == old:
        return [], now, [f"{file} says all of it already."]
    kept = [backup(file, text)] if exists and force else []
    shown = "".join(f"\n  {name}: {now[name]}" for name in fresh)
    return [*kept, changed(file, text, old, now)], now, [f"Wrote to {file}:{shown}"]


def _plain(judged: Any, given: str) -> Any:
    """How a setting is written: paths absolute, numbers as numbers, sizes as they were given."""
    if isinstance(judged, tuple):
        return [
            one.model_dump(mode="json", exclude_defaults=True)
            if isinstance(one, SourceSettings)
            else str(one)
            for one in judged
        ]
    if isinstance(judged, Path):
        return str(judged)
    return judged if type(judged) in {bool, int, float} else given
