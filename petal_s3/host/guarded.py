"""The boundary to the host: nothing that petal-s3 raises gets across it."""

from __future__ import annotations

import logging
from types import TracebackType

log = logging.getLogger("petal_s3")


class guarded:  # noqa: N801 - reads like contextlib.suppress
    """Log what is raised inside the block as ``event``, keep it as ``error``, and go on.

    An exception that escapes from a petal stops the rest of the host's start or shutdown, and
    disappears unlogged in a MAVLink handler. Cancellation passes.
    """

    def __init__(self, event: str) -> None:
        self._event = event
        self.error: Exception | None = None

    def __enter__(self) -> guarded:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.error = error
        log.error(self._event, exc_info=error)
        return True
