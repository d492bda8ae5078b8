"""Run an event loop in a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401 - what ends executors is registered before ours
import contextlib
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future, wait
from typing import Any, TypeVar

_T = TypeVar("_T")
_AtEnd = Callable[[], Awaitable[None]]


class LoopThread:
    """An event loop in a daemon thread; nothing is left running when it ends.

    It ends with :meth:`close`, when nobody refers to this object any more, or with the
    interpreter.
    """

    def __init__(self, name: str, at_end: _AtEnd | None = None) -> None:
        """``at_end`` is awaited in the loop before it ends; it must not refer to this object."""
        self._life = _Life(name, at_end)
        self._ask_end = weakref.finalize(self, self._life.ask_end)
        self._ask_end.atexit = False  # that would be too late: see below

    @property
    def is_alive(self) -> bool:
        """Whether work can be done: not after the end, nor in a process forked from this one."""
        return self._ask_end.alive and self._life.thread.is_alive()

    def run(self, work: Coroutine[Any, Any, _T], timeout_s: float | None = None) -> _T:
        """Wait for ``work``, done in the thread; whoever stops waiting has it cancelled first.

        Raises ``concurrent.futures.CancelledError`` when the loop ends meanwhile, and
        ``RuntimeError`` where it cannot run at all.
        """
        life = self._life
        if not self.is_alive or threading.current_thread() is life.thread:
            work.close()
            raise RuntimeError("There is no loop here that this thread could wait for.")
        answer: Future[_T] = Future()
        life.begin(work, answer)
        try:
            return answer.result(timeout_s)
        except BaseException:
            if not answer.done():  # Ctrl-C, or the time is over
                life.cancel(answer)
                wait([answer])
            raise

    def close(self) -> None:
        """End the loop and wait for that; safe to call twice."""
        self._ask_end()
        if threading.current_thread() is not self._life.thread:
            self._life.thread.join()


class _Life:
    """What the thread works on; it does not know the object that is the caller's."""

    def __init__(self, name: str, at_end: _AtEnd | None) -> None:
        self._at_end = at_end
        self._enough = asyncio.Event()
        self._waiting: dict[Future[Any], asyncio.Task[Any] | Coroutine[Any, Any, Any]] = {}
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self.thread = threading.Thread(target=self._whole, name=name, daemon=True)
        _living.add(self)
        self.thread.start()
        self._loop = self._ready.result()

    def begin(self, work: Coroutine[Any, Any, _T], answer: Future[_T]) -> None:
        """Do ``work`` in the loop, and tell the ``answer``."""

        def in_loop() -> None:
            task = self._waiting[answer] = asyncio.get_running_loop().create_task(work)
            task.add_done_callback(lambda done: self._tell(done, answer))
            if self._enough.is_set():
                task.cancel()

        self._waiting[answer] = work
        try:
            self._loop.call_soon_threadsafe(in_loop)
        except RuntimeError:  # it has just ended
            self._give_up()

    def cancel(self, answer: Future[Any]) -> None:
        """Cancel the work of an answer; what has ended is left as it is."""

        def in_loop() -> None:
            task = self._waiting.get(answer)
            if isinstance(task, asyncio.Task):
                task.cancel()

        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(in_loop)

    def ask_end(self) -> None:
        """Ask the loop to end, without waiting: the garbage collector may come from anywhere."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._enough.set)

    def _whole(self) -> None:
        try:
            loop = asyncio.new_event_loop()
            try:
                loop.run_until_complete(self._until_enough())
                loop.run_until_complete(_rest_of(loop))
            finally:
                # Not asyncio.run: it ends the executor with a new thread, which Python 3.12
                # refuses when the interpreter ends.
                loop.close()
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)
        finally:
            _living.discard(self)
            self._give_up()

    async def _until_enough(self) -> None:
        self._ready.set_result(asyncio.get_running_loop())
        await self._enough.wait()
        tasks = [task for task in self._waiting.values() if isinstance(task, asyncio.Task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._at_end is not None:
            await self._at_end()

    def _give_up(self) -> None:
        """Tell those who wait that nothing is done any more."""
        while True:
            try:
                answer, work = self._waiting.popitem()
            except KeyError:
                return
            if not isinstance(work, asyncio.Task):
                work.close()  # it was never begun
            answer.set_exception(CancelledError())

    def _tell(self, task: asyncio.Task[_T], answer: Future[_T]) -> None:
        self._waiting.pop(answer, None)
        if task.cancelled():
            answer.set_exception(CancelledError())
        elif (error := task.exception()) is not None:
            answer.set_exception(error)
        else:
            answer.set_result(task.result())


async def _rest_of(loop: asyncio.AbstractEventLoop) -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    await loop.shutdown_asyncgens()


_living: set[_Life] = set()


def _end_all() -> None:
    for life in list(_living):
        life.ask_end()
        life.thread.join()


# A loop needs executors to end well, and ``atexit`` comes after the end of those. What comes before
# it, the latest registered first, has no public name.
getattr(threading, "_register_atexit", atexit.register)(_end_all)
