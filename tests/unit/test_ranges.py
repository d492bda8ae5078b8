"""The header ``Range``, as RFC 9110 (14.1.2, 14.2, 13.1.5) wants it understood."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from petal_s3.web.download import parse_range
from petal_s3.web.routing import NoSuchRange

SIZE = 10_000
WHOLE = (None, SIZE - 1)


def asked(wanted: str, size: int = SIZE, **more: str) -> tuple[int | None, int]:
    return parse_range({"range": wanted, **more}, size, "abc")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("bytes=0-499", (0, 499)),
        ("bytes=500-999", (500, 999)),
        ("bytes=-500", (9500, 9999)),
        ("bytes=9500-", (9500, 9999)),
        ("bytes=0-0", (0, 0)),
        ("bytes=-1", (9999, 9999)),
        ("bytes=0-", (0, 9999)),
        ("bytes=9999-20000", (9999, 9999)),
        ("bytes=-20000", (0, 9999)),
        ("BYTES=5-9", (5, 9)),
        ("bytes= 5-9 ", (5, 9)),
    ],
)
def test_one_range_is_understood(wanted: str, found: tuple[int, int]) -> None:
    assert asked(wanted) == found


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=9-5",
        "bytes=5",
        "bytes=--5",
        "bytes=1-2-3",
        "bytes=0x1-0x5",
        "bytes=+1-5",
        "bytes=1_0-20",
        "bytes=\u0661-\u0665",
        "lines=1-5",
        "bytes=0-0,-1",
        "bytes=0-499, 500-999",
        f"bytes=0-{'9' * 5000}",
    ],
)
def test_what_is_not_one_range_is_passed_over(wanted: str) -> None:
    assert asked(wanted) == WHOLE


def test_without_a_range_the_whole_is_asked_for() -> None:
    assert parse_range({}, SIZE, "abc") == WHOLE


@pytest.mark.parametrize("wanted", ["bytes=10000-", "bytes=10000-10001", "bytes=-0"])
def test_a_range_beyond_the_object_is_a_416_that_tells_its_size(wanted: str) -> None:
    with pytest.raises(NoSuchRange) as refused:
        asked(wanted)
    assert (refused.value.status, refused.value.size) == (416, SIZE)


def test_nothing_of_an_empty_object_can_be_asked_for() -> None:
    with pytest.raises(NoSuchRange):
        asked("bytes=0-", 0)
    assert parse_range({}, 0, "abc") == (None, -1)


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ('"abc"', (0, 9)),
        ('"another"', WHOLE),
        ('W/"abc"', WHOLE),
        ("abc", WHOLE),
        ("Sat, 29 Oct 1994 19:43:31 GMT", WHOLE),
    ],
)
def test_a_range_of_another_version_is_the_whole(
    condition: str, found: tuple[int | None, int]
) -> None:
    assert asked("bytes=0-9", **{"if-range": condition}) == found


RANGES = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"bytes=[0-9]{0,12}-[0-9]{0,12}", fullmatch=True),
    st.tuples(st.integers(0, 200), st.integers(0, 200)).map(lambda ab: f"bytes={ab[0]}-{ab[1]}"),
)


@given(RANGES, st.integers(0, 150))
@example("bytes=-0", 0)
@example("bytes=-1", 0)
def test_a_range_lies_inside_the_object_whatever_is_asked(wanted: str, size: int) -> None:
    try:
        first, last = asked(wanted, size)
    except NoSuchRange as refused:
        assert refused.size == size
        return
    assert last < size
    assert (first is None and last == size - 1) or (first is not None and 0 <= first <= last)
