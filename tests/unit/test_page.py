"""The status page shows names as they are, and runs none of them."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from petal_s3.service.views.rows import ReceiptView, RowView
from petal_s3.service.views.status import StatusView
from petal_s3.web.page import POLICY, page

HOSTILE = "\"><script>alert('x')</script>&lt;<img src=x onerror=alert(1)>\x1b[31m"


class Seen(HTMLParser):
    """What a browser makes of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self._style = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._style = tag == "style"
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        if not self._style:
            self.text += data


def status(**more: Any) -> StatusView:
    """A status; its words are not checked."""
    counts = {"queued": 0, "uploading": 0, "verified": 0, "dead": 0, "cancelled": 0}
    known = {
        "headline": "",
        "trouble": "",
        "link": "up",
        "link_seen_s": 60,
        "rate_bytes_s": 0,
        "eta_s": None,
        "reason_age_s": None,
        "next_try_s": None,
        "credentials": "ok",
        "flight_state": "disarmed",
        "reason": "",
        "backlog_bytes": 0,
    }
    given = {**known, **more, "counts": {**counts, **more.get("counts", {})}}
    return StatusView.model_construct(**given)


def row(**more: Any) -> RowView:
    """A row; its words are not checked."""
    known = {"id": 1, "key": "k", "state": "queued", "size": 1000, "sent_bytes": 0}
    return RowView.model_construct(**{**known, "reason": "", "receipt": None, **more})


def proven(proof: str) -> RowView:
    return row(state="verified", receipt=ReceiptView.model_construct(proof=proof))


def shown(found: StatusView, rows: list[RowView], name: str = "drone-001") -> Seen:
    return Seen(page(name, "logs", found, rows))


@pytest.mark.guarantee(
    "attack", "a name that is a script, on the status page", "it is shown as text; nothing runs"
)
@pytest.mark.threat("wifi")
def test_whatever_is_hostile_is_text() -> None:
    harmless = shown(status(headline="x"), [row(key="x", reason="x"), row()])
    said = status(headline=HOSTILE, link=HOSTILE, credentials=HOSTILE, flight_state=HOSTILE)
    rows = [row(key=HOSTILE, reason=HOSTILE), proven(HOSTILE)]
    seen = Seen(page(HOSTILE, HOSTILE, said, rows))
    assert (seen.tags, seen.attributes) == (harmless.tags, harmless.attributes)
    assert seen.text.count("<script>alert('x')</script>") == 2 + 4 + 2 + 1
    assert "script" not in seen.tags


def test_the_page_may_run_nothing_and_load_nothing() -> None:
    assert "default-src 'none'" in POLICY
    assert "script-src" not in POLICY
    seen = shown(status(), [row()])
    assert seen.tags.isdisjoint({"script", "link", "img", "iframe", "form", "object"})
    assert seen.attributes.isdisjoint({"src", "href", "onload"})


def test_the_headline_of_the_status_is_shown() -> None:
    said = status(headline="All 3 logs are up.", reason="What is not in it.")
    assert "All 3 logs are up." in shown(said, []).text
    assert "What is not in it." not in shown(said, []).text


def test_what_is_left_its_pace_and_the_next_try_are_shown() -> None:
    text = shown(status(backlog_bytes=1536, rate_bytes_s=512, eta_s=3, next_try_s=40), []).text
    assert "To send: 1.5 KiB at 512 B/s, about 3 s." in text
    assert "Next try in 40 s." in text
    assert "Link up (S3 answered 60 s ago)" in text


def test_a_row_says_why_not_or_its_proof() -> None:
    waiting = shown(status(), [row(key="a.ulg", reason="No link to S3.", sent_bytes=250)])
    for word in ("a.ulg", "queued", "25 %", "1000 B", "No link to S3."):
        assert word in waiting.text
    up = shown(status(), [proven("crc32+etag")])
    assert "crc32+etag" in up.text
    assert "%" not in up.text


@pytest.mark.parametrize("way", ["rest", "scan"])
def test_a_row_says_how_it_came_in(way: str) -> None:
    assert shown(status(), [row(received_by=way)]).text.endswith(
        f"Received byqueued1k1000 B0 %{way}"
    )


def test_a_row_without_bytes_is_shown() -> None:
    assert "0 B" in shown(status(), [row(size=0)]).text


PARSED_ALIKE = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs", "Cc"]))


@given(PARSED_ALIKE)
def test_any_name_comes_back_as_it_was(name: str) -> None:
    seen = shown(status(), [row(key=f"<{name}>")])
    assert f"<{name}>" in seen.text
    assert "script" not in seen.tags
