"""Notice by file-system events that something changes in folders, on a thread of its own."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Sequence

MOST_FOLDERS = 500
"""So many folders are watched at most: while watches are set, no other Python code runs."""
_GATHER_MS = 1000
_STEP_MS = 250
_NO_POLLING, _POLL_MS = False, 30_000
_STOP_S = 1.0

Change = tuple[int, str]
"""What happened (1 added, 2 modified, 3 deleted) and the path, as ``watchfiles`` tells it."""
DELETED = 3


class FileEvents:
    """The events of some folders, not of the folders in them. All calls block, but not for long.

    ``watchfiles`` can watch whole trees by itself, but follows links out of them then, and keeps
    silent about folders for which no watch was left.
    """

    def __init__(self, changed: Callable[[set[Change]], None]) -> None:
        """``changed`` is called on the thread: with no changes when all may be another now."""
        self.failure = ""
        """Why events do not tell all, as a sentence; empty where they do."""
        self.changed = changed
        self._folders: tuple[str, ...] = ()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._turns = threading.RLock()
        self._stale = False

    def listen(self, folders: Sequence[str]) -> None:
        """Listen to these folders, and to no others, from now on."""
        wanted = tuple(sorted(folders))
        with self._turns:
            listening = self._thread is not None and self._thread.is_alive()
            if wanted == self._folders and listening and not self._stale:
                return
            self.close()
            self._folders, self.failure, self._stale = wanted, "", False
            if len(wanted) > MOST_FOLDERS:
                self.failure = f"there are {len(wanted)} folders, more than {MOST_FOLDERS}"
            elif wanted:
                self._begin(wanted)

    def set_anew(self) -> None:
        """Let the next :meth:`listen` set all watches anew: a name may stand for another folder."""
        self._stale = True

    def _begin(self, folders: tuple[str, ...]) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._listen, args=(folders, self._stop), name="petal-s3-events", daemon=True
        )
        # A thread that listens while Python ends would crash the process.
        atexit.register(self.close)
        self._thread.start()

    def close(self) -> None:
        """Stop listening; the thread has ended when this returns, at most a second later."""
        with self._turns:
            self._stop.set()
            thread, self._thread = self._thread, None
            if thread is not None:
                thread.join(_STOP_S)
                atexit.unregister(self.close)

    def _listen(self, folders: tuple[str, ...], stop: threading.Event) -> None:
        try:
            from watchfiles._rust_notify import RustNotify  # noqa: PLC0415 - slow; no command needs it

            with RustNotify(list(folders), False, _NO_POLLING, _POLL_MS, False, False) as notify:
                self.changed(set())
                while isinstance(found := notify.watch(_GATHER_MS, _STEP_MS, 0, stop), set):
                    if any(what == DELETED and path in folders for what, path in found):
                        self.set_anew()
                        found = set()
                    self.changed(found)
        except (ImportError, OSError, RuntimeError) as error:
            if not stop.is_set():
                self.failure = _why(error)


def _why(error: Exception) -> str:
    text = str(error)
    if "limit reached" in text or "os error 28" in text:
        return (
            "the watches of this user are used up: raise fs.inotify.max_user_watches"
            " (sysctl, /etc/sysctl.d)"
        )
    if "os error 24" in text:
        return (
            "this user can have no more inotify instances: raise fs.inotify.max_user_instances"
            " (sysctl, /etc/sysctl.d), or the limit of open files (LimitNOFILE)"
        )
    return f"watching failed ({text.partition(' about [')[0]})"
