"""Start another process on the outbox of a drone."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from robot import Robot


def settings_of(robot: Robot) -> dict[str, str | int]:
    """The settings with which another process works on the same outbox."""
    return {
        "bucket_name": "logs",
        "session_token_url": robot.tokens.url,
        "endpoint_url": robot.link.url,
        "machine_id": "drone-001",
        "state_dir": str(robot.state),
        "log_dirs": str(robot.logs),
        "settle_seconds": 0,
    }


async def start_other(robot: Robot, work: str, path: Path) -> asyncio.subprocess.Process:
    given = {**settings_of(robot), "concurrency": 1}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("other_process.py")),
        work,
        json.dumps(given),
        str(path),
        stdout=subprocess.PIPE,
    )


async def other_process(robot: Robot, work: str, path: Path) -> bytes:
    """Let another process do it and end."""
    process = await start_other(robot, work, path)
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return said
