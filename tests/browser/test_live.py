"""The page shows what happens while it happens, in both servers."""

from __future__ import annotations

import time

import pytest

from tests.browser.conftest import Opens
from tests.browser.window import slowness
from tests.rest.apis import Api, log, until

WHILE_SENT = """() => {
  const seen = [], bar = () => [...document.querySelectorAll('.row')]
    .find((row) => row.innerText.includes('moves.ulg'))?.querySelector('progress');
  window.moves = seen;
  new MutationObserver(() => {
    const value = bar()?.value;
    if (value && value !== seen.at(-1)?.value) seen.push({value, at: performance.now()});
  }).observe(document.getElementById('list'),
    {subtree: true, childList: true, characterData: true});
}"""


def test_a_log_that_is_sent_moves_twice_a_second_until_it_is_proven(
    slow: Api, opened: Opens
) -> None:
    window = opened(slow.url)
    window.shows("document.getElementById('list')")
    window.page.evaluate(WHILE_SENT)
    row = slow.upload(log(7_900_000), "moves.ulg", wait="false").json
    window.row("moves.ulg").wait_for()
    slow.in_state(row["id"], "verified")
    window.row_says("moves.ulg", "proven", 5)
    moves = window.page.evaluate("window.moves")
    took_s = (moves[-1]["at"] - moves[0]["at"]) / 1000
    assert took_s > 1.5
    assert (len(moves) - 1) / took_s >= 2 / slowness()
    window.shows("/ up\\.$/.test(document.getElementById('headline').innerText)", 5)
    assert "ETag" in window.row("moves.ulg").inner_text()


def test_a_cut_link_is_told_within_two_seconds_and_so_is_its_return(
    slow: Api, opened: Opens
) -> None:
    window = opened(slow.url)
    row = slow.upload(log(7_900_000), "cut.ulg", wait="false").json
    window.row("cut.ulg").wait_for()
    slow.in_state(row["id"], "uploading")
    at_most_s = 2 * slowness()
    slow.link.cut()
    began = time.monotonic()
    window.says("#headline", "waiting: ", at_most_s)
    window.shows("document.getElementById('answer').dataset.tone === 'wait'", 1)
    cut_s = time.monotonic() - began
    slow.link.forward()
    began = time.monotonic()
    window.shows("document.getElementById('answer').dataset.tone === 'move'", at_most_s)
    print(f"cut told after {cut_s:.2f} s, back after {time.monotonic() - began:.2f} s")  # noqa: T201
    slow.in_state(row["id"], "verified")
    window.row_says("cut.ulg", "proven")


def test_the_first_screen_says_how_many_are_up_since_when_and_what_would_end_it(
    slow: Api, opened: Opens
) -> None:
    slow.stored(log(), "first.ulg")
    slow.post("/flight", {"armed": True})
    slow.upload(log(), "second.ulg", wait="false")
    window = opened(slow.url, size=(390, 844))
    window.shows("document.getElementById('answer').dataset.tone === 'wait'")
    window.says("#headline", "armed")
    window.says("#since", "Since ")
    status = slow.get("/status").json
    window.says("#since", status["ends"])
    assert status["machine_id"] in window.text(".top")
    assert window.page.evaluate("document.title").startswith(f"{status['counts']['verified']}/")
    slow.post("/flight", {"armed": False})
    window.shows("document.getElementById('answer').dataset.tone === 'ok'")
    until(lambda: window.page.locator("#since").is_hidden())


def test_what_an_operator_should_do_does_not_stand_before_the_logs_of_a_phone(
    slow: Api, opened: Opens
) -> None:
    slow.upload(log(), "noted.ulg", wait="false")
    window = opened(slow.url, size=(390, 844))
    window.row("noted.ulg").wait_for()
    notes, advice = window.page.locator("#notes"), slow.get("/status").json["advice"]
    assert notes.is_visible() == bool(advice)
    for said in advice:  # the host has no login
        assert not window.page.get_by_text(said).is_visible()
    if advice:
        notes.locator("summary").click()
        window.says("#advice", advice[0])
        below = "document.getElementById('notes').getBoundingClientRect().top"
        window.shows(f"{below} > document.getElementById('add').getBoundingClientRect().bottom")


@pytest.mark.guarantee(
    "attack",
    "a log is called like a script, and shown in a real browser",
    "its name is text; a script that is not of the page would be an error of the test",
)
def test_what_a_log_is_called_is_only_ever_text(slow: Api, opened: Opens) -> None:
    name = "<img src=x onerror=alert(1)><script>.ulg"
    slow.stored(log(), name)
    window = opened(slow.url)
    window.row("onerror").wait_for()
    assert name in window.row("onerror").inner_text()
    details = window.open("onerror")
    assert name in details.inner_text()
    assert window.page.locator("main img, main script, #details img").count() == 0
