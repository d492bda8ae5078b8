"""Ask the autopilot for its card: one question at a time, and every byte from the right file."""

from __future__ import annotations

from petal_s3.autopilot import mavftp
from petal_s3.autopilot.asking import Asking, Opened, check
from petal_s3.autopilot.carrier import Carrier, NoTrace, Trace
from petal_s3.autopilot.driving import Driver, Terms
from petal_s3.autopilot.ftp_client import Changed, Entry, FtpError, Shorter, Silence, Sink
from petal_s3.autopilot.mavftp import Nak, Opcode, Reply
from petal_s3.autopilot.peer import Peer
from petal_s3.autopilot.reading import SILENT_S, Reading
from petal_s3.s3.checksums import combine_crc32

_MOST_ENTRIES = 20_000
_ALL = 0xFFFFFFFF
_MOST_REOPENED = 5


class MavftpCard:
    """The card of one autopilot; :class:`petal_s3.autopilot.ftp_client.Card` says what is promised.

    Made in the loop that it is used in.
    """

    def __init__(self, carrier: Carrier, terms: Terms, trace: Trace | None = None) -> None:
        self._trace = trace or NoTrace()
        self._peer = Peer()
        driver = Driver(carrier, terms, self._trace)
        self._asking = Asking(driver, self._peer.numbers, terms)
        self._max_rate = terms.max_rate
        self._now = terms.now

    def heard_others(self, count: int = 1) -> None:
        """Take in that so many messages of others came: reading leaves them their share."""
        self._peer.share.heard(count, self._now())

    async def close(self) -> None:
        """Ask nothing more."""
        await self._asking.stop()
        self._trace.close()

    async def list_directory(self, path: str) -> list[Entry]:
        """As :class:`Card`: with times where the autopilot tells them."""
        found: list[Entry] = []
        offset = 0
        async with self._asking.turn():
            while offset <= _MOST_ENTRIES:
                reply = await self._list(path, offset)
                if reply.nak == Nak.END_OF_FILE:
                    return found
                check(reply, f"list {path}")
                count, more = mavftp.entries(reply)
                if not count:
                    return found
                found += more
                offset += count
        raise FtpError(
            f"The autopilot lists more than {_MOST_ENTRIES} entries in {path}.", ftp_code=Nak.FAIL
        )

    async def open_size(self, path: str) -> int:
        """As :class:`Card`."""
        async with self._asking.turn():
            opened = await self._asking.open(path)
            await self._asking.close(opened.session)
            return opened.size

    async def crc32(self, path: str) -> int | None:
        """As :class:`Card`. Autopilots leave out what zlib does before and after: that is added."""
        size = await self.open_size(path)
        async with self._asking.turn():
            reply = await self._asking.ask(Opcode.CRC32, path)
        if reply.nak == Nak.UNKNOWN_COMMAND:
            return None
        check(reply, f"compute the checksum of {path}")
        plain = mavftp.number(reply)
        return None if plain is None else plain ^ combine_crc32(_ALL, 0, size) ^ _ALL

    async def read(self, path: str, start: int, end: int, sink: Sink) -> None:
        """As :class:`Card`; :class:`Changed` where the size changes meanwhile."""
        if start >= end:
            return
        reading = Reading(start, end, self._peer, max_rate=self._max_rate)
        size, fruitless = None, 0
        async with self._asking.turn():
            while not reading.finished:
                at = reading.received.at
                opened = await self._asking.open(path)
                await self._check_size(path, opened, size, end)
                size = opened.size
                await self._read_on(path, reading, opened, sink)
                fruitless = 0 if reading.received.at > at else fruitless + 1
                if fruitless == _MOST_REOPENED:
                    raise FtpError(
                        f"The session in which {path} was read was lost {fruitless} times in a row:"
                        " another client may be using the files of the autopilot.",
                        ftp_code=Nak.INVALID_SESSION,
                    )

    async def _list(self, path: str, offset: int) -> Reply:
        if self._peer.lists_times:
            reply = await self._asking.ask(Opcode.LIST_WITH_TIME, path, offset=offset)
            if reply.nak != Nak.UNKNOWN_COMMAND:
                return reply
            self._peer.lists_times = False
        return await self._asking.ask(Opcode.LIST, path, offset=offset)

    async def _check_size(self, path: str, opened: Opened, known: int | None, end: int) -> None:
        if opened.size >= end and known in {None, opened.size}:
            return
        await self._asking.close(opened.session)
        if opened.size < end:
            raise Shorter(
                f"{path} has {opened.size} bytes on the card, {end} were expected.",
                ftp_code=Nak.END_OF_FILE,
            )
        raise Changed(
            f"{path} had {known} bytes when reading began, {opened.size} now.", ftp_code=Nak.FAIL
        )

    async def _read_on(self, path: str, reading: Reading, opened: Opened, sink: Sink) -> None:
        """Read until all was handed out, or the session is lost."""
        driver, ours = self._asking.driver, True
        reading.resume(opened.session, opened.size)
        self._peer.share.begin(self._now())
        try:
            driver.begin(reading)
            while not reading.done:
                try:
                    await driver.until(lambda: reading.received.has_ready)
                finally:
                    if data := reading.received.take():
                        await sink(data)
            ours = reading.has_changed or not reading.lost_session
            driver.end()
            if reading.finished or reading.has_changed:
                await self._asking.close(opened.session)
                ours = False
        finally:
            driver.end()
            self._peer.share.end(self._now())
            if ours:
                self._asking.leave(opened.session)
        if reading.silent:
            raise Silence(
                f"The autopilot did not answer for {SILENT_S:.0f} s while {path} was read."
            )
        if reading.refused is not None:
            check(reading.refused, f"read {path}")
