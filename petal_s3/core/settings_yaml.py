"""Find and read the YAML file of the settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from petal_s3.core.files import read_file
from petal_s3.errors import ConfigError

PREFIX = "PETAL_S3_"
HOST_TOKEN_URL = "PETAL_SESSION_TOKEN_URL"  # noqa: S105 - a name; the host sets it
CONFIG_FILE = Path("/etc/petal-s3.yaml")
# In this order, where neither PETAL_S3_REGION nor the settings file names a region.
AWS_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")

_LONGEST_FILE_BYTES = 64 * 1024
_DEEPEST = 4


def config_file(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the YAML file in use: ``PETAL_S3_CONFIG``, else the system's, else none."""
    environ = os.environ if environ is None else environ
    named = environ.get(f"{PREFIX}CONFIG")
    if named:
        return Path(named)
    return CONFIG_FILE if CONFIG_FILE.is_file() else None


def aws_region(environ: Mapping[str, str]) -> str:
    """The region that the environment names for every AWS tool; empty where it names none."""
    return next(filter(None, (environ.get(name, "").strip() for name in AWS_REGIONS)), "")


def read_yaml(file: Path) -> dict[str, object]:
    """Read the YAML file: values by the names of settings, in lower case without the prefix.

    Raises :class:`ConfigError`, which never quotes the file: it may hold a secret.
    """
    import yaml  # noqa: PLC0415 - slow; where there is no file it is not needed

    try:
        content = read_file(file, _LONGEST_FILE_BYTES + 1)
        text = content.decode("utf-8")
        if len(content) > _LONGEST_FILE_BYTES or not _is_plain(text):
            raise ConfigError(
                f"The settings file {file} is too long or too deep, or refers to itself: plain"
                " names and values are expected."
            )
        found = yaml.safe_load(text) or {}
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        # What YAML says quotes the file, and with it a secret.
        raise ConfigError(f"The settings file {file} is no YAML: see its line {line}.") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        what = getattr(error, "strerror", None) or "it is not text"
        raise ConfigError(f"The settings file {file} cannot be read: {what}.") from None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ConfigError(f"The settings file {file}: a mapping of names to values is expected.")
    return found


def _is_plain(text: str) -> bool:
    """Whether YAML is neither deep nor refers to itself: a little of that can fill the memory."""
    import yaml  # noqa: PLC0415 - as above

    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST or isinstance(event, yaml.AliasEvent):
            return False
    return True
