"""What a person changes on the page: by its buttons, by dropping a file, by the keyboard alone."""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import SMALL_SCREEN, Opens
from tests.rest.apis import Api, log, on_card, until


@pytest.fixture
def held(api: Api) -> Api:
    """Nothing is sent: the vehicle is armed."""
    api.post("/flight", {"armed": True})
    return api


def dead(api: Api, name: str) -> int:
    """A log that cannot be sent, as the watcher finds it; gives its row."""
    path = api.logs / name
    path.write_bytes(bytes(5000))
    api.post("/landed")
    return int(named(api, name)["id"])


def named(api: Api, name: str) -> dict[str, Any]:
    """The row of the log with this name, as soon as there is one."""
    rows = until(lambda: [row for row in api.get("/outbox").json["rows"] if row["name"] == name])
    return dict(rows[0])


def test_a_log_that_waits_is_cancelled_after_a_second_question_and_tried_again(
    held: Api, opened: Opens
) -> None:
    row = held.upload(log(), "give-up.ulg", wait="false").json
    window = opened(held.url, size=SMALL_SCREEN)
    window.open("give-up.ulg")
    window.press("Cancel …")
    assert held.row(row["id"])["state"] == "queued"
    window.press("Keep it")
    window.press("Cancel …")
    window.press("Cancel it")
    window.told("It is cancelled.")
    held.in_state(row["id"], "cancelled")
    window.says("#details .tell", "Cancelled")
    held.post("/flight", {"armed": False})
    window.press("Try again")
    window.told("Its file is examined again.")
    held.in_state(row["id"], "verified")
    window.says("#details .tell", "Proven")
    assert "ETag" in window.text("#details")


def test_a_log_that_waits_for_its_next_try_is_tried_now(api: Api, opened: Opens) -> None:
    (api.logs / "wait.ulg").write_bytes(log())
    api.post("/landed")
    row = until(
        lambda: [one for one in api.get("/outbox").json["rows"] if one["name"] == "wait.ulg"]
    )[0]
    api.in_state(row["id"], "verified")
    with closing(sqlite3.connect(api.state / "outbox.db", timeout=20)) as outbox:
        outbox.execute(
            "UPDATE log SET state = 'queued', receipt = NULL, sent_bytes = 0, failures = 3,"
            " code = 's3_unwell', reason = 'S3 is unwell.', due_at = due_at + 1e6 WHERE id = ?",
            (row["id"],),
        )
        outbox.commit()
    assert api.row(row["id"])["next_attempt_s"] > 1000
    window = opened(api.url)
    window.row_says("wait.ulg", "Next try in")
    window.open("wait.ulg")
    window.press("Try now")
    window.told("It is tried now.")
    api.in_state(row["id"], "verified")
    window.says("#details .tell", "Proven")


def test_a_proven_log_is_kept_downloaded_signed_for_and_sent_again_where_it_is_gone(
    api: Api, opened: Opens
) -> None:
    content = log()
    path = api.logs / "keep.ulg"
    path.write_bytes(content)
    api.post("/landed")
    window = opened(api.url)
    window.row_says("keep.ulg", "proven")
    details = window.open("keep.ulg")
    row = named(api, "keep.ulg")

    window.press("Keep the file")
    window.told("Its file stays as long as it can.")
    assert api.row(row["id"])["pinned"]
    window.press("Let the file go")
    window.told("Its file may go when its time comes.")
    assert not api.row(row["id"])["pinned"]

    with window.page.expect_download() as download:
        details.get_by_role("link", name="Download").click()
    assert Path(download.value.path()).read_bytes() == content

    window.press("Link …")
    link = details.get_by_role("textbox").input_value()
    assert "Signature=" in link
    window.press("Copy")
    window.told("Copied.")

    api.s3.delete_object(Bucket=api.bucket, Key=row["key"])
    window.press("Send again if gone")
    window.told("It will be sent again.")
    until(lambda: row["key"] in api.stored_keys())
    window.says("#details .tell", "Proven")
    window.press("Send again if gone")
    window.page.locator(".said .error").wait_for()
    assert "reason" not in window.text(".said .error")


def test_the_history_of_a_log_is_told_from_found_to_proven(api: Api, opened: Opens) -> None:
    api.stored(log(), "told.ulg")
    window = opened(api.url)
    window.open("told.ulg")
    window.says("#details .history", "Proven")
    assert "Found" in window.text("#details .history")
    for fact in ("Receipt", "Checksum", "crc32:", "Came in", "sent over REST", "Key"):
        assert fact in window.text("#details")


def test_dead_logs_are_dismissed_one_and_all(api: Api, opened: Opens) -> None:
    dead(api, "one.ulg")
    window = opened(api.url)
    window.row_says("one.ulg", "cannot be sent")
    # In a row, which begins with its name, that is not said again.
    window.row_says("one.ulg", "Contains only zeros")
    window.open("one.ulg")
    window.press("Dismiss")
    window.row("one.ulg").wait_for(state="detached")
    dead(api, "two.ulg")
    dead(api, "three.ulg")
    window.row_says("three.ulg", "cannot be sent")
    window.page.get_by_role("radio", name="Cannot be sent").check()
    window.page.get_by_role("button", name="Dismiss them all …").click()
    window.page.get_by_role("button", name="Dismiss it").click()
    window.told("2 logs dismissed.")
    assert api.get("/status").json["counts"]["dead"] == 0
    window.row("two.ulg").wait_for(state="detached")


def test_a_log_of_the_card_is_fetched_when_asked_for(api: Api, opened: Opens) -> None:
    file = on_card(api)
    window = opened(api.url)
    path = next(one["path"] for one in api.get("/card").json["files"] if one["id"] == file)
    name = path.rpartition("/")[2]
    window.row_says(name, "on the card")
    # Where nothing else changes, too.
    window.page.get_by_role("radio", name="On the card").wait_for()
    details = window.open(name)
    assert "On the card, not on this disk, not proven in the bucket" in details.inner_text()
    window.press("Fetch now")
    # Nothing is fetched here, as there is no autopilot: it is refused, or waits for one.
    window.page.locator("#details .said p").wait_for()


def drop(window: Any, name: str, content: bytes) -> None:
    """Drop a file on the page, as a file manager does."""
    window.page.evaluate(
        """([name, bytes]) => {
          const data = new DataTransfer();
          data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name));
          for (const kind of ['dragenter', 'dragover', 'drop']) document.body.dispatchEvent(
            new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: data}));
        }""",
        [name, b64encode(content).decode()],
    )


def test_a_file_that_is_dropped_is_sent_and_one_that_is_no_log_is_refused_in_words(
    api: Api, opened: Opens
) -> None:
    window = opened(api.url)
    window.shows("!document.getElementById('robot').hidden")
    content = log()
    drop(window, "dropped.ulg", content)
    window.told("dropped.ulg is in the outbox")
    window.row_says("dropped.ulg", "proven")
    drop(window, "holiday.ulg", b"no log at all" * 100)
    window.page.locator("#uploads .error").wait_for()
    assert "holiday.ulg: " in window.text("#uploads .error")


def test_the_file_dialog_takes_several(api: Api, opened: Opens, tmp_path: Path) -> None:
    files = [tmp_path / "a.ulg", tmp_path / "b.ulg"]
    for file in files:
        file.write_bytes(log())
    window = opened(api.url, size=SMALL_SCREEN)
    with window.page.expect_file_chooser() as chooser:
        window.page.get_by_role("button", name="Add a log …").click()
    chooser.value.set_files(files)
    window.row_says("a.ulg", "proven")
    window.row_says("b.ulg", "proven")


def test_look_now_finds_what_was_put_there(api: Api, opened: Opens) -> None:
    window = opened(api.url)
    (api.logs / "looked.ulg").write_bytes(log())
    window.page.get_by_role("button", name="Look now").click()
    window.page.locator("#said p").wait_for()
    window.row_says("looked.ulg", "proven")


def test_everything_is_done_by_the_keyboard(held: Api, opened: Opens) -> None:
    held.upload(log(), "keys-1.ulg", wait="false")
    row = held.upload(log(), "keys-2.ulg", wait="false").json
    window = opened(held.url)
    window.row("keys-2.ulg").wait_for()
    keyboard = window.page.keyboard
    keyboard.press("Tab")
    assert window.focused() == "To the flights"
    keyboard.press("Enter")
    assert window.focused() == "Flights"
    window.reach(lambda: window.focused().endswith(".ulg"))
    first = window.focused()
    keyboard.press("ArrowDown")
    assert window.focused() not in {first, "BODY"}
    window.reach(lambda: window.focused() == "keys-2.ulg", key="ArrowUp")
    keyboard.press("Enter")
    window.page.locator("#details").wait_for(state="visible")
    assert window.focused() == "keys-2.ulg"
    window.reach(lambda: window.focused() == "Cancel …")
    keyboard.press("Enter")
    assert window.focused() == "Keep it"
    keyboard.press("Shift+Tab")
    keyboard.press("Enter")
    held.in_state(row["id"], "cancelled")
    window.says("#details .tell", "Cancelled")
    keyboard.press("Escape")
    window.page.locator("#details").wait_for(state="hidden")
    assert window.focused() == "keys-2.ulg"


def test_the_way_back_of_a_phone_closes_the_details(api: Api, opened: Opens) -> None:
    api.stored(log(), "back.ulg")
    window = opened(api.url, size=SMALL_SCREEN)
    window.open("back.ulg")
    window.page.go_back()
    window.page.locator("#details").wait_for(state="hidden")
    assert window.page.locator("#robot").is_visible()


def test_the_list_is_narrowed_by_state_and_by_text(held: Api, opened: Opens) -> None:
    held.upload(log(), "needle.ulg", wait="false")
    held.upload(log(), "hay.ulg", wait="false")
    window = opened(held.url)
    window.row("hay.ulg").wait_for()
    window.page.get_by_role("searchbox").fill("needle")
    window.row("hay.ulg").wait_for(state="detached")
    assert window.row("needle.ulg").count() == 1
    window.says("#found", "1 log found")
    window.page.get_by_role("radio", name="Proven").check()
    window.row("needle.ulg").wait_for(state="detached")
    window.page.get_by_role("radio", name="All").check()
    window.page.get_by_role("searchbox").fill("")
    window.row("hay.ulg").wait_for()
