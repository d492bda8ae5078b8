"""Take steps of ``bucket setup`` back; what others set stays, and so does the bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

from petal_s3.admin import bucket_settings as on_wire
from petal_s3.admin import desired_settings
from petal_s3.admin import iam_policy as policy
from petal_s3.admin.administrator_calls import calls_for
from petal_s3.admin.bucket_settings import Setting
from petal_s3.admin.bucket_setup import DesiredBucket, region_of_ours
from petal_s3.admin.removable import Removable
from petal_s3.admin.steps import Step, Want, failed, settle
from petal_s3.core.settings import Settings
from petal_s3.errors import S3FileNotFoundError, S3IntegrationError
from petal_s3.s3.calls import Calls

_NOT_OURS = "What is set there is not of bucket setup, and stays."
_AWS_ENCRYPTS = "AWS encrypts every bucket so; there is nothing to take back."


async def removal_steps(
    settings: Settings,
    desired: DesiredBucket,
    removed: Collection[Removable],
    *,
    dry_run: bool = False,
) -> AsyncIterator[Step]:
    """Take back each step of ``removed``, and say what became of it.

    ``desired.machines``: take back the lifecycle rules of these alone; empty: every rule of ours.
    Raises :class:`S3FileNotFoundError` (``no_bucket``), else as
    :func:`~petal_s3.admin.bucket_setup.setup_steps`.
    """
    async with calls_for(settings, desired.bucket) as (calls,):
        if await region_of_ours(calls, desired) is None:
            raise S3FileNotFoundError(
                f"There is no bucket {desired.bucket}: nothing can be taken back.",
                code="no_bucket",
            )
        for setting, want in _wanted(desired, removed):
            yield await _removed(calls, setting, want, desired, dry_run=dry_run)
        if Removable.EXPIRE_VERSIONS in removed:
            yield await settle(
                calls, on_wire.LIFECYCLE, without_expiry, name="versions", dry_run=dry_run
            )
        if Removable.ACCESS_LOGS in removed:
            async for step in _access_logs(settings, calls, desired, dry_run=dry_run):
                yield step


def _wanted(desired: DesiredBucket, removed: Collection[Removable]) -> list[tuple[Setting, Want]]:
    steps: dict[Removable, tuple[Setting, Want]] = {
        # The first: while it stands, it may refuse all that follows.
        Removable.TLS_ONLY: (
            on_wire.POLICY,
            lambda now: policy.without_statement(now, policy.TLS_ONLY),
        ),
        Removable.LIFECYCLE: (on_wire.LIFECYCLE, lambda now: without_rules(now, desired.machines)),
        Removable.ENCRYPTION: (on_wire.ENCRYPTION, lambda now: unencrypted(now, desired)),
        Removable.CORS: (on_wire.CORS, without_browsers),
        Removable.VERSIONING: (on_wire.VERSIONING, suspended),
    }
    return [step for name, step in steps.items() if name in removed]


async def _removed(
    calls: Calls,
    setting: Setting,
    want: Want,
    desired: DesiredBucket,
    *,
    name: str = "",
    dry_run: bool,
) -> Step:
    """One step back; where something stands that is not ours, it says so."""
    seen: list[Any] = []

    def wanted(now: Any) -> Any:
        seen.append(now)
        return want(now)

    step = await settle(calls, setting, wanted, name=name, dry_run=dry_run)
    if step.outcome != "unchanged" or setting is on_wire.VERSIONING or not any(seen):
        return step
    by_aws = setting is on_wire.ENCRYPTION and _is_default(seen[0], desired)
    return Step(step.name, "unchanged", reason=_AWS_ENCRYPTS if by_aws else _NOT_OURS)


# -- each takes what is now (none: never set) and returns it without what is ours, the very same
# where nothing is; none: nothing is left


def suspended(now: str | None) -> str | None:
    """Versioning is off again; versions that are there stay. It can never be unset."""
    return "Suspended" if now == "Enabled" else now


def unencrypted(now: Sequence[Mapping[str, Any]] | None, desired: DesiredBucket) -> Any:
    """The default encryption is removed where it is what PETAL_S3_SSE says."""
    if not now or desired.sse == "none" or _is_default(now, desired):
        return now
    ours = desired_settings.encrypted([dict(rule) for rule in now], desired.sse) == list(now)
    return None if ours else now


def _is_default(now: Sequence[Mapping[str, Any]], desired: DesiredBucket) -> bool:
    """Whether it is what AWS sets by itself, and sets again where it was removed."""
    default = now[0].get("ApplyServerSideEncryptionByDefault") or {}
    return desired.on_aws and len(now) == 1 and default == {"SSEAlgorithm": "AES256"}


def without_rules(now: Mapping[str, Any] | None, machines: Collection[str]) -> Any:
    """The lifecycle without our rules; with ``machines`` those alone that expire their tmp/."""
    if now is None:
        return None
    names = {str(rule.get("ID")) for rule in now["Rules"]}
    named = {f"{desired_settings.TMP}{one}" for one in machines}
    return without(now, {name for name in names if _is_rule_of_ours(name, named)})


def without(now: Mapping[str, Any] | None, names: Collection[str]) -> Any:
    """The lifecycle without the rules of these names."""
    if now is None:
        return None
    kept = [rule for rule in now["Rules"] if str(rule.get("ID")) not in names]
    if len(kept) == len(now["Rules"]):
        return now
    return {**now, "Rules": kept} if kept else None


def _is_rule_of_ours(name: str, named: Collection[str]) -> bool:
    if named:
        return name in named
    whole = {desired_settings.STALE_UPLOADS, desired_settings.VERSIONS}
    return name in whole or name.startswith(desired_settings.TMP)


def without_expiry(now: Mapping[str, Any] | None) -> Any:
    """The lifecycle without our rule that erases old versions: all are kept again."""
    return without(now, {desired_settings.VERSIONS})


def without_browsers(now: Sequence[Mapping[str, Any]] | None) -> Any:
    """The CORS rules without ours."""
    kept = [rule for rule in now or () if rule.get("ID") != desired_settings.BROWSER]
    return now if len(kept) == len(now or ()) else kept or None


# -- access logs, of which a statement in the policy of their bucket says that they are ours


async def _access_logs(
    settings: Settings, calls: Calls, desired: DesiredBucket, *, dry_run: bool
) -> AsyncIterator[Step]:
    try:
        now = await on_wire.read(calls, on_wire.LOGGING)
    except S3IntegrationError as error:
        yield failed(on_wire.LOGGING.name, error, on_wire.LOGGING.may_get)
        return
    if now is None:
        yield Step(on_wire.LOGGING.name, "unchanged")
        return
    target, prefix = str(now.get("TargetBucket")), str(now.get("TargetPrefix") or "")
    sid = policy.takes_access_logs(target, prefix, desired.bucket, desired.region)["Sid"]
    async with calls_for(settings, target) as (others,):
        name = "log target"
        try:
            statements = policy.statements_of(await on_wire.read(others, on_wire.POLICY))
        except S3IntegrationError as error:
            yield failed(name, error, f"{on_wire.POLICY.may_get} on {target}")
            return
        if all(one.get("Sid") != sid for one in statements):
            yield Step(on_wire.LOGGING.name, "unchanged", reason=_NOT_OURS)
            return
        yield await settle(calls, on_wire.LOGGING, lambda _: None, dry_run=dry_run)
        yield await settle(
            others,
            on_wire.POLICY,
            lambda now: policy.without_statement(now, sid),
            name=name,
            dry_run=dry_run,
        )
