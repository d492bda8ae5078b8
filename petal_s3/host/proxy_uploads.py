"""Uploads that a caller waits for: of a file, and of a stream of bytes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, Callable
from pathlib import Path

from petal_s3.core.tasks import cancelled_meanwhile
from petal_s3.outbox import queries
from petal_s3.outbox.rows import Row
from petal_s3.service.service import Service

Progress = Callable[[int, int, float], None]


class AwaitedUploads:
    """Enter logs into the outbox and wait until they are settled.

    A row that only this wait has asked for is cancelled when the last of its callers is.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._waiting: Counter[int] = Counter()
        """How many callers wait for a row, by its id."""

    async def file(
        self,
        path: Path | str,
        *,
        name: str | None,
        key: str | None,
        machine_id: str | None,
        on_progress: Progress | None,
    ) -> Row:
        """Enter a file and return its settled row; raises :class:`NotAllowed`, :class:`NotNow`.

        A caller that is cancelled cancels the row, unless the row existed before.
        """
        service = self._service
        service.ownership.check_machine(machine_id)
        newest = await service.outbox(queries.rows, None, 1)
        entering = asyncio.ensure_future(
            service.enqueue(path, key=key, name=name, received_by="proxy")
        )
        given_up = await cancelled_meanwhile(entering)
        row = entering.result()
        self._waiting[row.id] += 1
        try:
            if given_up:
                raise asyncio.CancelledError  # noqa: TRY301 - handled as if it came now
            return await service.wait(row.id, on_progress=on_progress)
        except asyncio.CancelledError:
            ours = not newest or row.id > newest[0].id
            if ours and self._waiting[row.id] == 1 and not service.stopping:
                await asyncio.shield(service.cancel(row.id, "The caller cancelled the upload."))
            raise
        finally:
            self._waiting[row.id] -= 1
            self._waiting += Counter()  # drops rows that no caller waits for

    async def stream(self, chunks: AsyncIterable[bytes], filename: str, key: str | None) -> Row:
        """Receive a log piece by piece, enter it, and return its settled row.

        Once received whole it stays in the outbox, also when the caller is cancelled.
        """
        row = await self._service.receive(chunks, Path(filename).name, key=key, received_by="proxy")
        return await self._service.wait(row.id)
