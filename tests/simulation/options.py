"""What a server lacks of S3's optional features, what it shows late, and what it calls gone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from petal_s3.demo.faults import Answer, refusal
from tests.support.mind import Mind
from tests.support.wire import Ask

_LATE_S = 25.0  # how long a HEAD may miss what was stored
_STORES = {"PutObject", "CompleteMultipartUpload", "CopyObject"}
_SUMS = "x-amz-checksum-"

_NO = (
    refusal(400, "InvalidArgument"),
    refusal(400, "InvalidRequest"),
    refusal(403, "AccessDenied"),
    refusal(501, "NotImplemented"),
)


@dataclass(frozen=True)
class Option:
    """An optional feature: the headers that ask for it, and how servers refuse it."""

    ops: frozenset[str]
    headers: tuple[str, ...]
    refusals: tuple[Answer, ...]

    def asked_by(self, asked: Ask) -> bool:
        """Whether a request makes use of it."""
        return asked.op in self.ops and any(name in asked.headers for name in self.headers)


OPTIONS: dict[str, Option] = {
    "body checksum": Option(
        frozenset({"PutObject", "UploadPart"}),
        ("x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm"),
        _NO,
    ),
    "checksum mode": Option(
        frozenset({"HeadObject"}),
        ("x-amz-checksum-mode",),
        (Answer(400), Answer(403), Answer(501)),
    ),
    "checksum at create": Option(
        frozenset({"CreateMultipartUpload"}),
        ("x-amz-checksum-algorithm", "x-amz-checksum-type"),
        _NO,
    ),
    "checksum at complete": Option(
        frozenset({"CompleteMultipartUpload"}),
        ("x-amz-checksum-crc32", "x-amz-checksum-type"),
        (*_NO, refusal(400, "BadDigest")),
    ),
    "condition": Option(
        frozenset({"PutObject", "CompleteMultipartUpload"}), ("if-none-match",), _NO
    ),
    "condition at copy": Option(
        frozenset({"CopyObject"}),
        ("if-none-match",),
        (refusal(412, "PreconditionFailed"), refusal(501, "NotImplemented")),
    ),
}


@dataclass(frozen=True)
class Provoked(Answer):
    """An answer that came only because an option was asked for."""

    option: str = ""


@dataclass(frozen=True)
class _Odd:
    """An option that is refused with ``answer`` for now, or ignored where there is none."""

    answer: Answer | None
    lasting: bool
    since: float


class Options:
    """The verbs are misfortunes; some last to the end, as a server's nature does."""

    def __init__(self, rng: random.Random, loop: asyncio.AbstractEventLoop, mind: Mind) -> None:
        self.note: Callable[..., None] = lambda *_: None
        self._rng = rng
        self._loop = loop
        self._mind = mind
        self._odd: dict[str, _Odd] = {}
        self._late: _Odd | None = None
        self._hidden: dict[str, float] = {}
        """Until when a HEAD misses what stands at a key."""
        self.gone_as = ""
        """How ListParts speaks of an upload that is no more; empty: as S3 does."""

    # -- what befalls

    def option(self) -> None:
        """The server refuses or ignores one optional feature from now on."""
        name = self._rng.choice([*OPTIONS])
        answer = self._rng.choice((None, *OPTIONS[name].refusals))
        odd = self._odd[name] = _Odd(answer, self._rng.random() < 0.3, self._loop.time())
        how = "ignored" if answer is None else f"refused with {answer.status}"
        self.note("option", name, how, "for good" if odd.lasting else "")
        if not odd.lasting:
            self._for_a_while(lambda: self._odd.get(name) is odd and self._odd.pop(name))

    def late_reads(self) -> None:
        """What is stored from now on is shown to a HEAD only after a while."""
        late = self._late = _Odd(None, self._rng.random() < 0.3, self._loop.time())
        if not late.lasting:
            self._for_a_while(lambda: self._prompt_again(late))

    def _prompt_again(self, late: _Odd) -> None:
        if self._late is late:
            self._late = None

    def gone_uploads(self) -> None:
        """This server does not say ``NoSuchUpload`` when asked for the parts of a gone upload."""
        self.gone_as = self._rng.choice(("no such key", "no parts"))
        self.note("gone uploads have", self.gone_as)

    def _for_a_while(self, undo: Callable[[], object]) -> None:
        self._loop.call_later(self._rng.uniform(5.0, 200.0), undo)

    def heal(self) -> None:
        """What does not last has passed."""
        self._odd = {name: odd for name, odd in self._odd.items() if odd.lasting}
        if self._late is not None and not self._late.lasting:
            self._late = None

    # -- what the server does with a request

    def refused_since(self, asked: Ask) -> dict[str, float]:
        """The options of a request that are refused now, and since when."""
        return {
            name: odd.since
            for name, odd in self._odd.items()
            if odd.answer is not None and OPTIONS[name].asked_by(asked)
        }

    def refusal(self, asked: Ask) -> Provoked | None:
        """How the server refuses a request because of what it asks for; none when it does not."""
        for name in self.refused_since(asked):
            said = self._odd[name].answer
            assert said is not None
            return Provoked(said.status, said.body, said.headers, option=name)
        return None

    def ignores_condition(self, asked: Ask) -> bool:
        """Whether a request says that nothing may be overwritten, and that is ignored."""
        ignored = (n for n in ("condition", "condition at copy") if n in self._odd)
        return any(OPTIONS[n].asked_by(asked) and self._odd[n].answer is None for n in ignored)

    def answer(self, asked: Ask) -> Answer:
        """What the server answers; what it ignores it has not heard."""
        deaf_to = {
            header
            for name, odd in self._odd.items()
            if odd.answer is None and OPTIONS[name].asked_by(asked)
            for header in OPTIONS[name].headers
        }
        if deaf_to:
            heard = {name: told for name, told in asked.headers.items() if name not in deaf_to}
            asked = replace(asked, headers=heard)
        return self._shown(asked, self._mind.answer(asked))

    def _shown(self, asked: Ask, answer: Answer) -> Answer:
        now = self._loop.time()
        if asked.op in _STORES and answer.status == 200 and self._late is not None:
            self._hidden[asked.key] = now + self._rng.uniform(0.0, _LATE_S)
        if asked.op == "HeadObject" and now < self._hidden.get(asked.key, 0.0):
            return Answer(404)
        if asked.op == "HeadObject" and "x-amz-checksum-mode" not in asked.headers:
            told = {n: v for n, v in answer.headers.items() if not n.startswith(_SUMS)}
            return replace(answer, headers=told)
        if asked.op == "ListParts" and self.gone_as and b"NoSuchUpload" in answer.body:
            return self._no_parts(asked)
        return answer

    def _no_parts(self, asked: Ask) -> Answer:
        if self.gone_as == "no such key":
            return refusal(404, "NoSuchKey")
        body = (
            f"<?xml version='1.0'?><ListPartsResult><Bucket>{asked.bucket}</Bucket>"
            f"<Key>{asked.key}</Key><UploadId>{asked.upload_id}</UploadId>"
            "<IsTruncated>false</IsTruncated></ListPartsResult>"
        )
        return Answer(200, body.encode(), {"Content-Type": "application/xml"})
