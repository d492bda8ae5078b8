"""The fault server refuses what S3 refuses, and misbehaves exactly as it is told."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import zlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import aiohttp
import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from petal_s3.demo.faults import Fault, refusal
from petal_s3.demo.link import Link
from tests.support.__main__ import Console
from tests.support.server import FaultServer

MIB = 1024 * 1024
PART = b"p" * (5 * MIB)
KEY = "flight_logs/drone-1/a.ulg"


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with FaultServer() as made:
        yield made


@pytest.fixture
async def s3(server: FaultServer) -> AsyncIterator[Callable[..., Any]]:
    """Ask the server as AWS's own SDK does: ``await s3("head_object", Key=...)``."""
    token = await _token(server)
    client = boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=token["accessKeyId"],
        aws_secret_access_key=token["secretAccessKey"],
        aws_session_token=token["sessionToken"],
        config=Config(
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )

    async def call(operation: str, **params: Any) -> Any:
        return await asyncio.to_thread(getattr(client, operation), Bucket="logs", **params)

    yield call
    client.close()


async def _token(server: FaultServer) -> dict[str, str]:
    async with aiohttp.ClientSession() as session, session.post(server.token_url) as answer:
        found: dict[str, str] = await answer.json()
        return found


@contextlib.contextmanager
def refused(code: str) -> Any:
    with pytest.raises(ClientError) as caught:
        yield
    assert caught.value.response["Error"]["Code"] == code


def crc32(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


async def _upload(s3: Callable[..., Any], *bodies: bytes) -> tuple[str, list[dict[str, Any]]]:
    upload_id = (await s3("create_multipart_upload", Key=KEY))["UploadId"]
    parts = []
    for number, body in enumerate(bodies, 1):
        told = await s3("upload_part", Key=KEY, UploadId=upload_id, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": told["ETag"]})
    return upload_id, parts


async def test_parts_become_one_object_of_which_only_the_digests_are_kept(
    server: FaultServer, s3: Callable[..., Any]
) -> None:
    upload_id, parts = await _upload(s3, PART, b"the end")
    listed = await s3("list_parts", Key=KEY, UploadId=upload_id)
    assert [part["Size"] for part in listed["Parts"]] == [5 * MIB, 7]
    whole = {"Key": KEY, "UploadId": upload_id, "MultipartUpload": {"Parts": parts}}
    await s3("complete_multipart_upload", **whole, ChecksumCRC32=crc32(PART + b"the end"))
    head = await s3("head_object", Key=KEY)
    assert head["ContentLength"] == 5 * MIB + 7
    assert head["ETag"].endswith('-2"')
    assert server.mind.things[KEY].crc32 == zlib.crc32(PART + b"the end")
    assert server.mind.things[KEY].body == b""
    with refused("NoSuchUpload"):
        await s3("list_parts", Key=KEY, UploadId=upload_id)


async def test_what_does_not_fit_is_refused_as_s3_refuses_it(
    server: FaultServer, s3: Callable[..., Any]
) -> None:
    with refused("BadDigest"):
        await s3("put_object", Key=KEY, Body=b"abc", ChecksumCRC32=crc32(b"abd"))
    await s3("put_object", Key=KEY, Body=b"abc", IfNoneMatch="*")
    with refused("PreconditionFailed"):
        await s3("put_object", Key=KEY, Body=b"abc", IfNoneMatch="*")
    upload_id, parts = await _upload(s3, b"too small", b"the end")
    whole = {"Key": KEY, "UploadId": upload_id}
    with refused("EntityTooSmall"):
        await s3("complete_multipart_upload", **whole, MultipartUpload={"Parts": parts})
    with refused("InvalidPartOrder"):
        await s3("complete_multipart_upload", **whole, MultipartUpload={"Parts": parts[::-1]})
    parts[0]["ETag"] = parts[1]["ETag"]
    with refused("InvalidPart"):
        await s3("complete_multipart_upload", **whole, MultipartUpload={"Parts": parts})
    assert server.mind.collect(0) == 1
    with refused("NoSuchUpload"):
        await s3("upload_part", **whole, PartNumber=1, Body=b"x")
    server.mind.quota_bytes = 1
    with refused("QuotaExceeded"):
        await s3("put_object", Key="flight_logs/b", Body=b"abc")
    server.mind.exists = False
    with refused("NoSuchBucket"):
        await s3("list_objects_v2")


async def test_tokens_expire_are_revoked_and_the_time_of_signing_counts(
    server: FaultServer, s3: Callable[..., Any]
) -> None:
    await s3("list_objects_v2")
    server.tokens.expire()
    with refused("ExpiredToken"):
        await s3("list_objects_v2")
    server.tokens.revoked = True
    with refused("AccessDenied"):
        await s3("list_objects_v2")
    server.tokens.revoked, server.tokens.strict = False, False
    long_ago = datetime.now(timezone.utc) - timedelta(minutes=16)
    headers = {"x-amz-date": long_ago.strftime("%Y%m%dT%H%M%SZ")}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/logs?list-type=2", headers=headers) as answer,
    ):
        assert answer.status == 403
        assert "RequestTimeTooSkewed" in await answer.text()


async def test_a_planned_fault_meets_the_next_request_of_its_kind_only(
    server: FaultServer, s3: Callable[..., Any]
) -> None:
    server.plan("PutObject", Fault("no", say=refusal(503, "SlowDown", Retry_After="7")), times=2)
    await s3("list_objects_v2")
    for _ in range(2):
        with refused("SlowDown"):
            await s3("put_object", Key=KEY, Body=b"abc")
    await s3("put_object", Key=KEY, Body=b"abc")
    assert [one.status for one in server.ledger.requests("PutObject")] == [
        503,
        503,
        200,
    ]
    assert server.ledger.body_bytes == 9


async def test_a_part_that_comes_again_after_it_was_confirmed_is_counted(
    server: FaultServer, s3: Callable[..., Any]
) -> None:
    upload_id = (await s3("create_multipart_upload", Key=KEY))["UploadId"]
    part = {"Key": KEY, "UploadId": upload_id, "PartNumber": 1, "Body": b"abc"}
    server.plan("UploadPart", Fault("deaf", deaf=True))
    with pytest.raises(Exception, match="Connection"):
        await s3("upload_part", **part)
    await s3("upload_part", **part)
    assert server.ledger.resent_confirmed_parts == 0  # its answer was lost: nobody knew
    await s3("upload_part", **part)
    assert server.ledger.resent_confirmed_parts == 1


async def test_the_console_turns_typed_lines_into_faults(
    server: FaultServer, s3: Callable[..., Any]
) -> None:
    async with Link(server.url) as link:
        console = Console(server, link)
        assert console.obey("plan PutObject 503 1") == "done"
        with refused("SlowDown"):
            await s3("put_object", Key=KEY, Body=b"abc")
        assert console.obey("revoke") == "done"
        with refused("AccessDenied"):
            await s3("put_object", Key=KEY, Body=b"abc")
        assert "503 PutObject" in console.obey("seen")
        assert "plan OP FAULT" in console.obey("what now")
        assert console.obey("") == ""
