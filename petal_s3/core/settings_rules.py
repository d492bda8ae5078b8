"""The rules that values of settings obey; each raises ``ValueError`` with what is expected."""

from __future__ import annotations

import json
import os
import re
import string
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import ByteSize

from petal_s3.core.kinds import ALL_KINDS, SUFFIXES

MIB = 1024 * 1024
GIB = 1024 * MIB
SHORTEST_TOKEN = 16
"""Characters of a bearer token where others can reach the server."""

# What a key template of a source may name.
PLACEHOLDERS = ("upload_prefix", "machine_id", "timestamp", "date", "name", "filename", "kind")
_CONTENT_TYPE_CHARS = 200
# Linux takes 255 and 4095; below a directory names of our own follow.
_NAME_BYTES, _PATH_BYTES = 255, 3500
_MACHINE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_KIND_OF = {suffix: kind for kind, suffixes in SUFFIXES.items() for suffix in suffixes}
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]+/[A-Za-z0-9.+-]+(; ?[a-z]+=[A-Za-z0-9.-]+)?")
# The rule of botocore for a label of a host name.
_REGION = re.compile(r"(?![0-9]+$)(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?P<port>:[0-9]{1,5})?/?"
)
_AUTOPILOT = re.compile(
    r"(udpin|udpout|udp|tcp):[A-Za-z0-9_.-]+:[0-9]{1,5}|/dev/[^\s:]+(:[1-9][0-9]{2,7})?"
)
_SENDABLE = re.compile(r"[\x21-\x7e]+")
_SSE = re.compile(r"AES256|none|aws:kms(:[\x21-\x7e]+)?")


def split_paths(value: object) -> object:
    """Split the text of ``log_dirs`` at its colons; what is no text is returned as it is."""
    if isinstance(value, str):
        return [part for part in value.split(":") if part]
    return value


def absolute_path(path: Path) -> Path:
    """Return ``path`` without ``~`` and relative parts; links are not followed.

    Raises ``ValueError`` where nothing can lie there.
    """
    try:
        whole = Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - resolve() follows links
    except RuntimeError:
        raise ValueError("there is no such home directory") from None
    sizes = [len(os.fsencode(part)) for part in whole.parts]
    if max(sizes) > _NAME_BYTES or sum(sizes) + len(sizes) > _PATH_BYTES:
        raise ValueError(
            f"a path of at most {_PATH_BYTES} bytes is expected, each part at most {_NAME_BYTES}"
        )
    return whole


def absolute_paths(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return each path as :func:`absolute_path` does."""
    return tuple(absolute_path(path) for path in paths)


def check_part_size(size: ByteSize) -> ByteSize:
    """Return ``size`` when S3 takes parts of so many bytes."""
    if not 5 * MIB <= size <= 5 * GIB:
        raise ValueError("S3 takes parts from 5MiB to 5GiB")
    return size


def normal_prefix(prefix: str) -> str:
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


def check_region(region: str) -> str:
    """Return ``region`` when a request can be signed for it: it stands in the name of a server."""
    if not _REGION.fullmatch(region):
        raise ValueError("a region like eu-central-1 is expected, of A-Z a-z 0-9 -")
    return region


def check_sse(value: str) -> str:
    """Return ``value`` when it is a kind of encryption that S3 offers, or none."""
    if not _SSE.fullmatch(value):
        raise ValueError("AES256, aws:kms, aws:kms:<key id> or none is expected")
    return value


def check_url(value: str | None) -> str | None:
    """Return ``value`` when it is a URL of http or https, or none."""
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


def yaml_off(value: object) -> object:
    """``off`` where a settings file says so without quotes: YAML 1.1 reads that as false."""
    return "off" if value is False else value


def check_autopilot(value: str | None) -> str | None:
    """Return ``value`` when it says where an autopilot is, as pymavlink writes it, or none."""
    if value is not None and not _AUTOPILOT.fullmatch(value):
        raise ValueError(
            "udpin:0.0.0.0:14540, udpout:HOST:PORT, tcp:HOST:PORT or /dev/ttyACM0:921600 is"
            " expected"
        )
    return value


def split_words(value: object) -> object:
    """Split a text at commas and spaces; what is no text is returned as it is."""
    return re.split(r"[\s,]+", value.strip(", \t\n")) if isinstance(value, str) else value


def check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    """Return web origins as browsers write them: in lower case, without the usual port."""
    return tuple(_origin(one) for one in origins if one)


def _origin(value: str) -> str:
    found = _ORIGIN.fullmatch(value.lower())
    if found is None:
        raise ValueError("web origins like http://robot.lan:3000 are expected, without a path")
    usual = {"http": ":80", "https": ":443"}[found["scheme"]]
    port = found["port"] if found["port"] != usual else None
    return f"{found['scheme']}://{found['host']}{port or ''}"


def check_token(value: str | None) -> str | None:
    """Return ``value`` when a header can carry it as a bearer token, or none."""
    if value is not None and not _SENDABLE.fullmatch(value):
        raise ValueError("printable ASCII characters without spaces are expected")
    return value


def kinds_of_suffixes(value: object) -> object:
    """Replace suffixes by their kinds: ``.xml`` by ``xml``, ``.log`` by ``text``."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, list | tuple):
        return value
    return tuple(_KIND_OF.get(one, one) if isinstance(one, str) else one for one in value)


def check_directory(value: object) -> object:
    """Return ``value`` when it can be the path of a directory."""
    # Of nothing pathlib makes the current directory, and a NUL would end every scan.
    text = str(value) if isinstance(value, str | Path) else ""
    if not text.strip() or "\0" in text or text != text.encode(errors="replace").decode():
        raise ValueError("the path of a directory is expected")
    return value


def check_file(value: object) -> object:
    """Return ``value`` when it can be the path of a file."""
    if value is not None:
        try:
            check_directory(value)
        except ValueError:
            raise ValueError("the path of a file is expected") from None
    return value


def check_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``kinds`` when each is a known kind of log and there is at least one."""
    if not kinds or not ALL_KINDS.issuperset(kinds):
        raise ValueError(f"some of {', '.join(sorted(ALL_KINDS))} are expected")
    return kinds


def check_template(template: str) -> str:
    """Return ``template`` when its placeholders are known ones without format or conversion."""
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


def check_content_type(value: str | None) -> str | None:
    """Return ``value`` when it is a media type, or none."""
    if value is not None and not (
        len(value) <= _CONTENT_TYPE_CHARS and _MEDIA_TYPE.fullmatch(value)
    ):
        raise ValueError("a media type like application/xml is expected")
    return value


def parse_sources(value: object) -> object:
    """Parse the JSON in which sources are written in the environment and after ``--set``."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("a list is expected, in the environment as JSON") from None
