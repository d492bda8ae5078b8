"""The bytes of an open file as S3 would describe them, each digest computed at most once."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor

from petal_s3.core.threads import run_in
from petal_s3.s3.checksums import crc32_base64, digest, file_etag


class FileBytes:
    """What an object is compared with; see :class:`~petal_s3.objects.proof.Expected`."""

    def __init__(
        self,
        fd: int,
        size: int,
        files: Executor | None = None,
        *,
        crc32: int | None = None,
        etags: Mapping[int | None, str] | None = None,
    ) -> None:
        """``files`` runs what reads; none: asyncio's own threads.

        ``crc32``, ``etags``: what is known already (by part size; none: as one object; an empty
        ETag is not known).
        """
        self.fd = fd
        self.size = size
        self._files = files
        self._crc32 = crc32
        self._etags = {size: etag for size, etag in (etags or {}).items() if etag}

    async def whole_crc32(self) -> int:
        """CRC32 of the whole file."""
        if self._crc32 is None:
            whole = await run_in(self._files, digest, self.fd, 0, self.size, md5=False)
            self._crc32 = whole.crc32
        return self._crc32

    async def crc32(self) -> str | None:
        """The same as S3 writes it."""
        return crc32_base64(await self.whole_crc32())

    async def etag(self, part_size: int | None) -> str | None:
        """The ETag of the file as one object, or in parts of so many bytes."""
        if part_size not in self._etags:
            self._etags[part_size] = await run_in(
                self._files, file_etag, self.fd, self.size, part_size
            )
        return self._etags[part_size]

    def known_etag(self, part_size: int | None) -> str | None:
        """The same where it was computed before; else none."""
        return self._etags.get(part_size)
