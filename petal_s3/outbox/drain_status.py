"""What the draining process last said of itself, for other processes to read.

Functions on an open :class:`~petal_s3.outbox.outbox.Outbox`, to be run on its thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from petal_s3.outbox.outbox import Outbox


def publish(outbox: Outbox, status: Mapping[str, object]) -> None:
    """Publish the state of the draining process, in place of what was published before."""
    outbox.sql.change(
        "INSERT INTO drain (id, said) VALUES (1, :said)"
        " ON CONFLICT (id) DO UPDATE SET said = excluded.said",
        said=json.dumps(dict(status)),
    )


def last(outbox: Outbox) -> dict[str, Any]:
    """What was published last; empty before the first time."""
    for record in outbox.sql.records("SELECT said FROM drain WHERE id = 1"):
        return dict(json.loads(record["said"]))
    return {}
