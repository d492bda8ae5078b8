"""What others send is counted while nothing is read, and left to them while something is."""

from __future__ import annotations

from petal_s3.autopilot.share import Share


def played(share: Share, *, seconds: float, requests_s: float, others_s: float, at: float) -> float:
    """Let requests leave and others be heard at these rates; returns the time then."""
    step, due, heard = 0.01, 0.0, 0.0
    for _ in range(round(seconds / step)):
        at += step
        due += requests_s * step
        heard += others_s * step
        for _ in range(int(due)):
            share.sent(at)
        if int(heard):
            share.heard(int(heard), at)
        due, heard = due % 1, heard % 1
    return at


def test_reading_slows_down_where_others_are_heard_less_and_recovers() -> None:
    share = Share()
    at = played(share, seconds=20, requests_s=0, others_s=10, at=100.0)
    share.begin(at)
    at = played(share, seconds=6, requests_s=300, others_s=10, at=at)
    assert share.interval_s == 0
    at = played(share, seconds=10, requests_s=300, others_s=2, at=at)
    assert share.interval_s > 1 / 300
    at = played(share, seconds=300, requests_s=100, others_s=10, at=at)
    assert share.interval_s == 0
    share.end(at)


def test_where_others_were_never_heard_nothing_is_left_to_them() -> None:
    share = Share()
    share.begin(100.0)
    at = played(share, seconds=20, requests_s=300, others_s=0, at=100.0)
    share.end(at)
    share.begin(at)
    played(share, seconds=20, requests_s=300, others_s=0, at=at)
    assert share.interval_s == 0


def test_one_message_that_is_missing_says_nothing() -> None:
    share = Share()
    at = played(share, seconds=20, requests_s=0, others_s=1, at=100.0)
    share.begin(at)
    played(share, seconds=60, requests_s=300, others_s=0.8, at=at)
    assert share.interval_s == 0


def test_others_who_send_less_by_themselves_do_not_slow_reading_down_for_long() -> None:
    """A ground station that leaves, say, or a machine that is busy."""
    share = Share()
    at = played(share, seconds=20, requests_s=0, others_s=50, at=100.0)
    share.begin(at)
    at = played(share, seconds=6, requests_s=300, others_s=50, at=at)
    for _ in range(60):
        most_s = 1 / share.interval_s if share.interval_s else 300.0
        at = played(share, seconds=1, requests_s=min(300.0, most_s), others_s=4, at=at)
    assert share.interval_s == 0
    at = played(share, seconds=10, requests_s=300, others_s=1, at=at)
    assert share.interval_s > 1 / 300, "what they send now is theirs"
