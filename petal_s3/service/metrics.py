"""Figures for Prometheus, in its text format."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from petal_s3 import __version__
from petal_s3.service.figures import Figures
from petal_s3.service.views.card import CardFigures, CardState
from petal_s3.service.views.view import Credentials, Link
from petal_s3.upload.progress import LANDING_BOUNDS_S, Traffic

_PROOFS = ("crc32+etag", "etag", "crc32", "read-back")


class _Collector:
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        f = self._figures
        yield from _labelled(f)
        for name, what, number in (*_gauges(f), *_of_card(f.status.card)):
            yield GaugeMetricFamily(f"petal_s3_{name}", what, number)
        for name, what, number in _counters(f):
            yield CounterMetricFamily(f"petal_s3_{name}", what, number)
        yield _after_landing(f.traffic)


def _labelled(f: Figures) -> Iterable[Metric]:
    status = f.status
    build = GaugeMetricFamily(
        "petal_s3_build_info", "1; which release runs.", labels=["version", "python"]
    )
    build.add_metric([__version__, platform.python_version()], 1)
    yield build
    codes = GaugeMetricFamily(
        "petal_s3_rows_by_code",
        "Rows that are not up, by the code of the reason.",
        labels=["state", "code"],
    )
    for (state, code), number in f.counts.codes.items():
        codes.add_metric([state, code], number)
    yield codes
    rows = {str(state): number for state, number in status.counts.items()}
    yield _by("rows", "Rows of the outbox.", "state", rows)
    yield _by("free_bytes", "Free on the disk of a log directory.", "directory", f.free_bytes)
    yield _by("link", "1: what is known of the link.", "state", _one_of(Link, status.link))
    held = _one_of(Credentials, status.credentials)
    yield _by("credentials", "1: as their last use has shown them.", "state", held)
    if status.card is not None:
        files = {**dict.fromkeys(get_args(CardState), 0), **f.counts.card}
        yield _by("card_files", "Files of the autopilot's card.", "state", files)
    proofs = CounterMetricFamily(
        "petal_s3_proofs", "Logs that were proven, by what was compared.", labels=["proof"]
    )
    for proof, number in (dict.fromkeys(_PROOFS, 0) | f.traffic.proofs).items():
        proofs.add_metric([proof], number)
    yield proofs


def _by(name: str, what: str, label: str, numbers: Mapping[str, int]) -> Metric:
    found = GaugeMetricFamily(f"petal_s3_{name}", what, labels=[label])
    for value, number in numbers.items():
        found.add_metric([value], number)
    return found


def _one_of(words: object, now: str) -> dict[str, int]:
    """Each word of a ``Literal``; 1 for the one that holds now."""
    return {word: int(word == now) for word in get_args(words)}


def _gauges(f: Figures) -> Iterable[tuple[str, str, float]]:
    status = f.status
    yield "settling_files", "Files that have changed a moment ago.", f.settling
    yield "held_files", "Files that are taken only after the flight.", status.held
    yield "gone_objects", "Proven logs whose object was seen to be gone since.", status.gone
    yield "unscanned_files", "Files in the log directories that no scan has seen.", status.unscanned
    yield "unread_directories", "Log directories and folders that cannot be read.", status.unread
    yield "trouble", "1: there may be logs that nothing here counts.", int(bool(status.trouble))
    yield "backlog_bytes", "Left to send.", status.backlog_bytes
    yield "rate_bytes", "Acknowledged, bytes a second; 0: not known yet.", status.rate_bytes_s
    oldest = status.oldest_unsent_s or 0
    yield "oldest_unsent_seconds", "Age of the oldest unsent log.", oldest
    yield "drained", "1: a process uploads.", int(status.drained_by is not None)
    if status.link != "unknown":  # no sample is better than a false alarm
        yield "link_up", "1: S3 answered last time; 0: it did not.", int(status.link == "up")
    for name, what, known in (
        ("link_seen_seconds", "Since S3 last answered.", status.link_seen_s),
        ("credentials_seen_age_seconds", "Since that was seen.", f.credentials_seen_s),
        ("clock_offset_seconds", "How far S3's clock is ahead of ours.", status.clock_offset_s),
        ("state_free_bytes", "Free on the disk of the outbox.", f.state_free_bytes),
        ("last_proof_timestamp_seconds", "Last proof, by S3's clock.", f.counts.last_proof_at),
    ):
        if known is not None:
            yield name, what, known


def _counters(f: Figures) -> Iterable[tuple[str, str, int]]:
    traffic, deleted = f.traffic, f.counts.deletions
    yield "sent_bytes", "Body bytes handed to the network.", f.sent_bytes
    yield "resent_bytes", "Bytes of parts that S3 had confirmed before.", traffic.bytes_resent
    yield "parts_sent", "Parts and small objects that S3 confirmed.", traffic.parts_sent
    yield "parts_resent", "Of these, parts that it had confirmed before.", traffic.parts_resent
    yield "token_fetches", "Requests to the token service.", f.token_fetches
    yield "deleted", "Proven local files that were deleted.", deleted.files
    yield "deleted_bytes", "Their size.", deleted.size_bytes
    yield "unsent_deleted", "Deleted with bytes not proven: 0, or a bug.", deleted.unsent


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


def _after_landing(traffic: Traffic) -> Metric:
    bounds = [*(f"{bound:.1f}" for bound in LANDING_BOUNDS_S), "+Inf"]
    buckets = list(zip(bounds, accumulate(traffic.landing_s), strict=True))
    found = HistogramMetricFamily(
        "petal_s3_landing_to_proof_seconds",
        "From the landing, else from entering the outbox, to the proof.",
    )
    found.add_metric([], buckets, traffic.landing_sum_s)
    return found


def exposition(figures: Figures) -> str:
    """The figures in Prometheus' text format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(figures))
    return generate_latest(registry).decode()
