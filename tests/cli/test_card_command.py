"""``petal-s3 card``: what is on the autopilot's card, and may it be erased?"""

from __future__ import annotations

from console import Console, entry

from petal_s3.core import clock
from petal_s3.outbox import card, card_changes, card_listing, entering
from petal_s3.outbox.card_listing import Found, Listing, Rules
from petal_s3.outbox.outbox import Outbox

ROOT = "/fs/microsd/log"
NEW = "2026-11-30/14_25_00.ulg"
ALIVE = {"card_on": True, "card_heard": True}


def list_twice(outbox: Outbox, *files: Found, baseline: bool = False) -> None:
    listing = Listing({"log": ROOT}, files)
    for at in (1.0, 2.0):
        card_changes.take(outbox, listing, at, Rules(False, 2**30, 0.0), baseline=baseline)


def found(path: str = NEW, size: int = 1000) -> Found:
    return Found("log", path, size, logged_at=5, dated=True)


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
    with console.outbox() as outbox:
        row = entering.enqueue(outbox, entry("a.ulg"))
        list_twice(outbox, found())
        card.advance(outbox, 1, 1000, 7)
        card.fetched(outbox, 1)
        card.entered(outbox, 1, row.id)
        outbox.sql.change(
            'UPDATE log SET state = \'verified\', sent_bytes = size, receipt = \'{"key": "k",'
            ' "etag": "e", "checksum": "crc32:00000000", "size": 1, "proof": "etag",'
            ' "verified_at": 1}\''
        )
    with console.host(boot_id=clock.boot_id(), **ALIVE):
        told = console.type("card", "safe-to-erase")
        assert (told.code, told.out) == (
            0,
            "Yes: every log of the card (1) is proven in the bucket.\n",
        )
        assert console.type("card").code == 0
    assert console.type("card", "safe-to-erase").code == 3


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
