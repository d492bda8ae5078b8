"""Read botocore's data files without what no request needs.

They describe all of AWS, with its documentation: as they are they fill 11 MiB for ever, and take
one long call of the JSON parser each, in which no other thread gets on. Here they are parsed piece
by piece, and three quarters are left out.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.loaders import JSONFileLoader

Plan = Mapping[str, Any]
"""What is read member by member, by name; ``*``: any other name. None: as it is. ``_SKIPPED``: not
at all."""

_SKIPPED: Plan = {}
_PARTS: Plan = {"*": None}
SERVICES = ("s3", "sts", "sso", "oidc", "portal.sso", "signin")
"""Where S3 is, and where AWS's own chain may ask for credentials."""
_DOCUMENTATION = "documentation"
_PLANS: Mapping[str, Plan] = {
    "service-2": {_DOCUMENTATION: _SKIPPED, "operations": _PARTS, "shapes": _PARTS},
    # Where each service of AWS is: a list of partitions.
    "endpoints": {
        "partitions": {"services": {**dict.fromkeys(SERVICES), "*": _SKIPPED}, "regions": _PARTS}
    },
}
_SPACE = re.compile(r"[ \t\n\r]*")
_scan = json.JSONDecoder().raw_decode


class DataFiles(JSONFileLoader):
    """What botocore's loader reads its files by."""

    def load_file(self, file_path: str) -> Any:
        """The content of ``file_path`` with ``.json`` or ``.json.gz``; none where it is not there.

        Raises ``OSError``, ``ValueError``.
        """
        plain, packed = Path(f"{file_path}.json"), Path(f"{file_path}.json.gz")
        if plain.is_file():
            data = plain.read_bytes()
        elif packed.is_file():
            data = gzip.decompress(packed.read_bytes())
        else:
            return None
        return parsed(data.decode(), _PLANS.get(Path(file_path).name))


def parsed(text: str, plan: Plan | None) -> Any:
    """The value that ``text`` holds as JSON, as far as ``plan`` keeps it; raises ``ValueError``."""
    try:
        return _value(text, _next(text, 0), plan)[0]
    except IndexError:
        raise ValueError("JSON breaks off") from None


def _value(text: str, at: int, plan: Plan | None) -> tuple[Any, int]:
    """The value that begins at ``at``, and where it ends."""
    if plan is not None and text[at] == "{":
        return _members(text, at, plan)
    if plan is not None and text[at] == "[":
        return _items(text, at, plan)
    value, end = _scan(text, at)
    return _undocumented(value), end


def _members(text: str, at: int, plan: Plan) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    at = _next(text, at + 1)
    while text[at] != "}":
        name, at = _scan(text, at)
        at = _next(text, _next(text, at) + 1)  # past the colon
        wanted = plan.get(name, plan.get("*"))
        if wanted is _SKIPPED:
            _, at = _scan(text, at)
        else:
            found[name], at = _value(text, at, wanted)
        at = _next(text, at)
        at = _next(text, at + 1) if text[at] == "," else at
    return found, at + 1


def _items(text: str, at: int, plan: Plan) -> tuple[list[Any], int]:
    found: list[Any] = []
    at = _next(text, at + 1)
    while text[at] != "]":
        item, at = _value(text, at, plan)
        found.append(item)
        at = _next(text, at)
        at = _next(text, at + 1) if text[at] == "," else at
    return found, at + 1


def _next(text: str, at: int) -> int:
    """Where the next character that is no space lies."""
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _undocumented(value: Any) -> Any:
    """The same with empty documentation, all the way down: botocore asks for some of it."""
    if isinstance(value, dict):
        if isinstance(value.get(_DOCUMENTATION), str):
            value[_DOCUMENTATION] = ""
        for inner in value.values():
            _undocumented(inner)
    elif isinstance(value, list):
        for inner in value:
            _undocumented(inner)
    return value
