"""Make one guarded call to S3: credentials, a deadline, errors translated, one more try at once."""

from __future__ import annotations

import asyncio
import logging

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.errors import (
    ClockSkew,
    NotS3,
    S3BucketError,
    S3CredentialsError,
    S3IntegrationError,
    Told,
)
from petal_s3.s3.answered_errors import login_page
from petal_s3.s3.connection import Connection
from petal_s3.s3.credentials import Credentials, TokenService
from petal_s3.s3.evidence import root_of
from petal_s3.s3.link_state import LinkState
from petal_s3.s3.options import spoken
from petal_s3.s3.request_body import FilePart
from petal_s3.s3.responses import LONGEST_URL_S, status
from petal_s3.s3.s3_settings import S3Settings
from petal_s3.s3.server_time import FROM_CACHE, ServerClock, from_cache
from petal_s3.s3.shapes import Answer, Params
from petal_s3.s3.stalls import while_moving
from petal_s3.s3.translation import ErrorTranslation

log = logging.getLogger("petal_s3")

_CLOCK_LIMIT_S = 14 * 60.0
_FRESH_S = 900.0
# Policies leave these out on purpose: a refusal is no reason to give up a good token.
_OFTEN_DENIED = {
    "list_multipart_uploads",
    "get_bucket_lifecycle_configuration",
    "get_bucket_policy_status",
    "get_public_access_block",
}


class Calls:
    """Calls for one bucket; every error that leaves them is one of :mod:`petal_s3.errors`.

    ``timeout_s`` bounds a call without a body, ``patience`` one with a body that stalls.
    """

    def __init__(
        self,
        settings: S3Settings,
        tokens: TokenService | None,
        server_clock: ServerClock,
        *,
        now: Clock = clock.now,
    ) -> None:
        self.answered = 0
        """How many calls S3 has answered well: it grows while the link works."""
        self.link_state = LinkState()
        self.connection = Connection(settings, tokens, server_clock)
        self.timeout_s = settings.timeout_s
        self.patience = settings.patience
        self.now = now
        self._over_http = (settings.endpoint_url or "").lower().startswith("http:")
        self._clock = server_clock
        self._tokens = tokens
        self._refreshed_at = float("-inf")
        self._worked = 0  # calls answered well when credentials were last renewed for a refusal

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        await self.connection.close()

    async def credentials_left_s(self) -> int:
        """How long what is signed now stays good, in whole seconds, at least one."""
        if self._tokens is None:
            return LONGEST_URL_S  # botocore's own chain does not say
        held = await self._tokens.get()
        return max(1, min(LONGEST_URL_S, int(held.expires_at - self.now())))

    async def call(
        self,
        operation: str,
        params: Params,
        *,
        part: FilePart | None = None,
        slow: bool = False,
    ) -> Answer:
        """Make one call; repeat it once, at once, with new credentials or the server's time."""
        for again in (True, False):
            held = await self._tokens.get() if self._tokens is not None else None
            offset_s = self._clock.offset_s or 0.0
            try:
                return await self._try(operation, part, slow=slow, params=params)
            except (S3CredentialsError, S3BucketError, ClockSkew) as error:
                # The clock was corrected meanwhile: then the signature was wrong, whatever is said
                # of keys and permissions. What is said of something else has nothing to do with it.
                signed = not isinstance(error, S3BucketError) or error.code == "forbidden"
                moved_s = abs((self._clock.offset_s or 0.0) - offset_s) if signed else 0.0
                if not again:
                    self._blame_token_service(error)
                    raise
                mended = isinstance(error, S3CredentialsError) and (
                    await self.connection.has_other_keys()
                )
                mended = mended or self._can_be_mended(operation, error, held)
                if moved_s <= _CLOCK_LIMIT_S and not mended:
                    self._blame_static_keys(error)
                    self._blame_token_service(error)  # fresh ones were refused lately
                    raise
                if part is not None and error.code == "forbidden":
                    raise  # the next request has new credentials; a body does not travel for that
                log.info("s3 call repeated reason=%s", error.told or error.code)
            if part is not None:
                part.seek(0)
        raise AssertionError("unreachable")

    def _blame_token_service(self, error: S3IntegrationError) -> None:
        """Raise the error in other words where fresh credentials failed as well."""
        if isinstance(error, S3CredentialsError) and self._tokens is not None and error.told:
            raise _worded(
                error,
                f"S3 accepts neither the session credentials nor fresh ones ({error.told}): check"
                " that the token service (PETAL_S3_SESSION_TOKEN_URL) gives some for this S3.",
            ) from error

    def _blame_static_keys(self, error: S3IntegrationError) -> None:
        """Raise the error in other words where the refused keys cannot be renewed."""
        if isinstance(error, S3CredentialsError) and self._tokens is None and error.told:
            raise _worded(
                error,
                f"S3 does not accept the access key of this machine ({error.told}): check"
                " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile in ~/.aws.",
            ) from error

    def _can_be_mended(
        self, operation: str, error: S3IntegrationError, held: Credentials | None
    ) -> bool:
        if isinstance(error, ClockSkew) or self._tokens is None or held is None:
            return False
        if error.code != "credentials_expired":
            # An expired token may look like a missing permission; but ask for a new one rarely.
            now = self.now()
            refused = error.code in {"forbidden", "credentials_refused"}
            if not refused or operation in _OFTEN_DENIED:
                return False
            current = self._tokens.current
            if current is None or current.generation != held.generation:
                return True  # another call has renewed it meanwhile, or is about to
            worked = error.code == "credentials_refused" and self.answered > self._worked
            if now - self._refreshed_at < _FRESH_S and not worked:
                return False
            self._refreshed_at, self._worked = now, self.answered
        self._tokens.invalidate(held.generation)
        return True

    async def _try(
        self, operation: str, part: FilePart | None, *, slow: bool, params: Params
    ) -> Answer:
        try:
            answer = await self._answer(operation, part, slow=slow, params=params)
        except S3IntegrationError as error:
            self.link_state.failed(error, self.now())
            raise
        self.answered += 1
        self.link_state.heard(self.now(), well=True)
        return answer

    async def _answer(
        self, operation: str, part: FilePart | None, *, slow: bool, params: Params
    ) -> Answer:
        client = await self.connection.open()
        with self.errors(spoken(params)):
            call = self.connection.call(operation, params)
            if part is not None:
                answer = await while_moving(call, part, self.patience, self.connection.peer)
            else:
                deadline = self.timeout_s * (10 if slow else 1)
                answer = await asyncio.wait_for(call, deadline)
        if from_cache(answer["ResponseMetadata"]["HTTPHeaders"]):
            if "Body" in answer:
                answer["Body"].close()
            raise NotS3(FROM_CACHE)
        if root_of(answer) == "html":
            raise login_page(Told(client.meta.method_to_api_mapping[operation], status(answer)))
        return answer

    def errors(self, options: str = "") -> ErrorTranslation:
        """Let only our errors out; ``options``: what the request carries, for the sentence."""
        return ErrorTranslation(self.connection.peer, options, over_http=self._over_http)


def _worded(error: S3IntegrationError, message: str) -> S3CredentialsError:
    anew = S3CredentialsError(message, code=error.code, retry_after_s=error.retry_after_s)
    anew.told = error.told
    return anew
