"""End an upload whose body no longer moves, and let a slow one go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from petal_s3.errors import Offline
from petal_s3.s3.request_body import FilePart

_T = TypeVar("_T")


@dataclass(frozen=True)
class Patience:
    """How long an upload may stand still, in seconds.

    ``stall_s``: in the middle of its body; it bounds no upload that moves, however slowly.
    ``answer_s``: that much longer once all is sent: a proxy on a slow link acknowledges what it
    has yet to pass on. ``watch_s``: time between two looks.
    """

    stall_s: float = 60.0
    answer_s: float = 120.0
    watch_s: float = 0.5


async def while_moving(
    call: Awaitable[_T], part: FilePart, patience: Patience, peer: tuple[str, int] | None
) -> _T:
    """Await an upload as long as its body moves; raises :class:`Offline` where it stalls.

    No timeout of botocore or aiohttp covers a peer that stops reading in the middle of a body,
    and a deadline would end a slow link that works. What moves is what the peer acknowledges:
    buffers on the way take a minute's worth of a slow link at once.
    """
    task = asyncio.ensure_future(call)
    task.add_done_callback(lambda _: _send_no_more(part))
    left: int | None = None
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=patience.watch_s)
            if not task.done() and _is_ended(part, left):
                _send_no_more(part)  # else its buffer would wait for ever to be sent
            before, left = left, part.unacknowledged()
            part.look()
            if left != before:
                part.moved_at = part.now()
            if not task.done():
                _check(part, left, patience, peer)
        answer = task.result()
        part.look(answered=True)
        return answer
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _check(
    part: FilePart, left: int | None, patience: Patience, peer: tuple[str, int] | None
) -> None:
    all_gone = part.position >= part.size and not left
    allowed = patience.stall_s + (patience.answer_s if all_gone else 0.0)
    if part.now() - part.moved_at > allowed:
        gone = max(0, part.position - (left or 0))
        raise Offline(f"The upload stalled after {gone} of {part.size} bytes.", peer=peer)


def _is_ended(part: FilePart, left: int | None) -> bool:
    """Whether the peer has ended its side since the last look, in the middle of the body."""
    way = part.transport
    return left is None and way is not None and way.is_closing() and part.position < part.size


def _send_no_more(part: FilePart) -> None:
    """End a connection that is being closed: it would send on what its buffer still holds."""
    if part.transport is not None and part.transport.is_closing():
        with contextlib.suppress(OSError, RuntimeError):  # the peer was faster
            part.transport.abort()
