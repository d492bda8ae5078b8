"""Learn what a server offers, with requests of a byte at one fixed temporary key.

Before the first upload to a bucket, once a day, and when an answer contradicts what is known:
a log's own bytes are never the trial.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Set
from dataclasses import replace

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.errors import LocalStorageError, S3BucketError, S3IntegrationError, UploadGone
from petal_s3.objects.key_names import temporary_folder
from petal_s3.outbox import capabilities as kept
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3 import multipart
from petal_s3.s3.capabilities import Capabilities, Feature, Known, read, written
from petal_s3.s3.client import S3
from petal_s3.upload.trial import NOT_TRIED, Trial

log = logging.getLogger("petal_s3")

_NAME = "capabilities"
_NO_UPLOAD = "no-such-upload"
_TRIES = 2
_PAUSE_S = 600.0
_CONDITIONS: tuple[Feature, ...] = ("put_condition", "complete_condition")


class Learner:
    """Keeps what is known of a bucket's server: in ``s3`` while the process lives, in the outbox.

    ``bucket``: endpoint and name. ``given``: known from elsewhere, so that nothing is tried.
    """

    def __init__(
        self,
        s3: S3,
        outbox: OutboxThread,
        machine_prefix: str,
        *,
        bucket: str,
        given: Capabilities | None = None,
        now: Clock = clock.now,
    ) -> None:
        self._steady = now
        self._again_at = float("-inf")
        self._s3 = s3
        self._outbox = outbox
        self._key = f"{temporary_folder(machine_prefix)}{_NAME}"
        self._bucket = bucket
        self._trial = Trial(s3, outbox, self._key, bucket)
        self._given = given is not None
        self._kept: Capabilities | None = None
        self._owed = 0  # trials to make because an answer contradicts what is known
        self._one = asyncio.Lock()
        if given is not None:
            s3.server.adopt(given)

    @property
    def seen(self) -> Capabilities:
        """What is known of the server; during a trial, what that has shown so far."""
        return self._trial.s3.capabilities

    async def ready(self) -> None:
        """Know what the server offers; raises what the link raises, and where it cannot encrypt.

        What cannot be tried is left open: uploads then do without knowing it.
        """
        if self._given:
            return
        async with self._one:
            unencrypted = self._s3.server.encrypts and self._s3.capabilities.lacks("encryption")
            rested = self._steady() >= self._again_at
            if unencrypted or self._owed or (rested and await self._is_due()):
                await self._try_all()
            elif self._trial.untidy:
                await self._trial.tidy()

    async def _is_due(self) -> bool:
        if self._s3.clock.offset_s is None and self._s3.capabilities.asked_at:
            await self._s3.head(self._key)  # S3's time; the device's may be years away
        return self._s3.capabilities.due(self._s3.clock.seconds())

    async def again(self) -> bool:
        """Try everything because an answer contradicts what is known; whether that changed it."""
        if self._given:
            return False
        before = self._s3.capabilities
        async with self._one:
            if _offered(self._s3.capabilities) == _offered(before):
                self.owe()  # else the next body would travel to hear the same
                with contextlib.suppress(LocalStorageError):  # then this process alone knows
                    await self.keep()
                await self._try_all()
        return _offered(self._s3.capabilities) != _offered(before)

    async def lists_parts(self) -> bool:
        """Whether the server knows ListParts: asked about an upload that does not exist.

        Who lacks it says so here, too; what was answered about a log's own upload may have been
        an accident. Raises what the link raises.
        """
        try:
            await multipart.parts(self._s3, self._key, _NO_UPLOAD)
        except (UploadGone, S3BucketError) as error:
            return error.code != "not_implemented"
        return True

    def owe(self) -> None:
        """Try everything before the next body; so does the next process, once this is kept."""
        self._owed = _TRIES
        self._s3.server.capabilities = replace(self._s3.capabilities, asked_at=0)

    async def keep(self) -> None:
        """Write down what was learnt since."""
        if not self._given and self._s3.capabilities != self._kept:
            await self._outbox(kept.keep, self._bucket, written(self._s3.capabilities))
            self._kept = self._s3.capabilities

    async def load(self) -> None:
        """Take in what the outbox has kept."""
        if self._given:
            return
        self._kept = read(await self._outbox(kept.known_of, self._bucket))
        await self._trial.load()
        # What this process has seen meanwhile is newer.
        known = {**self._kept.known, **self._s3.capabilities.known}
        self._s3.server.adopt(replace(self._kept, known=known))

    # -- the trial

    async def _try_all(self) -> None:
        before = self._s3.capabilities
        kept_on = {name: one for name, one in before.known.items() if name in NOT_TRIED}
        # Requests of logs go on meanwhile, by what was known before.
        self._trial.s3 = apart = self._s3.apart(Capabilities(kept_on))
        try:
            await self._trial.run()
        except S3IntegrationError as error:
            known = {**self._s3.capabilities.known, **apart.capabilities.known}
            for doubtful in _doubtful(known) - apart.capabilities.known.keys():
                del known[doubtful]
            self._s3.server.adopt(replace(before, known=known))
            if error.blocks_drain or error.told is None:
                # On a link that breaks all the time logs come first.
                self._again_at = self._steady() + _PAUSE_S
                raise
            log.warning("server not wholly tried reason=%s", error.message)
            self._owed = max(0, self._owed - 1)
            if self._owed:
                raise  # it is tried again before the next body
        else:
            self._owed = 0
            seen = _seen_since(before, self._s3.capabilities)
            self._s3.server.adopt(replace(before, known={**seen, **apart.capabilities.known}))
        finally:
            self._trial.s3 = self._s3
            await self._trial.tidy()
        self._s3.server.capabilities = replace(
            self._s3.capabilities, asked_at=self._s3.clock.seconds()
        )
        for feature, one in self._s3.capabilities.missing():
            log.info("server lacks feature=%s by=%s", feature, one.by)
        await self.keep()


def _doubtful(known: Mapping[Feature, Known]) -> Set[Feature]:
    """Which features a server is not believed to have, by what it was seen to lack.

    What no longer refuses to overwrite by one request may no longer do so by the other.
    """
    conditions = {one for one in _CONDITIONS if one in known}
    return conditions if any(not known[one].offered for one in conditions) else set()


def _seen_since(before: Capabilities, now: Capabilities) -> dict[Feature, Known]:
    """What was learnt of the server meanwhile."""
    return {name: one for name, one in now.known.items() if before.known.get(name) != one}


def _offered(capabilities: Capabilities) -> dict[Feature, bool]:
    return {feature: one.offered for feature, one in capabilities.known.items()}
