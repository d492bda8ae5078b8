"""What was proven is counted, by its proof and by how long after the landing."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from petal_s3.outbox.deletions import Totals
from petal_s3.service.figures import Counts, Figures
from petal_s3.service.metrics import exposition
from petal_s3.service.views.status import StatusView
from petal_s3.upload.progress import LANDING_BOUNDS_S, Traffic


def figures(traffic: Traffic, **codes: int) -> Figures:
    status = StatusView.model_construct(
        counts={"queued": 2},
        link="unknown",
        link_seen_s=None,
        credentials="refused",
        clock_offset_s=None,
        held=0,
        gone=0,
        unscanned=0,
        unread=0,
        trouble="",
        backlog_bytes=5,
        rate_bytes_s=0,
        oldest_unsent_s=None,
        drained_by=None,
        card=None,
    )
    counts = Counts({("queued", code): n for code, n in codes.items()}, {}, None, Totals(0, 0, 0))
    return Figures(status, counts, traffic, 0, None, 0, 0, {}, None)


def told(found: Figures) -> dict[str, float]:
    """The value of each sample, by its name and labels."""
    return {
        "{}{}".format(
            one.name, "".join(f" {k}={v}" for k, v in sorted(one.labels.items()))
        ): one.value
        for family in text_string_to_metric_families(exposition(found))
        for one in family.samples
    }


def test_a_proof_falls_into_the_bucket_of_its_time_and_all_above() -> None:
    traffic = Traffic()
    for after_s in (9.0, 10.0, 11.0, 3599.0, 1e9):
        traffic.proven("crc32+etag", after_s)
    traffic.proven("read-back", None)
    found = told(figures(traffic))
    bucket = "petal_s3_landing_to_proof_seconds_bucket le={}".format
    assert [found[bucket(le)] for le in ("10.0", "30.0", "1800.0", "3600.0", "+Inf")] == [
        *(2, 3, 3, 4, 5)
    ]
    assert found["petal_s3_landing_to_proof_seconds_count"] == 5
    assert found["petal_s3_proofs_total proof=crc32+etag"] == 5
    assert found["petal_s3_proofs_total proof=read-back"] == 1
    assert found["petal_s3_proofs_total proof=etag"] == 0
    assert len(traffic.landing_s) == len(LANDING_BOUNDS_S) + 1


def test_of_what_is_not_known_there_is_no_sample() -> None:
    found = told(figures(Traffic(), armed=3))
    assert found["petal_s3_rows_by_code code=armed state=queued"] == 3
    assert found["petal_s3_link state=unknown"] == 1
    assert found["petal_s3_credentials state=refused"] == 1
    missing = ("link_up", "link_seen_seconds", "clock_offset_seconds", "state_free_bytes")
    assert not [name for name in missing if f"petal_s3_{name}" in found]
    assert not [name for name in found if "card" in name]
