"""No secret ever reaches a log, a row, a status or an error, however loud the host logs."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import json
import logging
import sys
import traceback
from collections.abc import AsyncIterator, Iterator

import pytest
from robot import DROP, LOSE_ANSWER, PORTAL_PAGE, THREE_PARTS, TWO_PARTS, Fault, Robot, refusal

from petal_s3.core.settings import Settings
from petal_s3.demo.faults import says
from petal_s3.errors import S3IntegrationError
from petal_s3.host.proxy import S3BucketProxy


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that is logged while the host sets its level to DEBUG."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


def secrets(robot: Robot) -> list[str]:
    return [
        issued[name]
        for issued in robot.tokens.issued
        for name in ("secretAccessKey", "sessionToken")
    ]


def assert_nothing_leaked(robot: Robot, text: str) -> None:
    assert robot.tokens.issued
    for secret in secrets(robot):
        assert secret not in text
    assert "AWS4-HMAC-SHA256" not in text
    assert "X-Amz-Signature" not in text


@pytest.mark.guarantee(
    "credentials", "the host logs at DEBUG", "no token, key or signature is in the log"
)
async def test_a_whole_upload_at_debug_tells_no_secret(
    robot: Robot, heard: pytest.LogCaptureFixture
) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", refusal(400, "ExpiredToken"), part=1)
    robot.fault("UploadPart", LOSE_ANSWER, part=2)
    row = await robot.land(size=THREE_PARTS)

    done = await robot.finish(row)

    assert done.state == "verified"
    assert any(record.name == "petal_s3" for record in heard.records)
    assert len(robot.tokens.issued) == 2
    assert_nothing_leaked(robot, heard.text)


@pytest.mark.guarantee(
    "credentials", "a caller uses every operation, at DEBUG", "no secret in an answer or the log"
)
@pytest.mark.threat("sibling")
async def test_the_whole_dialect_at_debug_tells_no_secret(
    robot: Robot, heard: pytest.LogCaptureFixture
) -> None:
    await robot.run()
    proxy = S3BucketProxy(service=robot.service)
    answers = [await proxy.upload_file(robot.write())]
    key = answers[0]["s3_key"]
    answers.append(await proxy.head_object(key))
    answers.append(await proxy.list_files())
    answers.append(await proxy.download_file(key, robot.tmp / "got.ulg"))
    answers.append(await proxy.status())
    answers.append(await proxy.move_file(key, f"deleted/{key}"))
    answers.append(await proxy.delete_file(f"deleted/{key}"))

    await proxy.stop()
    assert all("error" not in answer for answer in answers)
    assert_nothing_leaked(robot, heard.text + json.dumps(answers))


@pytest.mark.guarantee(
    "credentials",
    "S3 sends the refused token back in its error",
    "it is in no reason, no status, no log",
)
@pytest.mark.threat("server")
async def test_a_refused_token_does_not_appear_in_reasons(
    robot: Robot, heard: pytest.LogCaptureFixture
) -> None:
    """Some servers send the token back that they refuse."""

    async def echo(request: object) -> object:
        token = robot.tokens.issued[-1]["sessionToken"]
        no = refusal(403, "InvalidToken").say
        assert no is not None
        more = f"<Token-0>{token}</Token-0></Error>".encode()
        return says(403, no.body.replace(b"</Error>", more), no.headers)

    robot.fault("PutObject", echo, times=2)  # type: ignore[arg-type]
    row = await robot.land()

    told = await robot.attempt(row)

    assert told.state == "queued"
    assert_nothing_leaked(
        robot, heard.text + told.reason + (await robot.service.status()).model_dump_json()
    )


@pytest.mark.parametrize(
    "body",
    [
        '{"accessKeyId": "AKIA", "secretAccessKey": "s3cr3t-one", "sessionToken": 7}',
        '{"accessKeyId": "", "secretAccessKey": "s3cr3t-one", "sessionToken": "t0ken-two"}',
        '["s3cr3t-one", "t0ken-two"]',
        PORTAL_PAGE.decode() + "s3cr3t-one",
    ],
)
@pytest.mark.guarantee(
    "credentials",
    "the token service answers with half of the secrets",
    "what was read of them is shown nowhere",
)
@pytest.mark.threat("tokens")
async def test_half_an_answer_of_the_token_service_is_not_shown(
    robot: Robot, heard: pytest.LogCaptureFixture, body: str
) -> None:
    robot.tokens.fail_with(200, body, "application/json")
    row = await robot.land()

    told = await robot.attempt(row)

    assert told.code == "token_service_nonsense"
    text = heard.text + told.reason + (await robot.service.status()).model_dump_json()
    assert "s3cr3t-one" not in text
    assert "t0ken-two" not in text


@pytest.mark.guarantee(
    "attack",
    "somebody reads the database, its write-ahead log and the spool",
    "no secret is in them, whatever went wrong",
)
@pytest.mark.threat("stolen")
async def test_the_outbox_holds_no_secret(robot: Robot) -> None:
    robot.fault("PutObject", refusal(403, "AccessDenied"))
    outside = robot.tmp / "outside.ulg"
    robot.store.copy(outside, 1000, 1)
    row = await robot.attempt(await robot.service.enqueue(outside))

    held = [path for path in robot.state.rglob("*") if path.is_file()]
    text = b"".join(path.read_bytes() for path in held)

    assert row.state == "queued"
    assert {"outbox.db", "outbox.db-wal"} < {path.name for path in held}
    assert robot.tokens.issued
    assert all(secret.encode() not in text for secret in secrets(robot))


@pytest.mark.guarantee(
    "credentials", "credentials are printed by a debugger or a formatter", "they show their id only"
)
async def test_credentials_do_not_show_themselves(robot: Robot) -> None:
    await robot.attempt(await robot.land())
    assert robot.service.tokens is not None

    shown = repr(robot.service.tokens.current)

    assert "ASIADEMO" in shown
    assert all(secret not in shown for secret in secrets(robot))


# -- louder than the host, and in every failure


@pytest.fixture
async def everything(
    caplog: pytest.LogCaptureFixture,
) -> AsyncIterator[pytest.LogCaptureFixture]:
    """Every logger there is at DEBUG, each by its own level, and asyncio's debug mode."""
    known = logging.root.manager.loggerDict.items()
    loggers = [logger for _, logger in list(known) if isinstance(logger, logging.Logger)]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0  # tells of every callback, with its arguments
    with caplog.at_level(logging.DEBUG):
        yield caplog
    loop.set_debug(False)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


FAULTS: dict[str, Fault] = {
    "denied": refusal(403, "AccessDenied"),
    "wrong signature": refusal(403, "SignatureDoesNotMatch"),
    "expired": refusal(400, "ExpiredToken"),
    "unwell": refusal(500, "InternalError"),
    "slow down": refusal(503, "SlowDown"),
    "no": refusal(400, "InvalidArgument"),
    "no bucket": refusal(404, "NoSuchBucket"),
    "a portal": says(200, PORTAL_PAGE, {"Content-Type": "text/html"}),
    "elsewhere": says(307, b"", {"Location": "http://127.0.0.1:9/"}),
    "nonsense": says(200, b"<a><b>", {"Content-Type": "application/xml"}),
    "empty": says(200),
    "cut": DROP,
    "lost": LOSE_ANSWER,
}


@pytest.mark.guarantee(
    "attack",
    "every logger of the process at DEBUG, botocore's own too, through every kind of failure",
    "no secret in a line, a traceback, a row or the status",
)
@pytest.mark.threat("stolen")
async def test_no_failure_tells_a_secret_however_loud_all_loggers_are(
    everything: pytest.LogCaptureFixture, robot: Robot
) -> None:
    told = ""
    for op, size in (("PutObject", 1000), ("UploadPart", TWO_PARTS)):
        row = await robot.land(f"{op}.ulg", size=size)
        for fault in FAULTS.values():
            robot.fault(op, fault)
            await robot.service.drainer.pause.retry_now()
            await robot.service.drainer.step()
            robot.heal()
            told += "".join(row.model_dump_json() for row in await robot.service.rows())
            told += (await robot.service.status()).model_dump_json()
        assert (await robot.finish(row)).state == "verified"

    names = {record.name for record in everything.records}
    assert {"petal_s3", "asyncio"} <= names
    assert_nothing_leaked(robot, everything.text + told)


def with_secrets(url: str) -> str:
    return f"{url.rstrip('/').replace('://', '://pilot:c4n4ry-login@')}?key=c4n4ry#c4n4ry"


@pytest.mark.guarantee(
    "attack",
    "URLs of the settings hold secrets, and every logger is at DEBUG through every kind of failure",
    "neither they nor the bearer token are in a line, a traceback, a row, the status or a file",
)
@pytest.mark.threat("stolen")
async def test_no_failure_tells_a_secret_of_a_url_or_the_bearer_token(
    everything: pytest.LogCaptureFixture, robot: Robot
) -> None:
    bearer = robot.tmp / "bearer"
    bearer.write_text("c4n4ry-bearer\n")
    bearer.chmod(0o600)
    urls = {
        "endpoint_url": with_secrets(robot.link.url),
        "session_token_url": with_secrets(robot.tokens.url),
    }
    plain = {**urls, "session_token_url": f"{robot.tokens.url}?key=c4n4ry#c4n4ry"}
    told = ""
    for given in (urls, {**urls, "session_token_file": bearer}, plain):
        await robot.restart(**given, request_timeout=2)
        row = await robot.land()
        for fault in FAULTS.values():
            robot.fault("PutObject", fault)
            await robot.service.drainer.pause.retry_now()
            await robot.service.drainer.step()
            robot.heal()
            told += "".join(row.model_dump_json() for row in await robot.service.rows())
            told += (await robot.service.status()).model_dump_json()
    await robot.restart(**plain, session_token_file=bearer)
    done = await robot.finish(row)

    assert done.state == "verified"
    assert {"petal_s3", "asyncio"} <= {record.name for record in everything.records}
    assert "c4n4ry" not in everything.text + told + repr(robot.service.settings)
    held = [path for path in robot.state.rglob("*") if path.is_file()]
    assert all(b"c4n4ry" not in path.read_bytes() for path in held)


@pytest.mark.guarantee(
    "attack",
    "the process crashes: what excepthook and faulthandler print",
    "no secret in it, nor in the chain of causes",
)
@pytest.mark.threat("stolen")
async def test_no_crash_tells_a_secret(
    robot: Robot,
    heard: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caught: list[BaseException] = []
    for fault in FAULTS.values():
        robot.always("HeadObject", fault)
        try:
            await robot.service.s3.head(robot.service.ownership.machine_prefix + "x.ulg")
        except S3IntegrationError as error:
            caught.append(error)
        robot.heal()

    async def crash(*_: object, **__: object) -> None:
        assert robot.service.tokens is not None
        held = await robot.service.tokens.get()
        raise RuntimeError(f"a bug of ours, next to {held}")

    monkeypatch.setattr(robot.service.s3, "put", crash)
    row = await robot.attempt(await robot.land(size=1000))
    for error in caught:
        sys.excepthook(type(error), error, error.__traceback__)
    with (robot.tmp / "faults").open("w") as file:
        faulthandler.dump_traceback(file, all_threads=True)

    assert len(caught) > 6
    assert (row.state, row.code) == ("queued", "internal")
    said = capsys.readouterr().err + (robot.tmp / "faults").read_text() + heard.text + row.reason
    assert "Traceback" in said
    assert_nothing_leaked(robot, said + "".join(map(_everything_of, caught)))


def _everything_of(error: BaseException) -> str:
    """A traceback as others write it, and what the errors themselves would say."""
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    chain: BaseException | None = error
    while chain is not None:
        lines += [repr(chain), str(chain), repr(chain.args)]
        chain = chain.__cause__ or chain.__context__
    return "".join(lines)


async def test_nothing_of_ours_shows_a_secret_when_it_is_printed(robot: Robot) -> None:
    await robot.restart(api_token="s3cr3t-api")
    await robot.attempt(await robot.land(size=1000))
    assert robot.service.tokens is not None
    await robot.service.tokens.get()

    ours = [
        thing
        for thing in gc.get_objects()
        if str(type(thing).__module__).startswith("petal_s3") and not isinstance(thing, type)
    ]
    shown = "".join(f"{thing!r} {thing!s}" for thing in ours)

    assert len({type(thing) for thing in ours}) > 20
    assert any(isinstance(thing, Settings) for thing in ours)
    assert "s3cr3t-api" not in shown
    assert_nothing_leaked(robot, shown)
