"""Let a fork of the process wait for what a child must not inherit half done, or at all.

SQLite remembers in memory which locks its process holds on a database, and a child inherits that
memory without the locks. What a thread of the parent was writing stays locked in the child for
ever; and what the child commits is lost when the parent closes the database, because nothing tells
SQLite there that somebody else has it open (sqlite.org/howtocorrupt.html, 2.6). So every connection
is closed before a fork, and opened anew at its next use, in the parent as in the child.
"""

from __future__ import annotations

import fcntl
import os
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol


class ClosedByForks(Protocol):
    """What must not be open when the process forks."""

    def before_fork(self) -> None:
        """Close it; no block of :func:`no_fork` runs meanwhile."""


class LeftToParent(Protocol):
    """What belongs to the process that forks, and not to its child."""

    def in_child(self) -> None:
        """Let go of it, in the child."""


class _Forks:
    """Blocks that are not forked from, of any thread, and forks, of one thread at a time."""

    def __init__(self) -> None:
        self.closed: weakref.WeakSet[ClosedByForks] = weakref.WeakSet()
        self.left: weakref.WeakSet[LeftToParent] = weakref.WeakSet()
        self.renew()

    def renew(self) -> None:
        """Forget all threads: a child has none but the one that forked."""
        self._changed = threading.Condition()
        self._blocks: Counter[int] = Counter()
        self._forking: int | None = None

    def enter(self) -> None:
        me = threading.get_ident()
        with self._changed:
            while self._forking not in {None, me} and me not in self._blocks:
                self._changed.wait()
            self._blocks[me] += 1

    def leave(self) -> None:
        me = threading.get_ident()
        with self._changed:
            self._blocks[me] -= 1
            if not self._blocks[me]:
                del self._blocks[me]
            self._changed.notify_all()

    def before(self) -> None:
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: self._forking is None)
            self._forking = me
            self._changed.wait_for(lambda: not self._blocks.keys() - {me})
        for one in list(self.closed):
            one.before_fork()

    def in_parent(self) -> None:
        with self._changed:
            self._forking = None
            self._changed.notify_all()

    def in_child(self) -> None:
        self.renew()
        for one in list(self.left):
            one.in_child()


_forks = _Forks()
os.register_at_fork(
    before=_forks.before,
    after_in_parent=_forks.in_parent,
    after_in_child=_forks.in_child,
)


@contextmanager
def no_fork() -> Iterator[None]:
    """Let forks of this process wait until the block has ended."""
    _forks.enter()
    try:
        yield
    finally:
        _forks.leave()


def closed_by_forks(one: ClosedByForks) -> None:
    """Have ``one`` closed before every fork, as long as something else refers to it."""
    _forks.closed.add(one)


def left_to_parent(one: LeftToParent) -> None:
    """Have every child let go of ``one``, as long as something else refers to it."""
    _forks.left.add(one)


@contextmanager
def in_turn(directory: Path) -> Iterator[None]:
    """Let processes open an outbox one after another: turning WAL on does not wait by itself."""
    with no_fork():  # a child would hold the lock for as long as it lives
        fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
