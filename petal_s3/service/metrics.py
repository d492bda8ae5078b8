"""Figures for Prometheus; each is read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from petal_s3.outbox.deletions import Totals
from petal_s3.service.views.card import CardFigures
from petal_s3.service.views.view import Link


@dataclass(frozen=True)
class Figures:
    """All figures. Counters count since the process began, deletions since the outbox was made."""

    rows: Mapping[str, int]
    settling: int
    held: int
    gone: int
    unscanned: int
    unread: int
    trouble: bool
    backlog_bytes: int
    oldest_unsent_s: int
    link: Link
    link_seen_s: int | None
    sent_bytes: int
    parts_sent: int
    parts_resent: int
    token_fetches: int
    free_bytes: Mapping[str, int]
    card: CardFigures | None
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
        for name, what, number in (*_gauges(f), *_of_card(f.card)):
            yield GaugeMetricFamily(f"petal_s3_{name}", what, number)
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


def _gauges(f: Figures) -> Iterable[tuple[str, str, int]]:
    yield "settling_files", "Files that have changed a moment ago.", f.settling
    yield "held_files", "Files that are taken only after the flight.", f.held
    yield "gone_objects", "Proven logs whose object was seen to be gone since.", f.gone
    yield "unscanned_files", "Files in the log directories that no scan has seen.", f.unscanned
    yield "unread_directories", "Log directories and folders that cannot be read.", f.unread
    yield "trouble", "1: there may be logs that nothing here counts.", int(f.trouble)
    yield "backlog_bytes", "Left to send.", f.backlog_bytes
    yield "oldest_unsent_seconds", "Age of the oldest unsent log.", f.oldest_unsent_s
    if f.link != "unknown":  # no sample is better than a false alarm
        yield "link_up", "1: S3 answered last time; 0: it did not.", int(f.link == "up")
    if f.link_seen_s is not None:
        yield "link_seen_seconds", "Since S3 last answered.", f.link_seen_s


def _of_card(card: CardFigures | None) -> Iterable[tuple[str, str, int]]:
    """Of a card that is not known nothing is told."""
    if card is None:
        return
    yield "card_heard", "1: the autopilot is heard now.", int(card.heard)
    yield "card_logs", "Logs on the autopilot's card.", card.on_card
    yield "card_to_fetch", "Of these, logs that will be fetched.", card.to_fetch
    yield "card_to_fetch_bytes", "Their bytes that are not here yet.", card.to_fetch_bytes
    yield "card_unproven", "Logs on the card that are not proven in the bucket.", card.unproven
    yield "card_vanished", "Logs that vanished from the card before they were fetched.", card.gone
    yield "card_rate_bytes", "Fetched from the card, bytes a second.", card.rate_bytes_s
    yield "card_safe_to_erase", "1: every log on the card is proven.", int(card.safe_to_erase)


def exposition(figures: Figures) -> str:
    """The figures in Prometheus' text format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(figures))
    return generate_latest(registry).decode()
