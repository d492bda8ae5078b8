"""What was received of a range: kept until it is proven, handed out in order."""

from __future__ import annotations

from petal_s3.autopilot.mavftp import DATA_BYTES


class Received:
    """Pieces by their offset, in the order in which they came.

    ``count`` is how many came by now; they are proven up to such a count.
    """

    def __init__(self, start: int) -> None:
        self.at = start
        """What lies before was handed out."""
        self.count = 0
        self._proven_count = 0
        self._unproven: list[tuple[int, bytes]] = []
        self._proven: dict[int, bytes] = {}
        self._offsets: set[int] = set()

    @property
    def has_unproven(self) -> bool:
        """Whether something is still to be proven."""
        return bool(self._unproven)

    @property
    def has_ready(self) -> bool:
        """Whether something can be handed out."""
        return self.at in self._proven

    def add(self, offset: int, data: bytes) -> bool:
        """Keep a piece; false where one that begins there came before."""
        if offset < self.at or offset in self._offsets:
            return False
        self._offsets.add(offset)
        self._unproven.append((offset, data))
        self.count += 1
        return True

    def prove(self, count: int) -> None:
        """The first ``count`` of all that came are of the right file."""
        new = count - self._proven_count
        if new > 0:
            self._proven.update(self._unproven[:new])
            del self._unproven[:new]
            self._proven_count = count

    def take(self) -> bytes:
        """What is proven from :attr:`at` on without a gap; it is kept no longer."""
        pieces = []
        while self.has_ready:
            piece = self._proven.pop(self.at)
            self._offsets.discard(self.at)
            pieces.append(piece)
            self.at += len(piece)
        return b"".join(pieces)

    def forget_unproven(self, until: int) -> list[tuple[int, int]]:
        """Drop what is not proven; returns what is missing before ``until``, piece by piece."""
        self._unproven.clear()
        self._proven_count = self.count
        self._offsets = set(self._proven)
        missing: list[tuple[int, int]] = []
        at = self.at
        for offset in (*sorted(self._proven), until):
            while at < offset:
                length = min(DATA_BYTES, offset - at)
                missing.append((at, length))
                at += length
            at = max(at, offset + len(self._proven.get(offset, b"")))
        return missing
