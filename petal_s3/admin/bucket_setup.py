"""Bring a bucket to the desired state, step by step; where nothing differs, write nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from petal_s3.admin import bucket_settings as on_wire
from petal_s3.admin import desired_settings
from petal_s3.admin import iam_policy as policy
from petal_s3.admin.administrator_calls import calls_for
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
class DesiredBucket:
    """What an administrator wants a bucket to be.

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
    """The result of one step; ``changes`` are sentences, ``code`` that of the failure."""

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
    settings: Settings, desired: DesiredBucket, *, dry_run: bool = False
) -> AsyncIterator[Step]:
    """Make each step, and say what became of it.

    Raises what ends it all: :class:`Conflict` ``bucket_of_another``, :class:`ConfigError` for a
    wrong region, and whatever only waiting helps against (no network, no credentials).
    """
    if desired.access_logs is not None and desired.access_logs[0] == desired.bucket:
        raise BadInput(
            "A bucket cannot take its own access logs, each of which is an access: name another."
        )
    targets = (desired.access_logs[0],) if desired.access_logs is not None else ()
    async with calls_for(settings, desired.bucket, *targets) as (calls, *others):
        async for step in _steps(calls, *others, desired=desired, dry_run=dry_run):
            yield step


async def _steps(
    calls: Calls, target: Calls | None = None, *, desired: DesiredBucket, dry_run: bool
) -> AsyncIterator[Step]:
    first = await _bucket(calls, desired, dry_run=dry_run)
    yield first
    to_come = first.outcome == "to change"  # then there is nothing to read
    if not first.fine:
        return
    log = False
    if target is not None:
        allowed = await _log_target(target, desired, dry_run=dry_run)
        yield allowed
        log = allowed.fine
        if not log:
            yield Step("access logs", "skipped", reason="Their bucket does not take them.")
    for setting, want in _wanted(desired, log=log):
        yield await _step(calls, setting, want, dry_run=dry_run, to_come=to_come)


def _wanted(desired: DesiredBucket, *, log: bool) -> list[tuple[Setting, Want]]:
    steps: list[tuple[Setting, Want]] = [(on_wire.VERSIONING, desired_settings.versioned)]
    if desired.sse != "none":
        steps.append((on_wire.ENCRYPTION, lambda now: desired_settings.encrypted(now, desired.sse)))
    if log and desired.access_logs is not None:
        target, prefix = desired.access_logs
        steps.append((on_wire.LOGGING, lambda now: desired_settings.logged(now, target, prefix)))
    tmp = [
        desired_settings.tmp_rule(desired.upload_prefix, machine) for machine in desired.machines
    ]
    steps.append((on_wire.LIFECYCLE, lambda now: desired_settings.ruled(now, tmp)))
    steps.append((on_wire.CORS, lambda now: desired_settings.for_browsers(now, desired.origins)))
    if desired.tls_only:
        statement = policy.tls_only(desired.bucket, desired.region)
        # The last: over http it may refuse our own next request.
        steps.append((on_wire.POLICY, lambda now: policy.with_statement(now, statement)))
    return steps


async def _bucket(calls: Calls, desired: DesiredBucket, *, dry_run: bool) -> Step:
    try:
        region = await _region(calls, desired)
        if region is not None:
            return Step("bucket", "unchanged")
        change = (f"creates {desired.bucket} in {desired.region}",)
        if dry_run:
            return Step("bucket", "to change", change)
        await on_wire.create(calls, desired.region)
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


async def _region(calls: Calls, desired: DesiredBucket) -> str | None:
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
                f"The bucket {desired.bucket} cannot be used with these credentials: it belongs to"
                " somebody else, and another PETAL_S3_BUCKET_NAME is needed, or they lack"
                " s3:ListBucket.",
                code="bucket_of_another",
            ) from again
        return ""
    if desired.on_aws and region and region != desired.region:
        raise ConfigError(
            f"The bucket {desired.bucket} is in {region}, not in {desired.region}: set"
            f" PETAL_S3_REGION={region}."
        )
    return region


async def _log_target(target: Calls, desired: DesiredBucket, *, dry_run: bool) -> Step:
    """Let S3 write access logs into their bucket, which must be there."""
    assert desired.access_logs is not None
    name, prefix = desired.access_logs
    try:
        if await on_wire.region_of(target) is None:
            raise S3FileNotFoundError(
                f"There is no bucket {name} for the access logs: create it first.",
                code="no_log_target",
            )
    except S3IntegrationError as error:
        return _failed("log target", error, f"s3:ListBucket on {name}")
    statement = policy.takes_access_logs(name, prefix, desired.bucket, desired.region)
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
        changes = desired_settings.differences(now, wanted)
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
