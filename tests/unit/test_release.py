"""The day of the release, by which a clock is known to be wrong."""

from __future__ import annotations

import re
from datetime import date, datetime, timezone
from pathlib import Path

from petal_s3.core.release import RELEASED, RELEASED_S

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


def test_the_day_of_the_release_is_not_in_the_future() -> None:
    """A later one would have right clocks taken for wrong ones."""
    assert date.fromisoformat(RELEASED) <= datetime.now(timezone.utc).date()
    assert (
        datetime.fromtimestamp(RELEASED_S, timezone.utc).isoformat() == f"{RELEASED}T00:00:00+00:00"
    )


def test_it_is_that_of_the_newest_release_in_the_changelog() -> None:
    days = re.findall(r"^## .*(\d{4}-\d{2}-\d{2})", CHANGELOG.read_text(), re.MULTILINE)
    assert not days or days[0] == RELEASED
