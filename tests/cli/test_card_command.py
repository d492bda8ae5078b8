"""``petal-s3 card``: what is on the autopilot's card, and may it be erased?"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from console import Console, entry

from petal_s3.core import clock
from petal_s3.outbox import card, card_changes, card_listing, entering
from petal_s3.outbox.card_listing import Found, Listing, Rules
from petal_s3.outbox.outbox import Outbox

ROOT = "/fs/microsd/log"
NEW = "2026-11-30/14_25_00.ulg"
ALIVE = {"card_on": True, "card_heard": True}


def list_once(outbox: Outbox, at: float, *files: Found, baseline: bool = False) -> None:
    shown = Listing({"log": ROOT}, files)
    card_changes.take(outbox, shown, at, Rules(False, 2**30, 0.0), baseline=baseline)


def list_twice(outbox: Outbox, *files: Found, baseline: bool = False) -> None:
    for at in (1.0, 2.0):
        list_once(outbox, at, *files, baseline=baseline)


def found(path: str = NEW, size: int = 1000) -> Found:
    return Found("log", path, size, logged_at=5, dated=True)


@contextlib.contextmanager
def listing(console: Console, *files: Found) -> Iterator[None]:
    """Somebody has the card, and lists it whenever that is asked for: these files lie on it."""
    ended = threading.Event()

    def serve() -> None:
        with console.outbox() as outbox:
            while not ended.wait(0.02):
                number = card_listing.asked_scan(outbox)
                if number:
                    list_once(outbox, 3.0, *files)
                    card_listing.answered_scan(outbox, number)

    with console.host(boot_id=clock.boot_id(), **ALIVE):
        server = threading.Thread(target=serve)
        server.start()
        try:
            yield
        finally:
            ended.set()
            server.join()


def prove(console: Console, *files: Found) -> None:
    """These lie on the card, and the first of them is proven."""
    with console.outbox() as outbox:
        row = entering.enqueue(outbox, entry("a.ulg"))
        list_twice(outbox, *files)
        card.advance(outbox, 1, 1000, 7)
        card.fetched(outbox, 1)
        card.entered(outbox, 1, row.id)
        outbox.sql.change(
            'UPDATE log SET state = \'verified\', sent_bytes = size, receipt = \'{"key": "k",'
            ' "etag": "e", "checksum": "crc32:00000000", "size": 1, "proof": "etag",'
            ' "verified_at": 1}\''
        )


def test_where_no_card_is_known_it_must_not_be_erased(console: Console) -> None:
    told = console.type("card", "safe-to-erase")
    assert (told.code, told.err) == (
        3,
        "No. No process watches the autopilot's card: what is on it now is not known.\n",
    )


def test_each_log_of_the_card_is_a_line_and_one_that_is_not_proven_exits_with_3(
    console: Console,
) -> None:
    with console.outbox() as outbox:
        list_twice(outbox, found(), found("2026-11-30/15_00_00.ulg"), baseline=False)
        card.advance(outbox, 1, 500, 7)
    told = console.type("card")
    assert told.code == 3
    lines = told.out.splitlines()
    assert lines[1].startswith("1  fetching 50%  1.0 kB  /fs/microsd/log/2026-11-30/14_25_00.ulg")
    assert "2 not proven in the bucket; it must not be erased" in told.out
    shown = console.type("card", "ls", "--json").json
    assert [file["state"] for file in shown["files"]] == ["settled", "fetching"]


def test_a_card_of_which_all_is_proven_may_be_erased(console: Console) -> None:
    prove(console, found())
    with listing(console, found()):
        told = console.type("card", "safe-to-erase")
        assert (told.code, told.out) == (
            0,
            "Yes: every log of the card (1) is proven in the bucket.\n",
        )
        assert console.type("card").code == 0
    assert console.type("card", "safe-to-erase").code == 3


def test_why_a_card_must_not_be_erased_is_said_where_all_of_it_is_proven(console: Console) -> None:
    prove(console, found())
    told = console.type("card")
    assert (told.code, "0 not proven in the bucket; it must not be erased." in told.out) == (
        0,
        True,
    )
    assert "No process watches the autopilot's card" in told.out


def test_before_a_yes_the_card_is_listed_once_more(console: Console) -> None:
    prove(console, found())
    with listing(console, found(), found("2026-11-30/15_00_00.ulg")):
        told = console.type("card", "safe-to-erase")
    assert (told.code, "not listed twice with the same result" in told.err) == (3, True)


def test_a_card_that_cannot_be_listed_now_must_not_be_erased(console: Console) -> None:
    prove(console, found())
    silent = "The autopilot does not answer for its card; it is asked again."
    with console.host(
        boot_id=clock.boot_id(), **ALIVE, card_code="card_silent", card_reason=silent
    ):
        told = console.type("card", "safe-to-erase")
    assert (told.code, told.err) == (3, f"No. {silent}\n")


def test_a_log_that_was_left_out_is_asked_for_in_the_outbox(console: Console) -> None:
    with console.outbox() as outbox:
        list_twice(outbox, found(), baseline=True)
    told = console.type("card", "fetch", "1")
    assert told.code == 0
    assert told.out.startswith("1  seen  1.0 kB")
    with console.outbox() as outbox:
        assert card.get(outbox, 1).asked
        assert card_listing.asked_scan(outbox)
    assert console.type("card", "fetch", "7").code == 1


def test_a_listing_is_asked_of_the_process_that_has_the_card(console: Console) -> None:
    told = console.type("card", "scan")
    assert (told.code, "No process is uploading" in told.err) == (3, True)
    with console.host(boot_id=clock.boot_id()):
        told = console.type("card", "scan")
    assert (told.code, "[no_card]" in told.err) == (1, True)
    silent = "The autopilot is not heard; its card is read when it is."
    with console.host(
        boot_id=clock.boot_id(), card_on=True, card_code="silent", card_reason=silent
    ):
        told = console.type("card", "scan")
    assert (told.code, silent in told.err) == (3, True)


def test_the_status_tells_of_the_card(console: Console) -> None:
    with console.outbox() as outbox:
        list_twice(outbox, found())
    told = console.type("status")
    assert "1 is on the autopilot's card yet" in told.out
    assert "To fetch from the autopilot's card: 1, 1.0 kB." in told.out
    assert console.type("status", "--json").json["card"]["unproven"] == 1
