"""Prove what S3 stored: find it, compare what S3 says of it, and where that is silent read it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import replace

from petal_s3.errors import Transient
from petal_s3.objects.file_bytes import FileBytes
from petal_s3.objects.proof import DIFFERENT, READ_BACK, Judgement, judge
from petal_s3.objects.read_back import other_bytes, read_back
from petal_s3.outbox import transitions
from petal_s3.outbox.rows import Receipt, Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3.checksums import Digest, etag_parts
from petal_s3.s3.client import S3
from petal_s3.s3.responses import ObjectInfo
from petal_s3.upload.source_file import SourceFile

log = logging.getLogger("petal_s3")

# Public reports tell of 6 to 25 s until HEAD shows what was stored; then it is sent again.
BLIND_S = 150
_PART_SIZE = "part-size"


class Receipts:
    """Makes the receipts of uploads; ``files`` runs what reads from the disk."""

    def __init__(self, s3: S3, outbox: OutboxThread, files: Executor) -> None:
        self._s3 = s3
        self._outbox = outbox
        self._files = files

    def bytes_of(
        self,
        source: SourceFile,
        whole: Digest | None = None,
        *,
        crc32: int | None = None,
        etags: Mapping[int | None, str] | None = None,
    ) -> FileBytes:
        """The bytes of a file, to be compared with objects.

        ``whole``: what one reading of all of it has yielded. Else ``crc32``, ``etags``: what is
        known already (by part size; none: as one object).
        """
        if whole is not None:
            crc32, etags = whole.crc32, {None: whole.etag}
        return FileBytes(source.fd, source.size, self._files, crc32=crc32, etags=etags)

    async def receipt(
        self, row: Row, source: SourceFile, expected: FileBytes, *, stored: str = ""
    ) -> Receipt:
        """The receipt of what stands at the row's key; raises why there is none.

        ``stored``: the ETag that the answer to this row's own request named. S3 has stored our
        object then: other bytes there are a fault, and are sent again over it. An answer without
        an ETag shows nothing: another's object may stand there.
        :class:`Transient` ``not_yet_there`` while S3 does not show it,
        :class:`Mismatch` where it holds other bytes.
        """
        info = await self.seen(row)
        if info is None:
            raise not_yet_there(row.key)
        judgement = await self.judged(row, info, source, expected, confirmed=stored)
        if judgement.differs:
            ours = etag_parts(stored) is not None or (stored and stored == info.etag)
            if ours and not self.is_of_another(row):
                await self._outbox(transitions.note_read_back, row, _note(info, wrong=True))
            raise other_bytes(info)
        if (
            self._s3.server.encrypts
            and not info.encryption
            and not self._s3.capabilities.offers("encryption")
        ):
            from petal_s3.upload import encryption  # noqa: PLC0415 - only where it is lacking

            raise encryption.lacking(f"HeadObject of {row.key} names no encryption")
        source.check()
        return await self.made(info, expected, judgement.proof)

    async def made(self, info: ObjectInfo, expected: FileBytes, proof: str) -> Receipt:
        """The receipt of an object that was proven."""
        self._etag_tells(info, proof)
        return Receipt(
            key=info.key,
            etag=info.etag,
            checksum=f"crc32:{await expected.crc32()}",
            size=info.size,
            proof=proof,
            verified_at=self.server_time(),
        )

    async def settle(self, row: Row, receipt: Receipt, *, sent: int = 0) -> Row:
        """Record that a row is proven; return it verified.

        ``sent``: how many bodies were sent for it since the last were written down.
        """
        log.info("upload verified key=%s size=%d proof=%s", row.key, row.size, receipt.proof)
        return await self._outbox(transitions.verified, row, receipt, sent=sent)

    async def seen(self, row: Row) -> ObjectInfo | None:
        """What S3 shows at the row's key: by HEAD, else in a listing; none where it shows none."""
        info = await self._s3.head(row.key)
        if info is None:
            info = await self._s3.find(row.key)
            if info is None:
                return None
            by = f"HeadObject was answered 404 for {row.key}, listed"
            self._s3.learn("prompt_reads", offered=False, by=by)
        if info.listed and etag_parts(info.etag) and row.part_size:
            return replace(info, metadata={_PART_SIZE: str(row.part_size)})
        return info

    async def judged(
        self,
        row: Row,
        info: ObjectInfo,
        source: SourceFile,
        expected: FileBytes,
        *,
        confirmed: str = "",
    ) -> Judgement:
        """Whether the object holds the bytes; what S3's words leave open is read and compared.

        ``confirmed``: as :func:`~petal_s3.objects.proof.judge` takes it.
        """
        judgement = await judge(info, expected, self._s3.capabilities, confirmed=confirmed)
        if judgement.proof or judgement.differs:
            return judgement
        log.info("object read back key=%s size=%d etag=%s", info.key, info.size, info.etag)

        async def note(done: int) -> None:
            changed = self.is_of_another(row)
            await self._outbox(
                transitions.note_read_back, row, _note(info, done=done, changed=changed)
            )

        done = _done(row, info)
        same = await read_back(self._s3, info, source.fd, self._files, done=done, note=note)
        source.check()
        if not same:
            return DIFFERENT
        await self._etag_says_nothing(info, expected)
        return Judgement(READ_BACK)

    def _etag_tells(self, info: ObjectInfo, proof: str) -> None:
        """An ETag that was recomputed from the file: so it is with others of this server."""
        if "etag" in proof.split("+"):
            joined = bool(etag_parts(info.etag))
            by = f"{info.key} has the ETag {info.etag}, which is that of its bytes"
            self._s3.learn("joined_etags" if joined else "md5_etags", offered=True, by=by)

    async def _etag_says_nothing(self, info: ObjectInfo, expected: FileBytes) -> None:
        """The bytes are the same and their ETag is not that of the bytes: so it is with others."""
        parts = etag_parts(info.etag)
        if parts is None or (parts and info.part_size is None):
            return
        if info.etag != await expected.etag(info.part_size if parts else None):
            joined = parts != 0 or info.part_size is not None
            self._s3.learn(
                "joined_etags" if joined else "md5_etags",
                offered=False,
                by=f"{info.key} has the ETag {info.etag}, and its bytes were compared",
            )

    def is_wrong(self, row: Row, info: ObjectInfo) -> bool:
        """Whether this row stored the object, and it was found to hold other bytes."""
        noted = _noted(row)
        return bool(noted.get("wrong")) and noted.get("etag") == info.etag

    def is_of_another(self, row: Row) -> bool:
        """Whether this row stored the object when its file was another one."""
        return bool(_noted(row).get("changed"))

    def server_time(self) -> int:
        """Seconds since 1970 by S3's clock."""
        return self._s3.clock.seconds()


def not_yet_there(key: str) -> Transient:
    """S3 answered that it has stored something, and shows nothing there."""
    return Transient(
        f"S3 does not show {key} yet (HeadObject was answered 404, and no listing names it): it is"
        " looked for again.",
        code="not_yet_there",
    )


def _note(info: ObjectInfo, *, done: int = 0, wrong: bool = False, changed: bool = False) -> str:
    flags = {name: True for name, set_ in (("wrong", wrong), ("changed", changed)) if set_}
    return json.dumps({"etag": info.etag, "done": done, **flags})


def _noted(row: Row) -> dict[str, object]:
    try:
        found = json.loads(row.read_back or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _done(row: Row, info: ObjectInfo) -> int:
    """How many bytes of this very object were compared before."""
    noted = _noted(row)
    done = noted.get("done")
    return done if noted.get("etag") == info.etag and isinstance(done, int) else 0
