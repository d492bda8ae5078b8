"""What one small log costs, in figures that no other load on the machine changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from robot import SMALL, Robot

from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.thread import OutboxThread
from tests.support.costs import count_commits
from tests.support.known import CONDITIONAL


async def _commits_of(robot: Robot) -> list[str]:
    """What each commit from now on begins with writing."""
    seen: list[str] = []

    def watch(outbox: Outbox) -> None:
        count_commits(outbox.sql.conn, seen.append)

    await robot.service.outbox(watch)
    return seen


@dataclass
class Cost:
    """What was asked and done since it was begun to count."""

    commits: list[str]
    asked: list[str] = field(default_factory=list)
    """What was asked of the outbox."""
    hops: list[str] = field(default_factory=list)
    """What was done on another thread than the loop's."""


async def counted(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> Cost:
    """Count from now on, until the monkeypatch is undone."""
    cost, ask = Cost(await _commits_of(robot)), OutboxThread.__call__
    loop = asyncio.get_running_loop()
    hop = loop.run_in_executor

    async def asking(self: OutboxThread, verb: Any, *given: Any, **named: Any) -> Any:
        cost.asked.append(verb.__name__)
        return await ask(self, verb, *given, **named)

    def hopping(executor: Any, work: Any, *given: Any) -> Any:
        cost.hops.append(getattr(getattr(work, "func", work), "__qualname__", "?"))
        return hop(executor, work, *given)

    monkeypatch.setattr(OutboxThread, "__call__", asking)
    monkeypatch.setattr(loop, "run_in_executor", hopping)
    return cost


async def test_a_small_log_costs_two_requests_two_commits_and_two_questions(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot.known = CONDITIONAL
    await robot.restart()
    await robot.finish(await robot.land())  # lists the bucket, and says first how things are
    row = await robot.land("next.ulg", SMALL + 1, seed=1)
    requests = len(robot.ops())
    cost = await counted(robot, monkeypatch)

    await robot.step()

    assert robot.ops()[requests:] == ["PutObject", "HeadObject"]
    assert cost.asked == ["claim_and_plan", "verified"]
    assert len(cost.commits) == 2, cost.commits
    monkeypatch.undo()
    assert (await robot.row(row)).state == "verified"


MANY = 20
MOST = {"requests": 2, "commits": 2, "asked": 3, "hops": 4}
"""Of each log; and a hop more where its body has to be waited for."""


@pytest.mark.parametrize("size", ["equal", "different"])
@pytest.mark.guarantee(
    "device",
    "many small logs, also of one size",
    "each costs two requests, two commits, and at most four turns of other threads",
)
async def test_each_of_many_small_logs_costs_the_same(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    robot.known = CONDITIONAL
    await robot.restart()
    await robot.finish(await robot.land(size=SMALL - 1))
    for number in range(MANY):
        more = number if size == "different" else 0
        await robot.land(f"{number}.ulg", SMALL + more, seed=number)
    requests = len(robot.ops())
    cost = await counted(robot, monkeypatch)

    for _ in range(MANY):
        await robot.step()

    spent = {
        "requests": len(robot.ops()) - requests,
        "commits": len(cost.commits),
        "asked": len(cost.asked),
        "hops": sum(not hop.startswith("FilePart") for hop in cost.hops),
    }
    monkeypatch.undo()
    assert robot.sql("SELECT count(*) FROM log WHERE state = 'verified'") == [(MANY + 1,)]
    assert len(robot.stored()) == MANY + 1
    most = {name: MANY * each for name, each in MOST.items()}
    assert all(spent[name] <= most[name] for name in most), (spent, Counter(cost.hops))


async def test_equal_logs_whose_etags_say_nothing_are_not_asked_for_again_and_again(
    robot: Robot,
) -> None:
    """No answer could prove that they are the same bytes: each is sent, and nothing else asked."""
    robot.known = CONDITIONAL
    await robot.restart()
    robot.service.s3.learn("md5_etags", offered=False, by="a test")
    robot.service.s3.learn("checked_checksums", offered=True, by="a test")
    for number in range(4):
        await robot.land(f"{number}.ulg")
    requests = len(robot.ops())

    for _ in range(4):
        await robot.step()
        robot.sql("UPDATE log SET receipt = json_set(receipt, '$.etag', 'own') WHERE receipt != ''")

    asked = [op for op in robot.ops()[requests:] if op != "ListObjectsV2"]
    assert asked == ["PutObject", "HeadObject"] * 4


async def test_what_the_drain_says_of_itself_is_written_when_it_is_new(robot: Robot) -> None:
    await robot.finish(await robot.land())
    commits = await _commits_of(robot)
    report, reporter = robot.service.reporter.report(), robot.service.reporter

    await reporter.publish_news()  # heard a moment ago, moved some bytes: that can wait
    assert commits == []

    reporter.advice.append("Something that a person should know.")
    await reporter.publish_news()
    assert len(commits) == 1
    assert reporter.report().advice != report.advice


async def test_a_new_outbox_is_told_anew_how_things_are(robot: Robot) -> None:
    await robot.finish(await robot.land())
    said = "SELECT count(*) FROM drain"
    assert robot.sql(said) == [(1,)]

    await robot.service.outbox.rebuild()
    assert robot.sql(said) == [(0,)]
    await robot.service.reporter.publish_news()

    assert robot.sql(said) == [(1,)]


async def test_the_user_agent_is_one_short_text_that_names_us(robot: Robot) -> None:
    row = await robot.land()
    client = await robot.service.s3.server.calls.connection.open()
    told: set[str] = set()

    def look(request: Any, **_: object) -> None:
        value = request.headers["User-Agent"]
        told.add(value.decode() if isinstance(value, bytes) else value)

    client.meta.events.register("before-send.s3", look)
    await robot.finish(row)

    assert len(told) == 1
    names = [part.partition("/")[0] for part in told.pop().split()]
    assert names == ["petal-s3", "aiobotocore", "botocore"]
