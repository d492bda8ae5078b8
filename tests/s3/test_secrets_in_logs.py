"""No secret ever reaches a log, a row, a status or an error, however loud the host logs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from rig import LOSE_ANSWER, PORTAL_PAGE, THREE_PARTS, Rig, refusal

from petal_s3.bucket import S3BucketProxy


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that is logged while the host sets its level to DEBUG."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


def secrets(rig: Rig) -> list[str]:
    return [
        issued[name] for issued in rig.tokens.issued for name in ("secretAccessKey", "sessionToken")
    ]


def assert_nothing_leaked(rig: Rig, text: str) -> None:
    assert rig.tokens.issued
    for secret in secrets(rig):
        assert secret not in text
    assert "AWS4-HMAC-SHA256" not in text
    assert "X-Amz-Signature" not in text


async def test_a_whole_upload_at_debug_tells_no_secret(
    rig: Rig, heard: pytest.LogCaptureFixture
) -> None:
    await rig.restart(concurrency=1)
    rig.fault("UploadPart", refusal(400, "ExpiredToken"), part=1)
    rig.fault("UploadPart", LOSE_ANSWER, part=2)
    row = await rig.land(size=THREE_PARTS)

    done = await rig.finish(row)

    assert done.state == "verified"
    assert any(record.name == "petal_s3" for record in heard.records)
    assert len(rig.tokens.issued) == 2
    assert_nothing_leaked(rig, heard.text)


async def test_the_whole_dialect_at_debug_tells_no_secret(
    rig: Rig, heard: pytest.LogCaptureFixture
) -> None:
    await rig.run()
    proxy = S3BucketProxy(service=rig.service)
    answers = [await proxy.upload_file(rig.write())]
    key = answers[0]["s3_key"]
    answers.append(await proxy.head_object(key))
    answers.append(await proxy.list_files())
    answers.append(await proxy.download_file(key, rig.tmp / "got.ulg"))
    answers.append(await proxy.status())
    answers.append(await proxy.move_file(key, f"deleted/{key}"))
    answers.append(await proxy.delete_file(f"deleted/{key}"))

    proxy._exe.shutdown()
    assert all("error" not in answer for answer in answers)
    assert_nothing_leaked(rig, heard.text + json.dumps(answers))


async def test_a_refused_token_does_not_appear_in_reasons(
    rig: Rig, heard: pytest.LogCaptureFixture
) -> None:
    """Some servers send the token back that they refuse."""

    async def echo(request: object) -> object:
        token = rig.tokens.issued[-1]["sessionToken"]
        fault = refusal(403, "InvalidToken")
        more = f"<Token-0>{token}</Token-0></Error>".encode()
        return type(fault)(403, fault.body.replace(b"</Error>", more), fault.headers)

    rig.fault("PutObject", echo, times=2)  # type: ignore[arg-type]
    row = await rig.land()

    told = await rig.attempt(row)

    assert told.state == "queued"
    assert_nothing_leaked(rig, heard.text + told.reason + json.dumps(await rig.service.status()))


@pytest.mark.parametrize(
    "body",
    [
        '{"accessKeyId": "AKIA", "secretAccessKey": "s3cr3t-one", "sessionToken": 7}',
        '{"accessKeyId": "", "secretAccessKey": "s3cr3t-one", "sessionToken": "t0ken-two"}',
        '["s3cr3t-one", "t0ken-two"]',
        PORTAL_PAGE.decode() + "s3cr3t-one",
    ],
)
async def test_half_an_answer_of_the_token_service_is_not_shown(
    rig: Rig, heard: pytest.LogCaptureFixture, body: str
) -> None:
    rig.tokens.fail_with(200, body, "application/json")
    row = await rig.land()

    told = await rig.attempt(row)

    assert told.code == "token_service_nonsense"
    text = heard.text + told.reason + json.dumps(await rig.service.status())
    assert "s3cr3t-one" not in text
    assert "t0ken-two" not in text


async def test_the_outbox_holds_no_secret(rig: Rig) -> None:
    await rig.attempt(await rig.land())
    await rig.service.stop()

    held = b"".join(path.read_bytes() for path in rig.state.iterdir() if path.is_file())

    assert rig.tokens.issued
    assert all(secret.encode() not in held for secret in secrets(rig))


async def test_credentials_do_not_show_themselves(rig: Rig) -> None:
    await rig.attempt(await rig.land())
    assert rig.service.tokens is not None

    shown = repr(rig.service.tokens.current)

    assert "ASIADEMO" in shown
    assert all(secret not in shown for secret in secrets(rig))
