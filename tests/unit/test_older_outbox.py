"""An outbox file written by an older petal-s3 opens, and its work goes on where it was.

``data/outbox_of_a_flat_package.db.gz`` was written by petal-s3 at commit 289ad76, the last one
before the packages: one row in each state, the one that is uploading with 400 of 1,000 bytes held.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from outbox_rows import LEASE_S, entry, identity, receipt

from petal_s3.outbox import entering, proven_objects, queries, requests, transitions
from petal_s3.outbox.outbox import Outbox

FILE = Path(__file__).with_name("data") / "outbox_of_a_flat_package.db.gz"


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    path = tmp_path / "outbox.db"
    path.write_bytes(gzip.decompress(FILE.read_bytes()))
    opened = Outbox(path, boot_id="boot-2", check=True)
    yield opened
    opened.close()


def test_every_row_of_an_older_outbox_is_there(outbox: Outbox) -> None:
    assert queries.counts(outbox) == dict.fromkeys(
        ("queued", "uploading", "verified", "dead", "cancelled"), 1
    )
    proven = next(row for row in queries.rows(outbox) if row.state == "verified")
    assert proven.receipt == receipt(proven)


def test_a_proven_row_of_an_older_outbox_can_be_marked_as_gone(outbox: Outbox) -> None:
    proven = next(row for row in queries.rows(outbox) if row.state == "verified")
    assert (proven.gone, queries.gone(outbox)) == ("", 0)
    proven_objects.note_object(outbox, proven, "It is gone.")
    assert (queries.get(outbox, proven.id).gone, queries.gone(outbox)) == ("It is gone.", 1)
    proven_objects.note_object(outbox, queries.get(outbox, proven.id), "")
    assert queries.gone(outbox) == 0


def test_an_interrupted_upload_of_an_older_outbox_goes_on_with_its_upload_id(
    outbox: Outbox,
) -> None:
    assert transitions.release_claims(outbox) == 1
    claimed = [transitions.claim(outbox, 0.0, LEASE_S) for _ in range(2)]
    row = next(row for row in claimed if row is not None and row.name == "uploading.ulg")
    assert (row.upload_id, row.part_size, row.sent_bytes) == ("upload-1", 500, 400)
    assert transitions.verified(outbox, row, receipt(row)).state == "verified"


def test_a_file_that_an_older_outbox_knows_gets_no_second_row(outbox: Outbox) -> None:
    known = next(row for row in queries.rows(outbox) if row.state == "verified")
    assert entering.enqueue(outbox, entry("verified.ulg", identity(2))).id == known.id


def test_the_dead_rows_of_an_older_outbox_can_be_dismissed(outbox: Outbox) -> None:
    assert requests.dismiss_dead(outbox) == 1
    assert queries.counts(outbox)["dead"] == 0
    assert [row.name for row in queries.rows(outbox, "dismissed")] == ["dead.ulg"]


def test_of_the_rows_of_an_older_outbox_it_is_not_known_how_they_came_in(outbox: Outbox) -> None:
    assert {row.received_by for row in queries.rows(outbox)} == {""}
    new = entering.enqueue(outbox, entry("new.ulg", identity(99), received_by="rest"))
    assert new.received_by == "rest"
