"""The settings: their names, types, defaults and meanings, as one frozen ``Settings``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
)

from petal_s3.core import settings_rules as rules
from petal_s3.core.settings_rules import GIB, MIB
from petal_s3.core.settings_sources import from_outside
from petal_s3.core.settings_yaml import HOST_TOKEN_URL, PREFIX

__all__ = ["GIB", "MIB", "AddressStyle", "Auto", "ObjectMetadata", "Settings", "SourceSettings"]


class SourceSettings(BaseModel):
    """A further directory whose logs are sent: rotated event files, text logs.

    ``key`` stands below the machine's folder unless it begins with ``{upload_prefix}``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    directory: Annotated[
        Path, BeforeValidator(rules.check_directory), AfterValidator(rules.absolute_path)
    ]
    kinds: Annotated[
        tuple[str, ...], BeforeValidator(rules.kinds_of_suffixes), AfterValidator(rules.check_kinds)
    ]
    key: Annotated[str, AfterValidator(rules.check_template)] = "{timestamp}_{name}"
    date_folders: bool = False
    content_type: Annotated[str | None, AfterValidator(rules.check_content_type)] = None


AddressStyle = Literal["auto", "path", "virtual"]
Auto = Literal["auto"]
Fetch = Annotated[Literal["new", "all", "off"], BeforeValidator(rules.yaml_off)]
Mqtt = Annotated[Literal["off", "read", "change", "presign"], BeforeValidator(rules.yaml_off)]
ObjectMetadata = Literal["full", "minimal"]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Url = Annotated[str | None, AfterValidator(rules.check_url)]
_File = Annotated[
    Annotated[Path, BeforeValidator(rules.check_file), AfterValidator(rules.absolute_path)] | None,
    Field(),
]


class Settings(BaseModel):
    """What the operator decided. Sizes are bytes (``8MiB``, ``2GiB``, ``500MB`` are read)."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True
    )

    bucket_name: str = Field(min_length=3, max_length=255, description="the bucket")
    session_token_url: _Url = Field(
        None,
        validation_alias=AliasChoices(
            f"{PREFIX}SESSION_TOKEN_URL", HOST_TOKEN_URL, "session_token_url"
        ),
        repr=False,  # a URL may hold a password
        description="POST answers temporary credentials; none: botocore's own chain. Where it holds"
        f" a secret, not {HOST_TOKEN_URL}: the host reads that, too, and logs it",
    )
    session_token_file: _File = Field(
        None,
        description="file with a bearer token for the token service, read anew at each call;"
        " mode 0600",
    )
    session_token_cert: _File = Field(
        None,
        description="client certificate for the token service: a PEM file with its key; mode 0600",
    )
    region: Annotated[str, AfterValidator(rules.check_region)] = Field(
        "us-east-1",
        description="region of the bucket; else AWS_REGION, AWS_DEFAULT_REGION",
    )
    endpoint_url: _Url = Field(None, repr=False, description="any S3-compatible server; none: AWS")
    address_style: AddressStyle = Field(
        "auto",
        description="how the bucket is addressed: path (https://server/bucket/key), virtual"
        " (https://bucket.server/key), auto (virtual on AWS, else what the server takes)",
    )
    machine_id: Annotated[str, AfterValidator(rules.valid_machine_id)] | None = Field(
        None, description="its part of every key; none: the host's machine id, else /etc/machine-id"
    )
    upload_prefix: Annotated[str, AfterValidator(rules.normal_prefix)] = Field(
        "flight_logs/", description="first part of every key"
    )
    date_folders: bool = Field(False, description="YYYY/MM/DD/ after the machine id")
    fetch: Fetch = Field(
        "new",
        description="logs on the autopilot's card: new (all but those that a first listing, made on"
        " the ground before any flight was seen, has shown), all, off",
    )
    state_dir: Annotated[Path, AfterValidator(rules.absolute_path)] = Field(
        Path("~/.local/state/petal-s3"),
        validate_default=True,
        description="holds outbox.db and spool/",
    )
    log_dirs: Annotated[
        tuple[Path, ...],
        BeforeValidator(rules.split_paths),
        AfterValidator(rules.absolute_paths),
    ] = Field(
        (Path("~/ulog_records"), Path("~/rosbag_records")),
        validate_default=True,
        description="directories in which logs are looked for, separated by a colon; one that was"
        " there and is gone is told as trouble, one that never was there is not",
    )
    sources: Annotated[tuple[SourceSettings, ...], BeforeValidator(rules.parse_sources)] = Field(
        (), description="further directories with logs of other kinds: docs/sources.md"
    )
    scan_interval: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        900.0,
        description="seconds between scans; new files are noticed by file-system events, or by"
        " a scan every 30 s where those do not work",
    )
    settle_seconds: _Seconds = Field(
        10.0, description="a file must be unchanged this long before it is accepted"
    )
    upload_while_flying: bool = Field(False, description="send while the vehicle is armed")
    part_size: Annotated[ByteSize, AfterValidator(rules.check_part_size)] | Auto = Field(
        "auto",
        description="size of a part of a multipart upload; auto: 5 to 64 MiB by what the link"
        " carried last, and for how long, chosen anew for each log",
    )
    concurrency: Annotated[int, Field(ge=1, le=16)] | Auto = Field(
        "auto",
        description="parts in flight, 1 to 16; auto: as many as the link needs. One after a cut,"
        " until an upload has passed uncut",
    )
    tls_ignore_dates: bool = Field(
        False,
        description="accept certificates outside their dates, while this device's clock is before"
        " the release of this version",
    )
    max_rate: ByteSize = Field(ByteSize(0), ge=0, description="bytes per second; 0: no limit")
    autopilot: Annotated[str | None, AfterValidator(rules.check_autopilot)] = Field(
        None,
        description="stand-alone: where the autopilot is, as pymavlink writes it:"
        " udpin:0.0.0.0:14540, udpout:HOST:PORT, tcp:HOST:PORT, /dev/ttyACM0:921600; needs"
        " petal-s3[mavlink]. In the host its own connection is used",
    )
    autopilot_trace: _File = Field(
        None,
        description="file to which is written what the autopilot is asked about its card and how"
        " it answers, without the content of files; for a report of what goes wrong",
    )
    fetch_max_rate: ByteSize = Field(
        ByteSize(0),
        ge=0,
        description="bytes per second from the autopilot; 0: what the line carries beside its"
        " heartbeats",
    )
    sse: Annotated[str, AfterValidator(rules.check_sse)] = Field(
        "AES256", description="AES256, aws:kms, aws:kms:<key id> or none"
    )
    metadata: ObjectMetadata = Field(
        "full",
        description="what is written beside an object: full, or minimal, which leaves out the"
        " original name and hardware ids: docs/data.md",
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
    retention_over_http: bool = Field(
        False, description="delete proven local files also where S3 is asked over plain http"
    )
    rest_read_only: bool = Field(False, description="refuse changes over REST, in both servers")
    mqtt: Mqtt = Field(
        "change",
        description="in the host: which commands are answered over MQTT: off, read (those that"
        " change nothing), change (all but presign), presign (all)",
    )
    api_origins: Annotated[
        tuple[str, ...],
        BeforeValidator(rules.split_words),
        AfterValidator(rules.check_origins),
    ] = Field(
        (),
        description="web origins whose pages may ask REST besides its own, separated by commas,"
        " like http://robot.lan:3000; their host names are names of this server, too",
    )
    api_host: str = Field(
        "127.0.0.1", description="stand-alone server: address; in the host a name of it"
    )
    api_port: int = Field(8077, ge=0, le=65535, description="stand-alone server: port")
    api_token: Annotated[str | None, AfterValidator(rules.check_token)] = Field(
        None,
        repr=False,
        description="bearer token that REST asks for, in both servers; at least 16 characters"
        " where others can reach it. The page asks for it once",
    )

    def __init__(self, **given: Any) -> None:
        """What is ``given`` comes first, then the environment, the YAML file, the AWS tools."""
        super().__init__(**{**from_outside(type(self).model_fields), **given})

    @property
    def set_part_size(self) -> int | None:
        """The part size that is set; none where the link decides."""
        return None if self.part_size == "auto" else self.part_size

    @property
    def over_http(self) -> bool:
        """Whether S3 is asked without TLS."""
        return (self.endpoint_url or "").lower().startswith("http:")

    @property
    def directories(self) -> tuple[Path, ...]:
        """Every directory in which logs are looked for."""
        return tuple(dict.fromkeys((*self.log_dirs, *(one.directory for one in self.sources))))

    @property
    def outbox_path(self) -> Path:
        """The database of the outbox."""
        return self.state_dir / "outbox.db"
