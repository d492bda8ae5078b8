"""What S3 says of a bucket's public access: its policy, and what blocks the public."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from petal_s3.admin import bucket_settings as on_wire
from petal_s3.admin.bucket_settings import Setting
from petal_s3.admin.desired_settings import PUBLIC_ACCESS_BLOCK
from petal_s3.admin.public_policy import Everybody, for_everybody
from petal_s3.admin.steps import Step, failed, unknown_setting
from petal_s3.errors import S3IntegrationError
from petal_s3.s3.calls import Calls

CHECK = on_wire.PUBLIC_ACCESS.name
_STATUS = Setting(
    "policy status",
    "policystatus",
    "get_bucket_policy_status",
    "",
    "s3:GetBucketPolicyStatus",
    "",
    lambda answer: (answer.get("PolicyStatus") or {}).get("IsPublic", ""),
    lambda _: {},
)


@dataclass(frozen=True)
class Untold:
    """A question that S3 does not answer, and why; ``offered``: whether the server knows it."""

    why: str
    offered: bool = True


@dataclass(frozen=True)
class PublicAccess:
    """What was seen. ``public``: whether S3 calls the bucket's policy public. ``everybody``: what
    the policy itself allows to everybody. ``off``: switches of the public access block that are
    off."""

    public: bool | Untold
    everybody: Everybody | Untold
    off: frozenset[str] | Untold

    @property
    def is_open(self) -> bool:
        """Whether the policy lets the public in, and nothing that was seen blocks it."""
        return (self.public is True or bool(self._allowed.actions)) and self.off != frozenset()

    @property
    def _allowed(self) -> Everybody:
        return Everybody() if isinstance(self.everybody, Untold) else self.everybody

    @property
    def untold(self) -> list[Untold]:
        """What was not answered, of the status and the block."""
        return [one for one in (self.public, self.off) if isinstance(one, Untold)]

    @property
    def sentence(self) -> str:
        """What was seen, and what is not told."""
        if self.off == frozenset():
            return "The public access block is on: no policy and no ACL lets the public in"
        unknown = [one.offered for one in self.untold] == [False, False]
        if unknown and self._allowed == Everybody():
            told = "; ".join(dict.fromkeys(one.why for one in self.untold))
            return f"The server offers neither a policy's status nor a public access block ({told})"
        return f"{self._policy()}; {self._block()}"

    def _policy(self) -> str:
        return f"{self._status()}{self._conditioned()}"

    def _status(self) -> str:
        if self._allowed.actions:
            return f"The bucket's policy allows {', '.join(self._allowed.actions)} to everybody"
        if isinstance(self.public, Untold):
            return f"Whether its policy is public is not told ({self.public.why})"
        return f"S3 calls the bucket's policy {'public' if self.public else 'not public'}"

    def _conditioned(self) -> str:
        if not self._allowed.conditioned:
            return ""
        told = ", ".join(self._allowed.conditioned)
        return f"; it allows {told} to everybody under a condition that was not judged"

    def _block(self) -> str:
        if isinstance(self.off, Untold):
            return f"whether a public access block is set is not told ({self.off.why})"
        if self.off == frozenset(PUBLIC_ACCESS_BLOCK):
            return "no public access block is set"
        return f"the public access block leaves out {', '.join(sorted(self.off))}"


async def look(calls: Calls) -> PublicAccess:
    """Ask S3; what it does not tell is said, and never guessed.

    Raises what would stop the next requests too, as :func:`~petal_s3.admin.steps.failed`.
    """
    public = await _asked(calls, _STATUS)
    if not isinstance(public, bool | Untold):
        public = False if public is None else Untold("the answer does not say")
    # MinIO calls public only what everybody may read and write: so the policy itself counts, too.
    policy = None if public is True else await _asked(calls, on_wire.POLICY)
    everybody = policy if isinstance(policy, Untold) else for_everybody(policy)
    block = await _asked(calls, on_wire.PUBLIC_ACCESS)
    if not isinstance(block, Untold):
        is_on = {name for name, value in (block or {}).items() if value is True}
        block = frozenset(PUBLIC_ACCESS_BLOCK) - is_on
    return PublicAccess(public, everybody, block)


async def _asked(calls: Calls, setting: Setting) -> Any:
    """The value of a setting, none where it was never set, or :class:`Untold`."""
    try:
        return await on_wire.read(calls, setting)
    except S3IntegrationError as error:
        if error.code == "forbidden":
            return Untold(f"these credentials lack {setting.may_get}")
        failed(setting.name, error, setting.may_get)  # raises where waiting would help
        # Of what came in place of the setting: that it is not offered is said once.
        instead = getattr(error, "instead", "") or getattr(error, "page", None)
        told = str(error.told or instead or error.message)
        return Untold(told.rstrip("."), offered=not unknown_setting(error))


async def step(calls: Calls, bucket: str) -> Step:
    """Say how it is: what an administrator has opened, perhaps on purpose, is not closed.

    Raises as :func:`look`.
    """
    seen = await look(calls)
    if seen.is_open:
        reason = f"{seen.sentence}. {advice(bucket)}"
        return Step(CHECK, "unchanged", reason=reason, code="public")
    offered = len(seen.untold) < 2 or any(one.offered for one in seen.untold)
    code = "" if offered else "not_offered"
    return Step(CHECK, "unchanged", reason=f"{seen.sentence}.", code=code)


def advice(bucket: str) -> str:
    """How to close a bucket that is public."""
    switches = ",".join(f"{name}=true" for name in PUBLIC_ACCESS_BLOCK)
    return (
        "Take that out of the bucket's policy, or set the block: aws s3api"
        f" put-public-access-block --bucket {bucket} --public-access-block-configuration {switches}"
    )
