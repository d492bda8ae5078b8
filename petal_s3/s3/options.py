"""The optional parts of a request: which feature of S3 each stands for, and how it is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from petal_s3.errors import (
    Conflict,
    Mismatch,
    NotS3,
    S3BucketError,
    S3CredentialsError,
    S3FileNotFoundError,
    S3IntegrationError,
    Throttled,
    UploadGone,
)
from petal_s3.s3.capabilities import Capabilities, Feature
from petal_s3.s3.shapes import Params

_ENCRYPTION = ("ServerSideEncryption", "SSEKMSKeyId")
# Per operation: the parameters that ask for a feature.
OPTIONS: Mapping[str, Mapping[Feature, tuple[str, ...]]] = {
    "head_object": {"told_checksums": ("ChecksumMode",)},
    "put_object": {
        "body_checksums": ("ChecksumCRC32",),
        "put_condition": ("IfNoneMatch",),
        "encryption": _ENCRYPTION,
    },
    "create_multipart_upload": {
        "full_checksums": ("ChecksumAlgorithm", "ChecksumType"),
        "encryption": _ENCRYPTION,
    },
    "upload_part": {"body_checksums": ("ChecksumCRC32",)},
    "complete_multipart_upload": {
        "full_checksums": ("ChecksumCRC32", "ChecksumType", "MpuObjectSize"),
        "complete_condition": ("IfNoneMatch",),
    },
    "copy_object": {
        "copy_condition": ("IfNoneMatch",),
        "copy_metadata": ("MetadataDirective", "Metadata", "ContentType"),
        "encryption": _ENCRYPTION,
    },
    "get_object": {"read_condition": ("IfMatch",)},
}
_HEADERS = {
    "ChecksumMode": "x-amz-checksum-mode",
    "ChecksumCRC32": "x-amz-checksum-crc32",
    "ChecksumType": "x-amz-checksum-type",
    "IfNoneMatch": "If-None-Match",
    "IfMatch": "If-Match",
    "MetadataDirective": "x-amz-metadata-directive",
    "ServerSideEncryption": "x-amz-server-side-encryption",
}
# Codes that are about something else than an option, whatever the request carried.
_OTHER_CODES = {"bucket", "bucket_full", "address_style", "aws_settings"}
# S3 itself may have trouble: only asked twice such an answer says something of an option.
_VAGUE_STATUS = {403, 500, 502, 503}
_TROUBLE_STATUS = {500, 502, 503}
# What these codes of S3 say is of the key, the bytes or the metadata.
_OF_THE_LOG = {"KeyTooLongError", "EntityTooLarge", "MetadataTooLarge"}


def spoken(params: Params) -> str:
    """The optional headers that a request carries, for a sentence."""
    return " and ".join(header for name, header in _HEADERS.items() if name in params)


def carried(operation: str, params: Params) -> tuple[Feature, ...]:
    """The features that a request asks for."""
    return tuple(
        feature
        for feature, names in OPTIONS.get(operation, {}).items()
        if any(name in params for name in names)
    )


def without(operation: str, params: Params, *features: Feature) -> Params:
    """The parameters of a request without those that ask for ``features``."""
    options = OPTIONS.get(operation, {})
    dropped = {name for feature in features for name in options.get(feature, ())}
    left = {name: value for name, value in params.items() if name not in dropped}
    if "full_checksums" in features and "MultipartUpload" in left:
        parts = [
            {name: value for name, value in part.items() if name != "ChecksumCRC32"}
            for part in left["MultipartUpload"]["Parts"]
        ]
        left["MultipartUpload"] = {"Parts": parts}
    return left


def offered(operation: str, params: Params, capabilities: Capabilities) -> Params:
    """``params`` without the options that the server is known to lack; encryption stays."""
    lacked = [
        feature
        for feature in carried(operation, params)
        if feature != "encryption" and capabilities.lacks(feature)
    ]
    return without(operation, params, *lacked)


def may_be_refusal(error: S3IntegrationError) -> bool:
    """Whether an answer may mean that the server does not take an option of the request."""
    told = error.told
    if told is None or told.status in {401, 407, 429, 511} or told.code in _OF_THE_LOG:
        return False
    if isinstance(error, S3CredentialsError | S3FileNotFoundError | UploadGone | NotS3):
        return isinstance(error, NotS3) and told.status in {400, 403, 501}
    if isinstance(error, S3BucketError) and error.code in _OTHER_CODES:
        return False
    if isinstance(error, Throttled):
        return not told.code  # SlowDown says what it means
    return isinstance(error, Conflict | Mismatch | S3BucketError) or told.status in {
        400,
        405,
        500,
        501,
        502,
    }


def is_vague(error: S3IntegrationError) -> bool:
    """Whether such an answer also comes from a server that is merely in trouble."""
    told = error.told
    return told is None or told.status in _VAGUE_STATUS


def is_trouble(error: S3IntegrationError) -> bool:
    """Whether such an answer says only that the server fails: no condition is given up for it."""
    told = error.told
    return told is None or told.status < 400 or told.status in _TROUBLE_STATUS


def to_drop(operation: str, params: Params) -> Iterator[tuple[Feature, ...]]:
    """What to leave out of a refused request, in turn: each option by itself, then all of them.

    Never the encryption: nothing is stored otherwise than was asked for.
    """
    options = [one for one in carried(operation, params) if one != "encryption"]
    for one in options:
        yield (one,)
    if len(options) > 1:
        yield tuple(options)
