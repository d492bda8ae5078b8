"""What is known of a bucket's server is kept under its name, and read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from petal_s3.core.settings_loading import check_settings
from petal_s3.outbox.capabilities import bucket_name_of, keep, known_of
from petal_s3.outbox.outbox import Outbox
from petal_s3.s3.capabilities import Capabilities, read, written
from petal_s3.service.report import Seen
from petal_s3.service.status import summary
from petal_s3.service.views.status import capabilities_view

BY = "HEAD with the checksum mode was answered 400."
KNOWN = Capabilities(asked_at=1_760_000_000).with_(
    "told_checksums", offered=False, at=1_760_000_000, by=BY
)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "us-east-1 logs"),
        ({"region": "eu-north-1"}, "eu-north-1 logs"),
        ({"endpoint_url": "https://s3.example:9000"}, "https://s3.example:9000 logs"),
        ({"endpoint_url": "https://s3.example/", "region": "x"}, "https://s3.example logs"),
        ({"endpoint_url": "http://pilot:pa55@s3.example/a/"}, "http://s3.example/a logs"),
    ],
)
def test_a_bucket_is_known_by_its_server_and_its_name(given: dict[str, Any], name: str) -> None:
    assert bucket_name_of(check_settings({"bucket_name": "logs", **given})) == name


def test_what_is_known_of_one_bucket_is_not_told_of_another(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    keep(outbox, "us-east-1 logs", written(KNOWN))
    assert read(known_of(outbox, "us-east-1 logs")) == KNOWN
    assert summary(outbox, Seen(), "us-east-1 logs").capabilities == capabilities_view(KNOWN)
    assert summary(outbox, Seen(), "us-east-1 other").capabilities is None
    outbox.close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"known": 1}', written(Capabilities())])
def test_where_nothing_can_be_read_nothing_is_known(tmp_path: Path, text: str) -> None:
    outbox = Outbox(tmp_path / "outbox.db")
    keep(outbox, "us-east-1 logs", text)
    assert summary(outbox, Seen(), "us-east-1 logs").capabilities is None
    outbox.close()
