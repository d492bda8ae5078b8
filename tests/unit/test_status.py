"""What a status and its rows say of now, and what they only remember."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from outbox_rows import LEASE_S, entry

from petal_s3.cli.screen import status_view
from petal_s3.core import clock
from petal_s3.core.settings import Settings
from petal_s3.outbox import entering, journal, queries, transitions
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Row
from petal_s3.service.endings import ENDINGS
from petal_s3.service.reasons import ITS_TURN, NO_DRAIN, reason
from petal_s3.service.report import Report, Seen, row_reason, sent_bytes
from petal_s3.service.status import summary
from petal_s3.service.views.status import StatusView, health_view
from petal_s3.service.views.view import iso

NO_LINK = "No link to S3 (Connection refused)."


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox(tmp_path / "outbox.db")
    yield opened
    opened.close()


def seen(report: Report | None = None, *, drained: bool = True, **more: Any) -> Seen:
    """What is known at 100 s since boot; ``drained``: by process 1."""
    given = {"now": 100.0, "wall": time.time(), **more}
    return Seen(report or Report(boot_id=clock.boot_id()), 1 if drained else None, **given)


def failed(outbox: Outbox, code: str, why: str) -> Row:
    """A row whose last attempt failed so."""
    entering.enqueue(outbox, entry())
    row = transitions.claim(outbox, 0.0, LEASE_S)
    assert row is not None
    return transitions.defer(outbox, row, 0.0, code, why)


def shown(status: StatusView) -> str:
    """What a terminal shows of a status without rows."""
    return "\n".join(str(part) for part in status_view(status, [], []))


# -- the last failure is not the present state


@pytest.mark.parametrize("code", ["offline", "forbidden", "credentials_expired", "paused"])
def test_a_row_does_not_say_what_no_longer_holds(outbox: Outbox, code: str) -> None:
    row = failed(outbox, code, NO_LINK)
    assert row_reason(row, seen()) == ITS_TURN
    found = summary(outbox, seen(), "")
    assert (found.reason, found.code) == ("", "its_turn")
    assert "No link" not in found.headline


def test_a_row_that_is_tried_now_does_not_say_how_the_last_try_ended(outbox: Outbox) -> None:
    failed(outbox, "mismatch", "S3 holds other bytes.")
    row = transitions.claim(outbox, 0.0, LEASE_S)
    assert row is not None
    assert row_reason(row, seen()) is None
    assert summary(outbox, seen(), "").headline == "0 of 1 log proven, 1.0 kB to go."


def test_no_directory_is_blamed_where_none_could_be_looked_at(outbox: Outbox) -> None:
    found = summary(outbox, seen(trouble="petal-s3 cannot open any more files."), "")
    assert (found.code, found.unread) == ("trouble", 0)


@pytest.mark.parametrize("code", ["storage_full", "outbox_locked", "too_many_files"])
def test_a_drain_that_cannot_begin_says_what_it_met(outbox: Outbox, code: str) -> None:
    entering.enqueue(outbox, entry())
    found = summary(outbox, seen(drained=False, deferred=reason(code, "It is so.")), "")
    assert (found.code, found.reason) == (code, "It is so.")


def test_what_holds_now_is_said_by_row_and_status_alike(outbox: Outbox) -> None:
    row = failed(outbox, "forbidden", "S3 does not allow it.")
    now = seen(Report(reason=NO_LINK, code="offline", tried_at=60.0, next_try_at=112.4))
    assert row_reason(row, now) == reason("offline", NO_LINK)
    found = summary(outbox, now, "")
    assert (found.reason, found.code) == (NO_LINK, "offline")
    assert (found.reason_age_s, found.next_try_s) == (40, 12)


def test_what_is_the_rows_own_is_said_while_it_waits(outbox: Outbox) -> None:
    row = failed(outbox, "mismatch", "S3 holds other bytes.")
    assert row_reason(row, seen()) == reason("mismatch", "S3 holds other bytes.")
    assert summary(outbox, seen(), "").code == "mismatch"


def test_where_no_process_uploads_a_remembered_failure_is_none(outbox: Outbox) -> None:
    row = failed(outbox, "offline", NO_LINK)
    past = seen(Report(reason=NO_LINK, code="offline", link="down"), drained=False)
    assert row_reason(row, past) == NO_DRAIN
    found = summary(outbox, past, "")
    assert (found.reason, found.link) == (NO_DRAIN.sentence, "unknown")


# -- the link and the credentials of a robot at rest


def test_an_answer_counts_after_its_process(outbox: Outbox) -> None:
    said = Report(boot_id=clock.boot_id(), heard_at=40.0, credentials="ok", link="up")
    found = summary(outbox, seen(said, drained=False), "")
    assert (found.link, found.link_seen_s, found.credentials) == ("up", 60, "ok")


def test_an_answer_counts_after_a_reboot(outbox: Outbox) -> None:
    wall = time.time()
    said = Report(boot_id="another", heard_at=9e9, heard_unix=int(wall) - 600, credentials="ok")
    found = summary(outbox, seen(said, drained=False, wall=wall), "")
    assert found.link == "up"
    assert found.link_seen_s in {600, 601}


@pytest.mark.parametrize("wall", [0.0, time.time() + 10 * 365 * 86_400], ids=["1970", "ten years"])
def test_a_wrong_clock_after_a_reboot_makes_no_link(outbox: Outbox, wall: float) -> None:
    said = Report(boot_id="another", heard_at=1.0, heard_unix=int(time.time()))
    assert summary(outbox, seen(said, drained=False, wall=wall), "").link == "unknown"


# -- how far


def test_bytes_that_were_acknowledged_are_not_left_to_send(outbox: Outbox) -> None:
    entering.enqueue(outbox, entry())
    row = transitions.claim(outbox, 0.0, LEASE_S)
    assert row is not None
    moving = seen(Report(moving={row.id: 300}, rate_bytes_s=10.0))
    found = summary(outbox, moving, "")
    assert sent_bytes(row, moving) == 300
    assert (found.backlog_bytes, found.eta_s) == (row.size - 300, (row.size - 300) // 10)


def test_what_a_killed_process_had_sent_of_a_part_does_not_count(outbox: Outbox) -> None:
    entering.enqueue(outbox, entry())
    row = transitions.claim(outbox, 0.0, LEASE_S)
    assert row is not None
    dead = seen(Report(moving={row.id: 300}), drained=False)
    assert (sent_bytes(row, dead), summary(outbox, dead, "").backlog_bytes) == (0, row.size)


# -- files without a row


def test_files_that_settle_or_were_not_scanned_are_not_up(outbox: Outbox) -> None:
    waits = seen(Report(settling=["/logs/a.ulg"], settling_count=1), unscanned=2)
    found = summary(outbox, waits, "")
    assert found.headline == (
        "0 of 3 logs proven, 1 has just been written, 2 are not in the outbox yet."
    )
    assert (found.settling, found.unscanned) == (["/logs/a.ulg"], 2)


def test_what_cannot_be_looked_through_is_said(outbox: Outbox) -> None:
    found = summary(outbox, seen(Report(trouble="/logs cannot be read.")), "")
    assert (found.headline, found.reason) == ("/logs cannot be read.", "/logs cannot be read.")


def test_what_cannot_be_looked_through_is_said_beside_what_is_first_in_the_way(
    outbox: Outbox,
) -> None:
    entering.enqueue(outbox, entry())
    unread = seen(drained=False, trouble="/logs cannot be read.", unread=1)
    found = summary(outbox, unread, "")
    assert (found.code, found.trouble, found.unread) == ("no_drain", "/logs cannot be read.", 1)
    assert found.headline == (
        f"0 of 1 log proven, 1.0 kB to go, and there may be more; waiting: {NO_DRAIN.sentence}"
    )
    assert "/logs cannot be read." in shown(found)


def test_what_the_headline_says_is_not_said_twice(outbox: Outbox) -> None:
    found = summary(outbox, seen(trouble="/logs cannot be read.", unread=1), "")
    assert shown(found).count("/logs cannot be read.") == 1


def test_a_directory_that_cannot_be_read_is_no_health(outbox: Outbox) -> None:
    settings = Settings(bucket_name="bucket", machine_id="drone-001")
    well = health_view(settings, "drone-001", summary(outbox, seen(Report(link="up")), ""))
    unread = seen(Report(link="up"), trouble="/logs cannot be read.", unread=1)
    ill = health_view(settings, "drone-001", summary(outbox, unread, ""))
    assert (well.status, ill.status) == ("healthy", "degraded")
    assert ill.trouble == "/logs cannot be read."


# -- when


def test_the_status_says_when_it_was_made_by_the_clock_of_s3(outbox: Outbox) -> None:
    ahead = summary(outbox, seen(Report(clock_offset_s=1.7e9), wall=1000.0), "")
    alone = summary(outbox, seen(wall=1000.0), "")
    assert (ahead.as_of, ahead.clock_offset_s) == (1_700_001_000, 1.7e9)
    assert (alone.as_of, alone.clock_offset_s) == (1000, None)


# -- since when


def test_a_reason_of_the_drain_says_since_when_it_holds(outbox: Outbox) -> None:
    entering.enqueue(outbox, entry())
    said = Report(boot_id=clock.boot_id(), code="armed", reason="It flies.", since_at=70.0)
    found = summary(outbox, seen(said, wall=1_000_000.0), "")
    assert (found.since, found.ends) == (iso(1_000_000 - 30), ENDINGS["armed"])
    before = summary(outbox, seen(said.model_copy(update={"boot_id": "another"})), "")
    assert before.since is None


def test_no_drain_says_since_when_the_log_waits_without_one(outbox: Outbox) -> None:
    entering.enqueue(outbox, entry())
    row = queries.get(outbox, 1)
    now = row.landed_at + 600.0
    # No process was there since it came in.
    for written in (None, row.landed_at - 60, int(now) + 10**9):
        gone = seen(Report(written_unix=written), drained=False, wall=now)
        assert summary(outbox, gone, "").since == iso(row.landed_at), written
    # It ended later.
    gone = seen(Report(written_unix=row.landed_at + 200), drained=False, wall=now)
    found = summary(outbox, gone, "")
    assert (found.code, found.since) == ("no_drain", iso(row.landed_at + 200))
    # By a clock that was set back nothing is known.
    back = seen(Report(written_unix=row.landed_at), drained=False, wall=row.landed_at - 9e6)
    assert summary(outbox, back, "").since is None


def test_a_row_says_since_when_it_fails_in_this_way(outbox: Outbox) -> None:
    before = int(time.time())
    for code in ("mismatch", "s3_unwell", "s3_unwell"):
        entering.enqueue(outbox, entry())
        row = transitions.claim(outbox, 0.0, LEASE_S)
        assert row is not None
        transitions.defer(outbox, row, 0.0, code, "It is so.")
    outbox.sql.change("UPDATE journal SET at = :then + id", then=before)
    waits = [one for one in journal.of(outbox, 1) if one.code == "s3_unwell"]
    found = summary(outbox, seen(), "")
    assert found.code == "s3_unwell"
    assert found.since == iso(next(one for one in waits if one.state == "queued").at)


def test_when_all_is_up_is_told_by_the_clock_of_the_answer(outbox: Outbox) -> None:
    entering.enqueue(outbox, entry())
    moving = seen(Report(rate_bytes_s=10.0, clock_offset_s=50.0), wall=1_000_000.0)
    found = summary(outbox, moving, "")
    assert found.eta_s is not None
    assert found.eta_at == iso(1_000_050 + found.eta_s)
    assert summary(outbox, seen(), "").eta_at is None


@pytest.fixture
def _utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as here:
        here.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (1.0, "about 17 min (14:30 UTC)"),
        (1000 / 59, "about 59 s"),
        (1000 / 90_000, r"about 25 h (Mon 15:14 UTC)"),
    ],
)
@pytest.mark.usefixtures("_utc")
def test_the_headline_says_until_when_that_takes(outbox: Outbox, rate: float, said: str) -> None:
    entering.enqueue(outbox, entry())
    moving = seen(Report(rate_bytes_s=rate), wall=1_753_625_640.0)  # 2025-07-27 14:14 UTC
    assert summary(outbox, moving, "").headline == f"0 of 1 log proven, 1.0 kB to go, {said}."


@pytest.mark.parametrize("wall", [-1e18, 1e18, 0.0])
def test_a_clock_that_is_far_off_breaks_no_headline(outbox: Outbox, wall: float) -> None:
    entering.enqueue(outbox, entry())
    found = summary(outbox, seen(Report(rate_bytes_s=1.0), wall=wall), "")
    assert found.headline.startswith("0 of 1 log proven, 1.0 kB to go, about 17 min")
