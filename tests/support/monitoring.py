"""What the alert rules and the dashboard ask Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

CONTRIB = Path(__file__).resolve().parents[2] / "contrib"
RULES = CONTRIB / "prometheus" / "petal-s3.rules.yml"
DASHBOARD = CONTRIB / "grafana" / "petal-s3.json"
_STANDS_FOR = {"$__rate_interval": "5m", "$robot": ".*"}
_SELECTOR = re.compile(r"\b(petal_s3_\w+)(?:\{([^}]*)\})?")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")


def rule_queries() -> Mapping[str, str]:
    """The expression of each alert."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def dashboard_queries() -> list[str]:
    """Every expression of the dashboard, as Grafana sends it."""
    found = list(_targets(json.loads(DASHBOARD.read_text("utf-8"))["panels"]))
    for variable, value in _STANDS_FOR.items():
        found = [query.replace(variable, value) for query in found]
    return found


def _targets(panels: list[Any]) -> Iterator[str]:
    for panel in panels:
        yield from (target["expr"] for target in panel.get("targets", ()))
        yield from _targets(panel.get("panels", []))


def asked_for(queries: list[str]) -> Mapping[str, set[str]]:
    """The names of metrics in these expressions, and the labels by which each is chosen."""
    found: dict[str, set[str]] = {}
    for query in queries:
        for name, chosen in _SELECTOR.findall(query):
            found.setdefault(name, set()).update(_LABEL.findall(chosen))
    return found
