"""The defaults of the host's own proxy, told from what a caller gives.

They are equal to what the host's proxy has, and stand behind the environment and the settings file.
"""

from __future__ import annotations

from collections.abc import Mapping


class _Text(str):
    """A default that is text."""


class _Number(int):
    """A default that is a number."""


REGION = _Text("us-east-1")
PREFIX = _Text("flight_logs/")
TIMEOUT_S = _Number(30)


def given(named: Mapping[str, object]) -> dict[str, object]:
    """Of ``named`` arguments those that a caller gave; none and an empty text are not given."""
    return {
        name: value
        for name, value in named.items()
        if value is not None and value != "" and not isinstance(value, _Text | _Number)
    }
