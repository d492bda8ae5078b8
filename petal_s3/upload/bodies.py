"""Read pieces of a file, offer them as request bodies, record what S3 has confirmed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

from petal_s3.core.clock import Clock
from petal_s3.core.threads import run_in
from petal_s3.objects.proof import needs_md5
from petal_s3.outbox import transitions
from petal_s3.outbox.rows import Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.checksums import Digest, digest
from petal_s3.s3.client import S3
from petal_s3.s3.request_body import FilePart
from petal_s3.upload.link_figures import LinkMeter
from petal_s3.upload.progress import LEASE_S, Traffic, Transfer
from petal_s3.upload.source_file import SourceFile


@dataclass(frozen=True)
class Bodies:
    """Request bodies out of files; ``files`` runs what reads from the disk."""

    s3: S3
    outbox: OutboxThread
    files: Executor
    traffic: Traffic
    link: LinkMeter
    now: Clock

    async def digest(
        self, source: SourceFile, offset: int, size: int, *, joined: bool = False
    ) -> Digest:
        """The digests of ``size`` bytes that a request with this body needs.

        ``joined``: it is a part of an object.
        """
        return await run_in(self.files, self.read, source, offset, size, joined=joined)

    def read(self, source: SourceFile, offset: int, size: int, *, joined: bool = False) -> Digest:
        """As :meth:`digest`; blocking."""
        return digest(
            source.fd,
            offset,
            size,
            md5=needs_md5(self.s3.capabilities, joined=joined),
            sha256=self.s3.server.signs_bodies,
        )

    @contextlib.contextmanager
    def offered(self, transfer: Transfer, offset: int, whole: Digest) -> Iterator[FilePart]:
        """The bytes that ``whole`` was computed of, as a body whose progress is shown."""
        body = self.s3.file_part(transfer.source.fd, offset, whole)
        transfer.progress.bodies.add(body)
        try:
            with self.link.carries():
                yield body
        finally:
            transfer.progress.bodies.discard(body)

    async def confirmed(
        self, row: Row, transfer: Transfer, size: int, *, resent: bool = False
    ) -> None:
        """Record that S3 has confirmed ``size`` bytes more, and extend the lease."""
        self.count(transfer, size, resent=resent)
        await self.record(row, transfer, sent=1, resent=int(resent))

    async def stored(self, row: Row, at: int) -> Row:
        """Record that S3 has stored the whole file, at ``at`` by its clock, and confirmed it."""
        return await self.outbox(transitions.stored_whole, row, at, self.now() + LEASE_S)

    def count(self, transfer: Transfer, size: int, *, resent: bool = False) -> None:
        """Count ``size`` bytes more that S3 has confirmed, for those who look."""
        transfer.progress.confirmed += size
        transfer.progress.sent = True
        self.traffic.parts_sent += 1
        self.traffic.parts_resent += int(resent)
        self.traffic.bytes_resent += size if resent else 0

    async def record(self, row: Row, transfer: Transfer, *, sent: int = 0, resent: int = 0) -> None:
        """Write down how many bytes are confirmed, and extend the lease."""
        await self.outbox(
            transitions.progress,
            row,
            self.now() + LEASE_S,
            sent_bytes=transfer.progress.confirmed,
            sent=sent,
            resent=resent,
        )
