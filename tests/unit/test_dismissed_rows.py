"""Dead rows that a person has dismissed: neither counted nor shown, and new when they change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from outbox_rows import entry, identity, row_in

from petal_s3.errors import Conflict, S3FileNotFoundError
from petal_s3.outbox import entering, known_files, queries, requests, transitions
from petal_s3.outbox.outbox import Outbox


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    opened = Outbox(tmp_path / "outbox.db", boot_id="boot-1")
    yield opened
    opened.close()


def test_a_dismissed_row_is_neither_counted_nor_shown_unless_asked_for(outbox: Outbox) -> None:
    kept, gone = row_in(outbox, "dead", "kept.ulg"), row_in(outbox, "dead", "gone.ulg")
    assert requests.dismiss(outbox, [gone.id]) == 1
    assert queries.counts(outbox)["dead"] == 1
    assert set(queries.counts(outbox)) == {"queued", "uploading", "verified", "dead", "cancelled"}
    for state in (None, "dead"):
        assert [row.id for row in queries.rows(outbox, state)] == [kept.id]
    (found,) = queries.rows(outbox, "dismissed")
    assert (found.id, found.state, found.dismissed) == (gone.id, "dead", True)


def test_all_or_none_are_dismissed(outbox: Outbox) -> None:
    dead, waits = row_in(outbox, "dead", "dead.ulg"), row_in(outbox, "queued", "waits.ulg")
    with pytest.raises(Conflict, match="is queued, and only dead rows are dismissed"):
        requests.dismiss(outbox, [dead.id, waits.id])
    with pytest.raises(S3FileNotFoundError):
        requests.dismiss(outbox, [dead.id, 99])
    assert queries.counts(outbox)["dead"] == 1


def test_every_dead_row_is_dismissed_at_once(outbox: Outbox) -> None:
    for number in range(202):
        row_in(outbox, "dead", f"{number}.ulg")
    assert requests.dismiss_dead(outbox) == 202
    assert requests.dismiss_dead(outbox) == 0
    assert (queries.counts(outbox)["dead"], queries.rows(outbox)) == (0, [])


def test_a_dismissed_file_that_changes_is_new_again(outbox: Outbox) -> None:
    row = row_in(outbox, "dead", "changes.ulg")
    requests.dismiss(outbox, [row.id])
    changed = identity(2, size=2000, mtime_ns=9)
    assert known_files.without_row(outbox, [(row.path, row.identity)]) == [(row.path, row.identity)]
    again = entering.enqueue(outbox, entry("changes.ulg", changed))
    assert (again.id, again.state, again.dismissed) == (row.id, "queued", False)
    assert queries.counts(outbox)["queued"] == 1


def test_a_refused_file_that_was_dismissed_stays_so_until_it_changes(outbox: Outbox) -> None:
    row = entering.enter_refused(outbox, entry("no.ulg"), "bad_magic", "It is no ULog.")
    requests.dismiss(outbox, [row.id])
    assert known_files.without_row(outbox, [(row.path, row.identity)]) == []
    file = identity(2, size=2000, mtime_ns=9)
    assert known_files.without_row(outbox, [(row.path, file)]) == [(row.path, file)]
    entering.enter_refused(outbox, entry("no.ulg", file), "bad_magic", "It is no ULog.")
    assert queries.counts(outbox)["dead"] == 1


def test_a_dismissed_row_that_is_tried_again_and_dies_is_shown(outbox: Outbox) -> None:
    row = row_in(outbox, "dead", "again.ulg")
    requests.dismiss(outbox, [row.id])
    with outbox.sql.write():
        requests.queue_again(outbox, row.id)
    assert queries.counts(outbox)["queued"] == 1
    claimed = transitions.claim(outbox, 0.0, 60.0)
    assert claimed is not None
    died = transitions.mark_dead(outbox, claimed, "source_gone", "It was deleted.")
    assert (died.dismissed, queries.counts(outbox)["dead"]) == (False, 1)
