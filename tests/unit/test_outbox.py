"""A row moves from landed to settled only along guarded transitions."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from outbox_rows import (
    LEASE_S,
    STATES,
    as_it_was,
    claim,
    entry,
    identity,
    receipt,
    row_in,
    with_upload,
)

from petal_s3.errors import LeaseLost, LocalStorageError, S3FileNotFoundError
from petal_s3.logs.opening import Identity
from petal_s3.outbox import (
    copies,
    drain_status,
    entering,
    facts,
    identities,
    known_files,
    proven_objects,
    queries,
    remote_objects,
    requests,
    transitions,
)
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.remote_objects import RemoteObject
from petal_s3.outbox.rows import Row, printable
from petal_s3.outbox.thread import OutboxThread

Verb = Callable[[Outbox, Row], Row]

SETTLING: dict[str, Verb] = {
    "plan": lambda outbox, row: transitions.plan(outbox, row, 500),
    "remember": lambda outbox, row: transitions.remember_upload(outbox, row, "u", checksummed=True),
    "forget": transitions.forget_upload,
    "progress": lambda outbox, row: transitions.progress(
        outbox, row, LEASE_S, sent_bytes=1, sent=1, resent=0
    ),
    "rekey": lambda outbox, row: transitions.change_key(outbox, row, "flight_logs/m-1/other.ulg"),
    "restart": lambda outbox, row: identities.restart(
        outbox, row, identity(2), "truncated", {}, 9.0
    ),
    "reidentify": lambda outbox, row: identities.reidentify(
        outbox, row, identity(2), "truncated", {}, 9.0
    ),
    "verified": lambda outbox, row: transitions.verified(outbox, row, receipt(row)),
    "defer": lambda outbox, row: transitions.defer(outbox, row, 9.0, "offline", "No link."),
    "release": lambda outbox, row: transitions.release(outbox, row, "paused", "Armed."),
    "bury": lambda outbox, row: transitions.mark_dead(outbox, row, "source_gone", "Deleted."),
}

LOSING: dict[str, Callable[[Outbox, Row], object]] = {
    "cancelled under it": lambda outbox, row: requests.cancel(
        outbox, row.id, "Cancelled on request."
    ),
    "its lease expired": lambda outbox, row: transitions.claim(outbox, LEASE_S, LEASE_S),
    "the drain was taken over": lambda outbox, _row: transitions.release_claims(outbox),
    "it settled before": lambda outbox, row: transitions.defer(
        outbox, row, 5.0, "offline", "No link."
    ),
}


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox(tmp_path / "outbox.db", boot_id="boot-1")
    yield opened
    opened.close()


@pytest.fixture
def elsewhere(outbox: Outbox) -> Iterator[Outbox]:
    """Another process's view of the same outbox, which does not wait for locks."""
    other = Outbox(outbox.path, boot_id="boot-1")
    other.sql.conn.execute("PRAGMA busy_timeout = 0")
    yield other
    other.close()


# -- landing


def test_a_landed_log_waits_and_is_due_at_once(outbox: Outbox) -> None:
    row = entering.enqueue(outbox, entry(priority=3, session_id="s", spooled=True))
    assert (row.state, row.due_at, row.attempts, row.lease) == ("queued", 0.0, 0, None)
    assert (row.priority, row.session_id, row.spooled) == (3, "s", True)
    assert row.facts == {"sys-name": "PX4"}
    assert row.identity == identity()
    assert queries.get(outbox, row.id) == row


def test_the_same_file_again_gives_the_same_row(outbox: Outbox) -> None:
    first = entering.enqueue(outbox, entry())
    assert entering.enqueue(outbox, entry()) == first
    assert queries.counts(outbox) == dict.fromkeys(STATES, 0) | {"queued": 1}


def test_an_inode_number_of_64_bits_survives(outbox: Outbox) -> None:
    huge = identity((1 << 64) - 3)
    assert entering.enqueue(outbox, entry(file=huge)).identity == huge
    assert entering.enqueue(outbox, entry(file=huge)).id == 1
    assert known_files.without_row(outbox, [("/logs/a.ulg", huge)]) == []


def test_asking_again_may_raise_the_priority_but_never_lowers_it(outbox: Outbox) -> None:
    entering.enqueue(outbox, entry(priority=1))
    assert entering.enqueue(outbox, entry(priority=10)).priority == 10
    assert entering.enqueue(outbox, entry(priority=0)).priority == 10


def test_the_same_file_under_another_asked_key_is_another_row(outbox: Outbox) -> None:
    own = entering.enqueue(outbox, entry())
    asked = entering.enqueue(outbox, entry(asked_key="m-1/there.ulg", key="m-1/there.ulg"))
    assert asked.id != own.id
    assert (
        entering.enqueue(outbox, entry(asked_key="m-1/there.ulg", key="m-1/there.ulg")).id
        == asked.id
    )


def test_a_waiting_row_takes_on_the_file_as_it_is_now(outbox: Outbox) -> None:
    row = row_in(outbox, "uploading")
    transitions.defer(outbox, row, 99.0, "offline", "No link.")
    changed = entering.enqueue(
        outbox, entry(file=identity(2, size=3000), verdict="truncated", key="k", logged_at=8)
    )
    assert (changed.id, changed.state, changed.due_at) == (row.id, "queued", 0.0)
    assert (changed.failures, changed.code, changed.reason) == (0, "", "")
    assert (changed.verdict, changed.key, changed.logged_at) == ("truncated", "k", 8)
    assert changed.identity == identity(2, size=3000)


def test_a_changed_file_does_not_disturb_the_worker_that_sends_it(outbox: Outbox) -> None:
    row = row_in(outbox, "uploading")
    assert entering.enqueue(outbox, entry(file=identity(2))) == row
    assert transitions.verified(outbox, row, receipt(row)).state == "verified"


def test_a_changed_file_keeps_the_upload_that_waits_to_go_on(outbox: Outbox) -> None:
    row = with_upload(outbox, row_in(outbox, "uploading"))
    waiting = transitions.defer(outbox, row, 9.0, "offline", "No link.")
    assert entering.enqueue(outbox, entry(file=identity(2))) == waiting
    assert waiting.upload_id == "upload-1"


@pytest.mark.parametrize("file", [identity(), identity(2, size=3000)], ids=["same", "changed"])
def test_a_dead_row_is_queued_again_when_its_file_lands(outbox: Outbox, file: Identity) -> None:
    dead = row_in(outbox, "dead")
    again = entering.enqueue(outbox, entry(file=file))
    assert (again.id, again.state, again.code, again.reason) == (dead.id, "queued", "", "")
    assert again.identity == file


def test_a_cancelled_row_is_queued_again_when_the_same_file_lands(outbox: Outbox) -> None:
    cancelled = row_in(outbox, "cancelled")
    again = entering.enqueue(outbox, entry())
    assert (again.id, again.state, again.reason) == (cancelled.id, "queued", "")


def test_a_changed_file_after_a_cancel_is_another_row(outbox: Outbox) -> None:
    cancelled = row_in(outbox, "cancelled")
    other = entering.enqueue(outbox, entry(file=identity(2)))
    assert other.id != cancelled.id
    assert queries.get(outbox, cancelled.id).state == "cancelled"


@pytest.mark.parametrize("given_up", ["cancel", "bury"])
def test_a_row_that_was_given_up_half_sent_goes_on_where_it_was(
    outbox: Outbox, given_up: str
) -> None:
    row = with_upload(outbox, row_in(outbox, "uploading"))
    if given_up == "cancel":
        requests.cancel(outbox, row.id, "Cancelled on request.")
    else:
        transitions.mark_dead(outbox, row, "source_gone", "Deleted.")
    again = entering.enqueue(outbox, entry(file=identity(2)) if given_up == "bury" else entry())
    assert (again.id, again.state, again.upload_id) == (row.id, "queued", "upload-1")
    # Whether the file is still the same one is found out when it is opened.
    assert (again.sent_bytes, again.identity) == (400, identity())


def test_a_proven_log_is_not_sent_again(outbox: Outbox) -> None:
    proven = row_in(outbox, "verified")
    assert entering.enqueue(outbox, entry()) == proven
    assert transitions.claim(outbox, 0.0, LEASE_S) is None


def test_a_changed_file_after_the_proof_is_a_new_log(outbox: Outbox) -> None:
    proven = row_in(outbox, "verified")
    new = entering.enqueue(outbox, entry(file=identity(2)))
    assert (new.id == proven.id, new.state) == (False, "queued")
    assert queries.get(outbox, proven.id) == replace(proven, local="other")


def test_what_is_no_log_is_shown_as_a_dead_row_once(outbox: Outbox) -> None:
    row = entering.enter_refused(outbox, entry(), "bad_magic", "It is HTML.")
    assert (row.state, row.code, row.reason) == ("dead", "bad_magic", "It is HTML.")
    again = entering.enter_refused(outbox, entry(), "empty", "It is empty.")
    assert (again.id, again.state, again.reason) == (row.id, "dead", "It is empty.")


def test_a_refusal_does_not_touch_a_row_that_is_known(outbox: Outbox) -> None:
    row = row_in(outbox, "verified")
    assert entering.enter_refused(outbox, entry(), "bad_magic", "It is HTML.") == row


def test_a_refused_file_that_became_a_log_is_queued_in_the_same_row(outbox: Outbox) -> None:
    dead = entering.enter_refused(outbox, entry(kind="unknown"), "too_short", "It is too short.")
    row = entering.enqueue(outbox, entry(file=identity(size=2000)))
    assert (row.id, row.state, row.kind, row.size) == (dead.id, "queued", "ulog", 2000)


def test_a_scan_asks_only_for_files_that_no_row_knows(outbox: Outbox) -> None:
    entering.enqueue(outbox, entry())
    known, changed = ("/logs/a.ulg", identity()), ("/logs/a.ulg", identity(mtime_ns=6))
    assert known_files.without_row(outbox, [known, changed, ("/logs/b.ulg", identity())]) == [
        changed,
        ("/logs/b.ulg", identity()),
    ]


@pytest.mark.parametrize("state", STATES)
def test_a_scan_looks_again_at_a_deleted_file_that_is_back(outbox: Outbox, state: str) -> None:
    row_in(outbox, state)  # dead here means: its file was gone
    looked_at = known_files.without_row(outbox, [("/logs/a.ulg", identity())])
    assert bool(looked_at) == (state == "dead")


def test_a_scan_does_not_look_again_at_what_is_no_log(outbox: Outbox) -> None:
    entering.enter_refused(outbox, entry(), "bad_magic", "It is HTML.")
    assert known_files.without_row(outbox, [("/logs/a.ulg", identity())]) == []


def test_one_file_with_a_name_that_is_no_text_does_not_end_a_scan(outbox: Outbox) -> None:
    odd = ("/logs/\udcff.ulg", identity())
    assert known_files.without_row(outbox, [odd, ("/logs/b.ulg", identity())])[0] == odd
    entering.enter_refused(outbox, entry(path=printable(odd[0])), "bad_name", "Rename it.")
    assert known_files.without_row(outbox, [odd]) == []
    assert queries.at_path(outbox, r"/logs/\xff.ulg") != []


def test_an_upload_that_was_asked_for_and_gave_up_is_still_a_log(outbox: Outbox) -> None:
    row_in(outbox, "cancelled", asked_key="m-1/there.ulg")
    assert known_files.without_row(outbox, [("/logs/a.ulg", identity())]) != []


# -- claiming


def test_a_claim_takes_a_lease(outbox: Outbox) -> None:
    entering.enqueue(outbox, entry("a.ulg"))
    entering.enqueue(outbox, entry("b.ulg"))
    first, second = claim(outbox, 100.0), claim(outbox, 100.0)
    assert (first.state, first.due_at, first.attempts) == ("uploading", 160.0, 1)
    assert first.boot_id == "boot-1"
    assert first.lease
    assert second.lease not in {None, first.lease}
    assert transitions.claim(outbox, 100.0, LEASE_S) is None


def test_the_highest_priority_goes_first_then_the_newest_log(outbox: Outbox) -> None:
    for name, priority, logged_at in [
        ("new", 0, 300),
        ("asked-new", 10, 60),
        ("asked-old", 10, 50),
        ("new-too", 0, 300),
        ("old", 0, 100),
    ]:
        entering.enqueue(outbox, entry(name, priority=priority, logged_at=logged_at))
    order = [claim(outbox).name for _ in range(5)]
    assert order == ["asked-new", "asked-old", "new-too", "new", "old"]


def test_a_row_is_not_claimed_before_it_is_due(outbox: Outbox) -> None:
    transitions.defer(outbox, row_in(outbox, "uploading"), 50.0, "offline", "No link.")
    assert transitions.claim(outbox, 49.9, LEASE_S) is None
    assert queries.next_due_s(outbox, 49.0) == 1.0
    assert claim(outbox, 50.0).attempts == 2


def test_a_row_that_is_not_due_does_not_hold_up_older_ones(outbox: Outbox) -> None:
    entering.enqueue(outbox, entry("older", logged_at=1))
    entering.enqueue(outbox, entry("newer", logged_at=2))
    transitions.defer(outbox, claim(outbox), 50.0, "offline", "No link.")
    assert claim(outbox, 1.0).name == "older"


def test_nothing_waits_in_an_outbox_of_settled_rows(outbox: Outbox) -> None:
    for number, state in enumerate(["verified", "dead", "cancelled"]):
        row_in(outbox, state, f"{number}.ulg")
    assert transitions.claim(outbox, 1e9, LEASE_S) is None
    assert queries.next_due_s(outbox, 0.0) is None


def test_a_lease_that_expired_is_claimed_by_another_worker(outbox: Outbox) -> None:
    first = row_in(outbox, "uploading")
    assert transitions.claim(outbox, LEASE_S - 0.1, LEASE_S) is None
    second = claim(outbox, LEASE_S)
    assert (second.id, second.attempts) == (first.id, 2)
    with pytest.raises(LeaseLost):
        transitions.verified(outbox, first, receipt(first))
    assert transitions.verified(outbox, second, receipt(second)).state == "verified"


@pytest.mark.parametrize("state", ["queued", "uploading"])
def test_a_row_of_another_boot_is_due(outbox: Outbox, elsewhere: Outbox, state: str) -> None:
    row = row_in(outbox, "uploading")
    if state == "queued":
        transitions.defer(outbox, row, 1e9, "offline", "No link.")
    assert queries.next_due_s(outbox, 1.0) != 0.0
    after_reboot = Outbox(outbox.path, boot_id="boot-2")
    assert queries.next_due_s(after_reboot, 1.0) == 0.0
    assert claim(after_reboot, 1.0).boot_id == "boot-2"
    after_reboot.close()


def test_a_row_says_when_it_is_tried_next(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("petal_s3.core.clock.boot_id", lambda: "boot-1")
    row = row_in(outbox, "uploading")
    assert row.next_attempt_s(0.0) is None
    waiting = transitions.defer(outbox, row, 50.0, "offline", "No link.")
    assert (waiting.next_attempt_s(20.0), waiting.next_attempt_s(70.0)) == (30.0, 0.0)
    assert replace(waiting, boot_id="boot-0").next_attempt_s(20.0) == 0.0


def test_a_caller_that_takes_the_drain_over_need_not_wait_for_leases(outbox: Outbox) -> None:
    row = with_upload(outbox, row_in(outbox, "uploading"))
    row_in(outbox, "verified", "b.ulg")
    assert transitions.release_claims(outbox) == 1
    again = claim(outbox, 0.1)
    assert (again.id, again.upload_id, again.sent_bytes) == (row.id, "upload-1", 400)
    assert queries.counts(outbox)["verified"] == 1


# -- settling


@pytest.mark.parametrize("losing", LOSING)
@pytest.mark.parametrize("verb", SETTLING)
def test_a_late_worker_changes_nothing(outbox: Outbox, verb: str, losing: str) -> None:
    row = with_upload(outbox, row_in(outbox, "uploading"))
    LOSING[losing](outbox, row)
    before = queries.get(outbox, row.id)
    with pytest.raises(LeaseLost, match=f"Row {row.id} "):
        SETTLING[verb](outbox, row)
    assert queries.get(outbox, row.id) == before


@pytest.mark.parametrize("verb", SETTLING)
def test_the_holder_of_the_lease_may_do_everything(outbox: Outbox, verb: str) -> None:
    row = with_upload(outbox, row_in(outbox, "uploading"))
    settled = SETTLING[verb](outbox, row)
    assert settled == queries.get(outbox, row.id)
    assert settled.state == {
        "verified": "verified",
        "bury": "dead",
        "defer": "queued",
        "release": "queued",
        "restart": "queued",
        "reidentify": "queued",
    }.get(verb, "uploading")
    assert (settled.lease is None) == (settled.state != "uploading")


def test_an_upload_is_written_down_before_its_first_part(outbox: Outbox) -> None:
    row = transitions.plan(outbox, row_in(outbox, "uploading"), 500)
    assert (row.part_size, row.upload_id) == (500, None)
    row = transitions.remember_upload(outbox, row, "upload-1", checksummed=True)
    assert (row.part_size, row.upload_id, row.checksummed) == (500, "upload-1", True)
    row = transitions.forget_upload(outbox, row)
    assert (row.part_size, row.upload_id, row.sent_bytes) == (None, None, 0)


def test_an_upload_id_needs_a_plan(outbox: Outbox) -> None:
    row = row_in(outbox, "uploading")
    with pytest.raises(sqlite3.IntegrityError):
        transitions.remember_upload(outbox, row, "upload-1", checksummed=True)


def test_progress_counts_parts_extends_the_lease_and_forgives_failures(outbox: Outbox) -> None:
    row = transitions.defer(outbox, row_in(outbox, "uploading"), 0.0, "offline", "No link.")
    row = transitions.plan(outbox, claim(outbox), 500)
    assert row.failures == 1
    row = transitions.progress(outbox, row, 30.0 + LEASE_S, sent_bytes=500, sent=1, resent=0)
    row = transitions.progress(outbox, row, 40.0 + LEASE_S, sent_bytes=1000, sent=2, resent=1)
    assert (row.sent_bytes, row.parts_sent, row.parts_resent) == (1000, 3, 1)
    assert (row.failures, row.due_at) == (0, 100.0)


def test_the_proof_ends_it(outbox: Outbox) -> None:
    row = with_upload(outbox, row_in(outbox, "uploading"))
    proof = replace(receipt(row), key="flight_logs/m-1/found-there.ulg")
    done = transitions.verified(outbox, row, proof)
    assert (done.receipt, done.key) == (proof, proof.key)
    assert (done.sent_bytes, done.upload_id, done.failures) == (done.size, None, 0)
    assert done.settled


def test_a_copy_of_proven_bytes_names_the_row_it_is_the_same_as(outbox: Outbox) -> None:
    first = row_in(outbox, "verified")
    second = row_in(outbox, "uploading", "b.ulg")
    assert (
        transitions.verified(outbox, second, receipt(first), same_as=first.id).same_as == first.id
    )


def test_a_failed_attempt_keeps_what_was_sent_and_why_it_failed(outbox: Outbox) -> None:
    row = with_upload(outbox, row_in(outbox, "uploading"))
    row = transitions.defer(outbox, row, 77.0, "offline", "No link.")
    assert (row.due_at, row.failures, row.code, row.reason) == (77.0, 1, "offline", "No link.")
    assert (row.upload_id, row.sent_bytes, row.attempts) == ("upload-1", 400, 1)


def test_an_interrupted_attempt_does_not_count(outbox: Outbox) -> None:
    row = transitions.release(
        outbox, with_upload(outbox, row_in(outbox, "uploading")), "paused", "Armed."
    )
    assert (row.attempts, row.failures, row.due_at, row.code) == (0, 0, 0.0, "paused")
    assert row.upload_id == "upload-1"


def test_a_changed_file_is_sent_from_the_start(outbox: Outbox) -> None:
    row = with_upload(outbox, row_in(outbox, "uploading"))
    row = identities.restart(outbox, row, identity(2, size=50), "truncated", {"ver-sw": "1"}, 88.0)
    assert (row.upload_id, row.part_size, row.sent_bytes) == (None, None, 0)
    assert (row.identity, row.verdict, row.facts) == (
        identity(2, size=50),
        "truncated",
        {"ver-sw": "1"},
    )
    assert (row.code, row.due_at) == ("source_changed", 88.0)


def test_a_file_that_was_put_back_as_it_was_is_not_sent_twice(outbox: Outbox) -> None:
    proven = row_in(outbox, "verified")
    changed = row_in(outbox, "uploading", file=identity(2))
    settled = identities.restart(outbox, changed, proven.identity, "complete", {}, 9.0)
    assert (settled.state, settled.code) == ("cancelled", "same_file")
    assert settled.reason == f"The file is again the one of row {proven.id}."
    assert transitions.claim(outbox, 1e9, LEASE_S) is None


def test_a_file_with_another_time_keeps_what_was_sent_of_it(outbox: Outbox) -> None:
    row = with_upload(outbox, row_in(outbox, "uploading"))
    later = identities.reidentify(
        outbox, row, identity(2, mtime_ns=9), "damaged", {"ver-sw": "1"}, 88.0
    )
    assert (later.upload_id, later.part_size, later.sent_bytes) == ("upload-1", 500, 400)
    assert (later.identity, later.verdict) == (identity(2, mtime_ns=9), "damaged")
    assert (later.facts, later.key) == ({"ver-sw": "1"}, row.key)
    assert (later.state, later.code, later.due_at) == ("queued", "source_changed", 88.0)


def test_a_file_with_another_time_that_has_a_row_already_is_not_sent_twice(
    outbox: Outbox,
) -> None:
    proven = row_in(outbox, "verified")
    changed = with_upload(outbox, row_in(outbox, "uploading", file=identity(2)))
    settled = identities.reidentify(outbox, changed, proven.identity, "complete", {}, 9.0)
    assert (settled.state, settled.code) == ("cancelled", "same_file")
    assert settled.reason == f"The file is again the one of row {proven.id}."
    assert queries.leftovers(outbox) == [settled], "its upload is still to be aborted"


@pytest.mark.parametrize("verb", ["restart", "reidentify"])
@pytest.mark.parametrize("state", ["dead", "cancelled"])
def test_a_file_that_is_again_that_of_a_row_that_was_given_up_is_sent(
    outbox: Outbox, verb: str, state: str
) -> None:
    given_up = row_in(outbox, "uploading")
    other = entering.enqueue(outbox, entry(file=identity(2), asked_key="k"))
    outbox.sql.change("UPDATE log SET asked_key = '' WHERE id = :id", id=other.id)
    if state == "dead":
        transitions.mark_dead(outbox, given_up, "source_away", "Gone.")
    else:
        requests.cancel(outbox, given_up.id, "Not wanted.")
    again = getattr(identities, verb)(outbox, claim(outbox), given_up.identity, "complete", {}, 9.0)
    assert again.state == "cancelled"
    assert claim(outbox).id == given_up.id


@pytest.mark.parametrize("size", [1000, 2000])
def test_a_small_log_that_may_be_stored_keeps_its_key_while_its_size_is_the_same(
    outbox: Outbox, size: int
) -> None:
    begun = transitions.plan(outbox, row_in(outbox, "uploading"), 1000)
    begun = transitions.defer(outbox, begun, 0.0, "offline", "No link.")
    file = identity(1, size=size, mtime_ns=9)
    landed = entering.enqueue(outbox, entry(file=file, key="flight_logs/m-1/later.ulg"))
    assert landed.id == begun.id
    assert (landed == begun) == (size == 1000)
    assert landed.key == (begun.key if size == 1000 else "flight_logs/m-1/later.ulg")


def test_a_dead_row_keeps_its_upload_until_that_is_aborted(outbox: Outbox) -> None:
    row = with_upload(outbox, row_in(outbox, "uploading"))
    dead = transitions.mark_dead(outbox, row, "source_gone", "Deleted.")
    assert queries.leftovers(outbox) == [dead]
    requests.clear_upload(outbox, dead)
    assert queries.leftovers(outbox) == []
    assert queries.get(outbox, dead.id).part_size is None


@pytest.mark.parametrize("ends", ["goes on", "given up again"])
def test_a_sweep_that_comes_late_does_not_forget_a_newer_upload(outbox: Outbox, ends: str) -> None:
    row = with_upload(outbox, row_in(outbox, "uploading"))
    dead = transitions.mark_dead(outbox, row, "source_gone", "Deleted.")
    entering.enter_again(outbox, row.id, as_it_was(row))
    newer = transitions.remember_upload(outbox, claim(outbox), "upload-2", checksummed=False)
    if ends == "given up again":
        newer = transitions.mark_dead(outbox, newer, "source_gone", "Deleted.")
    requests.clear_upload(outbox, dead)
    assert queries.get(outbox, row.id) == newer


def test_a_sweep_that_comes_late_leaves_alone_what_goes_on(outbox: Outbox) -> None:
    dead = transitions.mark_dead(
        outbox, with_upload(outbox, row_in(outbox, "uploading")), "source_gone", "Deleted."
    )
    again = entering.enter_again(outbox, dead.id, as_it_was(dead))
    requests.clear_upload(outbox, dead)
    assert queries.get(outbox, dead.id) == again


# -- what people ask for


@pytest.mark.parametrize(
    ("state", "becomes"),
    [
        ("queued", "cancelled"),
        ("uploading", "cancelled"),
        ("dead", "cancelled"),
        ("verified", "verified"),
        ("cancelled", "cancelled"),
    ],
)
def test_what_a_cancel_does_in_each_state(outbox: Outbox, state: str, becomes: str) -> None:
    row = row_in(outbox, state)
    cancelled = requests.cancel(outbox, row.id, "Not wanted.")
    assert (cancelled.state, cancelled.lease) == (becomes, None)
    if state in {"verified", "cancelled"}:
        assert cancelled == row
    else:
        assert (cancelled.code, cancelled.reason) == ("cancelled", "Not wanted.")


@pytest.mark.parametrize(
    ("state", "becomes"),
    [
        ("queued", "queued"),
        ("uploading", "uploading"),
        ("dead", "queued"),
        ("verified", "verified"),
        ("cancelled", "queued"),
    ],
)
def test_what_a_retry_does_in_each_state(outbox: Outbox, state: str, becomes: str) -> None:
    row = row_in(outbox, state)
    again = requests.retry(outbox, row.id)
    if state in {"dead", "cancelled"}:
        assert again == row  # its file is examined first
        again = entering.enter_again(outbox, row.id, as_it_was(row))
    assert (again.state, again.lease) == (becomes, row.lease)
    if becomes == "queued":
        assert (again.due_at, again.failures, again.code, again.reason) == (0.0, 0, "", "")
    else:
        assert again == row


def test_a_retry_does_not_wait_for_the_backoff(outbox: Outbox) -> None:
    row = transitions.defer(outbox, row_in(outbox, "uploading"), 1e9, "offline", "No link.")
    requests.retry(outbox, row.id)
    assert claim(outbox, 1.0).id == row.id


@pytest.mark.parametrize("verb", ["retry", "cancel"])
def test_no_worker_claims_a_row_while_a_person_decides_about_it(
    outbox: Outbox, elsewhere: Outbox, verb: str
) -> None:
    row = transitions.defer(outbox, row_in(outbox, "uploading"), 0.0, "offline", "No link.")
    claims: list[Row | LocalStorageError | None] = []

    def claim_in_between(statement: str) -> None:
        if statement.startswith("UPDATE"):
            try:
                claims.append(transitions.claim(elsewhere, 1.0, LEASE_S))
            except LocalStorageError as error:
                claims.append(error)

    outbox.sql.conn.set_trace_callback(claim_in_between)
    decided = (
        requests.retry(outbox, row.id)
        if verb == "retry"
        else requests.cancel(outbox, row.id, "Not wanted.")
    )
    outbox.sql.conn.set_trace_callback(None)
    assert decided.state == ("queued" if verb == "retry" else "cancelled")
    assert {type(one) for one in claims} == {LocalStorageError}  # also within a trigger


@pytest.mark.parametrize(
    "verb",
    [
        lambda box: queries.get(box, 9),
        lambda box: requests.retry(box, 9),
        lambda box: requests.cancel(box, 9, "No."),
    ],
)
def test_a_row_that_does_not_exist_is_said_to_be_unknown(
    outbox: Outbox, verb: Callable[[Outbox], Row]
) -> None:
    with pytest.raises(S3FileNotFoundError, match="no row 9"):
        verb(outbox)


def test_hastening_spares_files_that_still_settle(outbox: Outbox) -> None:
    for name, code in [("a", "offline"), ("b", "source_changed"), ("c", "not_finished")]:
        transitions.defer(outbox, row_in(outbox, "uploading", name), 500.0, code, "Why.")
    assert requests.make_due(outbox, 0.0) == 1
    assert claim(outbox, 1.0).name == "a"
    assert transitions.claim(outbox, 1.0, LEASE_S) is None


def test_deleting_a_proven_object_cancels_its_rows(outbox: Outbox) -> None:
    first = row_in(outbox, "verified")
    second = row_in(outbox, "uploading", "b.ulg")
    second = transitions.verified(outbox, second, receipt(first), same_as=first.id)
    other = row_in(outbox, "verified", "c.ulg")
    assert proven_objects.delete_proven(outbox, first.key, "Deleted on request.") == 2
    for row in (queries.get(outbox, first.id), queries.get(outbox, second.id)):
        assert (row.state, row.code, row.receipt) == ("cancelled", "deleted", None)
    assert queries.get(outbox, other.id) == other


def test_moving_a_proven_object_carries_row_and_receipt_along(outbox: Outbox) -> None:
    row = row_in(outbox, "verified")
    waiting = row_in(outbox, "queued", "b.ulg", key=row.key)
    assert proven_objects.move_proven(outbox, row.key, "deleted/m-1/a.ulg", "f" * 32) == 1
    moved = queries.get(outbox, row.id)
    assert (moved.key, moved.receipt) == (
        "deleted/m-1/a.ulg",
        replace(receipt(row), key="deleted/m-1/a.ulg", etag="f" * 32),
    )
    assert queries.get(outbox, waiting.id) == waiting


# -- looking


def test_rows_are_listed_by_page_and_state_the_latest_first(outbox: Outbox) -> None:
    for number in range(5):
        row_in(outbox, "dead" if number == 2 else "verified", f"{number}.ulg")
    page = queries.rows(outbox, limit=3)
    assert [row.id for row in page] == [5, 4, 3]
    rest = queries.rows(outbox, limit=3, before=page[-1].id)
    assert [row.id for row in rest] == [2, 1]
    assert [row.id for row in queries.rows(outbox, "dead")] == [3]


def test_rows_are_found_by_path_and_by_key(outbox: Outbox) -> None:
    first = row_in(outbox, "verified")
    second = entering.enqueue(outbox, entry(file=identity(2), key=first.key))
    first = replace(first, local="other")
    assert queries.at_path(outbox, "/logs/a.ulg") == [second, first]
    assert queries.at_key(outbox, first.key) == [second, first]
    assert queries.at_key(outbox, "flight_logs/m-1/none.ulg") == []


def test_only_proven_originals_are_candidates_for_the_same_content(outbox: Outbox) -> None:
    first = row_in(outbox, "verified")
    same = row_in(outbox, "uploading", "b.ulg")
    transitions.verified(outbox, same, receipt(first), same_as=first.id)
    row_in(outbox, "queued", "c.ulg")
    checksum = receipt(first).checksum
    assert queries.proven_like(outbox, first.size, checksum) == [first]
    assert queries.proven_like(outbox, first.size, "crc32:BBBBBB==") == []
    assert queries.proven_like(outbox, first.size + 1, checksum) == []
    assert queries.has_proven(outbox, first.size)
    assert not queries.has_proven(outbox, first.size + 1)


def test_the_backlog_counts_what_is_not_confirmed_yet(outbox: Outbox) -> None:
    assert queries.backlog(outbox) == (0, None)
    row_in(outbox, "verified")
    oldest = with_upload(outbox, row_in(outbox, "uploading", "b.ulg"))
    entering.enqueue(outbox, entry("c.ulg"))
    assert queries.backlog(outbox) == (1600, oldest)


def test_copies_in_the_spool_are_needed_until_their_row_settles(outbox: Outbox) -> None:
    row_in(outbox, "verified", "a.ulg", spooled=True)
    row_in(outbox, "uploading", "b.ulg", spooled=True)
    row_in(outbox, "queued", "c.ulg", spooled=True)
    row_in(outbox, "queued", "d.ulg")
    assert copies.needed(outbox) == {"/logs/b.ulg", "/logs/c.ulg"}


def test_what_the_draining_process_says_is_read_by_others(
    outbox: Outbox, elsewhere: Outbox
) -> None:
    assert drain_status.last(elsewhere) == {}
    drain_status.publish(outbox, {"link": "down", "pid": 7})
    drain_status.publish(outbox, {"link": "up", "pid": 7})
    assert drain_status.last(elsewhere) == {"link": "up", "pid": 7}


def test_the_inventory_of_the_bucket_is_taken_once(outbox: Outbox) -> None:
    assert not remote_objects.listed_once(outbox)
    remote_objects.complete_listing(outbox, [("k1", 10, "e1"), ("k2", 20, "e2")])
    remote_objects.complete_listing(outbox, [("k1", 10, "e3")])
    assert remote_objects.listed_once(outbox)
    assert remote_objects.of_size(outbox, 10) == [RemoteObject("k1", "e3")]
    assert remote_objects.of_size(outbox, 30) == []


def test_an_inventory_that_breaks_off_was_not_taken(outbox: Outbox) -> None:
    def listing() -> Iterator[tuple[str, int, str]]:
        yield "k1", 10, "e1"
        raise RuntimeError("the link was cut")

    with pytest.raises(RuntimeError):
        remote_objects.complete_listing(outbox, listing())
    assert not remote_objects.listed_once(outbox)
    assert remote_objects.of_size(outbox, 10) == []
    assert entering.enqueue(outbox, entry()).state == "queued"


def test_a_listing_goes_on_where_it_was_cut(outbox: Outbox, elsewhere: Outbox) -> None:
    assert remote_objects.next_page(outbox, "m-1/") is None
    remote_objects.record_page(outbox, "m-1/", [("k1", 10, "e1")], "after k1")
    assert remote_objects.next_page(elsewhere, "m-1/") == "after k1"
    assert remote_objects.next_page(elsewhere, "deleted/m-1/") is None
    remote_objects.record_page(elsewhere, "m-1/", [("k2", 10, "e2")], "")
    assert remote_objects.next_page(outbox, "m-1/") == ""
    assert not remote_objects.listed_once(outbox)
    remote_objects.complete_listing(outbox)
    assert remote_objects.listed_once(outbox)
    assert remote_objects.next_page(outbox, "m-1/") is None
    assert {held.key for held in remote_objects.of_size(outbox, 10)} == {"k1", "k2"}


def test_a_listing_begins_anew_where_its_place_is_forgotten(outbox: Outbox) -> None:
    remote_objects.record_page(outbox, "m-1/", [], "a token")
    remote_objects.restart_listing(outbox, "m-1/")
    assert remote_objects.next_page(outbox, "m-1/") is None


def test_what_s3_told_of_an_object_is_kept_while_its_etag_is_the_same(outbox: Outbox) -> None:
    remote_objects.complete_listing(outbox, [("k", 10, "e-2")])
    asked = RemoteObject("k", "e-2", 5, "")
    remote_objects.describe(outbox, asked, 10)
    remote_objects.record_page(outbox, "", [("k", 10, "e-2")], "")
    assert remote_objects.of_size(outbox, 10) == [asked]
    remote_objects.record_page(outbox, "", [("k", 10, "other")], "")
    assert remote_objects.of_size(outbox, 10) == [RemoteObject("k", "other")]
    remote_objects.remove(outbox, "k")
    assert remote_objects.of_size(outbox, 10) == []


def test_a_fact_says_what_it_was_told_last(outbox: Outbox) -> None:
    assert facts.value(outbox, "looked") == ""
    facts.keep(outbox, "looked", "1")
    facts.keep(outbox, "looked", "2")
    assert facts.value(outbox, "looked") == "2"


def test_the_version_tells_that_another_process_wrote(outbox: Outbox, elsewhere: Outbox) -> None:
    before = queries.version(outbox)
    entering.enqueue(outbox, entry("mine.ulg"))
    assert queries.version(outbox) == before
    entering.enqueue(elsewhere, entry("theirs.ulg"))
    changed = queries.version(outbox)
    assert changed != before
    assert queries.version(outbox) == changed


# -- on its own thread


async def test_the_outbox_lives_on_one_thread(tmp_path: Path) -> None:
    db = OutboxThread(tmp_path / "outbox.db")
    await db.open()
    threads = {await db(lambda _outbox: threading.get_ident()) for _ in range(20)}
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    await db.close()


async def test_a_cancelled_caller_does_not_undo_what_it_asked_for(tmp_path: Path) -> None:
    db = OutboxThread(tmp_path / "outbox.db")
    await db.open()
    started, may_end = threading.Event(), threading.Event()

    def land_slowly(outbox: Outbox) -> None:
        started.set()
        may_end.wait(30)
        entering.enqueue(outbox, entry())

    asked = asyncio.ensure_future(db(land_slowly))
    await asyncio.to_thread(started.wait, 30)
    asked.cancel()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert (await db(queries.counts))["queued"] == 1
    await db.close()


async def test_a_closed_outbox_says_so(tmp_path: Path) -> None:
    db = OutboxThread(tmp_path / "outbox.db")
    await db.open()
    await db.close()
    await db.close()
    with pytest.raises(LocalStorageError) as caught:
        await db(queries.counts)
    assert (caught.value.code, caught.value.message) == ("closed", "The outbox is closed.")
    assert caught.value.status == 503, "no disk is full"


async def test_an_outbox_that_is_not_open_yet_says_so(tmp_path: Path) -> None:
    db = OutboxThread(tmp_path / "outbox.db")
    with pytest.raises(LocalStorageError) as caught:
        await db(queries.counts)
    assert (caught.value.code, caught.value.status) == ("starting", 503)
    await db.close()
