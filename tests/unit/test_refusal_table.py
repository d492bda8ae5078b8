"""What S3 can say, in three columns: our class, what it does to row and drain, what people read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio
from outbox_rows import entry
from test_refusals import (
    ADDRESS,
    ARCHIVED,
    BUCKET,
    CLOCK,
    CODES,
    DIGEST,
    ENCRYPTION,
    EXPIRED,
    FORBIDDEN,
    FULL,
    GONE,
    KEYS,
    MISSING,
    NOT_OFFERED,
    NOT_S3,
    NOT_SET,
    OF_ANOTHER,
    OUTSIDE,
    REFUSED,
    SLOW,
    TAKEN,
    UNKNOWN_REFUSAL,
    UNWELL,
    YOURS,
    Meaning,
    answered,
    came,
)

from petal_s3.core.settings_loading import load_settings
from petal_s3.errors import S3FileNotFoundError, S3IntegrationError
from petal_s3.outbox import entering, queries
from petal_s3.outbox.rows import Row
from petal_s3.s3.error_codes import STATUSES, TABLE
from petal_s3.s3.error_mapping import translate
from petal_s3.s3.link_state import LinkState
from petal_s3.service.service import Service
from tests.support import known

MINUTE_S, QUARTER_S = 60.0, 900.0

# Codes that S3 and servers like it are known to answer with; the table may know more.
KNOWN = {
    "ExpiredToken",
    "ExpiredTokenException",
    "TokenRefreshRequired",
    "InvalidToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "RequestInTheFuture",
    "AuthorizationHeaderMalformed",
    "SignatureDoesNotMatch",
    "AccessDenied",
    "AllAccessDisabled",
    "AccountProblem",
    "KMS.AccessDeniedException",
    "NoSuchBucket",
    "InvalidBucketName",
    "PermanentRedirect",
    "IllegalLocationConstraintException",
    "MethodNotAllowed",
    "NotImplemented",
    "SlowDown",
    "ServiceUnavailable",
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "TooManyRequestsException",
    "BandwidthLimitExceeded",
    "InternalError",
    "RequestTimeout",
    "IncompleteBody",
    "OperationAborted",
    "ConditionalRequestConflict",
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "InvalidDigest",
    "NoSuchUpload",
    "InvalidPart",
    "InvalidPartOrder",
    "EntityTooSmall",
    "PreconditionFailed",
    "EntityTooLarge",
    "KeyTooLongError",
    "InvalidArgument",
    "MetadataTooLarge",
    "InvalidRequest",
    "MalformedXML",
    "UnsupportedHeader",
    "QuotaExceeded",
    "InsufficientStorage",
    "XMinioStorageFull",
    "ServiceQuotaExceeded",
    "NoSuchKey",
    "407",
    "429",
    "502",
    "504",
    "511",
}


@dataclass(frozen=True)
class Effect:
    """What a refusal does; the row always stays queued, with code and sentence."""

    sentence: str
    blocks: bool
    """Every row waits, not only this one."""
    longest_s: float
    """The longest pause between two attempts."""
    link: str = "unknown"


EFFECTS: dict[Meaning, Effect] = {
    EXPIRED: Effect("S3 does not accept the session credentials ({came}).", True, MINUTE_S, "up"),
    KEYS: Effect("S3 does not accept the access key ({came}).", True, MINUTE_S, "up"),
    CLOCK: Effect("S3 does not accept the time of the request ({came}).", True, MINUTE_S, "up"),
    FORBIDDEN: Effect(
        "S3 does not allow it to this machine ({came}): check its permissions.",
        True,
        QUARTER_S,
        "up",
    ),
    BUCKET: Effect(
        "The bucket cannot be used ({came}): check PETAL_S3_BUCKET_NAME and PETAL_S3_REGION.",
        True,
        QUARTER_S,
        "up",
    ),
    NOT_OFFERED: Effect(
        "The server does not offer what was asked of it ({came}).", True, QUARTER_S, "up"
    ),
    ENCRYPTION: Effect(
        "The server does not encrypt as it is asked to ({came}): set PETAL_S3_SSE to what it"
        " offers, or to none.",
        True,
        QUARTER_S,
        "up",
    ),
    ADDRESS: Effect(
        "The server does not take the bucket where it was named ({came}): set"
        " PETAL_S3_ADDRESS_STYLE.",
        True,
        QUARTER_S,
        "up",
    ),
    FULL: Effect("The bucket has no room left ({came}).", True, QUARTER_S, "up"),
    SLOW: Effect("S3 asks to slow down ({came}).", True, MINUTE_S, "up"),
    GONE: Effect(
        "S3 no longer knows the multipart upload ({came}); it begins anew.", False, QUARTER_S
    ),
    DIGEST: Effect(
        "S3 says that the bytes do not fit their checksum ({came}); they are sent again.",
        False,
        QUARTER_S,
    ),
    TAKEN: Effect("S3 says that an object stands at this key already ({came}).", False, QUARTER_S),
    MISSING: Effect("There is no such object.", False, QUARTER_S),
    ARCHIVED: Effect(
        "The object is archived and has to be restored before it can be read ({came}).",
        False,
        QUARTER_S,
    ),
    OUTSIDE: Effect("Nothing of the object lies in this range ({came}).", False, QUARTER_S),
    (S3FileNotFoundError, "no_lifecycle"): Effect(
        "The bucket has no lifecycle rules ({came}).", False, QUARTER_S
    ),
    NOT_SET: Effect("The bucket has no such setting ({came}).", False, QUARTER_S),
    OF_ANOTHER: Effect(
        "The bucket belongs to another account ({came}): choose another PETAL_S3_BUCKET_NAME.",
        False,
        QUARTER_S,
    ),
    YOURS: Effect("The bucket is yours ({came}).", False, QUARTER_S),
    REFUSED: Effect("S3 refuses this request ({came}).", False, QUARTER_S),
    UNKNOWN_REFUSAL: Effect("S3 refuses this request ({came}).", False, MINUTE_S),
    UNWELL: Effect("S3 could not do it ({came}); it is tried again.", False, MINUTE_S),
}
# Their sentence says who asks for the login.
LOGINS = {
    "407": "A proxy on the way asks for a login ({came}).",
    "511": "The network asks for a login ({came}).",
}
# A refusal that does not say why blames no permission; trouble without a word is said to be so.
WORDLESS = {
    **dict.fromkeys(("401", "403"), "S3 refuses this request ({came})."),
    **dict.fromkeys(
        ("500", "502", "504", "599"), "S3 did not say why ({came}); it is tried again."
    ),
}


def effect_of(code: str, status: int, meaning: Meaning) -> Effect:
    login = Effect(LOGINS.get(code, ""), True, MINUTE_S, "down")
    effect = login if meaning == NOT_S3 else EFFECTS[meaning]
    sentence = WORDLESS.get(code, effect.sentence).format(came=came(code, status))
    return replace(effect, sentence=sentence)


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """A service with one row in its outbox; what its attempts end with is for the test to say."""
    made = Service(
        load_settings(bucket_name="logs", machine_id="m-1", state_dir=tmp_path, log_dirs=""),
        capabilities=known.KNOWN,
    )
    made.drainer.timing.spread = lambda: 1.0
    await made.open()
    await made.outbox(entering.enqueue, entry())
    yield made
    await made.stop()


async def attempt(service: Service, error: S3IntegrationError, failures: int) -> dict[str, object]:
    """An attempt after so many that failed, which ends so: what is stored, what the drain does."""

    async def fail(row: Row) -> Row:
        raise error

    service.uploader.attempt = fail  # type: ignore[method-assign]
    service.drainer.timing.now = lambda: 1000.0
    service.drainer.pause.block, service.drainer.pause.link_state = None, LinkState()
    await service.outbox(
        lambda box: box.sql.change(
            "UPDATE log SET due_at = 0, attempts = 0, code = '', reason = '', failures = :n",
            n=failures,
        )
    )
    assert await service.drainer.step()
    (row,) = await service.outbox(queries.rows)
    block = service.drainer.block
    return {
        "row": (row.state, row.code, row.reason, row.attempts, row.failures, row.receipt),
        "pause_s": row.due_at - 1000.0,
        "block": None if block is None else (block.code, block.reason),
        "link": service.drainer.link,
    }


@pytest.mark.guarantee(
    "refusals",
    "any code that S3, or a server like it, is known to answer with, and any other",
    "one meaning each: who waits, how long at most, and a sentence that says what to do",
)
async def test_a_refusal_does_to_row_and_drain_what_the_table_says(service: Service) -> None:
    wrong = {}
    for code, status, meaning in CODES:
        effect = effect_of(code, status, meaning)
        error = translate(answered(code, status), peer=None)
        for failures in (0, 50):
            found = await attempt(service, error, failures)
            soon_s = 1.0 if effect.longest_s == MINUTE_S else 4.0
            expected = {
                "row": ("queued", meaning[1], effect.sentence, 1, failures + 1, None),
                "pause_s": effect.longest_s if failures else soon_s,
                "block": (meaning[1], effect.sentence) if effect.blocks else None,
                "link": effect.link,
            }
            if found != expected:
                wrong[code, status, failures] = (found, expected)

    assert wrong == {}


def test_the_table_has_every_code_that_is_known_and_every_code_that_is_translated() -> None:
    tested = {code for code, _, _ in CODES}

    assert tested >= KNOWN
    assert set(TABLE) <= tested


def test_the_table_has_every_status_that_is_translated_without_its_code() -> None:
    without = {status for code, status, _ in CODES if code not in TABLE}

    assert set(STATUSES) <= without


def test_every_meaning_has_its_effect() -> None:
    meanings = {meaning for _, _, meaning in CODES}

    assert meanings - {NOT_S3} == set(EFFECTS)
    translated = {(kind, code) for kind, code, _ in [*TABLE.values(), *STATUSES.values()]}
    assert translated <= meanings
