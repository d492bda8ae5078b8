"""Send the parts of a file that S3 does not hold yet, and compare the whole file with all parts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from petal_s3.core.tasks import in_parallel
from petal_s3.core.threads import run_in
from petal_s3.errors import NotFinished, S3IntegrationError, UploadGone
from petal_s3.objects.proof import needs_md5, part_differs
from petal_s3.outbox.rows import Row
from petal_s3.s3 import multipart
from petal_s3.s3.checksums import Digest, digest
from petal_s3.s3.client import S3
from petal_s3.s3.responses import HeldPart
from petal_s3.upload.bodies import Bodies
from petal_s3.upload.fallback import send_with_fallback
from petal_s3.upload.learning import Learner
from petal_s3.upload.plan import UploadPlan
from petal_s3.upload.progress import Transfer

UNLISTED = "parts_unlisted"
"""The code where an upload exists, or not: its list of parts does not tell."""

_READERS = 2
_READINGS = 2  # a file that differs from what was sent after so many is being written

Pieces = Mapping[int, tuple[int, int]]
"""Offset and size in bytes of each part, by its number from 1."""


@dataclass(frozen=True)
class SentPart:
    """A part that S3 holds, and the digests of the same bytes of the file."""

    held: HeldPart
    digest: Digest


@dataclass(frozen=True)
class PartSender:
    """Sends parts, as many at once as the ``plan`` says."""

    s3: S3
    learner: Learner
    bodies: Bodies
    plan: UploadPlan

    async def send_missing(
        self, row: Row, transfer: Transfer, held: Mapping[int, HeldPart], *, resumed: bool
    ) -> list[SentPart]:
        """Send what is missing, until a last reading of the whole file agrees with all of it.

        Every part was read once before that reading begins and once more by it. What is equal
        both times was so at the moment between: the object is one version of its file, whatever
        writes to it, and whatever its times tell (``mmap``, FAT, a restored time of change).
        """
        assert row.part_size is not None
        progress = transfer.progress
        pieces = dict(_pieces(transfer.source.size, row.part_size))
        parts = {n: part for n, part in held.items() if _fits(part, pieces)}
        sent: dict[int, Digest] = {}
        progress.confirmed = sum(part.size for part in parts.values())
        await self.bodies.record(row, transfer)

        async def send(number: int) -> None:
            again = number in held or number in parts
            sent[number], parts[number] = await self._send_part(
                row, transfer, number, pieces[number]
            )
            await self.bodies.confirmed(row, transfer, pieces[number][1], resent=again)

        if resumed and not parts:
            await send(1)
            await self._check_listed(row)
        missing = pieces.keys() - parts.keys()
        for _ in range(_READINGS):
            await in_parallel(sorted(missing), send, self._at_once(transfer.source.size))
            found = {n: part for n, part in parts.items() if n not in sent}
            whole = await self._last_reading(transfer, pieces, found)
            missing = {n for n, read in whole.items() if self._differs(parts[n], read)}
            if not missing:
                read = whole | sent
                return [SentPart(_checksummed(parts[n], read[n]), read[n]) for n in pieces]
            progress.confirmed -= sum(parts[n].size for n in missing)
        raise NotFinished(f"The file {row.name} is being written while it is sent.")

    async def _last_reading(
        self, transfer: Transfer, pieces: Pieces, found: Mapping[int, HeldPart]
    ) -> dict[int, Digest]:
        """Read the whole file; by md5 where nothing else tells of a part that was ``found``."""
        by_md5 = {n for n, part in found.items() if self._takes_md5(part)}
        whole = await self.read_again(transfer, pieces, by_md5)
        # A server may list another checksum than it has told.
        doubted = {n for n in found.keys() - by_md5 if self._differs(found[n], whole[n])}
        again = {n: pieces[n] for n in doubted}
        return whole | await self.read_again(transfer, again, doubted)

    async def read_again(
        self, transfer: Transfer, pieces: Pieces, by_md5: Collection[int] = ()
    ) -> dict[int, Digest]:
        """Read the whole file, part by part; the md5 of those parts only that are ``by_md5``."""
        read: dict[int, Digest] = {}
        source = transfer.source

        async def look(number: int) -> None:
            read[number] = await run_in(
                self.bodies.files, digest, source.fd, *pieces[number], md5=number in by_md5
            )
            source.check()
            transfer.progress.compared += read[number].size

        await in_parallel(pieces, look, _READERS)
        return read

    async def _send_part(
        self, row: Row, transfer: Transfer, number: int, piece: tuple[int, int]
    ) -> tuple[Digest, HeldPart]:
        assert row.upload_id is not None
        upload_id, source = row.upload_id, transfer.source
        whole = await self.bodies.digest(source, *piece, joined=True)
        source.check()

        async def send(refusal: S3IntegrationError | None, _: bool) -> HeldPart:
            with self.bodies.offered(transfer, piece[0], whole) as body:
                return await multipart.upload_part(
                    self.s3, row.key, upload_id, number, body, refusal=refusal
                )

        part = await send_with_fallback(self.s3, self.learner, row, send, "body_checksums")
        source.check()
        return whole, part

    async def _check_listed(self, row: Row) -> None:
        """Some servers take parts of an upload that is no more, and keep none of them."""
        assert row.upload_id is not None
        if not await multipart.parts(self.s3, row.key, row.upload_id):
            raise UploadGone(f"S3 took a part of {row.key}, and lists none.", code=UNLISTED)

    def _differs(self, part: HeldPart, whole: Digest) -> bool:
        return part_differs(part, whole, self.s3.capabilities)

    def _takes_md5(self, held: HeldPart) -> bool:
        """Whether a part of which only S3 knows is compared by md5, or the object is in the end."""
        return not held.crc32 or needs_md5(self.s3.capabilities, joined=True)

    def _at_once(self, size: int) -> int:
        known = self.s3.capabilities
        if not (known.offers("body_checksums") or known.lacks("body_checksums")):
            return 1  # the first body tells whether the server takes its checksum
        return self.plan.parts_at_once(size, self.s3.round_trip_s)


def _pieces(size: int, part_size: int) -> Iterator[tuple[int, tuple[int, int]]]:
    for number, offset in enumerate(range(0, size, part_size), start=1):
        yield number, (offset, min(part_size, size - offset))


def _fits(part: HeldPart, pieces: Pieces) -> bool:
    return part.number in pieces and pieces[part.number][1] == part.size


def _checksummed(part: HeldPart, whole: Digest) -> HeldPart:
    """Some servers keep no checksum of a part, and yet want it named at the end.

    The ETag is what the server gave: it may be one of its own making.
    """
    return HeldPart(part.number, part.size, part.etag, whole.crc32_base64)
