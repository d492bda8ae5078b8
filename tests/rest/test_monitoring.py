"""What the alert rules and the dashboard ask for is really served."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from apis import Api, standing, until
from prometheus_client.parser import text_string_to_metric_families
from test_card_over_rest import NEW, Robot

from petal_s3.demo.logs import write_ulog
from petal_s3.demo.services import EmbeddedS3
from tests.support.card_model import CardModel
from tests.support.monitoring import asked_for, dashboard_queries, rule_queries

GIVEN_BY_PROMETHEUS = {"instance", "job"}


@pytest.fixture(scope="module")
def served(
    _s3_server: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, set[str]]]:
    """Names and labels of what a robot serves that has proven a log of its card."""
    directory = tmp_path_factory.mktemp("monitored")
    card = CardModel()
    with (
        pytest.MonkeyPatch.context() as patch,
        standing(_s3_server, directory, fetch="all", request_timeout=60) as made,
    ):
        patch.setattr("petal_s3.intake.flight_state.ASK_S", 60.0)
        patch.setattr("petal_s3.intake.flight_state.SILENT_S", 60.0)
        robot = Robot(made, card)
        log = directory / "one.ulg"
        write_ulog(log, 100_000)
        card.put(NEW, log.read_bytes())
        assert robot.ask("POST", "/card/scan")[0] == 200
        until(lambda: _safe(robot), 120)
        made.api.post("/flight", {"armed": True})
        made.api.upload(log.read_bytes()[:50_000], "waits.ulg", wait="false")
        yield _names(made.api.get("/metrics").body.decode())


def _safe(robot: Robot) -> bool:
    time.sleep(0.1)
    return bool(robot.ask("GET", "/card")[1]["safe_to_erase"])


def _names(text: str) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("queries", [dashboard_queries(), list(rule_queries().values())])
def test_every_name_and_label_that_is_asked_for_is_served(
    served: Mapping[str, set[str]], queries: list[str]
) -> None:
    asked = asked_for(queries)
    assert len(asked) > 10
    missing = {
        name: labels - served.get(name, set())
        for name, labels in asked.items()
        if name not in served or not labels <= served[name] | GIVEN_BY_PROMETHEUS
    }
    assert missing == {}


def test_the_table_of_the_docs_names_what_is_served_and_nothing_else(
    served: Mapping[str, set[str]],
) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text("utf-8")
    table = page.partition("## Figures\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    told = {
        f"petal_s3_{name}": set(filter(None, labels.split(",")))
        for cell in cells
        for name, labels in re.findall(r"`(\w+)(?:\{([^}]*)\})?`", cell)
    }
    # Of a histogram the buckets stand for all.
    given = {one: served[one] for one in served if not one.endswith(("_count", "_sum"))}
    assert told == {one.removesuffix("_bucket"): labels for one, labels in given.items()}


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain",
        "text/plain;version=0.0.4",
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    ],
)
def test_a_scraper_that_asks_for_text_gets_text(api: Api, accept: str) -> None:
    answer = api.ask("GET", "/metrics", headers={"Accept": accept})
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
