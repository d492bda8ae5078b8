"""The autopilot's card over REST: alike in both servers, and with a card in the stand-alone one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from apis import Api, Standing, on_card, standing, until

from petal_s3.demo.logs import write_ulog
from petal_s3.demo.services import EmbeddedS3
from petal_s3.service import vehicle
from tests.support.card_model import DISARMED, ROOT, CardModel

NEW = "2026-11-30/14_25_00.ulg"


def test_without_a_card_nothing_is_on_it_and_it_is_not_safe_to_erase(api: Api) -> None:
    told = api.get("/card").json
    assert (told["root"], told["files"], told["unproven"]) == ("", [], 0)
    assert (told["heard"], told["safe_to_erase"]) == (False, False)


def test_a_card_that_cannot_be_asked_is_not_listed_and_the_answer_says_why(api: Api) -> None:
    told = api.post("/card/scan")
    assert told.status in {409, 503}
    assert told.code in {"no_card", "silent", "not_now"}


def test_a_log_that_was_left_out_is_fetched_when_asked_for(api: Api) -> None:
    file_id = on_card(api)
    [shown] = [one for one in api.get("/card").json["files"] if one["id"] == file_id]
    assert (shown["state"], shown["reason"], shown["row"]) == ("skipped", "Old.", None)
    told = api.post(f"/card/{file_id}/fetch")
    assert (told.status, told.json["state"], told.json["path"]) == (200, "seen", shown["path"])
    status = api.get("/status").json
    assert status["card"]["to_fetch"] == 1
    assert "on the autopilot's card yet" in status["headline"]


def test_a_log_that_is_not_on_the_card_is_not_found(api: Api) -> None:
    assert api.post("/card/999999/fetch").status == 404
    assert api.post("/card/first/fetch").status == 400


class Robot:
    """A stand-alone server with a card, whose autopilot is heard."""

    def __init__(self, made: Standing, card: CardModel) -> None:
        self.made = made
        self.card = card
        made.thread.run(self._attach())

    async def _attach(self) -> None:
        self.hear()
        self.made.service.fetcher.attach(self.card)

    def hear(self) -> None:
        vehicle.heartbeat(self.made.service, DISARMED)

    def ask(self, method: str, path: str) -> tuple[int, dict[str, object]]:
        """Ask while it is heard."""

        async def beat() -> None:
            self.hear()

        self.made.thread.run(beat())
        told = self.made.api.ask(method, path)
        return told.status, told.json


@pytest.fixture
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat counts for a minute: under load seconds pass between two of them."""
    monkeypatch.setattr("petal_s3.intake.flight_state.ASK_S", 60.0)
    monkeypatch.setattr("petal_s3.intake.flight_state.SILENT_S", 60.0)


@pytest.mark.usefixtures("_fast")
def test_what_is_on_the_card_is_listed_fetched_proven_and_then_safe_to_erase(
    _s3_server: EmbeddedS3, tmp_path: Path
) -> None:
    card = CardModel()
    with standing(_s3_server, tmp_path, fetch="all", request_timeout=60) as made:
        robot = Robot(made, card)
        log = tmp_path / "one.ulg"
        write_ulog(log, 100_000)
        card.put(NEW, log.read_bytes())
        status, told = robot.ask("POST", "/card/scan")
        assert status == 200
        assert told["root"] == ROOT

        def proven() -> dict[str, object] | None:
            time.sleep(0.1)
            _, found = robot.ask("GET", "/card")
            return found if found["safe_to_erase"] else None

        found = until(proven, 120)
        [file] = found["files"]  # type: ignore[misc]
        assert (file["state"], file["path"]) == ("proven", f"{ROOT}/{NEW}")
        row = made.api.row(file["row"])
        assert row["received_by"] == "card"
        assert made.api.object(row["key"]) == log.read_bytes()
        metrics = made.api.get("/metrics").body.decode()
        assert "petal_s3_card_safe_to_erase 1.0" in metrics
        assert made.api.get("/status").json["card"]["safe_to_erase"] is True
