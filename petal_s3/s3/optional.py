"""Send requests whose options a server may lack, and learn from how it answers."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from petal_s3.errors import Conflict, S3BucketError, S3IntegrationError
from petal_s3.s3 import reading
from petal_s3.s3.capabilities import Feature
from petal_s3.s3.options import (
    carried,
    is_trouble,
    is_vague,
    may_be_refusal,
    offered,
    to_drop,
    without,
)
from petal_s3.s3.request_body import FilePart
from petal_s3.s3.server import Server
from petal_s3.s3.shapes import Answer, Params

IF_ABSENT = {"IfNoneMatch": "*"}
"""The parameters of a request that stores something only where nothing stands yet."""


async def call_with_body(
    server: Server,
    operation: str,
    params: Params,
    part: FilePart,
    refusal: S3IntegrationError | None,
) -> Answer:
    """Send a body with the options that the server is not known to lack, once.

    ``refusal``: it was refused so before; no option is sent that the server is not known to
    offer, and where it then takes the body, it lacks those options. Raises the refusal itself
    where no option is left to leave out: the same request would travel again.
    """
    params = offered(operation, params, server.capabilities)
    dropped: list[Feature] = []
    if refusal is not None:
        options = (one for one in carried(operation, params) if one != "encryption")
        dropped = [one for one in options if not server.capabilities.offers(one)]
        if not dropped:
            raise refusal
    answer = await server.call(operation, without(operation, params, *dropped), part=part)
    for feature in dropped:
        server.learn(feature, offered=False, by=str(refusal and refusal.told))
    return answer


async def call(server: Server, operation: str, params: Params, *, slow: bool = False) -> Answer:
    """Call with the options that the server is not known to lack, and learn from a refusal.

    Where the same request is taken without an option, the server lacks it.
    """
    params = offered(operation, params, server.capabilities)
    try:
        return await server.call(operation, params, slow=slow)
    except S3IntegrationError as error:
        if not await _says_no_to_options(server, error, params):
            raise
        refusal = error
    # One odd answer is no refusal of a condition: without it another's object may be lost.
    if is_vague(refusal) or any(one.endswith("_condition") for one in carried(operation, params)):
        try:
            return await server.call(operation, params, slow=slow)
        except S3IntegrationError as error:
            if not await _says_no_to_options(server, error, params):
                raise  # it was in trouble for a moment; now it says what is the matter
    return await _with_fewer(server, operation, params, refusal, slow=slow)


async def _with_fewer(
    server: Server, operation: str, params: Params, refusal: S3IntegrationError, *, slow: bool
) -> Answer:
    for dropped in to_drop(operation, params):
        if _must_stay(server, dropped, refusal):
            continue
        fewer = without(operation, params, *dropped)
        try:
            answer = await server.call(operation, fewer, slow=slow)
        except S3IntegrationError as error:
            if not await _says_no_to_options(server, error, params):
                raise  # a condition that is kept tells of an object that came meanwhile
            continue
        for feature in dropped:
            server.learn(feature, offered=False, by=str(refusal.told))
        return answer
    raise refusal


async def _says_no_to_options(server: Server, error: S3IntegrationError, params: Params) -> bool:
    if not may_be_refusal(error):
        return False
    if not isinstance(error, Conflict):
        return True
    # Some servers refuse each condition, as if something stood there; others show it late.
    key = params["Key"]
    if server.capabilities.lacks("prompt_reads") or await reading.head(server, key) is not None:
        return False
    with contextlib.suppress(S3BucketError):  # a listing may be withheld
        return await reading.find(server, key) is None
    return True


def _must_stay(server: Server, dropped: Sequence[Feature], refusal: S3IntegrationError) -> bool:
    """Whether options are sent again though they were in a refused request.

    An option that the server was seen to honour stays where the server may be merely in trouble;
    a condition that it was seen to honour stays until that condition itself is refused. No server
    is known that refuses conditions by failing: for that none is given up.
    """
    if is_trouble(refusal) and any(one.endswith("_condition") for one in dropped):
        return True
    kept = [feature for feature in dropped if server.capabilities.offers(feature)]
    conditions = [feature for feature in kept if feature.endswith("_condition")]
    return bool(conditions if not is_vague(refusal) else kept)
