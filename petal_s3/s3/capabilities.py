"""What one server offers of S3's optional features, as its own answers have shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

Feature = Literal[
    "path_addresses",
    "encryption",
    "body_checksums",
    "checked_checksums",
    "echoed_checksums",
    "full_checksums",
    "told_checksums",
    "part_etags",
    "md5_etags",
    "joined_etags",
    "put_condition",
    "complete_condition",
    "copy_condition",
    "copy_metadata",
    "read_condition",
    "list_parts",
    "list_uploads",
    "deletion",
    "prompt_reads",
]

# What its lack means, in a sentence for people. Each feature has an entry.
LACKS: Mapping[Feature, str] = MappingProxyType(
    {
        "path_addresses": "takes the bucket in its host name only",
        "encryption": "does not encrypt as PETAL_S3_SSE asks: nothing is sent",
        "body_checksums": "takes no checksum beside a body: proof by ETag, or by reading back",
        "checked_checksums": "does not check checksums: the one it tells proves nothing alone",
        "echoed_checksums": "does not repeat the checksum of a body: it is compared by ETag",
        "full_checksums": "keeps no checksum of an object that came in parts: proof by ETag",
        "told_checksums": "tells no checksums: proof by ETag, or by reading back",
        "part_etags": "has ETags of its own making for parts: a part is not compared by them",
        "md5_etags": "has ETags of its own making: proof by checksum, or by reading back",
        "joined_etags": "makes the ETag of joined parts in its own way: proof by checksum, or by"
        " reading back",
        "put_condition": "does not refuse to overwrite: each key is looked at before it is used",
        "complete_condition": "does not refuse to overwrite with joined parts: each key is looked"
        " at before it is used",
        "copy_condition": "cannot be asked to copy only to a free key: it is looked at before",
        "read_condition": "cannot be asked for one version of an object: its ETag is compared",
        "copy_metadata": "keeps the old metadata in a copy",
        "list_parts": "does not list parts: an interrupted upload begins anew",
        "list_uploads": "does not list open uploads: a lifecycle rule has to collect lost ones",
        "deletion": "lets this machine delete nothing",
        "prompt_reads": "shows what it has stored only after a while: it is waited for",
    }
)
ASK_AGAIN_S = 24 * 3600


@dataclass(frozen=True)
class Known:
    """What was learnt of one feature; ``since``: seconds since 1970 by the server's clock.

    ``by`` is the answer that showed it, in a sentence.
    """

    offered: bool
    since: int
    by: str


@dataclass(frozen=True)
class Capabilities:
    """What is known of one bucket's server. Of a feature without an entry nothing is known yet.

    ``asked_at``: when all of it was last tried, by the server's clock; 0 for never.
    """

    known: Mapping[Feature, Known] = field(default_factory=dict)
    asked_at: int = 0

    def offers(self, feature: Feature) -> bool:
        """Whether an answer has shown that the server has ``feature``."""
        return feature in self.known and self.known[feature].offered

    def lacks(self, feature: Feature) -> bool:
        """Whether an answer has shown that it lacks, ignores or refuses ``feature``."""
        return feature in self.known and not self.known[feature].offered

    def with_(self, feature: Feature, *, offered: bool, at: int, by: str) -> Capabilities:
        """These, with one feature more or changed; what is not new keeps its time."""
        before = self.known.get(feature)
        if before is not None and before.offered == offered:
            return self
        return replace(self, known={**self.known, feature: Known(offered, at, by)})

    def without(self, feature: Feature) -> Capabilities:
        """These, with nothing known of one feature."""
        known = {name: one for name, one in self.known.items() if name != feature}
        return replace(self, known=known)

    def due(self, now: int) -> bool:
        """Whether it is time to try everything (again); ``now`` by the server's clock."""
        return not self.asked_at <= now < self.asked_at + ASK_AGAIN_S

    def missing(self) -> Iterator[tuple[Feature, Known]]:
        """What the server lacks, in the order of :data:`LACKS`."""
        for feature in LACKS:
            if self.lacks(feature):
                yield feature, self.known[feature]

    def as_json(self) -> dict[str, object]:
        """For status and info: ``{asked_at, features: {name: {offered, since, by, means}}}``."""
        features = {
            name: {
                "offered": one.offered,
                "since": one.since,
                "by": one.by,
                "means": "" if one.offered else LACKS[name],
            }
            for name, one in self.known.items()
        }
        return {"asked_at": self.asked_at, "features": features}


def written(capabilities: Capabilities) -> str:
    """As text for the outbox."""
    known = {name: [one.offered, one.since, one.by] for name, one in capabilities.known.items()}
    return json.dumps({"asked_at": capabilities.asked_at, "known": known})


def read(text: str) -> Capabilities:
    """Read what :func:`written` wrote; empty where another version wrote it in another way."""
    try:
        told = json.loads(text)
        known = {
            name: Known(bool(offered), int(since), str(by))
            for name, (offered, since, by) in told["known"].items()
            if name in LACKS
        }
        return Capabilities(known, int(told["asked_at"]))
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return Capabilities()
