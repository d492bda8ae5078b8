"""Figures for Prometheus; each is read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from petal_s3.outbox.deletions import Totals

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Figures:
    """All figures. Counters count since the process began, deletions since the outbox was made."""

    rows: Mapping[str, int]
    backlog_bytes: int
    oldest_unsent_s: int
    link_up: bool
    sent_bytes: int
    parts_sent: int
    parts_resent: int
    token_fetches: int
    free_bytes: Mapping[str, int]
    deletions: Totals


class _Collector:
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        f = self._figures
        rows = GaugeMetricFamily("petal_s3_rows", "Rows of the outbox.", labels=["state"])
        for state, number in f.rows.items():
            rows.add_metric([state], number)
        free = GaugeMetricFamily(
            "petal_s3_free_bytes", "Free on the disk of a log directory.", labels=["directory"]
        )
        for directory, number in f.free_bytes.items():
            free.add_metric([directory], number)
        yield rows
        yield free
        yield GaugeMetricFamily(
            "petal_s3_backlog_bytes", "Not yet confirmed by S3.", f.backlog_bytes
        )
        yield GaugeMetricFamily(
            "petal_s3_oldest_unsent_seconds", "Age of the oldest unsent log.", f.oldest_unsent_s
        )
        yield GaugeMetricFamily("petal_s3_link_up", "1: S3 answers.", int(f.link_up))
        for name, what, number in (
            ("sent_bytes", "Body bytes handed to the network.", f.sent_bytes),
            ("parts_sent", "Parts and small objects that S3 confirmed.", f.parts_sent),
            ("parts_resent", "Of these, parts that it had confirmed before.", f.parts_resent),
            ("token_fetches", "Requests to the token service.", f.token_fetches),
            ("deleted", "Proven local files that were deleted.", f.deletions.files),
            ("deleted_bytes", "Their size.", f.deletions.size_bytes),
            ("unsent_deleted", "Deleted with bytes not proven: 0, or a bug.", f.deletions.unsent),
        ):
            yield CounterMetricFamily(f"petal_s3_{name}", what, number)


def exposition(figures: Figures) -> str:
    """The figures in Prometheus' text format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(figures))
    return generate_latest(registry).decode()
