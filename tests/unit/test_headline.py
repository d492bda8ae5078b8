"""The headline says "all up" only where nothing waits, settles or was not seen yet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petal_s3.service.headline import Found, Left, headline
from petal_s3.service.reasons import CODES, NO_DRAIN, Reason, reason

OFFLINE = reason("offline", "No link to S3 (Connection refused).")
TROUBLE = reason("trouble", "/logs cannot be read (Permission denied).")
STATES = ("queued", "uploading", "verified", "dead", "cancelled")


def found(**more: Any) -> Found:
    """What was found; counts by their names, all others as in :class:`Found`."""
    counts = {state: more.pop(state, 0) for state in STATES}
    known = {"settling": 0, "unscanned": 0, "drained": True, "reason": None, "trouble": None}
    return Found(counts, **{**known, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("what", "code", "sentence"),
    [
        ({}, "no_log", "No log has been found yet."),
        ({"verified": 1}, "all_up", "The log is up."),
        ({"verified": 3}, "all_up", "All 3 logs are up."),
        ({"verified": 3, "cancelled": 2}, "all_up", "All 3 logs are up."),
        (
            {"verified": 3, "dead": 1},
            "some_dead",
            "All 3 logs are up; 1 other cannot be sent: a person has to look.",
        ),
        ({"verified": 1, "gone": 1}, "object_gone", "1 was proven and is gone from the bucket."),
        (
            {"verified": 3, "dead": 1, "gone": 2},
            "object_gone",
            "1 log is up; 2 were proven and are gone from the bucket; 1 other cannot be sent: a"
            " person has to look.",
        ),
        (
            {"verified": 2, "queued": 1, "gone": 1},
            "its_turn",
            "1 of 3 logs proven, 1 was proven and is gone from the bucket.",
        ),
        ({"dead": 2}, "some_dead", "2 cannot be sent: a person has to look."),
        (
            {"cancelled": 1},
            "nothing_waits",
            "No log waits to be sent; 1 was cancelled.",
        ),
        (
            {"verified": 3, "settling": 1},
            "settling",
            "3 of 4 logs proven, 1 has just been written.",
        ),
        (
            {"verified": 3, "unscanned": 2},
            "unscanned",
            "3 of 5 logs proven, 2 are not in the outbox yet.",
        ),
        ({"uploading": 1}, "uploading", "0 of 1 log proven."),
        (
            {"verified": 1, "uploading": 1, "queued": 2, "dead": 1},
            "uploading",
            "1 of 4 logs proven, 1 cannot be sent.",
        ),
        ({"queued": 2}, "its_turn", "0 of 2 logs proven."),
        (
            {"queued": 2, "reason": OFFLINE},
            "offline",
            "0 of 2 logs proven; waiting: No link to S3 (Connection refused).",
        ),
        (
            {"uploading": 1, "drained": False, "reason": NO_DRAIN},
            "no_drain",
            f"0 of 1 log proven; waiting: {NO_DRAIN.sentence}",
        ),
        (
            {"verified": 3, "uploading": 1, "queued": 1, "left": Left(1_200_000_000)},
            "uploading",
            "3 of 5 logs proven, 1.2 GB to go.",
        ),
        (
            {"verified": 3, "queued": 2, "left": Left(1_200_000_000, 350, "14:20 UTC")},
            "its_turn",
            "3 of 5 logs proven, 1.2 GB to go, about 6 min (14:20 UTC).",
        ),
        (
            {"verified": 3, "queued": 2, "left": Left(70_000, 40, "14:20 UTC"), "reason": OFFLINE},
            "offline",
            "3 of 5 logs proven, 70.0 kB to go, about 40 s; waiting: No link to S3 (Connection"
            " refused).",
        ),
        (
            {"uploading": 1, "left": Left(10**13, 200_000, "Tue 14:20 UTC"), "trouble": TROUBLE},
            "trouble",
            "0 of 1 log proven, 10.0 TB to go, about 2 days (Tue 14:20 UTC), and there may be more:"
            " /logs cannot be read (Permission denied).",
        ),
        ({"trouble": TROUBLE}, "trouble", "/logs cannot be read (Permission denied)."),
        (
            {"verified": 3, "trouble": TROUBLE},
            "trouble",
            "3 logs are up, and there may be more: /logs cannot be read (Permission denied).",
        ),
        (
            {"queued": 1, "trouble": TROUBLE},
            "trouble",
            "0 of 1 log proven, and there may be more: /logs cannot be read (Permission denied).",
        ),
        (
            {
                "verified": 1,
                "unscanned": 1,
                "drained": False,
                "reason": NO_DRAIN,
                "trouble": TROUBLE,
            },
            "no_drain",
            "1 of 2 logs proven, 1 is not in the outbox yet, and there may be more; waiting:"
            f" {NO_DRAIN.sentence}",
        ),
    ],
)
def test_the_headline_answers_whether_the_logs_are_up(
    what: dict[str, Any], code: str, sentence: str
) -> None:
    assert headline(found(**what)) == Reason(code, sentence)


NUMBERS = st.integers(0, 3)


@given(
    st.fixed_dictionaries(
        {**dict.fromkeys((*STATES, "settling", "unscanned"), NUMBERS)},
        optional={"trouble": st.just(TROUBLE), "drained": st.booleans()},
    )
)
def test_all_up_is_said_only_where_nothing_is_left(what: dict[str, Any]) -> None:
    said = headline(found(**what))
    left = [what[name] for name in ("queued", "uploading", "settling", "unscanned")]
    assert said.code in CODES
    if said.code == "all_up" or said.sentence.startswith("All"):
        assert (sum(left), what.get("trouble")) == (0, None)
    assert said.sentence.endswith(".")
