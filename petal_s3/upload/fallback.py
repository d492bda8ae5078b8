"""Send a request once more without the option that a server refuses."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from petal_s3.errors import Conflict, Mismatch, S3IntegrationError
from petal_s3.outbox.rows import Row
from petal_s3.s3.capabilities import Feature
from petal_s3.s3.client import S3
from petal_s3.s3.options import is_vague, may_be_refusal
from petal_s3.upload.learning import Learner

log = logging.getLogger("petal_s3")

T = TypeVar("T")

Send = Callable[[S3IntegrationError | None, bool], Awaitable[T]]
"""Makes a request: after the refusal, if there is one, without the options that the server is not
known to offer. The flag: it is made for the second time."""


async def send_with_fallback(
    s3: S3, learner: Learner, row: Row, send: Send[T], *options: Feature
) -> T:
    """Send a request; where its ``options`` are refused, learn which, and send it once more."""
    try:
        return await send(None, False)
    except S3IntegrationError as error:
        repeated = row.failed_by(error)
        if repeated and isinstance(error, Mismatch) and error.told is None:
            await learner.again()  # its ETags may have another form by now
        if isinstance(error, Conflict) or not may_be_refusal(error):
            raise
        lacked = {one for one in options if s3.capabilities.lacks(one)}
        await learner.again()
        learnt = any(s3.capabilities.lacks(one) for one in options if one not in lacked)
        unsure = s3.server.unsure_of(*options)
        if not learnt and not unsure:
            raise  # it is refused for something else
        if not learnt and is_vague(error) and not repeated:
            raise  # S3 may be in trouble for a moment
        refusal = error if unsure else None
        reason = error.message
    log.warning("sent again without an option reason=%s", reason)
    try:
        return await send(refusal, True)
    except S3IntegrationError as error:
        if not isinstance(error, Conflict) and may_be_refusal(error):
            learner.owe()  # the server has become another one since it was tried
        raise
