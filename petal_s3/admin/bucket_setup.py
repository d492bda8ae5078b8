"""Bring a bucket to the desired state, step by step; where nothing differs, write nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from petal_s3.admin import bucket_settings as on_wire
from petal_s3.admin import desired_settings, public_access
from petal_s3.admin import iam_policy as policy
from petal_s3.admin.administrator_calls import calls_for
from petal_s3.admin.bucket_settings import Setting
from petal_s3.admin.steps import Step, Want, failed, settle
from petal_s3.core.settings import Settings
from petal_s3.errors import (
    BadInput,
    ConfigError,
    Conflict,
    S3BucketError,
    S3FileNotFoundError,
    S3IntegrationError,
)
from petal_s3.s3.calls import Calls

_OR_TLS = (
    ", or a TLS-only policy of the bucket refuses them because PETAL_S3_ENDPOINT_URL is http://"
)

_NO_PAGE = "No page is let in: --origin names those that may use presigned URLs."
_EVERY_PAGE = (
    "Every page may use presigned URLs (*): --origin names those that may, --remove cors lets none."
)


@dataclass(frozen=True)
class DesiredBucket:
    """What an administrator wants a bucket to be.

    ``on_aws``: the region of the settings must be that of the bucket; other servers have names
    of their own for regions. ``over_http``: the endpoint is ``http://``. ``access_logs``: bucket
    and prefix that take them, or none. ``expire_versions``: days after which what was overwritten
    or deleted is erased; none: nothing is changed about that.
    """

    bucket: str
    region: str
    sse: str
    upload_prefix: str
    on_aws: bool = True
    machines: Sequence[str] = ()
    origins: Sequence[str] = ()
    tls_only: bool = True
    over_http: bool = False
    access_logs: tuple[str, str] | None = None
    expire_versions: int | None = None


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
    yield await _public_access(calls, first, desired, dry_run=dry_run)
    log = False
    if target is not None:
        allowed = await _log_target(target, desired, dry_run=dry_run)
        yield allowed
        log = allowed.fine
        if not log:
            yield Step("access logs", "skipped", reason="Their bucket does not take them.")
    for setting, want in _wanted(desired, log=log):
        yield await settle(calls, setting, want, dry_run=dry_run, to_come=to_come)
    yield await _cors(calls, desired, dry_run=dry_run, to_come=to_come)
    for setting, want in _last(desired):
        yield await settle(calls, setting, want, dry_run=dry_run, to_come=to_come)
    if desired.over_http and not desired.tls_only and not to_come:
        standing = await _standing_policy(calls)
        if standing is not None:
            yield standing


async def _public_access(
    calls: Calls, bucket: Step, desired: DesiredBucket, *, dry_run: bool
) -> Step:
    """Shut the public out of a bucket that was just made; of any other, say how it is."""
    if bucket.outcome == "unchanged":
        return await public_access.step(calls, desired.bucket)
    block, to_come = desired_settings.blocked, bucket.outcome == "to change"
    return await settle(calls, on_wire.PUBLIC_ACCESS, block, dry_run=dry_run, to_come=to_come)


def _wanted(desired: DesiredBucket, *, log: bool) -> list[tuple[Setting, Want]]:
    steps: list[tuple[Setting, Want]] = [(on_wire.VERSIONING, desired_settings.versioned)]
    if desired.sse != "none":
        steps.append((on_wire.ENCRYPTION, lambda now: desired_settings.encrypted(now, desired.sse)))
    if log and desired.access_logs is not None:
        target, prefix = desired.access_logs
        steps.append((on_wire.LOGGING, lambda now: desired_settings.logged(now, target, prefix)))
    rules = _rules(desired)
    steps.append((on_wire.LIFECYCLE, lambda now: desired_settings.ruled(now, rules)))
    return steps


def _last(desired: DesiredBucket) -> list[tuple[Setting, Want]]:
    """The policy: over http it may refuse our own next request."""
    if not desired.tls_only:
        return []
    statement = policy.tls_only(desired.bucket, desired.region)
    return [(on_wire.POLICY, lambda now: policy.with_statement(now, statement))]


def _rules(desired: DesiredBucket) -> list[dict[str, Any]]:
    prefix, days = desired.upload_prefix, desired.expire_versions
    rules = [desired_settings.tmp_rule(prefix, machine) for machine in desired.machines]
    return rules if days is None else [*rules, desired_settings.versions_rule(days)]


async def _cors(calls: Calls, desired: DesiredBucket, *, dry_run: bool, to_come: bool) -> Step:
    """Let in the pages that were named; where none were, say which are let in."""
    seen: list[Any] = []

    def want(now: Any) -> Any:
        seen.append(now)
        return desired_settings.for_browsers(now, desired.origins)

    step = await settle(calls, on_wire.CORS, want, dry_run=dry_run, to_come=to_come)
    if desired.origins or not step.fine:
        return step
    pages = desired_settings.let_in(seen[0])
    return replace(step, reason=_EVERY_PAGE if "*" in pages else "" if pages else _NO_PAGE)


async def _standing_policy(calls: Calls) -> Step | None:
    """Over http: say so where a policy that refuses such requests stands there already."""
    try:
        now = await on_wire.read(calls, on_wire.POLICY)
    except S3IntegrationError as error:
        failed("policy", error, on_wire.POLICY.may_get)  # raises where waiting would help
        return None
    if not policy.wants_tls(now):
        return None
    return Step(
        "policy",
        "unchanged",
        reason="The bucket's policy refuses requests without TLS, and the endpoint is http://: a"
        " server that obeys it lets no machine in there. --remove tls-only takes it back.",
    )


async def _bucket(calls: Calls, desired: DesiredBucket, *, dry_run: bool) -> Step:
    try:
        region = await region_of_ours(calls, desired)
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
        return failed("bucket", error, "s3:CreateBucket")
    return Step("bucket", "changed", change)


async def region_of_ours(calls: Calls, desired: DesiredBucket) -> str | None:
    """The region that the bucket is in; none where there is no such bucket.

    Raises :class:`Conflict` ``bucket_of_another`` where it may not be used, :class:`ConfigError`
    for a wrong region.
    """
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
                f" s3:ListBucket{_OR_TLS if desired.over_http else ''}.",
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
        return failed("log target", error, f"s3:ListBucket on {name}")
    statement = policy.takes_access_logs(name, prefix, desired.bucket, desired.region)
    return await settle(
        target,
        on_wire.POLICY,
        lambda now: policy.with_statement(now, statement),
        name="log target",
        dry_run=dry_run,
    )
