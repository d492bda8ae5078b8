"""Where settings come from: the environment, the YAML file, the region of the AWS tools.

pydantic-settings does the same, and takes longer to import than most commands run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from petal_s3.core.settings_yaml import PREFIX, aws_region, config_file, read_yaml


def from_outside(fields: Mapping[str, FieldInfo]) -> dict[str, object]:
    """What is set for ``fields``, by their names; an empty variable sets nothing.

    The environment comes before the YAML file, of which names that are none stay. Raises
    :class:`ConfigError` for a file that cannot be read.
    """
    file, region = config_file(), aws_region(os.environ)
    return {
        **({"region": region} if region else {}),
        **(read_yaml(file) if file is not None else {}),
        **_from_environment(fields),
    }


def _from_environment(fields: Mapping[str, FieldInfo]) -> dict[str, object]:
    set_now = {name.lower(): value for name, value in os.environ.items() if value}
    found: dict[str, object] = {}
    for name, field in fields.items():
        for variable in _variables(name, field):
            if variable.lower() in set_now:
                found[name] = set_now[variable.lower()]
                break
    return found


def _variables(name: str, field: FieldInfo) -> Iterator[str]:
    """The variables that set a field, the first one first."""
    yield f"{PREFIX}{name}"
    if isinstance(field.validation_alias, AliasChoices):
        yield from (str(one) for one in field.validation_alias.choices if one != name)
