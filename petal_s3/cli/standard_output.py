"""Write an object to standard output, and say at its end whether it was the right one."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from petal_s3.cli.exit_codes import complain, is_hushed
from petal_s3.core.files import cannot_write
from petal_s3.errors import BadInput, Mismatch
from petal_s3.objects.proof import judge
from petal_s3.s3.checksums import crc32_base64

if TYPE_CHECKING:
    from petal_s3.service.service import Service

ONLY_SIZE = "the size alone was compared"


@dataclass
class _Passed:
    """The bytes that went by, as S3 would describe them."""

    size: int = 0
    crc: int = 0

    def __post_init__(self) -> None:
        self.md5 = hashlib.md5(usedforsecurity=False)

    def take(self, block: bytes) -> None:
        self.size += len(block)
        self.crc = zlib.crc32(block, self.crc)
        self.md5.update(block)

    async def crc32(self) -> str | None:
        return crc32_base64(self.crc)

    async def etag(self, part_size: int | None) -> str | None:
        return self.known_etag(part_size)

    def known_etag(self, part_size: int | None) -> str | None:
        return None if part_size else self.md5.hexdigest()


async def to_standard_output(service: Service, key: str) -> None:
    """Write an object to standard output; nothing else goes there.

    What was written cannot be taken back: raises :class:`Mismatch` at the end where it was not what
    S3 says it is. Raises :class:`BadInput` where standard output is a terminal.
    """
    if sys.stdout.isatty():
        raise BadInput("Standard output is a terminal, and a log is no text: send it to a file.")
    info = await service.objects.head(key)
    passed = _Passed()
    async with service.objects.read(info.key, etag=info.etag) as (_, blocks):
        async for block in blocks:
            await asyncio.to_thread(_write, block)
            passed.take(block)
    judgement = await judge(info, passed, service.s3.capabilities, presume=True)
    if judgement.differs:
        raise Mismatch("What was written is not what S3 says the object is: do not use it.")
    if not is_hushed():
        complain(f"got       {info.key}  {passed.size} bytes, {judgement.proof or ONLY_SIZE}")


def _write(block: bytes) -> None:
    try:
        sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
    except OSError as error:
        # What Python holds back could not be written at its end either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise cannot_write(f"Standard output takes no more ({error.strerror}).", error) from error
