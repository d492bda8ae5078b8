"""S3 or the token service says no: who waits, for how long, and what brings it back."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from robot import (
    LOSE_ANSWER,
    PART,
    PORTAL_PAGE,
    SMALL,
    THREE_PARTS,
    UNWELL,
    Robot,
    dated,
    refusal,
    until,
)
from timed import timed

from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.outbox import remote_objects
from tests.support.known import CONDITIONAL

EXPIRED = refusal(400, "ExpiredToken")
DENIED = refusal(403, "AccessDenied")
SKEWED = refusal(403, "RequestTimeTooSkewed")
TOKEN = "x-amz-security-token"
SSE = "x-amz-server-side-encryption"


def block_of(robot: Robot) -> Any:
    block = robot.service.drainer.block
    assert block is not None
    return block


# -- session credentials


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidToken", "InvalidAccessKeyId"])
@pytest.mark.guarantee(
    "credentials",
    "S3 no longer accepts the token (expired, invalid, unknown key)",
    "one new token, at once; only the refused part is redone",
)
async def test_a_dead_token_is_renewed_once_and_the_part_redone(robot: Robot, code: str) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", refusal(403, code), part=2)
    row = await robot.land(size=THREE_PARTS)
    before = robot.tokens.fetches

    done = await robot.attempt(row)

    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert done.attempts == 1
    assert robot.tokens.fetches == before + 2  # the first of this process, and one renewal
    parts = robot.ledger.requests("UploadPart")
    assert [part.part for part in parts] == [1, 2, 2, 3]
    assert parts[1].headers[TOKEN] != parts[2].headers[TOKEN] == parts[3].headers[TOKEN]


@pytest.mark.guarantee(
    "credentials", "the token dies under two parts in flight", "one new token for both"
)
async def test_parts_in_flight_share_one_renewal(robot: Robot) -> None:
    first: list[Request] = []

    async def expire_together(request: Request) -> Fault:
        first.append(request)
        await until(lambda: len(first) == 2)
        return EXPIRED

    robot.fault("UploadPart", expire_together, times=2)
    row = await robot.land(size=THREE_PARTS)

    done = await robot.attempt(row)

    assert (done.state, done.attempts) == ("verified", 1)
    assert robot.tokens.fetches == 2


@pytest.mark.guarantee(
    "credentials",
    "the new token is not accepted either",
    "every row waits; a later token carries on, nothing is sent twice",
)
async def test_a_new_token_that_is_dead_too_blocks_the_drain(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", EXPIRED, times=2)
    row = await robot.land(size=THREE_PARTS)
    before = robot.tokens.fetches

    blocked = await robot.attempt(row)
    done = await robot.attempt(row)

    assert (blocked.state, blocked.code) == ("queued", "credentials_expired")
    assert robot.tokens.fetches == before + 2
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "credentials", "an operator asks while tokens are refused", "the status says expired, and why"
)
async def test_status_says_that_credentials_are_expired(robot: Robot) -> None:
    robot.fault("PutObject", EXPIRED, times=2)
    await robot.land()
    robot.service.lock.take()

    await robot.step()

    status = await robot.service.status()
    assert block_of(robot).code == "credentials_expired"
    assert status.credentials == "expired"
    assert "credentials" in status.reason


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.guarantee(
    "credentials",
    "the token dies, and a HEAD is refused without a word (400, 403)",
    "what has words is asked: the token is renewed once, and the HEAD redone",
)
async def test_a_dead_token_is_noticed_where_the_answer_has_no_words(
    robot: Robot, status: int
) -> None:
    """A HEAD carries no code; the library below asks for the region of the bucket at a 400."""
    first: list[str] = []

    async def dead(request: Request) -> Fault | None:
        first.append(request.headers[TOKEN])
        if request.headers[TOKEN] != first[0]:
            return None
        return says(status) if request.op.startswith("Head") else EXPIRED

    for op in ("HeadObject", "HeadBucket", "ListObjectsV2"):
        robot.always(op, dead)
    row = await robot.land()
    await robot.service.outbox(remote_objects.complete_listing)

    done = await robot.attempt(row)

    assert (done.state, done.attempts) == ("verified", 1)
    assert robot.tokens.fetches == 2


@pytest.mark.guarantee(
    "credentials",
    "a HEAD with its option is answered 400 without a word, by a good server (Backblaze B2)",
    "it is asked without; the token is not blamed, and the option not sent again",
)
async def test_a_head_that_is_refused_for_its_option_is_no_dead_token(robot: Robot) -> None:
    async def picky(request: Request) -> Fault | None:
        return says(400) if "x-amz-checksum-mode" in request.headers else None

    robot.always("HeadObject", picky)
    robot.always("HeadBucket", says(400))

    done = [await robot.attempt(await robot.land(f"{seed}.ulg", seed=seed)) for seed in range(2)]

    assert {(row.state, row.attempts) for row in done} == {("verified", 1)}
    assert robot.tokens.fetches == 1
    modes = ["x-amz-checksum-mode" in one.headers for one in robot.ledger.requests("HeadObject")]
    assert modes == [True, *[False] * (len(modes) - 1)]


@pytest.mark.guarantee(
    "credentials",
    "a permission is missing",
    "one renewal, in case it was the token; then the rows wait",
)
async def test_a_missing_permission_costs_one_renewal_and_keeps_every_row(robot: Robot) -> None:
    robot.known = CONDITIONAL
    await robot.restart()
    robot.fault("PutObject", DENIED, times=2)
    row = await robot.land()

    first = await robot.attempt(row)
    second = await robot.attempt(row)
    granted = await robot.attempt(row)

    assert (first.state, first.code) == (second.state, second.code) == ("queued", "forbidden")
    # The next attempt has new credentials: no body travels at once for them.
    assert [one.headers[TOKEN] for one in robot.ledger.requests("PutObject")][1:] == [
        robot.ledger.requests("PutObject")[1].headers[TOKEN]
    ] * 2
    assert robot.count("PutObject") == 3
    assert robot.tokens.fetches == 2
    robot.assert_sent_once(granted, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "credentials",
    "a permission is taken away in the middle of an upload",
    "the parts stay and are not sent again",
)
async def test_a_missing_permission_in_the_middle_keeps_the_parts(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", DENIED, part=2)
    row = await robot.land(size=THREE_PARTS)

    denied = await robot.attempt(row)
    done = await robot.attempt(row)

    assert (denied.state, denied.code, denied.sent_bytes) == ("queued", "forbidden", PART)
    assert "permissions" in denied.reason
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.parametrize(
    ("status", "code", "ours"),
    [
        (404, "NoSuchBucket", "bucket"),
        (403, "QuotaExceeded", "bucket_full"),
        (501, "NotImplemented", "not_implemented"),
        (403, "SignatureDoesNotMatch", "credentials_refused"),
        (405, "MethodNotAllowed", "not_implemented"),
    ],
)
@pytest.mark.guarantee(
    "refusals",
    "no such bucket, no room, a wrong key, a method that is not allowed",
    "every row waits with a reason; none dies",
)
async def test_a_bad_bucket_blocks_the_drain_and_no_row_dies(
    robot: Robot, status: int, code: str, ours: str
) -> None:
    robot.fault("PutObject", refusal(status, code), times=2)
    row = await robot.land()

    told = await robot.attempt(row)
    robot.heal()
    done = await robot.finish(row)

    assert (told.state, told.code) == ("queued", ours)
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.guarantee(
    "refusals", "reading objects is not granted", "the proof is read from the listing"
)
async def test_a_machine_that_may_not_read_proves_by_the_listing(robot: Robot, size: int) -> None:
    robot.always("HeadObject", says(403))
    row = await robot.land(size=size)

    done = await robot.attempt(row)

    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert done.receipt is not None
    assert done.receipt.proof == "etag"


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.guarantee(
    "refusals",
    "the server does not offer the encryption that was asked for (501)",
    "not a byte goes up unencrypted; the reason names PETAL_S3_SSE",
)
async def test_a_server_that_refuses_encryption_is_never_given_plain_bytes(
    robot: Robot, size: int
) -> None:
    async def plain_only(request: Request) -> Fault | None:
        return refusal(501, "NotImplemented") if SSE in request.headers else None

    for op in ("PutObject", "CreateMultipartUpload"):
        robot.always(op, plain_only)
    robot.known = None  # it is learnt
    await robot.restart()
    row = await robot.land(size=size)

    told = [await robot.attempt(row) for _ in range(3)]

    assert {(row.state, row.code) for row in told} == {("queued", "encryption")}
    assert all("PETAL_S3_SSE" in row.reason for row in told)
    assert robot.service.drainer.block is not None
    assert robot.count("UploadPart") == robot.count("PutObject") == 0
    assert (robot.open_uploads(), robot.stored()) == ([], [])


@pytest.mark.guarantee(
    "refusals",
    "PUT alone is refused with the encryption (501), by a server of which nothing is known",
    "that a body is refused does not take the encryption away",
)
async def test_no_refused_body_takes_the_encryption_away(robot: Robot) -> None:
    robot.fault("PutObject", refusal(501, "NotImplemented"), times=2)  # once for If-None-Match
    row = await robot.land()

    told = await robot.attempt(row)

    assert (told.state, told.code) == ("queued", "not_implemented")
    assert SSE in told.reason
    sent = robot.ledger.requests("PutObject")
    assert [request.headers[SSE] for request in sent] == ["AES256"] * 2


@pytest.mark.guarantee(
    "refusals",
    "the server knows no checksum over the whole object",
    "the upload is begun without; the ETag is the proof",
)
async def test_a_server_without_checksums_of_the_whole_gets_none(robot: Robot) -> None:
    robot.fault("CreateMultipartUpload", refusal(400, "InvalidArgument"))
    row = await robot.land(size=THREE_PARTS)

    done = await robot.attempt(row)

    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    first, second = robot.ledger.requests("CreateMultipartUpload")
    assert first.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    assert "x-amz-checksum-type" not in second.headers
    assert done.receipt is not None
    assert done.receipt.proof == "etag"


@pytest.mark.guarantee(
    "refusals",
    "S3 refuses one log for good (key too long, too large)",
    "that row waits with the reason; the others go up",
)
async def test_what_s3_refuses_for_good_waits_with_its_reason(robot: Robot) -> None:
    """No row dies of what a bucket says; a person sees the reason and may act."""
    robot.fault("PutObject", refusal(400, "KeyTooLongError"))
    row = await robot.land()
    other = await robot.land("other.ulg", seed=1)

    refused = await robot.attempt(other)

    assert (refused.state, refused.code) == ("queued", "s3_refused")
    assert robot.service.drainer.block is None
    assert (await robot.finish(row)).state == "verified"


# -- patience


@pytest.mark.guarantee("refusals", "SlowDown with Retry-After", "nothing is tried before")
async def test_retry_after_is_honoured(robot: Robot) -> None:
    robot.fault("PutObject", refusal(503, "SlowDown", Retry_After="90"))
    row = await robot.land()
    now = robot.service.now()

    told = await robot.attempt(row)

    assert (told.state, told.code) == ("queued", "throttled")
    assert 90 <= told.due_at - now < 120
    assert 90 <= block_of(robot).until - now < 120
    assert await robot.service.drainer.step() is False


@pytest.mark.parametrize(
    "fault", [refusal(503, "SlowDown"), refusal(429, "TooManyRequests"), says(503)]
)
@pytest.mark.guarantee("refusals", "503 or 429", "every row waits; the link counts as up")
async def test_throttling_blocks_the_drain_and_the_link_is_up(robot: Robot, fault: Fault) -> None:
    robot.fault("PutObject", fault)
    row = await robot.land()

    told = await robot.attempt(row)
    link = robot.service.drainer.link
    done = await robot.attempt(row)

    assert (told.state, told.code, link) == ("queued", "throttled", "up")
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "refusals", "S3 fails again and again (500)", "the pauses double up to a minute"
)
async def test_failures_in_a_row_wait_longer_and_longer_up_to_a_minute(robot: Robot) -> None:
    robot.known = CONDITIONAL
    await robot.restart()
    robot.service.drainer.timing.spread = lambda: 1.0
    robot.fault("PutObject", UNWELL, times=8)
    row = await robot.land()

    for wait_s in [1, 2, 4, 8, 16, 32, 60, 60]:
        begun = robot.service.now()
        waited = await robot.attempt(row)
        assert begun <= waited.due_at - wait_s <= robot.service.now()
        robot.sql("UPDATE log SET due_at = 0")
    assert robot.count("PutObject") == 8


@pytest.mark.guarantee(
    "refusals",
    "S3 fails between parts that arrive",
    "each part that arrives makes the pauses short again",
)
async def test_a_confirmed_part_makes_patience_short_again(robot: Robot) -> None:
    await robot.restart(concurrency=1)
    robot.fault("UploadPart", UNWELL, times=3)
    row = await robot.land(size=THREE_PARTS)
    for _ in range(3):
        failed = await robot.attempt(row)
    robot.fault("UploadPart", UNWELL, part=2)

    after_progress = await robot.attempt(row)

    assert (failed.failures, after_progress.failures) == (3, 1)


# -- time


@pytest.mark.guarantee(
    "clock",
    "S3 refuses the time of a request",
    "its own time is learnt from that answer, the request redone at once",
)
async def test_the_time_of_s3_is_learnt_and_the_request_redone(robot: Robot) -> None:
    ahead = datetime.now(timezone.utc) + timedelta(days=3653)
    robot.fault("PutObject", dated(SKEWED, ahead))
    row = await robot.land()

    done = await robot.attempt(row)

    first, redone = (r.headers["x-amz-date"] for r in robot.ledger.requests("PutObject"))
    assert (done.state, done.attempts) == ("verified", 1)
    assert int(redone[:4]) - int(first[:4]) in {9, 10}
    assert redone[:8] == ahead.strftime("%Y%m%d")
    assert robot.tokens.fetches == 1


@pytest.mark.guarantee(
    "clock", "the time is refused under two parts in flight", "both are redone in the same attempt"
)
async def test_parts_in_flight_learn_the_time_together(robot: Robot) -> None:
    ahead = datetime.now(timezone.utc) + timedelta(days=3653)
    both: list[Request] = []

    async def skew_together(request: Request) -> Fault:
        both.append(request)
        await until(lambda: len(both) == 2)
        return dated(SKEWED, ahead)

    robot.fault("UploadPart", skew_together, times=2)
    row = await robot.land(size=2 * PART)

    done = await robot.attempt(row)

    assert (done.state, done.attempts) == ("verified", 1)
    redone = [r.headers["x-amz-date"][:8] for r in robot.ledger.requests("UploadPart")[2:]]
    assert set(redone) <= {ahead.strftime("%Y%m%d"), datetime.now(timezone.utc).strftime("%Y%m%d")}


@pytest.mark.guarantee(
    "clock",
    "a HEAD is refused for its time, without a word",
    "the date of the answer tells; it is redone at once",
)
async def test_a_head_refused_for_its_time_is_redone(robot: Robot) -> None:
    """A HEAD carries no code: only the date tells."""
    ahead = datetime.now(timezone.utc) + timedelta(days=3653)
    robot.fault("HeadObject", dated(says(403, b"", {"x-amz-request-id": "R"}), ahead))
    row = await robot.land()

    done = await robot.attempt(row)

    assert (done.state, done.attempts) == ("verified", 1)
    assert robot.ledger.requests("HeadObject")[1].headers["x-amz-date"][:4] == str(ahead.year)


@pytest.mark.guarantee("clock", "S3 refuses its own time", "every row waits; no storm of requests")
async def test_a_time_that_s3_refuses_twice_blocks_the_drain(robot: Robot) -> None:
    robot.fault("PutObject", SKEWED, times=2)
    row = await robot.land()

    told = await robot.attempt(row)
    robot.heal()
    done = await robot.finish(row)

    assert (told.state, told.code) == ("queued", "clock")
    assert robot.count("PutObject") <= 3
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "clock",
    "a device without a clock (1970) on its first request",
    "time of proof and metadata are S3's",
)
async def test_a_device_in_1970_sends_with_the_time_of_s3(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot.service.s3.clock.wall = lambda: 86_400.0 * 30
    robot.fault("ListObjectsV2", SKEWED)
    row = await robot.land()

    done = await robot.attempt(row)

    assert (done.state, done.attempts) == ("verified", 1)
    assert robot.ledger.requests("ListObjectsV2")[0].headers["x-amz-date"].startswith("1970")
    today = datetime.now(timezone.utc).strftime("%Y%m%d")
    assert robot.ledger.requests("PutObject")[0].headers["x-amz-date"].startswith(today)
    assert done.receipt is not None
    assert done.receipt.verified_at > 1_700_000_000
    assert robot.head(row.key)["Metadata"]["upload-timestamp"] > "2023"


# -- the token service


@pytest.mark.parametrize(
    ("status", "body", "content_type", "code", "says"),
    [
        (503, "later", "text/plain", "token_service_down", "HTTP 503"),
        (401, "", "text/plain", "token_service_refused", "registration"),
        (403, "", "text/plain", "token_service_refused", "registration"),
        (200, PORTAL_PAGE.decode(), "text/html", "token_service_nonsense", "web page"),
        (200, "{}", "application/json", "token_service_nonsense", "accessKeyId"),
        (200, "", "text/plain", "token_service_nonsense", "no JSON"),
    ],
)
@pytest.mark.guarantee(
    "credentials",
    "the token service answers 503, 401, 403, a page, {} or nothing",
    "the drain says which; S3 is not asked; it heals by itself",
)
@pytest.mark.threat("tokens")
async def test_a_bad_token_service_blocks_the_drain_with_a_plain_reason(
    robot: Robot, status: int, body: str, content_type: str, code: str, says: str
) -> None:
    robot.tokens.fail_with(status, body, content_type)
    row = await robot.land()

    told = await robot.attempt(row)
    asked_s3 = robot.ops()
    robot.tokens.heal()
    done = await robot.finish(row)

    assert (told.state, told.code) == ("queued", code)
    assert says in told.reason
    assert asked_s3 == []
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "credentials",
    "the token service accepts and never answers",
    "given up in time; it heals by itself",
)
@pytest.mark.threat("tokens")
async def test_a_token_service_that_hangs_is_given_up(robot: Robot) -> None:
    await robot.restart(request_timeout=1)
    robot.tokens.hang = True
    row = await robot.land()

    told = await robot.attempt(row)
    robot.tokens.heal()
    done = await robot.finish(row, attempts=60)  # on a busy machine S3 may not be in time, too

    assert (told.state, told.code) == ("queued", "token_service_down")
    assert "no answer within" in told.reason
    assert done.state == "verified"


@pytest.mark.guarantee(
    "credentials", "the token service drops the connection", "the drain says so; it heals by itself"
)
async def test_a_token_service_that_drops_is_a_plain_reason(robot: Robot) -> None:
    robot.tokens.drop = True
    row = await robot.land()

    told = await robot.attempt(row)
    robot.tokens.heal()
    done = await robot.finish(row)

    assert (told.state, told.code) == ("queued", "token_service_down")
    assert told.reason.startswith("The token service at 127.0.0.1 cannot be reached")
    assert done.state == "verified"


@pytest.mark.guarantee(
    "credentials",
    "the token service is down when it is time to renew",
    "the token that still lives is used on",
)
async def test_a_valid_token_is_used_on_while_its_service_is_down(robot: Robot) -> None:
    _, now = await timed(robot)
    await robot.attempt(await robot.land())
    now.at += robot.tokens.life_s - 60  # time to renew, before the end
    robot.tokens.fail_with(503)

    done = await robot.attempt(await robot.land("two.ulg", seed=1))

    assert done.state == "verified"
    assert robot.tokens.fetches == 2


@pytest.mark.guarantee("credentials", "many logs in a row", "one token carries them")
async def test_credentials_are_fetched_once_for_many_logs(robot: Robot) -> None:
    for seed in range(4):
        await robot.attempt(await robot.land(f"{seed}.ulg", seed=seed))

    assert robot.tokens.fetches == 1


@pytest.mark.guarantee(
    "credentials", "no credentials anywhere", "the drain waits and names PETAL_S3_SESSION_TOKEN_URL"
)
async def test_without_any_credentials_the_drain_waits_and_names_the_setting(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    robot.given["session_token_url"] = None
    await robot.restart()
    row = await robot.land()

    told = await robot.attempt(row)

    assert (told.state, told.code) == ("queued", "no_credentials")
    assert "PETAL_S3_SESSION_TOKEN_URL" in told.reason


@pytest.mark.guarantee("credentials", "an answer of S3 is lost", "the token is kept")
async def test_a_lost_answer_is_not_a_reason_to_ask_for_a_new_token(robot: Robot) -> None:
    robot.fault("PutObject", LOSE_ANSWER)
    row = await robot.land()

    await robot.attempt(row)
    await robot.attempt(row)

    assert robot.tokens.fetches == 1
