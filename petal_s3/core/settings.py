"""Turn environment and YAML into one frozen ``Settings``, once."""

from __future__ import annotations

import json
import os
import re
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from petal_s3.core.kinds import ALL_KINDS, SUFFIXES
from petal_s3.errors import ConfigError, plain

PREFIX = "PETAL_S3_"
HOST_TOKEN_URL = "PETAL_SESSION_TOKEN_URL"  # noqa: S105 - a name; the host sets it
CONFIG_FILE = Path("/etc/petal-s3.yaml")
MIB = 1024 * 1024
GIB = 1024 * MIB

_LONGEST_FILE_BYTES = 64 * 1024
_DEEPEST = 4
_SHOWN_CHARS = 200
_SECRET = ("api_token", "_url")  # never shown: a URL may hold a password
_MACHINE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# What a key template of a source may name.
PLACEHOLDERS = ("upload_prefix", "machine_id", "timestamp", "date", "name", "filename", "kind")
_KIND_OF = {suffix: kind for kind, suffixes in SUFFIXES.items() for suffix in suffixes}
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]+/[A-Za-z0-9.+-]+(; ?[a-z]+=[A-Za-z0-9.-]+)?")
_SSE = re.compile(r"AES256|none|aws:kms(:.+)?")


def _paths(value: object) -> object:
    if isinstance(value, str):
        return [part for part in value.split(":") if part]
    return value


def _absolute(path: Path) -> Path:
    try:
        return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - resolve() follows links
    except RuntimeError:
        raise ValueError("there is no such home directory") from None


def _absolutes(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(_absolute(path) for path in paths)


def _part_size(size: ByteSize) -> ByteSize:
    if not 5 * MIB <= size <= 5 * GIB:
        raise ValueError("S3 takes parts from 5MiB to 5GiB")
    return size


def _prefix(prefix: str) -> str:
    """Return ``prefix`` with exactly one slash at its end (none when it is empty)."""
    inner = prefix.strip("/")
    if any(part in {"", ".", ".."} for part in inner.split("/")) and inner:
        raise ValueError("a prefix like flight_logs/, without empty, . or .. parts")
    return f"{inner}/" if inner else ""


def valid_machine_id(machine_id: str) -> str:
    """Return ``machine_id`` when it may stand in a key; else raise ``ValueError``."""
    if not _MACHINE_ID.fullmatch(machine_id) or machine_id in {".", ".."}:
        raise ValueError("1 to 64 of A-Z a-z 0-9 . _ - are expected, and not . or ..")
    return machine_id


def _sse(value: str) -> str:
    if not _SSE.fullmatch(value):
        raise ValueError("AES256, aws:kms, aws:kms:<key id> or none is expected")
    return value


def _url(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # the port or the brackets of an address
        sound = False
    if not sound or re.search(r"\s", value):
        raise ValueError("an http:// or https:// URL is expected")
    return value


def _kinds(value: object) -> object:
    """Kinds may be written as suffixes: ``.xml`` for ``xml``, ``.log`` for ``text``."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, list | tuple):
        return value
    return tuple(_KIND_OF.get(one, one) if isinstance(one, str) else one for one in value)


def _named_directory(value: object) -> object:
    # Of nothing pathlib makes the current directory, and a NUL would end every scan.
    text = str(value) if isinstance(value, str | Path) else ""
    if not text.strip() or "\0" in text or text != text.encode(errors="replace").decode():
        raise ValueError("the path of a directory is expected")
    return value


def _known_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    if not kinds or not ALL_KINDS.issuperset(kinds):
        raise ValueError(f"some of {', '.join(sorted(ALL_KINDS))} are expected")
    return kinds


def _template(template: str) -> str:
    try:
        fields = [(name, spec, how) for _, name, spec, how in string.Formatter().parse(template)]
    except ValueError:
        fields = [("", "", "")]
    if any(
        name is not None and (name not in PLACEHOLDERS or spec or how) for name, spec, how in fields
    ):
        names = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise ValueError(
            f"a key like events/{{timestamp}}_{{name}} is expected, with some of {names}"
        )
    return template


def _content_type(value: str | None) -> str | None:
    if value is not None and not (len(value) <= _SHOWN_CHARS and _MEDIA_TYPE.fullmatch(value)):
        raise ValueError("a media type like application/xml is expected")
    return value


def _from_json(value: object) -> object:
    """In the environment, and after ``--set``, sources are written as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("a list is expected, in the environment as JSON") from None


class SourceSettings(BaseModel):
    """A further directory of which the logs are sent: rotated event files, text logs.

    ``key`` stands below the machine's folder unless it begins with ``{upload_prefix}``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    directory: Annotated[Path, BeforeValidator(_named_directory), AfterValidator(_absolute)]
    kinds: Annotated[tuple[str, ...], BeforeValidator(_kinds), AfterValidator(_known_kinds)]
    key: Annotated[str, AfterValidator(_template)] = "{timestamp}_{name}"
    date_folders: bool = False
    content_type: Annotated[str | None, AfterValidator(_content_type)] = None


AddressStyle = Literal["auto", "path", "virtual"]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Url = Annotated[str | None, AfterValidator(_url)]


class Settings(BaseSettings):
    """What the operator decided. Sizes are bytes (``8MiB``, ``2GiB``, ``500MB`` are read)."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    bucket_name: str = Field(min_length=3, max_length=255, description="the bucket")
    session_token_url: _Url = Field(
        None,
        validation_alias=AliasChoices(
            f"{PREFIX}SESSION_TOKEN_URL", HOST_TOKEN_URL, "session_token_url"
        ),
        repr=False,  # a URL may hold a password
        description="POST answers temporary credentials; none: botocore's own chain",
    )
    region: str = Field("us-east-1", description="region of the bucket")
    endpoint_url: _Url = Field(None, repr=False, description="any S3-compatible server; none: AWS")
    address_style: AddressStyle = Field(
        "auto",
        description="how the bucket is addressed: path (https://server/bucket/key), virtual"
        " (https://bucket.server/key), auto (virtual on AWS, else what the server takes)",
    )
    machine_id: Annotated[str, AfterValidator(valid_machine_id)] | None = Field(
        None, description="who we are in keys; none: the host's machine id, else /etc/machine-id"
    )
    upload_prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        "flight_logs/", description="first part of every key"
    )
    date_folders: bool = Field(False, description="YYYY/MM/DD/ after the machine id")
    state_dir: Annotated[Path, AfterValidator(_absolute)] = Field(
        Path("~/.local/state/petal-s3"),
        validate_default=True,
        description="holds outbox.db and spool/",
    )
    log_dirs: Annotated[
        tuple[Path, ...], NoDecode, BeforeValidator(_paths), AfterValidator(_absolutes)
    ] = Field(
        (Path("~/ulog_records"), Path("~/rosbag_records")),
        validate_default=True,
        description="directories to scan, separated by a colon",
    )
    sources: Annotated[tuple[SourceSettings, ...], NoDecode, BeforeValidator(_from_json)] = Field(
        (), description="further directories with logs of other kinds: docs/sources.md"
    )
    scan_interval: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        300.0, description="seconds between scans"
    )
    settle_seconds: _Seconds = Field(
        10.0, description="a file must be unchanged this long before it is accepted"
    )
    upload_while_flying: bool = Field(False, description="send while the vehicle is armed")
    part_size: Annotated[ByteSize, AfterValidator(_part_size)] = Field(
        ByteSize(5 * MIB), description="size of a part of a multipart upload"
    )
    concurrency: int = Field(2, ge=1, le=16, description="parts in flight")
    tls_ignore_dates: bool = Field(False, description="accept certificates outside their dates")
    max_rate: ByteSize = Field(ByteSize(0), ge=0, description="bytes per second; 0: no limit")
    sse: Annotated[str, AfterValidator(_sse)] = Field(
        "AES256", description="AES256, aws:kms, aws:kms:<key id> or none"
    )
    max_file_size: ByteSize = Field(ByteSize(2 * GIB), gt=0, description="largest log accepted")
    request_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        30.0, description="seconds for control requests and the token service"
    )
    retention_days: _Seconds = Field(
        0.0, description="days; delete proven local files when older; 0: never"
    )
    min_free_bytes: ByteSize = Field(
        ByteSize(0),
        ge=0,
        description="delete proven local files, oldest first, until so much is free; 0: never",
    )
    api_host: str = Field("127.0.0.1", description="stand-alone server: address")
    api_port: int = Field(8077, ge=0, le=65535, description="stand-alone server: port")
    api_token: str | None = Field(None, repr=False, description="stand-alone server: bearer token")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order: arguments, environment, YAML file."""
        file = config_file()
        if file is None:
            return init_settings, env_settings
        return init_settings, env_settings, InitSettingsSource(settings_cls, _read_yaml(file))

    @property
    def directories(self) -> tuple[Path, ...]:
        """Every directory in which logs are looked for."""
        return tuple(dict.fromkeys((*self.log_dirs, *(one.directory for one in self.sources))))

    @property
    def outbox_path(self) -> Path:
        """The database of the outbox."""
        return self.state_dir / "outbox.db"


def _read_yaml(file: Path) -> dict[str, Any]:
    """Read the YAML file; it names settings in lower case without the prefix."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_LONGEST_FILE_BYTES + 1)
        text = content.decode("utf-8")
        if len(content) > _LONGEST_FILE_BYTES or not _plain(text):
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


def _plain(text: str) -> bool:
    """Whether YAML has neither depths nor references: a few of those can fill the memory."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST or isinstance(event, yaml.AliasEvent):
            return False
    return True


def config_file(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the YAML file in use: ``PETAL_S3_CONFIG``, else the system's, else none."""
    environ = os.environ if environ is None else environ
    named = environ.get(f"{PREFIX}CONFIG")
    if named:
        return Path(named)
    return CONFIG_FILE if CONFIG_FILE.is_file() else None


def load(**given: Any) -> Settings:
    """Read the settings from arguments, the environment and the YAML file.

    Raises :class:`ConfigError` with one sentence that names the setting.
    """
    _refuse_unknown()
    file = config_file()
    if file is not None and not file.is_file():
        raise ConfigError(f"{PREFIX}CONFIG names {file}, but there is no such file.")
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from None  # the cause would carry the values


class _Given(Settings):
    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def judge(given: Mapping[str, Any]) -> Settings:
    """Check settings that are to be written down; environment and YAML file are not read.

    Raises :class:`ConfigError` as :func:`load` does.
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
    first = error.errors(include_url=False)[0]
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
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"].startswith("byte_size"):
        reason = "a size like 8MiB, 2GiB or 500MB is expected"
    shown = "" if name.lower().endswith(_SECRET) else f" is {_shown(first['input'])}"
    return f"{variable}{shown}: {reason}."


def _place(loc: tuple[int | str, ...]) -> str:
    """Where in a list of settings: ``[0].key``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_word(part)}" for part in loc)


def _word(name: str) -> str:
    """A name that somebody wrote, for a sentence."""
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
