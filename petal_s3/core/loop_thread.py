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

    It ends with :meth:`close`, when nothing refers to this object any more, or with the
    interpreter.
    """

    def __init__(self, name: str, at_end: _AtEnd | None = None) -> None:
        """``at_end`` is awaited in the loop before it ends; it must not refer to this object.

        Raises ``OSError`` when the loop cannot open the files that it needs.
        """
        self._runner = _Runner(name, at_end)
        self._ask_end = weakref.finalize(self, self._runner.ask_end)
        self._ask_end.atexit = False  # that would be too late: see below

    @property
    def is_alive(self) -> bool:
        """Whether work can be done: not after the end, nor in a process forked from this one."""
        return self._ask_end.alive and self._runner.thread.is_alive()

    def run(self, work: Coroutine[object, object, _T], timeout_s: float | None = None) -> _T:
        """Do ``work`` in the thread and wait for it; it is cancelled if the wait is broken off.

        Raises ``concurrent.futures.CancelledError`` when the loop ends meanwhile, and
        ``RuntimeError`` where it cannot run at all.
        """
        runner = self._runner
        if not self.is_alive or threading.current_thread() is runner.thread:
            work.close()
            raise RuntimeError("There is no loop here that this thread could wait for.")
        answer: Future[_T] = Future()
        runner.begin(work, answer)
        try:
            return answer.result(timeout_s)
        finally:
            if not answer.done():  # Ctrl-C, or the time is over
                runner.cancel(answer)
                wait([answer])

    def leave(self, work: Coroutine[object, object, object]) -> None:
        """Do ``work`` in the thread without waiting for it; not at all where the loop has ended."""
        if self.is_alive:
            self._runner.begin(work, Future())
        else:
            work.close()

    def close(self) -> None:
        """End the loop and wait for that; safe to call twice."""
        self._ask_end()
        if threading.current_thread() is not self._runner.thread:
            self._runner.thread.join()


class _Runner:
    """The loop and its thread; it holds no reference to the caller's object."""

    def __init__(self, name: str, at_end: _AtEnd | None) -> None:
        self._at_end = at_end
        self._enough = asyncio.Event()
        self._waiting: dict[Future[Any], asyncio.Task[Any] | Coroutine[object, object, Any]] = {}
        self._loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        with contextlib.ExitStack() as undo:
            undo.callback(self._loop.close)
            undo.callback(_running.discard, self)
            _running.add(self)
            self.thread.start()
            undo.pop_all()

    def begin(self, work: Coroutine[object, object, _T], answer: Future[_T]) -> None:
        """Do ``work`` in the loop, and put its result into ``answer``."""

        def in_loop() -> None:
            task = self._waiting[answer] = asyncio.get_running_loop().create_task(work)
            task.add_done_callback(lambda done: self._settle(done, answer))
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

    def _run(self) -> None:
        """The whole of the thread's work."""
        try:
            self._loop.run_until_complete(self._until_enough())
            self._loop.run_until_complete(_rest_of(self._loop))
        finally:
            # Not asyncio.run: it ends the executor with a new thread, which Python 3.12
            # refuses when the interpreter ends.
            self._loop.close()
            _running.discard(self)
            self._give_up()

    async def _until_enough(self) -> None:
        await self._enough.wait()
        tasks = [task for task in self._waiting.values() if isinstance(task, asyncio.Task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._at_end is not None:
            await self._at_end()

    def _give_up(self) -> None:
        """Cancel every answer that is still waited for: the loop has ended."""
        while True:
            try:
                answer, work = self._waiting.popitem()
            except KeyError:
                return
            if not isinstance(work, asyncio.Task):
                work.close()  # it was never begun
            answer.set_exception(CancelledError())

    def _settle(self, task: asyncio.Task[_T], answer: Future[_T]) -> None:
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


_running: set[_Runner] = set()


def _end_all() -> None:
    for runner in list(_running):
        runner.ask_end()
        runner.thread.join()


# A loop needs executors to end well, and ``atexit`` comes after the end of those. What comes before
# it, the latest registered first, has no public name.
getattr(threading, "_register_atexit", atexit.register)(_end_all)
