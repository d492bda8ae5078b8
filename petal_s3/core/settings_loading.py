"""Load the settings, and say in one sentence what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from petal_s3.core.files import not_a_file
from petal_s3.core.settings import Settings
from petal_s3.core.settings_yaml import AWS_REGIONS, HOST_TOKEN_URL, PREFIX, config_file
from petal_s3.core.wrong_values import expected
from petal_s3.errors import ConfigError, plain

_SHOWN_CHARS = 200
_SECRET = ("api_token", "_url")  # never shown: a URL may hold a password


def load_settings(**given: Any) -> Settings:
    """Read the settings from arguments, the environment and the YAML file.

    Raises :class:`ConfigError` with one sentence that names the setting.
    """
    _refuse_unknown()
    file = config_file()
    if file is not None and not os.path.isfile(file):  # noqa: PTH113 - raises nothing
        found = not_a_file(file)
        what = f"which is {found}: a file is expected" if found else "but there is no such file"
        raise ConfigError(f"{PREFIX}CONFIG names {file}, {what}.")
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from None  # the cause would carry the values


class _Given(Settings, defer_build=True):
    def __init__(self, **given: Any) -> None:
        BaseModel.__init__(self, **given)


def check_settings(given: Mapping[str, Any]) -> Settings:
    """Check settings that are to be written to a file; environment and YAML file are not read.

    Raises :class:`ConfigError` as :func:`load_settings` does.
    """
    try:
        return _Given(**given)
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from None


def setting_names() -> tuple[str, ...]:
    """Every environment variable that is understood, without those of other programs."""
    return tuple(f"{PREFIX}{name.upper()}" for name in Settings.model_fields)


def _refuse_unknown() -> None:
    known = {*setting_names(), f"{PREFIX}CONFIG"}
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            raise ConfigError(f"{name} is not a setting; remove it or see the list in the README.")


def _sentence(error: ValidationError) -> str:
    first, *others = error.errors(include_url=False)
    name = str(first["loc"][0]) if first["loc"] else "settings"
    variable = name if name.startswith("PETAL_") else f"{PREFIX}{name.upper()}"
    if name == "sources":
        name = variable = f"sources{_place(first['loc'][1:])}"
    if first["type"] == "missing":
        return f"{variable} is not set; it is required."
    if first["type"] in {"tuple_type", "model_type"}:
        what = "a list" if first["type"] == "tuple_type" else "a mapping with directory and kinds"
        return f"{variable} is {_shown(first['input'])}: {what} is expected."
    if first["type"] == "extra_forbidden":
        return f"{name} is not a setting; remove it from the settings file."
    if variable == f"{PREFIX}SESSION_TOKEN_URL" and variable not in os.environ:
        variable = HOST_TOKEN_URL if HOST_TOKEN_URL in os.environ else variable
    if variable == f"{PREFIX}REGION" and variable not in os.environ:
        variable = _of_the_aws_tools(first["input"]) or variable
    reason = expected(first)
    if first["type"] != "value_error" and any(one["type"] == "literal_error" for one in others):
        reason = f"auto, or {reason}"
    shown = "" if name.lower().endswith(_SECRET) else f" is {_shown(first['input'])}"
    return f"{variable}{shown}: {reason}."


def _of_the_aws_tools(region: object) -> str:
    """The variable of the AWS tools that names ``region``; empty where none does."""
    named = (name for name in AWS_REGIONS if os.environ.get(name, "").strip())
    name = next(named, "")
    return name if name and os.environ[name].strip() == region else ""


def _place(loc: tuple[int | str, ...]) -> str:
    """Where in a list of settings: ``[0].key``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_word(part)}" for part in loc)


def _word(name: str) -> str:
    """A name that a person wrote, for a sentence."""
    shown = plain(name)
    return shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}…"


def _shown(value: object) -> str:
    """A wrong value for a sentence, whatever it is and however large."""
    if isinstance(value, int) and value.bit_length() > 64:
        return "a huge number"
    if not isinstance(value, str | int | float):
        return f"a {type(value).__name__}"
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS]}…"
