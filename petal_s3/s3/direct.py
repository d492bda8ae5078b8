"""Bodies of file parts, and HeadObject: signed as botocore does, sent without its call machinery.

That machinery costs more than a body of 1 MiB. Answers and errors are the same by either way: what
is not plain here (another region, a parameter that is not known) goes by botocore.
"""

from __future__ import annotations

import petal_s3.s3.fitting  # noqa: F401 - first: raises where aiobotocore cannot be imported

# isort: split
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast

from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParser, ResponseParserFactory
from botocore.utils import parse_timestamp, percent_encode, percent_encode_sequence

from petal_s3.s3.request_body import FilePart
from petal_s3.s3.shapes import Answer, Params
from petal_s3.s3.signing import PlainRequest

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

_KEY_SAFE = "/~"
_OPERATIONS = {
    "put_object": ("PUT", "PutObject"),
    "upload_part": ("PUT", "UploadPart"),
    "head_object": ("HEAD", "HeadObject"),
}
_HEADERS = {
    "ContentLength": "Content-Length",
    "ContentType": "Content-Type",
    "ChecksumCRC32": "x-amz-checksum-crc32",
    "ChecksumMode": "x-amz-checksum-mode",
    "IfNoneMatch": "If-None-Match",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
}
_QUERY = {"PartNumber": "partNumber", "UploadId": "uploadId"}
_META = "x-amz-meta-"
_TOLD = {
    "etag": "ETag",
    "content-type": "ContentType",
    "x-amz-checksum-crc32": "ChecksumCRC32",
    "x-amz-checksum-type": "ChecksumType",
    "x-amz-server-side-encryption": "ServerSideEncryption",
    "x-amz-storage-class": "StorageClass",
    "x-amz-version-id": "VersionId",
}
_OTHERWISE = {"Key", "Body", "Metadata"}
_REDIRECTS = {301, 302, 307}
# As botocore's redirector takes them: it asks for the bucket's region, and sends it there.
_OF_ANOTHER_REGION = {
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "IllegalLocationConstraintException",
}

Received = Callable[[Answer, Answer], None]
"""Told of each answer as it came, and as it was parsed."""


class ElsewhereError(Exception):
    """The bucket is not where requests went: only botocore knows how to find it."""


@dataclass(frozen=True)
class Route:
    """Where requests about the objects of a bucket go, and how they are signed.

    ``base``: the URL before the key. It is what botocore itself did in its last request there.
    """

    base: str
    user_agent: str
    region: str
    service: str
    signature: str
    signer: Any
    context: Mapping[str, object]


def route_of(
    request: AWSRequest, signature_version: str, request_signer: Any, region_name: str
) -> Route | None:
    """The route of a request that botocore is about to sign; none where it is about no object."""
    context = request.context
    key = context.get("s3_redirect", {}).get("params", {}).get("Key")
    signing = context.get("signing", {})
    end = f"/{percent_encode(key, safe=_KEY_SAFE)}" if key else ""
    url = str(request.url).partition("?")[0]
    if not end or not url.endswith(end) or "identity_cache" in signing:
        return None
    return Route(
        url.removesuffix(end),
        _text(request.headers["User-Agent"]),
        signing.get("region") or region_name,
        signing.get("signing_name") or "s3",
        signature_version,
        request_signer,
        {"client_config": context.get("client_config"), "has_streaming_input": True},
    )


def is_plain(operation: str, params: Params) -> bool:
    """Whether a call can be made here: what botocore would refuse, it shall refuse itself."""
    known = _HEADERS.keys() | _QUERY.keys() | _OTHERWISE
    metadata = params.get("Metadata", {})
    bodiless = operation == "head_object"
    return (
        operation in _OPERATIONS
        and bodiless != isinstance(params.get("Body"), FilePart)
        and bool(params.get("Key"))
        and params.keys() <= known
        and all(name.isascii() and value.isascii() for name, value in metadata.items())
    )


async def send(
    client: S3Client, route: Route, operation: str, params: Params, received: Received
) -> Answer:
    """Make one call. Raises what botocore raises, and :class:`ElsewhereError`."""
    method, name = _OPERATIONS[operation]
    request = _request(route, method, params)
    auth = await route.signer.get_auth_instance(route.service, route.region, route.signature)
    auth.add_auth(request)
    http = client._endpoint.http_session  # type: ignore[attr-defined]
    response = await http.send(request)
    status, body = response.status_code, await response.content
    if status < 300 and not body:
        told = {key.decode().lower(): value.decode() for key, value in response.raw.raw_headers}
        answer = _told(told, status)
        received({"headers": told, "status_code": status, "body": body}, answer)
        return answer
    came: dict[str, Any] = {
        "headers": response.headers,
        "status_code": status,
        "body": body,
        "context": {"operation_name": name},
    }
    answer = await _parsed(client, name, came)
    received(came, answer)
    if came["status_code"] < 300:  # of an error in a 200 it was changed
        return answer
    if _is_elsewhere(answer, status, method):
        raise ElsewhereError
    raise ClientError(cast("Any", answer), name)


async def _parsed(client: S3Client, name: str, came: dict[str, Any]) -> Answer:
    """What botocore makes of an answer."""
    model = client.meta.service_model.operation_model(name)
    if came["body"]:  # some servers say 200, and an error in the body
        await client.meta.events.emit(
            f"before-parse.s3.{name}",
            operation_model=model,
            response_dict=came,
            customized_response_dict={},
        )
    return cast("Answer", _parser().parse(came, cast("Any", model.output_shape)))


def _told(lower: Mapping[str, str], status: int) -> Answer:
    """What an answer without a body says, as botocore's parser puts it: of that what we use.

    ``lower``: its headers, by their names in lower case.
    """
    answer: dict[str, Any] = {named: lower[name] for name, named in _TOLD.items() if name in lower}
    if lower.get("content-length", "").isdecimal():
        answer["ContentLength"] = int(lower["content-length"])
    if "last-modified" in lower:
        answer["LastModified"] = _moment(lower["last-modified"])
    metadata = {name: lower[name] for name in lower if name.startswith(_META)}
    answer["Metadata"] = {name.removeprefix(_META): told for name, told in metadata.items()}
    about: dict[str, Any] = {"HTTPStatusCode": status, "HTTPHeaders": lower}
    if "x-amz-request-id" in lower:
        about["RequestId"] = lower["x-amz-request-id"]
    answer["ResponseMetadata"] = about
    return answer


def _request(route: Route, method: str, params: Params) -> PlainRequest:
    headers = {"User-Agent": route.user_agent}
    headers |= {_HEADERS[name]: str(params[name]) for name in _HEADERS if name in params}
    headers |= {f"{_META}{name}": told for name, told in params.get("Metadata", {}).items()}
    query = {_QUERY[name]: str(told) for name, told in params.items() if name in _QUERY}
    url = f"{route.base}/{percent_encode(params['Key'], safe=_KEY_SAFE)}"
    if query:
        url += f"?{percent_encode_sequence(query)}"
    return PlainRequest(method, url, headers, params.get("Body"), dict(route.context))


def _is_elsewhere(answer: Answer, status: int, method: str) -> bool:
    if status in _REDIRECTS or answer.get("Error", {}).get("Code") in _OF_ANOTHER_REGION:
        return True
    return method == "HEAD" and status == 400  # in words it would say which region


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@functools.cache
def _parser() -> ResponseParser:
    """It is the same for all: their answers are headers alone."""
    made = ResponseParserFactory()
    made.set_parser_defaults(timestamp_parser=_moment)
    return made.create_parser("rest-xml")


def _moment(text: str) -> datetime:
    """A time as HTTP writes it; any other is read by botocore, which takes its time for it."""
    try:
        return datetime.strptime(text, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=timezone.utc)
    except ValueError:
        return parse_timestamp(text)
