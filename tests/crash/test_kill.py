"""kill -9 at every request, before and after its answer, and at random: nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
from collections.abc import Callable

import pytest
from lab import MIB, PART, SMALL, THREE_PARTS, Lab, soon

from petal_s3.demo.faults import Fault
from petal_s3.demo.ledger import Request

SIZES = pytest.mark.parametrize("size", [SMALL, THREE_PARTS])
FEWEST_REQUESTS = {SMALL: 6, THREE_PARTS: 10}  # a loop that ends sooner has not tested anything


def killed_at_each(lab: Lab, size: int, start: Callable[[int], None]) -> None:
    """Bring a log with a child that is killed at its n-th request, for each n; finish it anew."""
    for number in itertools.count(1):
        lab.begin(size)
        start(number)
        if lab.ended() == 0:
            break
        lab.finish()
        lab.assert_arrived_once()
    assert number > FEWEST_REQUESTS[size]


@SIZES
@pytest.mark.guarantee(
    "device", "killed after any answer of S3", "it resumes; no confirmed part is sent again"
)
def test_killed_after_each_answer_of_s3_it_resumes_and_sends_nothing_twice(
    lab: Lab, size: int
) -> None:
    killed_at_each(lab, size, lambda number: lab.start(dies_after=number))


@SIZES
@pytest.mark.guarantee(
    "device",
    "killed while any request is on its way",
    "it resumes; no confirmed part is sent again",
)
def test_killed_at_the_arrival_of_each_request_it_resumes_and_sends_nothing_twice(
    lab: Lab, size: int
) -> None:
    async def kill(_: Request) -> None:
        lab.kill()

    def start(number: int) -> None:
        lab.on_request(number, kill)
        lab.start()

    killed_at_each(lab, size, start)


@SIZES
@pytest.mark.guarantee(
    "device",
    "killed when S3 has acted and its answer is lost",
    "S3 is asked what it holds; nothing is sent twice",
)
def test_killed_when_s3_has_acted_but_not_answered_it_resumes_and_sends_nothing_twice(
    lab: Lab, size: int
) -> None:
    watching: list[asyncio.Task[None]] = []

    async def kill_when_done(request: Request) -> None:
        await soon(lambda: request.status is not None or request.finished is not None)
        lab.kill()

    async def act_in_silence(request: Request) -> Fault:
        watching.append(asyncio.create_task(kill_when_done(request)))
        return Fault(deaf=True)

    def start(number: int) -> None:
        lab.on_request(number, act_in_silence)
        lab.start()

    killed_at_each(lab, size, start)


@pytest.mark.guarantee(
    "device", "killed twenty times at random moments", "it arrives; nothing is sent twice"
)
def test_killed_twenty_times_at_random_it_arrives_and_sends_nothing_twice(lab: Lab) -> None:
    """Counted in bytes on the wire, so that a slow machine sees the same kills."""
    rng = random.Random(20250727)
    lab.begin(16 * PART)
    lab.given["concurrency"] = 1
    lab.link.link.rate_bytes_s = 50e6
    killed = 0

    for _ in range(20):
        limit = lab.ledger.body_bytes + rng.randrange(9 * MIB)
        lab.start()
        child = lab.child
        while lab.ledger.body_bytes < limit and child.is_alive():
            child.join(0.005)
        lab.kill()
        killed += lab.ended() == -signal.SIGKILL

    before_the_last = lab.ledger.parts(lab.ledger.requests("UploadPart")[0].key)
    lab.link.link.rate_bytes_s = 0
    lab.finish()
    assert killed == 20
    assert 0 < before_the_last.confirmed < 16
    lab.assert_arrived_once()
