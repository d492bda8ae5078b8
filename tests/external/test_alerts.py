"""Alert rules and dashboard, as Debian's prometheus judges them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.external.conftest import Have
from tests.support.monitoring import RULES, dashboard_queries, rule_queries

TESTS = RULES.with_name("petal-s3.rules.test.yml")


def test_prometheus_takes_the_rules(have: Have) -> None:
    code, said = have("promtool").run("check", "rules", RULES)
    assert code == 0, said
    assert f"{len(rule_queries())} rules found" in said


def test_each_rule_is_quiet_and_fires_as_its_tests_say(have: Have) -> None:
    code, said = have("promtool").run("test", "rules", TESTS)
    assert code == 0, said


def test_a_rule_that_would_not_fire_is_found(have: Have, tmp_path: Path) -> None:
    (tmp_path / RULES.name).write_text(RULES.read_text().replace('state="dead"', 'state="ended"'))
    (tmp_path / TESTS.name).write_text(TESTS.read_text())
    code, said = have("promtool").run("test", "rules", tmp_path / TESTS.name)
    assert (code, "PetalS3LogsDead" in said) == (1, True), said


def test_prometheus_understands_each_query_of_the_dashboard(have: Have, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": query}
        for number, query in enumerate(dashboard_queries())
    ]
    (tmp_path / "panels.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "p", "rules": rules}]})
    )
    code, said = have("promtool").run("check", "rules", tmp_path / "panels.yml")
    assert code == 0, said
    assert len(rules) > 20


@pytest.mark.parametrize("alert", sorted(rule_queries()))
def test_each_rule_has_its_test(alert: str) -> None:
    cases = yaml.safe_load(TESTS.read_text())["tests"]
    fired = [
        one["alertname"] for case in cases for one in case["alert_rule_test"] if "exp_alerts" in one
    ]
    quiet = [one["alertname"] for one in cases[0]["alert_rule_test"]]
    assert alert in fired
    assert alert in quiet
    assert re.fullmatch(r"PetalS3\w+", alert)
