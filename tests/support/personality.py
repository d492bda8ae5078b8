"""What an S3 server may lack, or do in its own way: as data, and what its answers are then.

Every server keeps S3's core; each optional feature may be odd. A ``how`` that begins with a status
is a refusal: ``400`` with an empty body, ``400 InvalidArgument`` with one as S3 words it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from .wire import Answer, Ask, refusal

IGNORED = "ignored"
UNCHECKED = "unchecked"
"""A checksum is told again as it was told, whatever the bytes are."""

_BODY_SUM = (
    "400 InvalidArgument",
    "400 InvalidRequest",
    "400",
    "501 NotImplemented",
    "403 AccessDenied",
    IGNORED,
    UNCHECKED,
)
_CONDITION = (
    "400 InvalidArgument",
    "501 NotImplemented",
    "501",
    "403 AccessDenied",
    "412 PreconditionFailed",
    IGNORED,
)

ODDITIES: Mapping[str, tuple[str, ...]] = {
    "head-checksum": ("400", "501", "403", IGNORED),
    "body-checksum": _BODY_SUM,
    "part-checksum": ("400 InvalidRequest", "501 NotImplemented", IGNORED, UNCHECKED),
    "full-checksum": (
        "400 InvalidRequest",
        "400 InvalidArgument",
        "400",
        "501 NotImplemented",
        "403 AccessDenied",
        IGNORED,
        "composite",
    ),
    "complete-checksum": (
        "400 BadDigest",
        "400 InvalidRequest",
        "501 NotImplemented",
        IGNORED,
        UNCHECKED,
    ),
    "put-condition": _CONDITION,
    "complete-condition": _CONDITION,
    "copy-condition": _CONDITION,
    "get-condition": (IGNORED, "501 NotImplemented"),
    "copy-metadata": (IGNORED, "501 NotImplemented"),
    "encryption": (
        "400 InvalidArgument",
        "400",
        "501 NotImplemented",
        "500 InternalError",
        "403 AccessDenied",
        IGNORED,
    ),
    "put-etag": ("opaque", "hex"),
    "part-etag": ("opaque", "hex"),
    "joined-etag": ("opaque", "whole", "hex", "hex-n"),
    "list-uploads": (
        "404 NoSuchUpload",
        "501 NotImplemented",
        "405 MethodNotAllowed",
        "403 AccessDenied",
        "listing",
        "exact",
    ),
    "list-parts": (
        "501 NotImplemented",
        "405 MethodNotAllowed",
        "403 AccessDenied",
        "no Bucket",
        "gone: 404 NoSuchKey",
        "gone: 200",
    ),
    "echo": ("no Bucket", "no Key", "no UploadId", "nothing"),
    "head-length": ("absent",),
    "prompt-reads": ("HEAD 6", "HEAD 25", "all 25"),
    "address": ("403 SecondLevelDomainForbidden",),
    "sub-resources": ("listing", "405 MethodNotAllowed", "403 AccessDenied", "501"),
    "deletion": ("403 AccessDenied", "501 NotImplemented"),
    "archive": ("403 InvalidObjectState",),
    "credentials": ("403 InvalidAccessKeyId", "403 SignatureDoesNotMatch"),
}
"""Each optional feature, and in which ways it is odd somewhere."""

_SUMS = "x-amz-checksum-"
_SSE = "x-amz-server-side-encryption"
_SETTINGS = {"Other", "GetBucketLifecycle", "PutBucketLifecycle"}
_WRITES = {"PutObject", "CreateMultipartUpload", "CopyObject"}
_ECHOES = {
    "CreateMultipartUpload": ("Bucket", "Key"),
    "ListParts": ("Bucket", "Key", "UploadId"),
    "CompleteMultipartUpload": ("Bucket", "Key"),
    "ListMultipartUploads": ("Bucket",),
}
_STATUS = re.compile(r"(?:gone: )?(\d{3})(?: (\w+))?")


@dataclass(frozen=True)
class Oddity:
    """One feature that is odd; ``how`` is one of :data:`ODDITIES`, or of its kind."""

    feature: str
    how: str

    def __str__(self) -> str:
        return f"{self.feature}={self.how}"

    @classmethod
    def of(cls, text: str) -> Oddity:
        """The oddity that ``feature=how`` names; raises ``KeyError`` for an unknown feature."""
        feature, _, how = text.partition("=")
        _ = ODDITIES[feature]
        return cls(feature, how)

    @property
    def refusal(self) -> Answer | None:
        """The answer with which it is refused; none where it is odd in another way."""
        told = _STATUS.fullmatch(self.how)
        if told is None:
            return None
        status, code = int(told[1]), told[2]
        return refusal(status, code) if code else Answer(status)


@dataclass(frozen=True)
class Uses:
    """Which requests use a feature: those of ``ops``, with a header that begins with ``header``."""

    ops: Collection[str]
    header: str = ""
    also: Callable[[Ask], bool] = lambda _: True

    def __call__(self, ask: Ask) -> bool:
        headed = not self.header or any(name.startswith(self.header) for name in ask.headers)
        return (not self.ops or ask.op in self.ops) and headed and self.also(ask)

    def without(self, ask: Ask) -> Ask:
        """The same request as a server sees it that does not know the feature."""
        kept = {n: v for n, v in ask.headers.items() if not n.startswith(self.header)}
        return replace(ask, headers=kept)


USES: Mapping[str, Uses] = {
    "credentials": Uses(()),
    "address": Uses((), also=lambda ask: not ask.hosted),
    "head-checksum": Uses({"HeadObject", "GetObject"}, "x-amz-checksum-mode"),
    "body-checksum": Uses({"PutObject", "UploadPart"}, _SUMS),
    "part-checksum": Uses({"UploadPart"}, _SUMS),
    "full-checksum": Uses({"CreateMultipartUpload"}, _SUMS),
    "complete-checksum": Uses({"CompleteMultipartUpload"}, _SUMS),
    "put-condition": Uses({"PutObject"}, "if-none-match"),
    "complete-condition": Uses({"CompleteMultipartUpload"}, "if-none-match"),
    "copy-condition": Uses({"CopyObject"}, "if-none-match"),
    "get-condition": Uses({"GetObject"}, "if-match"),
    "copy-metadata": Uses({"CopyObject"}, "x-amz-metadata-directive"),
    "encryption": Uses(_WRITES, _SSE),
    "list-uploads": Uses({"ListMultipartUploads"}),
    "list-parts": Uses({"ListParts"}),
    "sub-resources": Uses(_SETTINGS, also=lambda ask: not ask.key),
    "deletion": Uses({"DeleteObject"}),
    "archive": Uses({"GetObject"}),
}
# They are refused in some cases only, which the mind knows.
_AT_TIMES = {"list-uploads=404 NoSuchUpload"}


@dataclass(frozen=True)
class Personality:
    """How one server differs from S3; the fewer oddities, the easier a failure is read."""

    oddities: tuple[Oddity, ...] = ()

    def __str__(self) -> str:
        return " + ".join(map(str, self.oddities)) or "good"

    @classmethod
    def of(cls, text: str) -> Personality:
        """The personality that ``a=b + c=d`` names."""
        words = [word.strip() for word in text.split("+") if word.strip() not in {"", "good"}]
        return cls(tuple(map(Oddity.of, words)))

    def how(self, feature: str) -> str:
        """In which way a feature is odd; empty when it is good."""
        return next((one.how for one in self.oddities if one.feature == feature), "")

    def without(self, feature: str) -> Personality:
        """The same server with one feature mended."""
        return Personality(tuple(one for one in self.oddities if one.feature != feature))

    # -- what the mind asks

    def refuses(self, ask: Ask) -> Answer | None:
        """The answer to a request that uses what is refused; none when it is done."""
        for one in self.oddities:
            at_times = str(one) in _AT_TIMES or one.how.startswith("gone:")
            uses = USES.get(one.feature)
            if uses is not None and not at_times and one.refusal is not None and uses(ask):
                return one.refusal
        return None

    def hears(self, ask: Ask) -> Ask:
        """A request without the headers that this server does not know."""
        for one in self.oddities:
            if one.how in {IGNORED, "composite"} and USES[one.feature](ask):
                ask = USES[one.feature].without(ask)
        return ask

    def checks(self, ask: Ask) -> bool:
        """Whether a checksum that came with a request is compared with the bytes."""
        features = ("body-checksum", "part-checksum", "complete-checksum")
        return not any(self.how(one) == UNCHECKED and USES[one](ask) for one in features)

    def etag(self, feature: str, plain: str, whole: str = "") -> str:
        """The ETag that is told in place of ``plain``; ``whole``: the md5 of all the bytes."""
        how = self.how(feature)
        made = hashlib.sha256(f"{feature} {plain}".encode()).hexdigest()
        _, dash, parts = plain.partition("-")
        told = {
            "opaque": f"tok_{made[:24]}",
            "whole": whole,
            "hex": made[:32],
            "hex-n": f"{made[:32]}{dash}{parts}",
        }
        return told.get(how, plain)

    def blind(self, ask: Ask, age_s: float) -> bool:
        """Whether a request does not see yet what was stored ``age_s`` seconds ago."""
        which, _, late_s = self.how("prompt-reads").partition(" ")
        seen_by = {"HEAD": {"HeadObject"}, "all": {"HeadObject", "GetObject", "ListObjectsV2"}}
        return ask.op in seen_by.get(which, ()) and age_s < float(late_s)

    def tells(self, ask: Ask, answer: Answer) -> Answer:
        """An answer as this server words it."""
        if ask.op == "HeadObject" and self.how("head-length") and answer.status == 200:
            kept = {n: v for n, v in answer.headers.items() if n.lower() != "content-length"}
            answer = replace(answer, headers=kept, lengthless=True)
        if answer.status == 200:
            for name in self._left_out(ask.op):
                answer = answer.but(body=_without(answer.body, name))
        return answer

    def _left_out(self, op: str) -> list[str]:
        echoed = _ECHOES.get(op, ())
        hows = [self.how("echo")] + ([self.how("list-parts")] if op == "ListParts" else [])
        return [one for one in echoed if "nothing" in hows or f"no {one}" in hows]


def _without(body: bytes, name: str) -> bytes:
    """An answer without its first element of this name."""
    return re.sub(rf"<{name}>[^<]*</{name}>".encode(), b"", body, count=1)


GOOD = Personality()
