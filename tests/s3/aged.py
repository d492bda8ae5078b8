"""Days pass on the device's steady clock, without waiting."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from robot import Robot

from petal_s3.outbox import ages, facts
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Row


async def days_pass(robot: Robot, seconds: float) -> None:
    """Everything that is settled is older by so much."""
    await robot.service.outbox(_carry_on, seconds)


async def older(robot: Robot, row: Row, seconds: float) -> None:
    """This row alone is older by so much."""

    def shift(outbox: Outbox) -> None:
        _carry_on(outbox, seconds)
        outbox.sql.change(
            "UPDATE log SET settled_s = settled_s + :s WHERE id != :id", s=seconds, id=row.id
        )

    await robot.service.outbox(shift)


def _carry_on(outbox: Outbox, seconds: float) -> None:
    now = ages.carry_on(outbox, ages.Moment(outbox.now(), 0.0, None))
    facts.keep(outbox, "ages", json.dumps(asdict(replace(now, count=now.count + seconds))))
