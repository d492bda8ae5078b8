"""What the draining process says of itself, for the status and for other processes to read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence

from petal_s3.core import clock
from petal_s3.errors import S3IntegrationError
from petal_s3.outbox import drain_status
from petal_s3.outbox.outbox import Outbox
from petal_s3.s3.request_body import BLOCK_BYTES
from petal_s3.service import open_way
from petal_s3.service.assembly import Parts
from petal_s3.service.rate import Rate
from petal_s3.service.report import NO_REPORT, Report, news, read_report
from petal_s3.service.views.view import Credentials
from petal_s3.upload.pause import LINK_BACK

_REFUSED = {"token_service_refused", "credentials_refused"}
_NONE = {
    "no_credentials",
    "credentials",
    "credentials_unsendable",
    "token_service_down",
    "token_service_login",
    "token_service_nonsense",
}
_SHOWN_SETTLING = 20
STILL_S = 1.5
"""So long nothing of a body has to arrive until that is said."""

_NO_CARD = {name: told for name, told in NO_REPORT.__dict__.items() if name.startswith("card_")}


def _host_id(configured: str | None, ids: Sequence[str]) -> str:
    """The id that the host has beside the one that is set; empty where it has none."""
    return ids[-1] if len(ids) > 1 or not configured else ""


class Reporter:
    """Sums up the drain, and publishes that in the outbox."""

    def __init__(self, parts: Parts) -> None:
        self._base = parts.base
        self._parts = parts
        self._rate, self._card_rate = Rate(), Rate()
        self._open_way = open_way.advice(parts.base.settings)  # as the environment is now
        self._published = NO_REPORT
        self._published_in: Outbox | None = None
        self.advice: list[str] = []
        """What the front end has to say to a person."""
        self._before = NO_REPORT
        """What the process before this one said last."""
        self._held_by, self._held_since = "", 0.0
        self._sample_at = 0.0

    async def recall(self) -> None:
        """Take over what outlives a process: when S3 last answered, and the credentials."""
        self._published = NO_REPORT
        self._before = read_report(await self._base.outbox(drain_status.last))
        link_state, now = self._base.s3.server.link_state, self._base.now()
        heard_s = self._before.heard_s(now, self._base.s3.clock.wall())
        if link_state.heard_at is None and heard_s is not None:
            link_state.heard(now - heard_s)

    def report(self) -> Report:
        """How the drain of this process is now."""
        return Report.model_validate(self._found())

    def _found(self) -> dict[str, object]:
        """The fields of :meth:`report`."""
        parts, base = self._parts, self._base
        now, link_state, block = base.now(), base.s3.server.link_state, parts.drainer.block
        reason, held = parts.gate.reason(), set(parts.watcher.held)
        settling = [path for path in parts.watcher.settling.paths if path not in held]
        blocked = block is not None and reason is not None and reason.code == block.code
        tried_at = block.tried_at if blocked and block is not None else None
        return {
            "pid": os.getpid(),
            "machine_id": base.ownership.machine_ids[0],
            "host_machine_id": _host_id(base.settings.machine_id, base.ownership.machine_ids),
            "boot_id": clock.boot_id(),
            "link": link_state.link(now),
            "heard_at": link_state.heard_at,
            "heard_unix": self._unix(link_state.heard_at, now),
            "credentials": self._credentials(),
            "credentials_at": self._credentials_at(),
            "clock_offset_s": base.s3.clock.offset_s,
            "flight_state": parts.flight.state(now),
            "reason": "" if reason is None else reason.sentence,
            "code": "" if reason is None else reason.code,
            "since_at": self._since("" if reason is None else reason.code, tried_at or now),
            "tried_at": tried_at,
            "next_try_at": block.until if blocked and block is not None else None,
            "stalled_at": self._stalled_at(now),
            "rate_bytes_s": self.rate_bytes_s(),
            "moving": {row_id: live.moved for row_id, live in parts.uploader.live.items()},
            "settling": settling[:_SHOWN_SETTLING],
            "settling_count": len(settling),
            "held": len(held),
            "trouble": parts.watcher.trouble,
            **self._card(),
            "advice": [
                *self.advice,
                *self._open_way,
                *parts.orphans.advice,
                *parts.retention.advice,
                *parts.ageing.advice,
                *parts.watcher.advice,
            ],
        }

    def _stalled_at(self, now: float) -> float | None:
        """When the last byte of the bodies that are sent arrived, where that was not just now."""
        live = self._parts.uploader.live.values()
        bodies = [body for one in live for body in one.bodies]
        if not any(body.position < body.size or body.unacknowledged() for body in bodies):
            return None  # an answer may take its time
        # One that has just begun beside another says nothing of the link.
        moved_at = max(self._base.s3.sent.moved_at, min(body.moved_at for body in bodies))
        rate = self._base.settings.max_rate  # by which it stands still on purpose
        still_s = STILL_S + (2 * BLOCK_BYTES / rate if rate else 0.0)
        return moved_at if now - moved_at >= still_s else None

    def _since(self, code: str, at: float) -> float | None:
        """Since when ``code`` is what holds everything up, in seconds since boot; none: nothing."""
        if code != self._held_by:
            self._held_by, self._held_since = code, at if code != LINK_BACK else self._base.now()
        return self._held_since if code else None

    def _card(self) -> Mapping[str, object]:
        """The fields of :meth:`report` that tell of the autopilot's card."""
        fetcher = self._parts.fetcher
        if fetcher.loop is None or not fetcher.is_on:
            return _NO_CARD
        hold, going = fetcher.hold, fetcher.loop.progress
        rate = self._card_rate.take(self._base.now(), going.received_bytes)
        return {
            "card_on": True,
            "card_heard": fetcher.is_heard,
            "card_code": "" if hold is None else hold.code,
            "card_reason": "" if hold is None else hold.sentence,
            "card_fetching": going.file_id,
            "card_fetched_bytes": going.fetched_bytes if going.file_id is not None else 0,
            "card_rate_bytes_s": rate,
        }

    def rate_bytes_s(self) -> float:
        """What the peer acknowledges now, in bytes per second."""
        return self._rate.take(self._base.now(), self._base.s3.sent.acknowledged)

    async def publish(self) -> None:
        """Write the report into the outbox; raises :class:`LocalStorageError`."""
        await self._write(self.report())

    async def publish_news(self) -> None:
        """Write the report where it says something new; figures that only move can wait.

        :meth:`publish_changes` brings those, every few seconds. Raises
        :class:`LocalStorageError`.
        """
        found = self._found()  # asked for each log, twice: it is no report yet
        if news(found) != news(self.said.__dict__):
            await self._write(Report.model_validate(found))

    async def publish_changes(self) -> None:
        """Write the report where it differs from the last; a disk that fails is tried again."""
        report = self.report()
        if _differs(report, self.said):
            with contextlib.suppress(S3IntegrationError):
                await self._write(report)
        await self._sample(report)

    async def _sample(self, report: Report) -> None:
        """Keep rate and backlog, once a minute."""
        now = self._base.now()
        if now >= self._sample_at:
            from petal_s3.service import history  # noqa: PLC0415 - only where a process drains

            self._sample_at = now + history.EVERY_S
            await history.note(self._base, report)

    @property
    def said(self) -> Report:
        """What this process wrote last into the outbox that is open now."""
        return self._published if self._base.outbox.opened is self._published_in else NO_REPORT

    async def _write(self, report: Report) -> None:
        outbox, now = self._base.outbox.opened, self._base.now()
        written = {**report.model_dump(), "written_unix": self._unix(now, now)}
        await self._base.outbox(drain_status.publish, written)
        self._published, self._published_in = report, outbox

    def _unix(self, moment: float | None, now: float) -> int | None:
        if moment is None:
            return None
        return round(self._base.s3.clock.utcnow().timestamp() - (now - moment))

    def _credentials_at(self) -> float | None:
        """When an answer last told of the credentials: a good one, or a refusal that holds."""
        block = self._parts.drainer.block
        if block is not None and block.code in {*_REFUSED, *_NONE, "credentials_expired"}:
            return block.tried_at
        return self._base.s3.server.link_state.well_at

    def _credentials(self) -> Credentials:
        """What their last use has shown; none where there are none, or none were used yet."""
        block, tokens = self._parts.drainer.block, self._base.tokens
        code = block.code if block is not None else ""
        if code in _REFUSED:
            return "refused"
        if code == "credentials_expired":
            return "expired"
        if tokens is not None and tokens.current is not None:
            return "ok"
        if code in _NONE:
            return "none"
        return "ok" if self._base.s3.server.answered else self._before.credentials


def _differs(report: Report, published: Report) -> bool:
    """The clock's offset alone is no reason to write, nor what follows from it."""
    drifts = {"clock_offset_s": report.clock_offset_s, "heard_unix": report.heard_unix}
    return report != published.model_copy(update=drifts)


def import_all() -> None:
    """Import what a process that drains is asked for later: then no descriptor may be left."""
    with contextlib.suppress(OSError):  # none is left now: it is imported when it is needed
        from petal_s3.outbox import journal  # noqa: F401, PLC0415 - and not where nothing drains
        from petal_s3.service import endings, history, unscanned  # noqa: F401, PLC0415 - likewise
        from petal_s3.service.views import journal as view  # noqa: F401, PLC0415 - likewise
