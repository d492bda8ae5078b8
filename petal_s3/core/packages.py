"""Say whether the installed packages fit together, before any of them is imported.

aiobotocore takes few versions of botocore, and fails in the middle of an import with any other. A
host's boto3 moves botocore whenever it is updated, and pip only warns.
"""

from __future__ import annotations

import operator
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata

from petal_s3.errors import Permanent

_USER, _USED = "aiobotocore", "botocore"
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^]]*])?\s*\(?([^;)]*)\)?\s*(;.*)?")
_CLAUSE = re.compile(r"(===|==|!=|<=|>=|~=|<|>)\s*v?([0-9][0-9.]*)(\.\*)?")
_Numbers = tuple[int, ...]
_COMPARED: Mapping[str, Callable[[_Numbers, _Numbers], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def unfit() -> Permanent | None:
    """What is wrong with the packages that talk to S3, with what to install; none: they fit."""
    try:
        user, used = metadata.version(_USER), metadata.version(_USED)
        wanted = _wanted(metadata.requires(_USER) or [], _USED)
    except metadata.PackageNotFoundError as error:
        missing = error.name or _USER
        return _wrong(f"{missing} is not installed", _USER)
    if fits(used, wanted):
        return None
    told = f"{_USER} {user} needs {_USED}{wanted}, and {_USED} {used} is installed"
    return _wrong(told, f"{_USER}=={user}")


def fits(version: str, wanted: str) -> bool:
    """Whether ``version`` is one that ``wanted`` allows (``<2,>=1.4``; empty: any).

    Of a version only the numbers before any letter count; what cannot be read is let through.
    """
    read = bool(_numbers(version))
    return not read or all(_holds(version, *clause) for clause in _clauses(wanted))


def _wanted(requirements: list[str], name: str) -> str:
    """The versions of ``name`` that a package asks for, whatever extras it has besides."""
    for requirement in requirements:
        found = _REQUIREMENT.fullmatch(requirement.strip())
        if found and found[1].lower() == name and not found[3]:
            return found[2].strip()
    return ""


def _clauses(wanted: str) -> Iterator[tuple[str, str, bool]]:
    for clause in wanted.split(","):
        found = _CLAUSE.fullmatch(clause.strip())
        if found:
            yield found[1], found[2].rstrip("."), found[3] is not None


def _holds(version: str, sign: str, limit: str, whole_series: bool) -> bool:
    have, bound = _numbers(version), _numbers(limit)
    length = len(bound) if whole_series else max(len(have), len(bound))
    ours, theirs = _padded(have, length), _padded(bound, length)
    if sign == "~=":
        return have >= bound and have[: len(bound) - 1] == bound[:-1]
    if sign in {"==", "===", "!="}:
        return (ours == theirs) != (sign == "!=")
    return _COMPARED[sign](ours, theirs)


def _numbers(version: str) -> _Numbers:
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found[1].split(".")) if found else ()


def _padded(numbers: _Numbers, length: int) -> _Numbers:
    return (*numbers, *(0 for _ in range(length - len(numbers))))[:length]


def _wrong(told: str, package: str) -> Permanent:
    # boto3 is named so that pip moves it together with botocore.
    return Permanent(
        f"Nothing can be sent: {told}. Install what fits:"
        f" {sys.executable} -m pip install '{package}' boto3",
        code="packages",
        status=503,
    )
