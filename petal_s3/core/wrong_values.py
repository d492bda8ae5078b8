"""Say in our own words what is wrong with a value that was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_EXPECTED = {
    "missing": "it is required",
    "bool_parsing": "a boolean is expected: true or false",
    "bool_type": "a boolean is expected: true or false",
    "int_parsing": "an integer is expected",
    "int_type": "an integer is expected",
    "int_from_float": "an integer is expected",
    "int_parsing_size": "a smaller integer is expected",
    "float_parsing": "a number is expected",
    "float_type": "a number is expected",
    "finite_number": "a finite number is expected",
    "string_type": "text is expected",
    "string_sub_type": "text is expected",
    "string_unicode": "text is expected",
    "string_too_short": "at least {min_length} characters are expected",
    "string_too_long": "at most {max_length} characters are expected",
    "too_short": "at least {min_length} of them are expected",
    "too_long": "at most {max_length} of them are expected",
    "list_type": "a list is expected",
    "tuple_type": "a list is expected",
    "dict_type": "a mapping is expected",
    "model_type": "a mapping is expected",
    "path_type": "a path is expected",
    "literal_error": "{expected} is expected",
    "enum": "{expected} is expected",
    "string_pattern_mismatch": "it is none that was given here",
    "greater_than": "a number greater than {gt} is expected",
    "greater_than_equal": "a number greater than or equal to {ge} is expected",
    "less_than": "a number less than {lt} is expected",
    "less_than_equal": "a number less than or equal to {le} is expected",
    "missing_argument": "it is required",
    "unexpected_keyword_argument": "no such name is known",
    "unexpected_positional_argument": "it is one value too many",
}
_ELSE = "this is no value that is understood here"


def first_mistake(error: ValidationError) -> tuple[tuple[int | str, ...], str]:
    """Where the first wrong value is, and what is expected there: a clause, with no full stop.

    Nothing of what was given is quoted. Where a value may be one of several kinds, the place is
    that of the value, and the words of all kinds are joined.
    """
    found = error.errors(include_url=False, include_input=False)
    first = found[0]
    if first["type"] != "literal_error":
        return first["loc"], expected(first)
    where = _without_kind(first["loc"])
    alternatives = [one for one in found if one["type"] == "literal_error"]
    alike = [one for one in alternatives if _without_kind(one["loc"]) == where]
    return where, f"{_either([_text(one.get('ctx'), 'expected') for one in alike])} is expected"


def expected(one: ErrorDetails) -> str:
    """What is expected in place of a value, as a clause with no full stop."""
    if one["type"] == "value_error":  # a rule of ours, in our words
        return one["msg"].removeprefix("Value error, ").rstrip(".")[:200]
    if one["type"].startswith("byte_size"):
        return "a size like 8MiB, 2GiB or 500MB is expected"
    words = _EXPECTED.get(one["type"], _ELSE)
    return words.format_map(dict(one.get("ctx") or {}))


def _without_kind(place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The place of a value, without the kind that was tried for it."""
    last = place[-1] if place else ""
    return place[:-1] if isinstance(last, str) and last.startswith("literal[") else place


def _text(context: Mapping[str, object] | None, name: str) -> str:
    return str((context or {}).get(name, ""))


def _either(parts: list[str]) -> str:
    """``'a', 'b'`` and ``'c' or 'd'`` as one: ``'a', 'b', 'c' or 'd'``."""
    words = [word for part in parts for word in part.replace(" or ", ", ").split(", ")]
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
