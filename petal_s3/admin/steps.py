"""One step at one setting of a bucket: read it, compare, write what differs, and say so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from petal_s3.admin import bucket_settings as on_wire
from petal_s3.admin import desired_settings
from petal_s3.admin.bucket_settings import Setting
from petal_s3.errors import (
    ClockSkew,
    NotS3,
    Offline,
    S3CredentialsError,
    S3IntegrationError,
    Throttled,
)
from petal_s3.s3.calls import Calls

Outcome = Literal["unchanged", "changed", "to change", "failed", "not offered", "skipped"]
Want = Callable[[Any], Any]
"""From the present value (none: never set) to the wanted one (none: not set)."""

_READ_PAST = {"not_implemented", "not_found", "bucket_is_yours", "bucket_of_another"}
_NOT_HERE = {400, 404, 405, 501}


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


async def settle(
    calls: Calls,
    setting: Setting,
    want: Want,
    *,
    name: str = "",
    dry_run: bool,
    to_come: bool = False,
) -> Step:
    """Read, compare, and write what differs. ``to_come``: of a bucket that is not there yet.

    Raises what would stop the next steps too, as :func:`failed`.
    """
    name = name or setting.name
    needed = setting.may_get
    try:
        now = None if to_come else await on_wire.read(calls, setting)
        wanted = want(now)
        changes = desired_settings.differences(now, wanted)
        if not changes or dry_run:
            return Step(name, "to change" if changes else "unchanged", changes)
        needed = setting.may_put if wanted is not None else setting.may_delete
        await on_wire.write(calls, setting, wanted)
    except S3IntegrationError as error:
        return failed(name, error, needed)
    return Step(name, "changed", changes)


def failed(name: str, error: S3IntegrationError, needed: str) -> Step:
    """A step that could not be made; raises what would stop the next ones too."""
    if error.code == "forbidden":
        reason = f"Not permitted: these credentials need {needed}."
        return Step(name, "failed", reason=reason, code=error.code)
    if name != "bucket" and unknown_setting(error):
        told = error.told or getattr(error, "page", None)
        reason = f"The server does not offer this setting ({told})." if told else error.message
        return Step(name, "not offered", reason=reason, code="not_offered")
    if isinstance(error, Offline | Throttled | ClockSkew | S3CredentialsError):
        raise error
    return Step(name, "failed", reason=error.message, code=error.code)


def unknown_setting(error: S3IntegrationError) -> bool:
    """Whether the server does not know the operation, in whatever words.

    One that reads past the name of a setting takes it for the key of an object, or for a bucket
    that is to be created.
    """
    page = isinstance(error, NotS3) and error.page is not None and error.page.status in _NOT_HERE
    return page or error.code in _READ_PAST
