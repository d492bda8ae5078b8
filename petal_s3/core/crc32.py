"""CRC-32 as S3, zlib and gzip compute it, by the fastest of what is installed.

``pip install "petal-s3[fast]"`` brings one that uses the processor's own instructions; zlib, which
is always there, gives the same numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_MODULES = ("isal.isal_zlib", "zlib_ng.zlib_ng")


def _fastest() -> tuple[str, Callable[[ReadableBuffer, int], int]]:
    for name in _MODULES:
        try:
            found = import_module(name)
        except ImportError:
            continue
        return name.partition(".")[0], cast("Callable[[ReadableBuffer, int], int]", found.crc32)
    return "zlib", zlib.crc32


IMPLEMENTATION, _crc32 = _fastest()
"""The name of the package that computes."""


def crc32(data: ReadableBuffer, so_far: int = 0) -> int:
    """The CRC-32 of ``data``, or of what ``so_far`` is of and then ``data``.

    Other threads run meanwhile where there is much of it.
    """
    return _crc32(data, so_far)
