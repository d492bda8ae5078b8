"""The server of the bench is S3 enough that what is measured on it is what S3 would be asked."""

from __future__ import annotations

import hashlib
import random
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from bench.sink import sink
from petal_s3.core.settings_loading import load_settings
from petal_s3.demo.logs import write_ulog
from petal_s3.s3.checksums import Digest, crc32_base64, multipart_etag, whole_crc32
from petal_s3.service.service import Service

pytestmark = pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")

PART = 5 * 1024 * 1024
_PARTS = [random.Random(seed).randbytes(size) for seed, size in enumerate((PART, PART, 77))]


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    with sink(tmp_path_factory.mktemp("sink")) as made:
        yield made.http, made.https, str(made.authority)


@pytest.fixture(params=["http", "https"])
def url(request: pytest.FixtureRequest, urls: tuple[str, str, str]) -> str:
    found = urls[0] if request.param == "http" else urls[1]
    if not found:
        pytest.skip("there are no headers of OpenSSL")
    return found


@pytest.fixture
def client(url: str, urls: tuple[str, str, str]) -> Iterator[Any]:
    made = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        verify=urls[2],
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield made
    made.close()


def refused(call: Any, **given: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        call(Bucket="logs", **given)
    about = caught.value.response
    return about["ResponseMetadata"]["HTTPStatusCode"], about["Error"]["Code"]


def test_an_object_has_the_md5_as_etag_and_keeps_its_crc32(client: Any) -> None:
    body = _PARTS[2] * 100
    put = client.put_object(Bucket="logs", Key="one", Body=body, Metadata={"a": "b"})
    told = client.head_object(Bucket="logs", Key="one", ChecksumMode="ENABLED")

    etag = f'"{hashlib.md5(body).hexdigest()}"'
    assert put["ETag"] == told["ETag"] == etag
    assert told["ChecksumCRC32"] == crc32_base64(zlib.crc32(body))
    assert (told["ContentLength"], told["Metadata"]) == (len(body), {"a": "b"})


def test_what_is_wrong_or_there_already_is_refused(client: Any) -> None:
    client.put_object(Bucket="logs", Key="taken", Body=b"x")
    false = crc32_base64(1)

    assert refused(client.put_object, Key="k", Body=b"x", ChecksumCRC32=false) == (400, "BadDigest")
    taken = refused(client.put_object, Key="taken", Body=b"y", IfNoneMatch="*")
    assert taken == (412, "PreconditionFailed")
    assert refused(client.list_parts, Key="k", UploadId="none") == (404, "NoSuchUpload")


def test_parts_are_joined_with_the_crc32_of_the_whole(client: Any) -> None:
    about = {"Bucket": "logs", "Key": "parts"}
    began = client.create_multipart_upload(
        **about, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT"
    )
    about["UploadId"] = began["UploadId"]
    sent = [
        client.upload_part(**about, PartNumber=number, Body=part)
        for number, part in enumerate(_PARTS, start=1)
    ]
    listed = client.list_parts(**about)["Parts"]
    digests = [Digest(len(part), zlib.crc32(part), hashlib.md5(part).digest()) for part in _PARTS]
    chosen = [
        {"PartNumber": n, "ETag": one["ETag"], "ChecksumCRC32": one["ChecksumCRC32"]}
        for n, one in enumerate(sent, start=1)
    ]
    whole = crc32_base64(whole_crc32(digests))

    false = {"ChecksumCRC32": crc32_base64(1), "ChecksumType": "FULL_OBJECT"}
    named = {"Key": "parts", "UploadId": began["UploadId"], "MultipartUpload": {"Parts": chosen}}
    assert refused(client.complete_multipart_upload, **named, **false) == (400, "BadDigest")
    client.complete_multipart_upload(
        Bucket="logs", **named, ChecksumCRC32=whole, ChecksumType="FULL_OBJECT"
    )
    told = client.head_object(Bucket="logs", Key="parts", ChecksumMode="ENABLED")

    assert [one["ChecksumCRC32"] for one in listed] == [one.crc32_base64 for one in digests]
    assert told["ETag"].strip('"') == multipart_etag([one.md5 for one in digests])
    assert (told["ChecksumCRC32"], told["ChecksumType"]) == (whole, "FULL_OBJECT")
    assert told["ContentLength"] == sum(map(len, _PARTS))


async def test_petal_s3_learns_that_nothing_is_lacking_and_proves_a_log(
    urls: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "bench")
    log = tmp_path / "logs" / "flight.ulg"
    log.parent.mkdir()
    write_ulog(log, 2 * PART + 1000)
    service = Service(
        load_settings(
            bucket_name="logs",
            endpoint_url=urls[0],
            machine_id="one",
            state_dir=tmp_path / "state",
            log_dirs=str(log.parent),
            settle_seconds=0,
        )
    )
    await service.start(watch=False)
    row = await service.enqueue(log)
    done = await service.wait(row.id, patience_s=60)
    known = service.s3.capabilities
    await service.stop()

    assert done.receipt is not None
    assert (done.state, done.receipt.proof) == ("verified", "crc32")
    lacks = {feature for feature, _ in known.missing()}
    assert lacks <= {"copy_condition", "copy_metadata", "read_condition"}
