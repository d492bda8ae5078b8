"""Try each optional feature that an upload uses, and name what the server lacks of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from petal_s3.admin.finding import Finding
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.capabilities import LACKS, Capabilities
from petal_s3.s3.client import S3
from petal_s3.upload.learning import Learner

_OWN = {"encryption", "deletion"}  # they have findings of their own


async def learn(s3: S3, folder: str) -> None:
    """Try what an upload uses, as before a first upload, in a folder of its own.

    ``s3.capabilities`` holds what came of it. Raises what the link raises, and with code
    ``encryption`` where the server does not encrypt as it is asked to.
    """
    with tempfile.TemporaryDirectory() as made:  # an outbox that nothing else sees
        outbox = OutboxThread(Path(made, "outbox.db"))
        await outbox.open()
        try:
            await Learner(s3, outbox, folder, bucket=s3.bucket).ready()
        finally:
            await outbox.close()


def lacks(capabilities: Capabilities) -> Iterator[Finding]:
    """A line for each feature that is missing: what that costs, and the answer that showed it."""
    for feature, known in capabilities.missing():
        if feature not in _OWN:
            found = f"the server {LACKS[feature]} ({known.by.rstrip('.')})"
            yield Finding(feature.replace("_", " "), "warning", found)


def kept(by: str, folder: str) -> Finding:
    """What is left in a bucket that keeps versions; ``by``: the answer by which it is."""
    return Finding(
        "versions",
        "warning",
        f"this bucket keeps versions, and this machine may not delete one ({by}): hidden ones of"
        f" what was tried are left below {folder}",
        "They expire by the lifecycle rule that petal-s3 bucket setup --machine sets.",
    )
