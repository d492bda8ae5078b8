"""The closed list of sentences that say why nothing is sent; others come from errors alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """Why nothing is sent: a stable code, and the one sentence that every front end shows."""

    code: str
    sentence: str


NO_DRAIN = Reason("no_drain", "No process is uploading. Start the host, or run `petal-s3 drain`.")
ITS_TURN = Reason("its_turn", "It waits its turn.")
NOT_YET = Reason("not_now", "It is not sent yet.")
