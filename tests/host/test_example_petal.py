"""The petal of the examples, loaded by the real host beside petal-s3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from aboard import Aboard, aboard, until

from petal_s3.demo.logs import write_ulog
from petal_s3.demo.services import EmbeddedS3

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
REVIEW = "/petals/flight-review"


@pytest.fixture(scope="module")
def host(cloud: EmbeddedS3, ashore: Path) -> Iterator[Aboard]:
    """A host that loads the petal as the README of the examples says."""
    block = (EXAMPLES / "README.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    said = yaml.safe_load(block)
    name = "flight-review"
    with aboard(
        cloud,
        ashore / "examples",
        petals={name: said["petals"][name]},
        enabled=said["enabled_petals"],
        dependencies=said["petal_dependencies"],
        env={"PETAL_S3_REQUEST_TIMEOUT": "30"},
    ) as made:
        path = made.host.env.get("PYTHONPATH", "")
        made.host.env["PYTHONPATH"] = f"{EXAMPLES}:{path}" if path else str(EXAMPLES)
        made.start()
        until(lambda: made.get(f"{REVIEW}/waiting").status == 200)
        yield made


@pytest.fixture
def log(tmp_path: Path) -> Path:
    write_ulog(tmp_path / "flight.ulg", 50_000)
    return tmp_path / "flight.ulg"


def test_a_log_is_reviewed_when_it_is_proven_and_the_result_is_kept(
    host: Aboard, log: Path
) -> None:
    told = host.post(f"{REVIEW}/reviews", file=str(log))
    assert told.status == 200, told.body
    found = told.json
    assert (found["size"], found["is_ulog"]) == (50_000, True)
    assert host.s3.get_object(Bucket=host.bucket, Key=found["key"])["Body"].read() == (
        log.read_bytes()
    )
    kept = host.s3.get_object(Bucket=host.bucket, Key=found["result"])["Body"].read()
    assert json.loads(kept)["key"] == found["key"]
    assert "/sessions/flight-review/analysis/" in found["result"]
    assert found["key"] in host.get(f"{REVIEW}/logs").json["keys"]


def test_a_log_that_is_handed_over_is_safe_and_goes_up_later(host: Aboard, log: Path) -> None:
    write_ulog(log, 60_000, seed=3)
    told = host.post(f"{REVIEW}/logs", file=str(log))
    assert (told.status, told.json["state"]) == (200, "queued"), told.body
    until(lambda: host.get(f"outbox/{told.json['id']}").json["state"] == "verified")
    assert "up" in host.get(f"{REVIEW}/waiting").json["headline"]


def test_what_is_no_log_is_refused_with_the_status_of_its_error(
    host: Aboard, tmp_path: Path
) -> None:
    wrong = tmp_path / "notes.ulg"
    wrong.write_bytes(b"no log")
    assert host.post(f"{REVIEW}/reviews", file=str(wrong)).status == 422
