"""Rows of proven files are found by path, size and time; the inode is a hint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from outbox_rows import STATES, claim, entry, identity, receipt, row_in

from petal_s3.outbox import entering, identities, known_files, queries, transitions
from petal_s3.outbox.deletions import left_alone
from petal_s3.outbox.outbox import Outbox

MOVED = identity(2, mtime_ns=9)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox(tmp_path / "outbox.db", boot_id="boot-1")
    yield opened
    opened.close()


@pytest.mark.parametrize("state", [state for state in STATES if state != "dead"])
def test_a_scan_knows_a_file_under_another_inode(outbox: Outbox, state: str) -> None:
    row_in(outbox, state)
    assert known_files.without_row(outbox, [("/logs/a.ulg", identity(2))]) == []


def test_a_scan_knows_under_another_inode_what_is_no_log(outbox: Outbox) -> None:
    entering.enter_refused(outbox, entry(), "bad_magic", "It is HTML.")
    assert known_files.without_row(outbox, [("/logs/a.ulg", identity(2))]) == []


def test_where_another_file_lies_only_the_inode_of_the_proven_one_is_known(
    outbox: Outbox,
) -> None:
    left_alone(outbox, row_in(outbox, "verified"))
    other = ("/logs/a.ulg", identity(2))
    assert known_files.without_row(outbox, [("/logs/a.ulg", identity()), other]) == [other]


def test_the_proven_rows_of_a_path_and_size_are_found_the_latest_first(outbox: Outbox) -> None:
    first = row_in(outbox, "verified")
    second = row_in(outbox, "verified", file=identity(2, mtime_ns=9))
    row_in(outbox, "verified", file=identity(3, size=7))
    row_in(outbox, "queued", file=identity(4, mtime_ns=10))
    found = identities.proven_at(outbox, first.path, first.size)
    assert found == [replace(second, local="other"), replace(first, local="other")]
    assert identities.proven_at(outbox, first.path, 8) == []
    assert identities.proven_at(outbox, "/logs/b.ulg", first.size) == []


def test_a_copy_in_the_spool_is_no_proven_file(outbox: Outbox) -> None:
    row = row_in(outbox, "verified", spooled=True)
    assert identities.proven_at(outbox, row.path, row.size) == []


def test_every_row_that_was_proven_of_a_file_takes_on_its_new_time(outbox: Outbox) -> None:
    row = row_in(outbox, "verified")
    entering.enqueue(outbox, entry(asked_key="k"))
    copy = transitions.verified(outbox, claim(outbox), replace(receipt(row), key="k"))
    other = row_in(outbox, "verified", "b.ulg")
    identities.update_identity(outbox, copy, MOVED)
    assert [queries.get(outbox, one.id).identity for one in (row, copy, other)] == [
        MOVED,
        MOVED,
        other.identity,
    ]
    assert known_files.without_row(outbox, [(row.path, MOVED)]) == []


def test_a_row_of_other_bytes_keeps_its_identity(outbox: Outbox) -> None:
    row = row_in(outbox, "verified")
    entering.enqueue(outbox, entry(asked_key="k"))
    other = transitions.verified(
        outbox, claim(outbox), replace(receipt(row), key="k", checksum="crc32:x")
    )
    identities.update_identity(outbox, row, MOVED)
    assert queries.get(outbox, other.id) == other


def test_a_file_that_was_deleted_and_is_back_lies_there_again(outbox: Outbox) -> None:
    row = row_in(outbox, "verified")
    left_alone(outbox, row)
    identities.update_identity(outbox, row, MOVED)
    assert queries.get(outbox, row.id).local == "kept"


def test_an_identity_that_has_a_row_already_is_left_to_it(outbox: Outbox) -> None:
    row = row_in(outbox, "verified")
    taken = row_in(outbox, "verified", file=MOVED)
    identities.update_identity(outbox, row, MOVED)
    assert [queries.get(outbox, one.id).identity for one in (row, taken)] == [identity(), MOVED]
