"""Processes that are forked off one that has imported everything."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from multiprocessing.process import BaseProcess

CHILDREN = multiprocessing.get_context("forkserver")
CHILDREN.set_forkserver_preload(["tests.support.zygote"])


def kill(child: BaseProcess | None) -> None:
    """kill -9, now; nothing where it has ended by itself, or was never started."""
    with contextlib.suppress(ProcessLookupError, ValueError):
        if child is not None and child.pid is not None:
            os.kill(child.pid, signal.SIGKILL)


def ended(child: BaseProcess, deadline_s: float) -> int | None:
    """Wait for the child: its exit code, none where it had to be killed for taking too long."""
    child.join(deadline_s)
    code = child.exitcode
    if code is None:
        kill(child)
        child.join()
    child.close()
    return code
