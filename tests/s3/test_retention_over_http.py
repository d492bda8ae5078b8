"""S3 is asked over plain http beyond loopback: that is said, and nothing is deleted for it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from aged import older
from robot import Robot

LATER_S = 10 * 86_400.0


@pytest.fixture
def lan(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of S3 as that of another machine: a name that leads to the robot's link."""
    resolve: Callable[..., Any] = socket.getaddrinfo

    def resolved(host: Any, *args: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return resolve("127.0.0.1" if name == "storage" else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    return robot.link.url.replace("127.0.0.1", "storage")


@pytest.mark.parametrize(
    "asked", [{"retention_days": 7}, {"min_free_bytes": 1 << 60}], ids=["by age", "by pressure"]
)
@pytest.mark.guarantee(
    "retention",
    "S3 is asked over plain http beyond loopback: anybody on the way may have made the proof",
    "nothing is deleted, and the status says why, unless PETAL_S3_RETENTION_OVER_HTTP is set",
)
@pytest.mark.threat("path")
async def test_over_plain_http_only_a_decision_by_name_deletes(
    robot: Robot, lan: str, asked: dict[str, Any]
) -> None:
    await robot.restart(endpoint_url=lan, **asked)
    row = await robot.finish(await robot.land())
    await older(robot, row, LATER_S)
    path = robot.logs / "flight.ulg"

    assert await robot.service.retention.step() == 0
    assert path.exists()
    [told] = (await robot.service.status()).advice
    assert told.startswith("S3 is asked over plain http (storage:")
    assert "PETAL_S3_RETENTION_OVER_HTTP=true" in told

    await robot.restart(endpoint_url=lan, retention_over_http=True, **asked)
    assert await robot.service.retention.step() == 1
    assert not path.exists()


async def test_on_loopback_nothing_is_said(robot: Robot) -> None:
    assert (await robot.service.status()).advice == []


async def test_the_process_that_drains_says_it_too(robot: Robot, lan: str) -> None:
    await robot.restart(endpoint_url=lan)
    [told] = robot.service.reporter.report().advice
    assert "plain http (storage:" in told
