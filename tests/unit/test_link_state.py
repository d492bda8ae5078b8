"""The last answer of S3 and its age decide what is said of the link."""

from __future__ import annotations

import pytest

from petal_s3.errors import NotS3, Offline, S3BucketError, S3IntegrationError, Told
from petal_s3.s3.link_state import FRESH_S, LOST_S, LinkState


def refused(kind: type[S3IntegrationError]) -> S3IntegrationError:
    error = kind("No.")
    error.told = Told("PutObject", 403, "AccessDenied")
    return error


def test_before_anything_was_asked_nothing_is_known() -> None:
    assert LinkState().link(1000.0) == "unknown"


def test_an_answer_counts_for_a_day_though_nothing_is_sent() -> None:
    link_state = LinkState()
    link_state.heard(0.0)
    assert link_state.link(24 * 3600.0) == "up"
    assert link_state.link(FRESH_S) == "unknown"


def test_a_refusal_is_an_answer() -> None:
    link_state = LinkState()
    link_state.failed(Offline("No."), 1.0)
    link_state.failed(refused(S3BucketError), 2.0)
    assert (link_state.link(3.0), link_state.well_at) == ("up", None)


@pytest.mark.parametrize("error", [Offline("No."), NotS3("No."), refused(NotS3)])
def test_no_answer_of_s3_is_no_link_until_one_comes(error: S3IntegrationError) -> None:
    link_state = LinkState()
    link_state.heard(1.0)
    link_state.failed(error, 2.0)
    assert link_state.link(3.0) == "down"
    link_state.heard(4.0)
    assert link_state.link(5.0) == "up"


def test_an_old_failure_says_nothing_of_now() -> None:
    link_state = LinkState()
    link_state.failed(Offline("No."), 0.0)
    assert link_state.link(LOST_S - 1) == "down"
    assert link_state.link(LOST_S) == "unknown"


def test_a_bare_connect_is_no_answer_of_s3() -> None:
    link_state = LinkState()
    link_state.failed(Offline("No."), 0.0)
    link_state.connected_at = 1.0
    assert link_state.link(2.0) == "unknown"
