"""S3 or the token service says no: who waits, for how long, and what brings it back."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from rig import (
    LOSE_ANSWER,
    PART,
    PORTAL_PAGE,
    SMALL,
    THREE_PARTS,
    UNWELL,
    Rig,
    dated,
    refusal,
    until,
)

from petal_s3.demo.ledger import Request
from petal_s3.demo.link import Fault
from petal_s3.outbox import metadata as memory
from tests.faults.known import CONDITIONAL

EXPIRED = refusal(400, "ExpiredToken")
DENIED = refusal(403, "AccessDenied")
SKEWED = refusal(403, "RequestTimeTooSkewed")
TOKEN = "x-amz-security-token"
SSE = "x-amz-server-side-encryption"


def block_of(rig: Rig) -> Any:
    block = rig.service.drainer.block
    assert block is not None
    return block


# -- session credentials


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidToken", "InvalidAccessKeyId"])
@pytest.mark.guarantee(
    "credentials",
    "S3 no longer accepts the token (expired, invalid, unknown key)",
    "one new token, at once; only the refused part is redone",
)
async def test_a_dead_token_is_renewed_once_and_the_part_redone(rig: Rig, code: str) -> None:
    await rig.restart(concurrency=1)
    rig.fault("UploadPart", refusal(403, code), part=2)
    row = await rig.land(size=THREE_PARTS)
    before = rig.tokens.fetches

    done = await rig.attempt(row)

    rig.assert_sent_once(done, rig.logs / "flight.ulg")
    assert done.attempts == 1
    assert rig.tokens.fetches == before + 2  # the first of this process, and one renewal
    parts = rig.ledger.requests("UploadPart")
    assert [part.part for part in parts] == [1, 2, 2, 3]
    assert parts[1].headers[TOKEN] != parts[2].headers[TOKEN] == parts[3].headers[TOKEN]


@pytest.mark.guarantee(
    "credentials", "the token dies under two parts in flight", "one new token for both"
)
async def test_parts_in_flight_share_one_renewal(rig: Rig) -> None:
    first: list[Request] = []

    async def expire_together(request: Request) -> Fault:
        first.append(request)
        await until(lambda: len(first) == 2)
        return EXPIRED

    rig.fault("UploadPart", expire_together, times=2)
    row = await rig.land(size=THREE_PARTS)

    done = await rig.attempt(row)

    assert (done.state, done.attempts) == ("verified", 1)
    assert rig.tokens.fetches == 2


@pytest.mark.guarantee(
    "credentials",
    "the new token is not accepted either",
    "every row waits; a later token carries on, nothing is sent twice",
)
async def test_a_new_token_that_is_dead_too_blocks_the_drain(rig: Rig) -> None:
    await rig.restart(concurrency=1)
    rig.fault("UploadPart", EXPIRED, times=2)
    row = await rig.land(size=THREE_PARTS)
    before = rig.tokens.fetches

    blocked = await rig.attempt(row)
    done = await rig.attempt(row)

    assert (blocked.state, blocked.code) == ("queued", "credentials_expired")
    assert rig.tokens.fetches == before + 2
    rig.assert_sent_once(done, rig.logs / "flight.ulg")


@pytest.mark.guarantee(
    "credentials", "an operator asks while tokens are refused", "the status says expired, and why"
)
async def test_status_says_that_credentials_are_expired(rig: Rig) -> None:
    rig.fault("PutObject", EXPIRED, times=2)
    await rig.land()
    rig.service.lock.take()

    await rig.step()

    status = await rig.service.status()
    assert block_of(rig).code == "credentials_expired"
    assert status["credentials"] == "expired"
    assert "credentials" in status["reason"]


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.guarantee(
    "credentials",
    "the token dies, and a HEAD is refused without a word (400, 403)",
    "what has words is asked: the token is renewed once, and the HEAD redone",
)
async def test_a_dead_token_is_noticed_where_the_answer_has_no_words(rig: Rig, status: int) -> None:
    """A HEAD carries no code; the library below asks for the region of the bucket at a 400."""
    first: list[str] = []

    async def dead(request: Request) -> Fault | None:
        first.append(request.headers[TOKEN])
        if request.headers[TOKEN] != first[0]:
            return None
        return Fault(status) if request.op.startswith("Head") else EXPIRED

    for op in ("HeadObject", "HeadBucket", "ListObjectsV2"):
        rig.always(op, dead)
    row = await rig.land()
    await rig.service.outbox(memory.take_inventory)

    done = await rig.attempt(row)

    assert (done.state, done.attempts) == ("verified", 1)
    assert rig.tokens.fetches == 2


@pytest.mark.guarantee(
    "credentials",
    "a HEAD with its option is answered 400 without a word, by a good server (Backblaze B2)",
    "it is asked without; the token is not blamed, and the option not sent again",
)
async def test_a_head_that_is_refused_for_its_option_is_no_dead_token(rig: Rig) -> None:
    async def picky(request: Request) -> Fault | None:
        return Fault(400) if "x-amz-checksum-mode" in request.headers else None

    rig.always("HeadObject", picky)
    rig.always("HeadBucket", Fault(400))

    done = [await rig.attempt(await rig.land(f"{seed}.ulg", seed=seed)) for seed in range(2)]

    assert {(row.state, row.attempts) for row in done} == {("verified", 1)}
    assert rig.tokens.fetches == 1
    modes = ["x-amz-checksum-mode" in one.headers for one in rig.ledger.requests("HeadObject")]
    assert modes == [True, *[False] * (len(modes) - 1)]


@pytest.mark.guarantee(
    "credentials",
    "a permission is missing",
    "one renewal, in case it was the token; then the rows wait",
)
async def test_a_missing_permission_costs_one_renewal_and_keeps_every_row(rig: Rig) -> None:
    rig.known = CONDITIONAL
    await rig.restart()
    rig.fault("PutObject", DENIED, times=2)
    row = await rig.land()

    first = await rig.attempt(row)
    second = await rig.attempt(row)
    granted = await rig.attempt(row)

    assert (first.state, first.code) == (second.state, second.code) == ("queued", "forbidden")
    # The next attempt has new credentials: no body travels at once for them.
    assert [one.headers[TOKEN] for one in rig.ledger.requests("PutObject")][1:] == [
        rig.ledger.requests("PutObject")[1].headers[TOKEN]
    ] * 2
    assert rig.count("PutObject") == 3
    assert rig.tokens.fetches == 2
    rig.assert_sent_once(granted, rig.logs / "flight.ulg")


@pytest.mark.guarantee(
    "credentials",
    "a permission is taken away in the middle of an upload",
    "the parts stay and are not sent again",
)
async def test_a_missing_permission_in_the_middle_keeps_the_parts(rig: Rig) -> None:
    await rig.restart(concurrency=1)
    rig.fault("UploadPart", DENIED, part=2)
    row = await rig.land(size=THREE_PARTS)

    denied = await rig.attempt(row)
    done = await rig.attempt(row)

    assert (denied.state, denied.code, denied.sent_bytes) == ("queued", "forbidden", PART)
    assert "permissions" in denied.reason
    rig.assert_sent_once(done, rig.logs / "flight.ulg")


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
    rig: Rig, status: int, code: str, ours: str
) -> None:
    rig.fault("PutObject", refusal(status, code), times=2)
    row = await rig.land()

    told = await rig.attempt(row)
    rig.heal()
    done = await rig.finish(row)

    assert (told.state, told.code) == ("queued", ours)
    rig.assert_sent_once(done, rig.logs / "flight.ulg")


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.guarantee(
    "refusals", "reading objects is not granted", "the proof is read from the listing"
)
async def test_a_machine_that_may_not_read_proves_by_the_listing(rig: Rig, size: int) -> None:
    rig.always("HeadObject", Fault(403))
    row = await rig.land(size=size)

    done = await rig.attempt(row)

    rig.assert_sent_once(done, rig.logs / "flight.ulg")
    assert done.receipt is not None
    assert done.receipt.proof == "etag"


@pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
@pytest.mark.guarantee(
    "refusals",
    "the server does not offer the encryption that was asked for (501)",
    "not a byte goes up unencrypted; the reason names PETAL_S3_SSE",
)
async def test_a_server_that_refuses_encryption_is_never_given_plain_bytes(
    rig: Rig, size: int
) -> None:
    async def plain_only(request: Request) -> Fault | None:
        return refusal(501, "NotImplemented") if SSE in request.headers else None

    for op in ("PutObject", "CreateMultipartUpload"):
        rig.always(op, plain_only)
    rig.known = None  # it is learnt
    await rig.restart()
    row = await rig.land(size=size)

    told = [await rig.attempt(row) for _ in range(3)]

    assert {(row.state, row.code) for row in told} == {("queued", "encryption")}
    assert all("PETAL_S3_SSE" in row.reason for row in told)
    assert rig.service.drainer.block is not None
    assert rig.count("UploadPart") == rig.count("PutObject") == 0
    assert (rig.open_uploads(), rig.stored()) == ([], [])


@pytest.mark.guarantee(
    "refusals",
    "PUT alone is refused with the encryption (501), by a server of which nothing is known",
    "that a body is refused does not take the encryption away",
)
async def test_no_refused_body_takes_the_encryption_away(rig: Rig) -> None:
    rig.fault("PutObject", refusal(501, "NotImplemented"), times=2)  # once for If-None-Match
    row = await rig.land()

    told = await rig.attempt(row)

    assert (told.state, told.code) == ("queued", "not_implemented")
    assert SSE in told.reason
    sent = rig.ledger.requests("PutObject")
    assert [request.headers[SSE] for request in sent] == ["AES256"] * 2


@pytest.mark.guarantee(
    "refusals",
    "the server knows no checksum over the whole object",
    "the upload is begun without; the ETag is the proof",
)
async def test_a_server_without_checksums_of_the_whole_gets_none(rig: Rig) -> None:
    rig.fault("CreateMultipartUpload", refusal(400, "InvalidArgument"))
    row = await rig.land(size=THREE_PARTS)

    done = await rig.attempt(row)

    rig.assert_sent_once(done, rig.logs / "flight.ulg")
    first, second = rig.ledger.requests("CreateMultipartUpload")
    assert first.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    assert "x-amz-checksum-type" not in second.headers
    assert done.receipt is not None
    assert done.receipt.proof == "etag"


@pytest.mark.guarantee(
    "refusals",
    "S3 refuses one log for good (key too long, too large)",
    "that row waits with the reason; the others go up",
)
async def test_what_s3_refuses_for_good_waits_with_its_reason(rig: Rig) -> None:
    """No row dies of what a bucket says; a person sees the reason and may act."""
    rig.fault("PutObject", refusal(400, "KeyTooLongError"))
    row = await rig.land()
    other = await rig.land("other.ulg", seed=1)

    refused = await rig.attempt(other)

    assert (refused.state, refused.code) == ("queued", "s3_refused")
    assert rig.service.drainer.block is None
    assert (await rig.finish(row)).state == "verified"


# -- patience


@pytest.mark.guarantee("refusals", "SlowDown with Retry-After", "nothing is tried before")
async def test_retry_after_is_honoured(rig: Rig) -> None:
    rig.fault("PutObject", refusal(503, "SlowDown", Retry_After="90"))
    row = await rig.land()
    now = rig.service._now()

    told = await rig.attempt(row)

    assert (told.state, told.code) == ("queued", "throttled")
    assert 90 <= told.due_at - now < 120
    assert 90 <= block_of(rig).until - now < 120
    assert await rig.service.drainer.step() is False


@pytest.mark.parametrize(
    "fault", [refusal(503, "SlowDown"), refusal(429, "TooManyRequests"), Fault(503)]
)
@pytest.mark.guarantee("refusals", "503 or 429", "every row waits; the link counts as up")
async def test_throttling_blocks_the_drain_and_the_link_is_up(rig: Rig, fault: Fault) -> None:
    rig.fault("PutObject", fault)
    row = await rig.land()

    told = await rig.attempt(row)
    link = rig.service.drainer.link
    done = await rig.attempt(row)

    assert (told.state, told.code, link) == ("queued", "throttled", "up")
    rig.assert_sent_once(done, rig.logs / "flight.ulg")


@pytest.mark.guarantee(
    "refusals", "S3 fails again and again (500)", "the pauses double up to a minute"
)
async def test_failures_in_a_row_wait_longer_and_longer_up_to_a_minute(rig: Rig) -> None:
    rig.known = CONDITIONAL
    await rig.restart()
    rig.service.drainer._spread = lambda: 1.0
    rig.fault("PutObject", UNWELL, times=8)
    row = await rig.land()

    for wait_s in [1, 2, 4, 8, 16, 32, 60, 60]:
        begun = rig.service._now()
        waited = await rig.attempt(row)
        assert begun <= waited.due_at - wait_s <= rig.service._now()
        rig.sql("UPDATE log SET due_at = 0")
    assert rig.count("PutObject") == 8


@pytest.mark.guarantee(
    "refusals",
    "S3 fails between parts that arrive",
    "each part that arrives makes the pauses short again",
)
async def test_a_confirmed_part_makes_patience_short_again(rig: Rig) -> None:
    await rig.restart(concurrency=1)
    rig.fault("UploadPart", UNWELL, times=3)
    row = await rig.land(size=THREE_PARTS)
    for _ in range(3):
        failed = await rig.attempt(row)
    rig.fault("UploadPart", UNWELL, part=2)

    after_progress = await rig.attempt(row)

    assert (failed.failures, after_progress.failures) == (3, 1)


# -- time


@pytest.mark.guarantee(
    "clock",
    "S3 refuses the time of a request",
    "its own time is learnt from that answer, the request redone at once",
)
async def test_the_time_of_s3_is_learnt_and_the_request_redone(rig: Rig) -> None:
    ahead = datetime.now(timezone.utc) + timedelta(days=3653)
    rig.fault("PutObject", dated(SKEWED, ahead))
    row = await rig.land()

    done = await rig.attempt(row)

    first, redone = (r.headers["x-amz-date"] for r in rig.ledger.requests("PutObject"))
    assert (done.state, done.attempts) == ("verified", 1)
    assert int(redone[:4]) - int(first[:4]) in {9, 10}
    assert redone[:8] == ahead.strftime("%Y%m%d")
    assert rig.tokens.fetches == 1


@pytest.mark.guarantee(
    "clock", "the time is refused under two parts in flight", "both are redone in the same attempt"
)
async def test_parts_in_flight_learn_the_time_together(rig: Rig) -> None:
    ahead = datetime.now(timezone.utc) + timedelta(days=3653)
    both: list[Request] = []

    async def skew_together(request: Request) -> Fault:
        both.append(request)
        await until(lambda: len(both) == 2)
        return dated(SKEWED, ahead)

    rig.fault("UploadPart", skew_together, times=2)
    row = await rig.land(size=2 * PART)

    done = await rig.attempt(row)

    assert (done.state, done.attempts) == ("verified", 1)
    redone = [r.headers["x-amz-date"][:8] for r in rig.ledger.requests("UploadPart")[2:]]
    assert set(redone) <= {ahead.strftime("%Y%m%d"), datetime.now(timezone.utc).strftime("%Y%m%d")}


@pytest.mark.guarantee(
    "clock",
    "a HEAD is refused for its time, without a word",
    "the date of the answer tells; it is redone at once",
)
async def test_a_head_refused_for_its_time_is_redone(rig: Rig) -> None:
    """A HEAD carries no code: only the date tells."""
    ahead = datetime.now(timezone.utc) + timedelta(days=3653)
    rig.fault("HeadObject", dated(Fault(403), ahead))
    row = await rig.land()

    done = await rig.attempt(row)

    assert (done.state, done.attempts) == ("verified", 1)
    assert rig.ledger.requests("HeadObject")[1].headers["x-amz-date"][:4] == str(ahead.year)


@pytest.mark.guarantee("clock", "S3 refuses its own time", "every row waits; no storm of requests")
async def test_a_time_that_s3_refuses_twice_blocks_the_drain(rig: Rig) -> None:
    rig.fault("PutObject", SKEWED, times=2)
    row = await rig.land()

    told = await rig.attempt(row)
    rig.heal()
    done = await rig.finish(row)

    assert (told.state, told.code) == ("queued", "clock")
    assert rig.count("PutObject") <= 3
    rig.assert_sent_once(done, rig.logs / "flight.ulg")


@pytest.mark.guarantee(
    "clock",
    "a device without a clock (1970) on its first request",
    "time of proof and metadata are S3's",
)
async def test_a_device_in_1970_sends_with_the_time_of_s3(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.service.s3.clock._wall = lambda: 86_400.0 * 30
    rig.fault("ListObjectsV2", SKEWED)
    row = await rig.land()

    done = await rig.attempt(row)

    assert (done.state, done.attempts) == ("verified", 1)
    assert rig.ledger.requests("ListObjectsV2")[0].headers["x-amz-date"].startswith("1970")
    today = datetime.now(timezone.utc).strftime("%Y%m%d")
    assert rig.ledger.requests("PutObject")[0].headers["x-amz-date"].startswith(today)
    assert done.receipt is not None
    assert done.receipt.verified_at > 1_700_000_000
    assert int(rig.head(row.key)["Metadata"]["upload-timestamp"]) > 1_700_000_000


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
async def test_a_bad_token_service_blocks_the_drain_with_a_plain_reason(
    rig: Rig, status: int, body: str, content_type: str, code: str, says: str
) -> None:
    rig.tokens.fail_with(status, body, content_type)
    row = await rig.land()

    told = await rig.attempt(row)
    asked_s3 = rig.ops()
    rig.tokens.heal()
    done = await rig.finish(row)

    assert (told.state, told.code) == ("queued", code)
    assert says in told.reason
    assert asked_s3 == []
    rig.assert_sent_once(done, rig.logs / "flight.ulg")


@pytest.mark.guarantee(
    "credentials",
    "the token service accepts and never answers",
    "given up in time; it heals by itself",
)
async def test_a_token_service_that_hangs_is_given_up(rig: Rig) -> None:
    await rig.restart(request_timeout=0.3)
    rig.tokens.hang = True
    row = await rig.land()

    told = await rig.attempt(row)
    rig.tokens.heal()
    done = await rig.finish(row)

    assert (told.state, told.code) == ("queued", "token_service_down")
    assert "no answer within" in told.reason
    assert done.state == "verified"


@pytest.mark.guarantee(
    "credentials", "the token service drops the connection", "the drain says so; it heals by itself"
)
async def test_a_token_service_that_drops_is_a_plain_reason(rig: Rig) -> None:
    rig.tokens.drop = True
    row = await rig.land()

    told = await rig.attempt(row)
    rig.tokens.heal()
    done = await rig.finish(row)

    assert (told.state, told.code) == ("queued", "token_service_down")
    assert told.reason.startswith("The token service at 127.0.0.1 cannot be reached")
    assert done.state == "verified"


@pytest.mark.guarantee(
    "credentials",
    "the token service is down when it is time to renew",
    "the token that still lives is used on",
)
async def test_a_valid_token_is_used_on_while_its_service_is_down(rig: Rig) -> None:
    await rig.attempt(await rig.land())
    tokens = rig.service.tokens
    assert tokens is not None
    tokens._renew_at = 0.0  # time to renew, long before the end
    rig.tokens.fail_with(503)

    done = await rig.attempt(await rig.land("two.ulg", seed=1))

    assert done.state == "verified"
    assert rig.tokens.fetches == 2


@pytest.mark.guarantee("credentials", "many logs in a row", "one token carries them")
async def test_credentials_are_fetched_once_for_many_logs(rig: Rig) -> None:
    for seed in range(4):
        await rig.attempt(await rig.land(f"{seed}.ulg", seed=seed))

    assert rig.tokens.fetches == 1


@pytest.mark.guarantee(
    "credentials", "no credentials anywhere", "the drain waits and names PETAL_S3_SESSION_TOKEN_URL"
)
async def test_without_any_credentials_the_drain_waits_and_names_the_setting(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    rig.given["session_token_url"] = None
    await rig.restart()
    row = await rig.land()

    told = await rig.attempt(row)

    assert (told.state, told.code) == ("queued", "no_credentials")
    assert "PETAL_S3_SESSION_TOKEN_URL" in told.reason


@pytest.mark.guarantee("credentials", "an answer of S3 is lost", "the token is kept")
async def test_a_lost_answer_is_not_a_reason_to_ask_for_a_new_token(rig: Rig) -> None:
    rig.fault("PutObject", LOSE_ANSWER)
    row = await rig.land()

    await rig.attempt(row)
    await rig.attempt(row)

    assert rig.tokens.fetches == 1
