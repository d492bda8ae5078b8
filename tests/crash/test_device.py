"""Killed at any commit of the outbox, or without power within one: what is on disk goes on."""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import commit_child
import pytest
from lab import SMALL, THREE_PARTS, TWO_PARTS, Lab
from test_power_cut import Disk, bring_watched

from petal_s3.core.settings_loading import load_settings
from petal_s3.outbox import queries
from petal_s3.outbox.outbox import Outbox
from petal_s3.service.reasons import NO_DRAIN
from petal_s3.service.snapshot import read_status

FEWEST_COMMITS = 8  # a loop that ends sooner has not tested anything


@pytest.mark.guarantee(
    "device",
    "killed at any commit of the outbox",
    "it resumes; the log arrives, and nothing is sent twice",
)
def test_killed_at_any_commit_of_the_outbox_it_resumes_and_sends_nothing_twice(lab: Lab) -> None:
    for number in itertools.count(1):
        lab.begin(SMALL)
        lab.start(dies_after=number, target=commit_child.bring)
        if lab.ended() == 0:
            break
        lab.finish()
        lab.assert_arrived_once()
    assert number > FEWEST_COMMITS


# -- torn


HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24


def frames(wal: bytes) -> Iterator[tuple[int, int, bool]]:
    """Begin and end of each frame of a write-ahead log, and whether it ends a commit.

    Source: "WAL File Format", sqlite.org.
    """
    (page_size,) = struct.unpack(">I", wal[8:12])
    frame_bytes = FRAME_HEADER_BYTES + page_size
    for begin in range(HEADER_BYTES, len(wal) - frame_bytes + 1, frame_bytes):
        (pages,) = struct.unpack(">I", wal[begin + 4 : begin + 8])
        yield begin, begin + frame_bytes, pages > 0


class Torn:
    """The files of an outbox, with the end of the log as a power cut left it."""

    def __init__(self, whole: Path, directory: Path) -> None:
        self.wal = (whole / "outbox.db-wal").read_bytes()
        self._whole = whole
        self._directory = directory

    def opened(self, wal: bytes) -> list[object]:
        """What the rows are when it is opened so; it is looked through for damage."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir()
        shutil.copyfile(self._whole / "outbox.db", self._directory / "outbox.db")
        (self._directory / "outbox.db-wal").write_bytes(wal)
        with closing(Outbox(self._directory / "outbox.db", check=True)) as outbox:
            outbox.sql.conn.execute("PRAGMA synchronous = OFF")  # nobody needs it afterwards
            assert outbox.sql.records("PRAGMA integrity_check")[0]["integrity_check"] == "ok"
            assert sum(queries.counts(outbox).values()) == len(queries.rows(outbox))
            return list(queries.rows(outbox))


@pytest.mark.guarantee(
    "device",
    "the power fails within a write: the database's log ends at any place, or in garbage",
    "the outbox opens as it was after the last whole commit",
)
async def test_a_log_torn_at_any_frame_reads_as_the_last_whole_commit(
    lab: Lab, tmp_path: Path
) -> None:
    lab.begin(TWO_PARTS)
    disk = Disk(lab.state, tmp_path / "copies")
    await bring_watched(lab, disk)
    torn = Torn(disk.copies[-1], tmp_path / "torn")
    rng = random.Random(5)
    expected = torn.opened(b"")
    seen = [expected]

    for begin, end, commits in frames(torn.wal):
        within = rng.randrange(begin, end)
        spoilt = bytearray(torn.wal)
        if rng.random() < 0.5:
            spoilt[within] ^= 1 << rng.randrange(8)
        else:
            spoilt[begin:] = rng.randbytes(rng.randrange(1, 5000))
        for wal in (torn.wal[:begin], torn.wal[:within], bytes(spoilt)):
            assert torn.opened(wal) == expected
        if commits:
            expected = torn.opened(torn.wal[:end])
            seen += [expected] if expected != seen[-1] else []

    assert len(seen) > 5
    assert expected == torn.opened(torn.wal)


# -- told


@pytest.mark.guarantee(
    "device",
    "the draining process is killed in the middle of an upload, and nobody starts it again",
    "status does not say that the log is on its way, but that nobody drains",
)
async def test_what_a_killed_process_had_begun_is_not_said_to_be_on_its_way(lab: Lab) -> None:
    lab.begin(THREE_PARTS)
    lab.link.link.rate_bytes_s = 8e6
    lab.start()
    while not lab.ledger.requests("UploadPart"):
        await asyncio.sleep(0.005)
    settings = load_settings(**lab.settings())
    alive = read_status(settings, 10)
    lab.kill()
    lab.ended()
    lab.link.link.rate_bytes_s = 0

    dead = read_status(settings, 10)
    service = lab.service(lab.state)
    await service.open()
    [shown] = await service.rows()
    said = await service.status()
    await service.stop()

    assert [row.state for row in (*alive.rows, *dead.rows, shown)] == ["uploading"] * 3
    assert alive.headline.startswith("0 of 1 log proven, ")
    assert "waiting" not in alive.headline
    assert alive.rows[0].reason == ""
    assert dead.headline == said.headline
    assert dead.headline.startswith("0 of 1 log proven, ")
    assert dead.headline.endswith(f"; waiting: {NO_DRAIN.sentence}")
    assert dead.rows[0].reason == shown.reason == NO_DRAIN.sentence
    lab.finish()
    lab.assert_arrived_once()
