"""A hundred simulated drones, with which everything goes wrong, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from petal_s3.errors import Refused, S3BucketError, S3IntegrationError
from petal_s3.objects.proof import Judgement
from petal_s3.outbox import transitions
from petal_s3.outbox.rows import Row
from petal_s3.service.gate import FlightGate
from petal_s3.service.service import Service
from petal_s3.upload import receipt
from petal_s3.upload.duplicates import DuplicateFinder, FreeKey
from petal_s3.upload.failed_attempts import FailedAttempts
from petal_s3.upload.multipart_upload import MultipartUpload
from petal_s3.upload.progress import Transfer
from tests.simulation.idle import idle_hour
from tests.simulation.many import simulations
from tests.simulation.simulation import simulate

SHARES, SHARE = 5, 20  # scripts/soak N runs as many as one has the time for
ENOUGH = 40  # simulations within which a missing guard must have shown


@pytest.fixture
def _bare() -> Iterator[None]:
    with mock.patch.dict(os.environ, {"PETAL_S3_CONFIG": ""}):
        yield


@pytest.mark.timeout(840)
@pytest.mark.parametrize("share", range(SHARES), ids="share {}".format)
@pytest.mark.guarantee(
    "device",
    "a hundred random simulations: cuts, kills, lies, expired tokens, full disks, changes",
    "no accepted log is missing, no object is wrong, no confirmed part comes again, no unsent "
    "file is deleted, and every log that waits says why",
)
def test_no_invariant_is_broken_in_a_hundred_simulations(share: int) -> None:
    reports = list(simulations(first=1 + share * SHARE, count=SHARE, workers=1))
    assert [(one.seed, one.broken) for one in reports if one.broken] == []
    assert len(reports) == SHARE
    # They were simulations worth living: something happened in them.
    assert sum(one.kills for one in reports) > 3 * SHARE
    assert sum(one.logs for one in reports) > 5 * SHARE
    assert sum(one.parts for one in reports) > 10 * SHARE


def test_simulations_run_side_by_side_from_the_command_line() -> None:
    words = [sys.executable, "-m", "tests.simulation", "4", "--workers", "2"]
    run = subprocess.run(words, capture_output=True, text=True, check=False, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "4 simulations in" in run.stdout
    assert "broken invariants: 0" in run.stdout


def test_a_seed_runs_the_same_way_again_in_another_process() -> None:
    seeds = (2, 9, 23)
    told = [_run_again(seeds, hash_seed) for hash_seed in ("1", "2")]
    assert told[0] == told[1]
    for seed in seeds:
        assert f"seed {seed}: no invariant was broken" in told[0]
    assert told[0].count("\n") > 50 * len(seeds)


def _run_again(seeds: tuple[int, ...], hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    words = [sys.executable, "-m", "tests.simulation", "--seed", *map(str, seeds)]
    run = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr
    return run.stdout


# -- an invariant that nothing can break proves nothing: without a guard it must be broken


async def _resume_from_nothing(self: MultipartUpload, row: Row, transfer: Transfer) -> Row:
    done: Row = await self.finish(row, transfer, {})
    return done


async def _look_nowhere(self: Any, row: Row, opened: Any) -> FreeKey:
    return FreeKey(row.key)


def _mark_dead_what_is_refused() -> Any:
    settle = FailedAttempts.settle

    async def mark_dead(self: FailedAttempts, row: Row, error: S3IntegrationError) -> Row | None:
        if isinstance(error, S3BucketError | Refused):
            return await self.mark_dead(row, error)
        return await settle(self, row, error)

    return mark_dead


async def _discard_at_once(self: Any, row: Row) -> None:
    if row.spooled:
        Path(row.path).unlink()


async def _believe_unseen(*_: Any, **__: Any) -> Judgement:
    return Judgement("etag")


SABOTAGE: dict[str, AbstractContextManager[Any]] = {
    "what S3 holds is believed unseen": mock.patch.object(receipt, "judge", _believe_unseen),
    "held parts are not asked for": mock.patch.object(
        MultipartUpload, "resume", _resume_from_nothing
    ),
    "nobody looks what is there": mock.patch.object(DuplicateFinder, "find", _look_nowhere),
    "what a dead process claimed stays claimed": mock.patch.object(
        transitions, "release_claims", lambda _: 0
    ),
    "a refused row is marked dead": mock.patch.object(
        FailedAttempts, "settle", _mark_dead_what_is_refused()
    ),
    "it sends in flight": mock.patch.object(FlightGate, "reason", lambda self: None),
    "a copy goes before it is proven": mock.patch.object(Service, "_on_settled", _discard_at_once),
}


@pytest.mark.parametrize("guard", SABOTAGE)
def test_a_guard_that_is_taken_away_is_missed(guard: str, _bare: None) -> None:
    with SABOTAGE[guard]:
        broken = next((one.broken for one in map(simulate, range(1, ENOUGH)) if one.broken), "")
    assert broken


@pytest.mark.guarantee(
    "credentials", "an hour with nothing to send", "at most two requests to the token service"
)
@pytest.mark.parametrize("life_s", [60.0, 900.0, 3600.0])
def test_an_idle_hour_asks_for_next_to_no_tokens(life_s: float, _bare: None) -> None:
    assert idle_hour(life_s).fetches <= 2


def test_an_idle_hour_is_slept_through(_bare: None) -> None:
    """Nothing is polled: a process that watches for events is woken some times a minute."""
    hour = idle_hour()
    assert hour.sleeps < 600
    assert hour.asked < 800, "each wakes a thread, and is told to the loop"
