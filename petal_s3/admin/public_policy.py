"""What a bucket's policy allows to everybody, and under which conditions that is so."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from petal_s3.admin.iam_policy import statements_of

_ANY = "*"
_NETS = {"0.0.0.0/0", "::/0"}
_LIKE = {"stringlike", "arnlike"}


@dataclass(frozen=True)
class Everybody:
    """Actions that a policy allows to everybody: ``actions`` always, ``conditioned`` under a
    condition that was not judged here."""

    actions: tuple[str, ...] = ()
    conditioned: tuple[str, ...] = ()


def for_everybody(policy: Mapping[str, Any] | None) -> Everybody:
    """What ``policy`` allows to everybody, whoever else it names beside.

    ``NotPrincipal`` allows to all but those. A condition that is true for whoever asks over TLS is
    none. What a statement denies is not counted against it.
    """
    open_: list[str] = []
    conditioned: list[str] = []
    for one in statements_of(policy):
        if one.get("Effect") == "Allow" and _is_everybody(one):
            always = all(_is_always_true(*test) for test in _tests(one.get("Condition")))
            (open_ if always else conditioned).extend(_actions(one))
    left = [name for name in conditioned if name not in open_]
    return Everybody(tuple(dict.fromkeys(open_)), tuple(dict.fromkeys(left)))


def _is_everybody(statement: Mapping[str, Any]) -> bool:
    if "NotPrincipal" in statement:
        return True
    principal = statement.get("Principal")
    if isinstance(principal, Mapping):
        principal = _words(principal.get("AWS"))
    return _ANY in _words(principal)


def _actions(statement: Mapping[str, Any]) -> Iterator[str]:
    yield from _words(statement.get("Action"))
    spared = _words(statement.get("NotAction"))
    if spared:
        yield f"all but {' and '.join(spared)}"


def _tests(condition: object) -> Iterator[tuple[str, str, list[str]]]:
    """Each test of a condition, all of which must hold: operator, key and values."""
    if not isinstance(condition, Mapping):
        if condition:  # no condition that S3 would take
            yield "", "", []
        return
    for operator, keys in condition.items():
        if not isinstance(keys, Mapping):
            yield str(operator), "", []
            continue
        for key, values in keys.items():
            yield str(operator), str(key), _words(values)


def _is_always_true(operator: str, key: str, values: list[str]) -> bool:
    """Whether a test holds for everybody; one value that does is enough."""
    kind, name = operator.lower().removesuffix("ifexists"), key.lower()
    if kind == "bool" and name == "aws:securetransport":
        return "true" in values
    if kind == "ipaddress" and name == "aws:sourceip":
        return any(_is_every_address(one) for one in values)
    return kind in _LIKE and _ANY in values


def _is_every_address(net: str) -> bool:
    try:
        return str(ipaddress.ip_network(net, strict=False)) in _NETS
    except ValueError:
        return False


def _words(value: object) -> list[str]:
    """One word or a list of them, as policies have both; JSON's true is ``true``."""
    given = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in given]
