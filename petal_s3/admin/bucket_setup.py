"""Bring a bucket to the wanted state, step by step; where it is there already, write nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from petal_s3.admin import bucket_settings as on_wire
from petal_s3.admin import desired_settings as wishes
from petal_s3.admin import iam_policy as policy
from petal_s3.admin.bucket_settings import Setting
from petal_s3.core.settings import Settings
from petal_s3.errors import (
    BadInput,
    ClockSkew,
    ConfigError,
    Conflict,
    NotS3,
    Offline,
    S3BucketError,
    S3CredentialsError,
    S3FileNotFoundError,
    S3IntegrationError,
    Throttled,
)
from petal_s3.s3.calls import Calls

Outcome = Literal["unchanged", "changed", "to change", "failed", "not offered", "skipped"]
Want = Callable[[Any], Any]
_READ_PAST = {"not_implemented", "not_found", "bucket_is_yours", "bucket_of_another"}
_NOT_HERE = {400, 404, 405, 501}


@dataclass(frozen=True)
class Wish:
    """What an administrator wants of a bucket.

    ``on_aws``: the region of the settings must be that of the bucket; other servers have names
    of their own for regions. ``access_logs``: bucket and prefix that take them, or none.
    """

    bucket: str
    region: str
    sse: str
    upload_prefix: str
    on_aws: bool = True
    machines: Sequence[str] = ()
    origins: Sequence[str] = ()
    tls_only: bool = True
    access_logs: tuple[str, str] | None = None


@dataclass(frozen=True)
class Step:
    """What became of one step; ``changes`` are sentences, ``code`` that of the failure."""

    name: str
    outcome: Outcome
    changes: Sequence[str] = field(default_factory=tuple)
    reason: str = ""
    code: str = ""

    @property
    def fine(self) -> bool:
        """Whether the bucket now is as wanted, or would be."""
        return self.outcome in {"unchanged", "changed", "to change"}


async def setup_steps(
    settings: Settings, wish: Wish, *, dry_run: bool = False
) -> AsyncIterator[Step]:
    """Make each step, and say what became of it.

    Raises what ends it all: :class:`Conflict` ``bucket_of_another``, :class:`ConfigError` for a
    wrong region, and whatever only waiting helps against (no network, no credentials).
    """
    if wish.access_logs is not None and wish.access_logs[0] == wish.bucket:
        raise BadInput("A bucket that keeps its own access logs never rests: name another one.")
    targets = (wish.access_logs[0],) if wish.access_logs is not None else ()
    async with on_wire.calls_for(settings, wish.bucket, *targets) as (calls, *others):
        async for step in _steps(calls, *others, wish=wish, dry_run=dry_run):
            yield step


async def _steps(
    calls: Calls, target: Calls | None = None, *, wish: Wish, dry_run: bool
) -> AsyncIterator[Step]:
    first = await _bucket(calls, wish, dry_run=dry_run)
    yield first
    to_come = first.outcome == "to change"  # then there is nothing to read
    if not first.fine:
        return
    log = False
    if target is not None:
        allowed = await _log_target(target, wish, dry_run=dry_run)
        yield allowed
        log = allowed.fine
        if not log:
            yield Step("access logs", "skipped", reason="Their bucket does not take them.")
    for setting, want in _wanted(wish, log=log):
        yield await _step(calls, setting, want, dry_run=dry_run, to_come=to_come)


def _wanted(wish: Wish, *, log: bool) -> list[tuple[Setting, Want]]:
    steps: list[tuple[Setting, Want]] = [(on_wire.VERSIONING, wishes.versioned)]
    if wish.sse != "none":
        steps.append((on_wire.ENCRYPTION, lambda now: wishes.encrypted(now, wish.sse)))
    if log and wish.access_logs is not None:
        target, prefix = wish.access_logs
        steps.append((on_wire.LOGGING, lambda now: wishes.logged(now, target, prefix)))
    tmp = [wishes.tmp_rule(wish.upload_prefix, machine) for machine in wish.machines]
    steps.append((on_wire.LIFECYCLE, lambda now: wishes.ruled(now, tmp)))
    steps.append((on_wire.CORS, lambda now: wishes.for_browsers(now, wish.origins)))
    if wish.tls_only:
        statement = policy.tls_only(wish.bucket, wish.region)
        # The last: over http it may shut out who sets it.
        steps.append((on_wire.POLICY, lambda now: policy.with_statement(now, statement)))
    return steps


async def _bucket(calls: Calls, wish: Wish, *, dry_run: bool) -> Step:
    try:
        region = await _region(calls, wish)
        if region is not None:
            return Step("bucket", "unchanged")
        change = (f"creates {wish.bucket} in {wish.region}",)
        if dry_run:
            return Step("bucket", "to change", change)
        await on_wire.create(calls, wish.region)
    except Conflict as error:
        if error.code != "bucket_is_yours":
            raise
        return Step("bucket", "unchanged")
    except ConfigError:
        raise
    except S3IntegrationError as error:
        if error.code == "bucket":
            raise ConfigError(error.message) from error  # it names the settings
        return _failed("bucket", error, "s3:CreateBucket")
    return Step("bucket", "changed", change)


async def _region(calls: Calls, wish: Wish) -> str | None:
    """The region that the bucket is in; none where there is no such bucket."""
    try:
        region = await on_wire.region_of(calls)
    except S3BucketError as error:
        if error.code != "forbidden":
            raise
        try:
            await on_wire.is_ours(calls)
        except S3BucketError as again:
            if again.code != "forbidden":
                raise
            raise Conflict(
                f"The bucket {wish.bucket} is closed to these credentials: it belongs to somebody"
                " else, and another PETAL_S3_BUCKET_NAME is needed, or they lack s3:ListBucket.",
                code="bucket_of_another",
            ) from again
        return ""
    if wish.on_aws and region and region != wish.region:
        raise ConfigError(
            f"The bucket {wish.bucket} is in {region}, not in {wish.region}: set"
            f" PETAL_S3_REGION={region}."
        )
    return region


async def _log_target(target: Calls, wish: Wish, *, dry_run: bool) -> Step:
    """Let S3 write access logs into their bucket, which must be there."""
    assert wish.access_logs is not None
    name, prefix = wish.access_logs
    try:
        if await on_wire.region_of(target) is None:
            raise S3FileNotFoundError(
                f"There is no bucket {name} for the access logs: create it first.",
                code="no_log_target",
            )
    except S3IntegrationError as error:
        return _failed("log target", error, f"s3:ListBucket on {name}")
    statement = policy.takes_access_logs(name, prefix, wish.bucket, wish.region)
    return await _step(
        target,
        on_wire.POLICY,
        lambda now: policy.with_statement(now, statement),
        name="log target",
        dry_run=dry_run,
    )


async def _step(
    calls: Calls,
    setting: Setting,
    want: Want,
    *,
    name: str = "",
    dry_run: bool,
    to_come: bool = False,
) -> Step:
    """Read, compare, and write what differs. ``to_come``: of a bucket that is not there yet."""
    name = name or setting.name
    needed = setting.may_get
    try:
        now = None if to_come else await on_wire.read(calls, setting)
        wanted = want(now)
        changes = wishes.differences(now, wanted)
        if not changes or dry_run:
            return Step(name, "to change" if changes else "unchanged", changes)
        needed = setting.may_put
        await on_wire.write(calls, setting, wanted)
    except S3IntegrationError as error:
        return _failed(name, error, needed)
    return Step(name, "changed", changes)


def _failed(name: str, error: S3IntegrationError, needed: str) -> Step:
    """A step that could not be made; raises what would stop the next ones too."""
    if error.code == "forbidden":
        reason = f"Not permitted: these credentials need {needed}."
        return Step(name, "failed", reason=reason, code=error.code)
    if name != "bucket" and _unknown(error):
        told = error.told or getattr(error, "page", None)
        reason = f"The server does not offer this setting ({told})." if told else error.message
        return Step(name, "not offered", reason=reason, code="not_offered")
    if isinstance(error, Offline | Throttled | ClockSkew | S3CredentialsError):
        raise error
    return Step(name, "failed", reason=error.message, code=error.code)


def _unknown(error: S3IntegrationError) -> bool:
    """Whether the server does not know the operation, in whatever words.

    One that reads past the name of a setting takes it for the key of an object, or for a bucket
    that is to be created.
    """
    page = isinstance(error, NotS3) and error.page is not None and error.page.status in _NOT_HERE
    return page or error.code in _READ_PAST
