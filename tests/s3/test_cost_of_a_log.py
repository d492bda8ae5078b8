"""What one small log costs, in figures that no other load on the machine changes."""

from __future__ import annotations

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


async def test_a_small_log_costs_two_requests_four_commits_and_five_questions(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot.known = CONDITIONAL
    await robot.restart()
    await robot.finish(await robot.land())  # lists the bucket, and says first how things are
    row = await robot.land("next.ulg", SMALL + 1, seed=1)
    asked, ask = [], OutboxThread.__call__

    async def counted(self: OutboxThread, verb: Any, *given: Any, **named: Any) -> Any:
        asked.append(verb.__name__)
        return await ask(self, verb, *given, **named)

    commits = await _commits_of(robot)
    requests = len(robot.ops())
    monkeypatch.setattr(OutboxThread, "__call__", counted)

    await robot.step()

    assert robot.ops()[requests:] == ["PutObject", "HeadObject"]
    assert asked == ["claim", "known", "plan", "stored_whole", "verified"]
    assert len(commits) == 4, commits
    monkeypatch.undo()
    assert (await robot.row(row)).state == "verified"


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
