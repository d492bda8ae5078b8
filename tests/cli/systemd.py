"""What stands for systemd in tests: the socket that a service tells how it is."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

from console import until


class Told:
    """All that came in, in order; each is the lines of one datagram."""

    def __init__(self, name: str) -> None:
        """``name``: a path, or ``@`` and a name in the abstract namespace."""
        self.name = name
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        self._socket.setblocking(False)

    def look(self) -> list[str]:
        """All lines until now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.lines += self._socket.recv(65536).decode().splitlines()
        return self.lines

    def until(self, line: str, times: int = 1) -> None:
        until(lambda: self.look().count(line) >= times)

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def told_at(kind: str, directory: Path) -> Iterator[Told]:
    """A socket by its path, or in the abstract namespace."""
    name = str(directory / "notify") if kind == "path" else f"@petal-{secrets.token_hex(8)}"
    made = Told(name)
    try:
        yield made
    finally:
        made.close()
