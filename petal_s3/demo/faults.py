"""What may happen to one request in place of the plain answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Answer:
    """One answer, as it goes over the wire."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    lengthless: bool = False
    """Nothing tells how long the body is."""

    def but(self, status: int = 0, body: bytes | None = None, **headers: str) -> Answer:
        """The same answer with something changed; underscores in header names are dashes."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(
            self,
            status=status or self.status,
            body=self.body if body is None else body,
            headers={**self.headers, **more},
        )


@dataclass(frozen=True)
class Fault:
    """What happens to one request instead of the plain thing.

    ``cut_at``: the connection is reset when so many bytes of the body have passed.
    ``drop``: it is reset before anything is done. ``deaf``: everything is done, the answer is
    lost. ``say``: this answer is given and nothing is done. ``twist``: everything is done, and
    the answer is changed on its way. ``cut_answer_at``: the connection is reset when so many
    bytes of the answer's body have gone. ``hang``: nothing is ever answered.
    """

    name: str = ""
    cut_at: int | None = None
    cut_answer_at: int | None = None
    drop: bool = False
    deaf: bool = False
    hang: bool = False
    delay_s: float = 0.0
    say: Answer | None = None
    twist: Callable[[Answer], Answer] | None = None

    @property
    def honest(self) -> bool:
        """Whether an answer that arrives is the one that S3 gave."""
        return self.say is None and self.twist is None


def says(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Fault:
    """This answer is given; S3 never gets the request."""
    return Fault(say=Answer(status, body, headers or {}))


def refusal(status: int, code: str, **headers: str) -> Answer:
    """An error as S3 words it; underscores in header names are dashes."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, body.encode(), {"Content-Type": "application/xml", **more})
