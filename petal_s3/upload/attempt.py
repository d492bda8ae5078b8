"""Bring one row's file into S3, part by part, and prove that it arrived."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from petal_s3.core import clock
from petal_s3.core.clock import Clock
from petal_s3.core.kinds import FLIGHT_KINDS
from petal_s3.core.settings import MIB
from petal_s3.errors import (
    Conflict,
    Mismatch,
    NotFinished,
    Offline,
    S3BucketError,
    S3IntegrationError,
    SourceAway,
    SourceChanged,
    SourceGone,
    Transient,
    UploadGone,
)
from petal_s3.objects.copy import MAX_COPY_BYTES, MAX_PARTS, Copier
from petal_s3.objects.file_bytes import FileBytes
from petal_s3.objects.ownership import DESCRIPTION, metadata
from petal_s3.objects.proof import FromObject, judge, part_differs
from petal_s3.outbox import identities, queries, remote_objects, transitions
from petal_s3.outbox.rows import Receipt, Row
from petal_s3.outbox.thread import OutboxThread
from petal_s3.s3 import multipart
from petal_s3.s3.capabilities import Feature
from petal_s3.s3.checksums import (
    Digest,
    digest,
    etag_parts,
    multipart_etag,
    whole_crc32,
)
from petal_s3.s3.client import S3
from petal_s3.s3.options import is_vague, may_be_refusal
from petal_s3.s3.request_body import FilePart
from petal_s3.s3.responses import HeldPart, ObjectInfo
from petal_s3.upload.duplicates import Duplicate, DuplicateFinder, still_there
from petal_s3.upload.learning import Learner
from petal_s3.upload.receipt import BLIND_S, Receipts, not_yet_there
from petal_s3.upload.source_file import SourceFile, renamed, replaced

log = logging.getLogger("petal_s3")

LEASE_S = 900.0
_CANCEL_AGAIN_S = 2.0
_TIDY_TRIES = 3  # failures in a row after which a log no longer waits for tidying up
_UNLISTED = "parts_unlisted"  # the upload exists, or not: its list of parts does not tell
_READINGS = 2  # a file that differs from what was sent after so many is being written

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


def part_size_for(size: int, wanted: int) -> int:
    """The part size for a file of ``size`` bytes: ``wanted``, or more where 10,000 parts
    would not do; whole MiB beyond ``wanted``. Limits: S3 User Guide, "Multipart upload limits".
    """
    least = -(-size // MAX_PARTS)
    return wanted if least <= wanted else -(-least // MIB) * MIB


@dataclass
class Live:
    """What is on its way for one row right now, for progress bars."""

    row_id: int
    size: int
    confirmed: int = 0
    sent: bool = False
    compared: int = 0  # bytes read again, to be compared with what S3 has confirmed
    windows: set[FilePart] = field(default_factory=set)

    @property
    def moved(self) -> int:
        """Confirmed bytes and those handed to the network."""
        return min(self.size, self.confirmed + sum(w.farthest for w in tuple(self.windows)))


class _Sending(Protocol[T_co]):
    """A request with options: after ``refusal`` without those the server is not known to offer.

    ``again``: it is made for the second time.
    """

    def __call__(
        self, refusal: S3IntegrationError | None, /, *, again: bool = False
    ) -> Awaitable[T_co]: ...


@dataclass(frozen=True)
class _Part:
    held: HeldPart
    digest: Digest


class Uploader:
    """One attempt at one row: ask S3 what it holds, send what is missing, prove the whole."""

    def __init__(  # noqa: PLR0913
        self,
        s3: S3,
        outbox: OutboxThread,
        duplicates: DuplicateFinder,
        files: Executor,
        *,
        part_size: int,
        concurrency: int,
        machine_id: str,
        learner: Learner,
        now: Clock = clock.now,
    ) -> None:
        self.live: dict[int, Live] = {}
        self.parts_sent = 0
        self.parts_resent = 0
        self._s3 = s3
        self._outbox = outbox
        self._duplicates = duplicates
        self._files = files
        self._part_size = part_size
        self._concurrency = concurrency
        self._machine_id = machine_id
        self._now = now
        self._was_cut = self._bucket_failed = False
        self._copier = Copier(s3)
        self._learner = learner
        self._receipts = Receipts(s3, outbox, files)

    @property
    def answered(self) -> int:
        """How many calls S3 has answered well."""
        return self._s3.server.answered

    async def attempt(self, row: Row) -> Row:
        """Make one attempt at a claimed row; return it verified, or raise why not yet."""
        try:
            row, source = await self._open(row)
        except SourceGone:
            done = await self._without_file(row)
            if done is None:
                raise
            return done
        self.live[row.id] = live = Live(row.id, row.size, row.sent_bytes)
        try:
            await self._learner.ready()
            if self._bucket_failed:
                await self._s3.page(row.key, limit=1)  # no body travels to learn it once more
            done = await self._bring(row, source, live)
        except Offline:
            self._was_cut = True
            raise
        except S3BucketError as error:
            self._bucket_failed = error.code == "bucket"
            raise
        except OSError as error:
            raise SourceAway(f"{row.name} cannot be read now ({error.strerror}).") from error
        finally:
            del self.live[row.id]
            source.close()
            await self._keep_learnt()
        self._was_cut = self._bucket_failed = False
        return done

    async def _keep_learnt(self) -> None:
        with contextlib.suppress(S3IntegrationError):  # it is learnt again
            await self._learner.keep()

    async def _open(self, row: Row) -> tuple[Row, SourceFile]:
        """The row and its file, which may have been rotated; raises as :class:`SourceFile`."""
        path, real = Path(row.path), not row.spooled
        try:
            source = await self._run(lambda: SourceFile(path, row.identity, real=real))
            return await self._found_at(row, source), source
        except (SourceChanged, SourceGone) as error:
            rotated = real and row.kind not in FLIGHT_KINDS
            now = await self._run(renamed, path, row.identity) if rotated else None
            followed = await self._outbox(identities.change_path, row, str(now)) if now else None
            if followed is None:
                if rotated and not row.asked_key and await self._run(replaced, path, row.identity):
                    # What has its name now lands by itself; this one was never that.
                    raise SourceGone(
                        f"{path.name} was rotated away before it was proven in S3."
                    ) from error
                raise
        log.info("file followed path=%s to=%s", ascii(row.path), ascii(followed.path))
        path = Path(followed.path)
        return followed, await self._run(lambda: SourceFile(path, row.identity, real=real))

    async def _found_at(self, row: Row, source: SourceFile) -> Row:
        """A file with another inode is known by that from now on: its time may change next."""
        if source.identity == row.identity:
            return row
        try:
            return await self._outbox(identities.note_inode, row, source.identity)
        except BaseException:
            source.close()
            raise

    async def _without_file(self, row: Row) -> Row | None:
        """The file went after another row of it was proven: then S3 has its bytes. Else none."""
        twin = await self._outbox(queries.proven_twin, row)
        if twin is None or twin.receipt is None:
            return None
        origin = await still_there(self._s3, twin.receipt.key)
        if origin is None or origin.etag != twin.receipt.etag:
            return None  # what was proven once is no proof today
        await self.abandon(row)
        if not row.asked_key:
            return await self._outbox(transitions.verified, row, twin.receipt, same_as=twin.id)
        info = await self._s3.head(row.key)
        fresh = info is None
        if info is None:
            # By ranges a multipart object keeps its ETag, and that is the proof.
            limit = 0 if etag_parts(origin.etag) else MAX_COPY_BYTES
            info = await Copier(self._s3, limit).copy(origin, row.key, _for_whom(row))
        told = twin.receipt.checksum.removeprefix("crc32:")
        proven = replace(origin, crc32=told)
        how = (await judge(info, FromObject(proven), self._s3.capabilities)).proof
        if not how and fresh and info.crc32 == told:
            how = "crc32"  # the ETag was compared with that of the copied parts
        if not how:
            return None
        log.info("upload copied key=%s from=%s proof=%s", row.key, twin.key, how)
        return await self._outbox(transitions.verified, row, self._copied(row.key, info, told, how))

    async def _origin(self, receipt: Receipt) -> ObjectInfo:
        info = await self._s3.head(receipt.key)
        if info is None or info.etag != receipt.etag:
            raise Transient(f"{receipt.key} changed while it was copied.", code="copy_changed")
        return info

    def _copied(self, key: str, info: ObjectInfo, crc32: str, how: str) -> Receipt:
        return Receipt(
            key=key,
            etag=info.etag,
            checksum=f"crc32:{crc32}",
            size=info.size,
            proof=how,
            verified_at=self._receipts.server_time(),
        )

    async def abandon(self, row: Row) -> None:
        """Abort the multipart upload of a row that gives it up."""
        try:
            for upload_id in await self._uploads_of(row):
                await multipart.abort(self._s3, row.key, upload_id)
        except S3BucketError as error:
            if error.code != "forbidden":
                raise
            # A lifecycle rule collects it; a log must not wait for a permission to tidy up.
            log.warning("abort refused key=%s reason=%s", row.key, error.message)

    async def _tidy(self, row: Row) -> None:
        """Abandon what is of no use to the row any more; for ever it does not wait for that."""
        try:
            await self.abandon(row)
        except S3IntegrationError as error:
            if row.failures < _TIDY_TRIES:
                raise
            log.warning("abort given up key=%s reason=%s", row.key, error.message)

    async def _uploads_of(self, row: Row) -> list[str]:
        """Usually one; where the answer that told its id was lost, S3 is asked."""
        if row.upload_id is not None:
            return [row.upload_id]
        if row.part_size is None or row.size <= row.part_size:
            return []
        others = {other.upload_id for other in await self._outbox(queries.at_key, row.key)}
        return [
            found for found in await multipart.uploads(self._s3, row.key) if found not in others
        ]

    # -- one attempt

    async def _bring(self, row: Row, source: SourceFile, live: Live) -> Row:
        row = await self._go_on(row, source, live)
        if row.state == "verified":
            return row
        # Where S3's answer to a Create was lost, an upload is open to which nothing was sent:
        # it goes before the row becomes another key, another part size, or another's twin.
        await self._tidy(row)
        condition: Feature = "put_condition" if self._is_small(source) else "complete_condition"
        found = await self._duplicates.find(row, source, condition)
        if isinstance(found, Duplicate):
            return await self._adopt(row, source, found)
        if found.key != row.key:
            row = await self._outbox(transitions.change_key, row, found.key)
        return await self._send_anew(row, source, live, replace=found.wrong)

    async def _go_on(self, row: Row, source: SourceFile, live: Live) -> Row:
        """Go on with what was begun before; the row, verified or with nothing begun."""
        awaited = False
        if row.stored_at is not None:
            info = await self._receipts.seen(row)
            if info is not None and not self._receipts.is_wrong(row, info):
                done = await self._found(row, source, info)
                return await self._start_over(row) if done is None else done
            awaited = info is None
        if row.upload_id is None:
            self._wait_for_it(row, awaited=awaited)
            return (
                row if row.stored_at is None else await self._outbox(transitions.forget_upload, row)
            )
        if row.code == "source_changed" and await self._duplicates.elsewhere(row, source):
            return await self._start_over(row)  # it became a copy of a log that is proven
        try:
            return await self._resume(row, source, live)
        except UploadGone as error:
            told = error.code != _UNLISTED
            if told and (live.sent or await self._lacks_parts(row)):
                raise  # the next attempt sends what S3 has not, and nothing else
            unjoined = error.told is not None and error.told.status == 400
            self._wait_for_it(row, awaited=awaited and not unjoined)
            return await self._lost(row, error)

    async def _send_anew(self, row: Row, source: SourceFile, live: Live, *, replace: bool) -> Row:
        if self._is_small(source):
            return await self._put(row, source, live, replace=replace)
        row = await self._begin(row)
        return await self._finish(row, source, live, {}, replace=replace)

    def _is_small(self, source: SourceFile) -> bool:
        return source.size <= self._part_size

    async def _found(self, row: Row, source: SourceFile, info: ObjectInfo) -> Row | None:
        """Prove what S3 was asked to store before; none where other bytes stand there."""
        expected = self._receipts.bytes_of(source)
        try:
            receipt = await self._receipts.receipt(row, source, expected, ours=False)
        except Mismatch:
            # It may be another's: the key is looked at before anything is sent there.
            await self._outbox(remote_objects.add, info.key, info.size, info.etag)
            return None
        await self._tidy(row)  # where somebody else brought the same bytes, ours is still open
        return await self._verified(row, receipt)

    async def _start_over(self, row: Row) -> Row:
        """Other bytes stand at the key: what was sent there must not be joined over them."""
        await self.abandon(row)
        return await self._outbox(transitions.forget_upload, row)

    def _wait_for_it(self, row: Row, *, awaited: bool) -> None:
        """What S3 stored and does not show at once must not travel again for that."""
        stored_at = row.stored_at if awaited else None
        if stored_at is not None and 0 <= self._receipts.server_time() - stored_at < BLIND_S:
            raise not_yet_there(row.key)

    async def _adopt(self, row: Row, source: SourceFile, found: Duplicate) -> Row:
        """The bytes are there: nothing is sent. A key that somebody asked for gets a copy."""
        source.check()
        receipt = found.receipt
        if row.asked_key and found.free:
            return await self._copy(row, source, receipt, found.free)
        log.info("upload recognised key=%s as=%s", row.key, receipt.key)
        return await self._outbox(transitions.verified, row, receipt, same_as=found.same_as)

    async def _copy(self, row: Row, source: SourceFile, receipt: Receipt, key: str) -> Row:
        """Copy proven bytes inside the bucket; the copy is compared with the file itself."""
        origin = await self._origin(receipt)
        try:
            info = await self._copier.copy(origin, key, _for_whom(row))
        except Conflict as error:
            row = row if row.key == key else await self._outbox(transitions.change_key, row, key)
            await self._not_copied(row, error)
        expected = self._receipts.bytes_of(source)
        judgement = await self._receipts.judged(row, info, source, expected)
        if not judgement.proof:
            raise Mismatch(f"The copy of {receipt.key} in S3 is not what was copied.")
        source.check()
        told, how = receipt.checksum.removeprefix("crc32:"), judgement.proof
        log.info("upload copied key=%s from=%s proof=%s", key, receipt.key, how)
        return await self._outbox(transitions.verified, row, self._copied(key, info, told, how))

    async def _put(self, row: Row, source: SourceFile, live: Live, *, replace: bool) -> Row:
        """A file of one part travels in one request; S3 refuses to overwrite."""
        row = await self._outbox(transitions.plan, row, self._part_size)
        live.confirmed = 0  # what was sent before and not proven counts for nothing
        whole = await self._digest(source, 0, source.size)
        source.check()
        expected = self._receipts.bytes_of(source, crc32=whole.crc32, etags={None: whole.etag})

        async def send(refusal: S3IntegrationError | None, *, again: bool = False) -> None:
            if again:
                await self._check_free(row, "put_condition", free=replace, again=True)
            window = self._window(source, 0, whole, live)
            try:
                await self._s3.put(
                    row.key,
                    window,
                    content_type=row.media_type,
                    metadata=self._about(row),
                    replace=replace,
                    refusal=refusal,
                )
            finally:
                live.windows.discard(window)

        try:
            await self._accepted(row, send, "body_checksums", "put_condition")
        except Conflict as error:
            return await self._put_elsewhere(row, source, expected, error)
        row = await self._outbox(transitions.storing, row, self._receipts.server_time())
        source.check()
        await self._sent(row, live, whole.size)
        return await self._prove(row, source, expected)

    async def _put_elsewhere(
        self, row: Row, source: SourceFile, expected: FileBytes, error: Conflict
    ) -> Row:
        """The key is taken: by an earlier try of ours, or by other bytes, or S3 only says so."""
        if await self._receipts.seen(row) is None:
            raise await self._unseen(row, error) from error
        try:
            receipt = await self._receipts.receipt(row, source, expected, ours=False)
        except Mismatch:
            await self._other_key(row, error)
        return await self._verified(row, receipt)

    async def _unseen(self, row: Row, error: Conflict) -> S3IntegrationError:
        """What to say where S3 speaks of an object at the row's key, and shows none.

        It may show it late, and is waited for; or it refuses every condition, and is asked ever
        more seldom: each time a body may travel.
        """
        if await self._learner.again():
            return Transient(f"{error.message} It is tried again.", code="key_taken")
        if row.code in {"not_yet_there", "key_taken"}:
            return Conflict(f"{error.message} Yet it shows none.", code="key_taken")
        await self._outbox(transitions.storing, row, self._receipts.server_time())
        return not_yet_there(row.key)

    async def _not_copied(self, row: Row, error: Conflict) -> NoReturn:
        """What to say where S3 speaks of an object at the key of a copy.

        It may be an earlier copy of ours, whose answer was lost: it is looked at. Where none is
        shown, also after a while, the server refuses the condition whatever stands there.
        """
        if await self._receipts.seen(row) is not None:
            await self._other_key(row, error)
        if row.code != "not_yet_there":
            await self._outbox(transitions.storing, row, self._receipts.server_time())
            raise not_yet_there(row.key) from error
        self._s3.learn("copy_condition", offered=False, by=f"{error.told}, and nothing was shown")
        raise Transient(
            f"{error.message} Yet it shows none: it is copied without If-None-Match.",
            code="key_taken",
        ) from error

    async def _other_key(self, row: Row, error: Conflict) -> NoReturn:
        """Remember that the key is taken, so that the next attempt looks before it sends."""
        info = await self._s3.head(row.key)
        if info is None:
            raise Transient(f"{error.message} It is looked at again.", code="key_taken") from error
        await self._outbox(remote_objects.add, info.key, info.size, info.etag)
        raise Transient(
            f"{row.key} was taken by other bytes; another key is used.", code="key_taken"
        ) from error

    async def _accepted(self, row: Row, send: _Sending[T], *options: Feature) -> T:
        """Send a request; where its ``options`` are refused, learn which, and send it once more."""
        try:
            return await send(None)
        except S3IntegrationError as error:
            repeated = row.failures > 0 and row.code == error.code
            if repeated and isinstance(error, Mismatch) and error.told is None:
                await self._learner.again()  # its ETags may have another form by now
            if isinstance(error, Conflict) or not may_be_refusal(error):
                raise
            lacked = {one for one in options if self._s3.capabilities.lacks(one)}
            await self._learner.again()
            learnt = any(self._s3.capabilities.lacks(one) for one in options if one not in lacked)
            unsure = self._s3.server.unsure_of(*options)
            if not learnt and not unsure:
                raise  # it is refused for something else
            if not learnt and is_vague(error) and not repeated:
                raise  # S3 may be in trouble for a moment
            refusal = error if unsure else None
            reason = error.message
        log.warning("sent again without an option reason=%s", reason)
        return await send(refusal, again=True)

    async def _begin(self, row: Row) -> Row:
        """Open a multipart upload; its id is on disk before the first part leaves."""
        part_size = part_size_for(row.size, self._part_size)
        row = await self._outbox(transitions.plan, row, part_size)
        about = self._about(row)
        upload_id, checksummed = await self._accepted(
            row,
            lambda *_, **__: multipart.begin(
                self._s3, row.key, content_type=row.media_type, metadata=about
            ),
        )
        log.info("upload started key=%s size=%d part_size=%d", row.key, row.size, part_size)
        try:
            return await self._outbox(
                transitions.remember_upload, row, upload_id, checksummed=checksummed
            )
        except Exception:
            # The lease or the disk is lost: nobody else may know this id, and S3 may not let us
            # look for it.
            await self._forsake(row.key, upload_id)
            raise

    async def _forsake(self, key: str, upload_id: str) -> None:
        try:
            await multipart.abort(self._s3, key, upload_id)
        except S3IntegrationError as error:
            log.warning("abort given up key=%s reason=%s", key, error.message)

    async def _resume(self, row: Row, source: SourceFile, live: Live) -> Row:
        """S3 is asked which parts it holds; those that agree with the file are kept."""
        assert row.upload_id is not None
        try:
            held = {
                part.number: part
                for part in await multipart.parts(self._s3, row.key, row.upload_id)
            }
        except S3BucketError as error:
            known = self._s3.capabilities
            doubted = known.offers("list_parts") or (
                row.sent_bytes and not known.lacks("list_parts")
            )
            if error.code != "not_implemented" or (doubted and row.code != error.code):
                raise  # confirmed parts are not given up for one such answer
            self._s3.learn("list_parts", offered=False, by=str(error.told))
            raise UploadGone(
                f"{error.message} What S3 holds of {row.name} cannot be asked; it begins anew.",
                code=_UNLISTED,
            ) from error
        log.info("upload resumed key=%s parts_held=%d", row.key, len(held))
        if held:
            self._s3.learn("list_parts", offered=True, by="ListParts named what was sent")
        elif row.sent_bytes:
            # Some servers answer so for an upload that is no more, and take parts all the same.
            raise UploadGone(
                f"S3 lists no part of {row.key}, of which it had confirmed some.", code=_UNLISTED
            )
        return await self._finish(row, source, live, held, resumed=True)

    async def _finish(
        self,
        row: Row,
        source: SourceFile,
        live: Live,
        held: Mapping[int, HeldPart],
        *,
        replace: bool = False,
        resumed: bool = False,
    ) -> Row:
        parts = await self._send(row, source, live, held, resumed=resumed)
        digests = [part.digest for part in parts]
        crc32 = whole_crc32(digests)
        expected = self._receipts.bytes_of(
            source, crc32=crc32, etags={row.part_size: multipart_etag([d.md5 for d in digests])}
        )
        source.check()
        assert row.upload_id is not None
        row = await self._outbox(transitions.storing, row, self._receipts.server_time())
        upload_id = row.upload_id
        assert upload_id is not None

        async def join(_: S3IntegrationError | None, *, again: bool = resumed) -> None:
            await self._check_free(row, "complete_condition", free=replace, again=again)
            await multipart.complete(
                self._s3,
                row.key,
                upload_id,
                [part.held for part in parts],
                crc32=crc32 if row.checksummed else None,
                size=row.size,
                replace=replace,
            )

        try:
            await self._accepted(row, join, "full_checksums", "complete_condition")
        except Conflict as error:
            return await self._taken(row, source, expected, error)
        return await self._prove(row, source, expected)

    async def _check_free(self, row: Row, condition: Feature, *, free: bool, again: bool) -> None:
        """Raise :class:`Conflict` where no condition keeps a request from storing over what came
        to its key meanwhile. ``free``: what stands there is to be replaced; ``again``: it is long
        since the key was looked at."""
        known = self._s3.capabilities
        looks = known.lacks(condition) or (again and not known.offers(condition))
        if not free and looks and await self._s3.head(row.key) is not None:
            raise Conflict(f"An object stands at {row.key} (HeadObject).", code="key_taken")

    async def _taken(
        self, row: Row, source: SourceFile, expected: FileBytes, error: Conflict
    ) -> Row:
        """Somebody took the key meanwhile, or it was this very upload, whose answer was lost."""
        if await self._receipts.seen(row) is None:
            raise await self._unseen(row, error) from error
        try:
            receipt = await self._receipts.receipt(row, source, expected, ours=False)
        except Mismatch:
            await self.abandon(row)
            row = await self._outbox(transitions.forget_upload, row)
            await self._other_key(row, error)
        await self._tidy(row)  # where somebody else brought the same bytes, ours is still open
        return await self._verified(row, receipt)

    async def _lacks_parts(self, row: Row) -> bool:
        """Whether S3 still knows the upload, and has lost some of its parts."""
        assert row.upload_id is not None
        assert row.part_size is not None
        try:
            held = await multipart.parts(self._s3, row.key, row.upload_id)
        except UploadGone:
            return False
        return bool(held) and len({part.number for part in held}) < -(-row.size // row.part_size)

    async def _lost(self, row: Row, error: UploadGone) -> Row:
        """S3 forgot the upload. It may be complete: look() finds that; else it begins anew."""
        log.warning("upload forgotten by S3 key=%s reason=%s", row.key, error.message)
        await self.abandon(row)
        return await self._outbox(transitions.forget_upload, row)

    async def _prove(self, row: Row, source: SourceFile, expected: FileBytes) -> Row:
        return await self._verified(row, await self._receipts.receipt(row, source, expected))

    async def _verified(self, row: Row, receipt: Receipt) -> Row:
        log.info("upload verified key=%s size=%d proof=%s", row.key, row.size, receipt.proof)
        return await self._outbox(transitions.verified, row, receipt)

    # -- parts

    async def _send(
        self,
        row: Row,
        source: SourceFile,
        live: Live,
        held: Mapping[int, HeldPart],
        *,
        resumed: bool,
    ) -> list[_Part]:
        """Send what is missing, until a last reading of the whole file agrees with all of it.

        Every part was read once before that reading begins and once more by it. What is equal
        both times was so at the moment between: the object is one version of its file, whoever
        writes to it, and whatever its times tell (``mmap``, FAT, a restored time of change).
        """
        assert row.part_size is not None
        stretches = dict(_stretches(source.size, row.part_size))
        parts = {n: part for n, part in held.items() if _fits(part, stretches)}
        live.confirmed = sum(part.size for part in parts.values())
        await self._outbox(
            transitions.progress,
            row,
            self._now(),
            LEASE_S,
            sent_bytes=live.confirmed,
            sent=0,
            resent=0,
        )

        async def send(number: int) -> None:
            whole = await self._digest(source, *stretches[number])
            source.check()
            again = number in held or number in parts
            parts[number] = await self._send_part(
                row, source, live, number, stretches[number][0], whole
            )
            await self._sent(row, live, whole.size, resent=again)

        if resumed and not parts:
            await send(1)
            await self._check_listed(row)
        missing = stretches.keys() - parts.keys()
        for _ in range(_READINGS):
            workers = 1 if self._was_cut or not self._knows_options() else self._concurrency
            await _together(deque(sorted(missing)), send, workers)
            whole = await self._compare(source, live, stretches)
            missing = {n for n, read in whole.items() if self._differs(parts[n], read)}
            if not missing:
                return [_Part(_checksummed(parts[n], whole[n]), whole[n]) for n in stretches]
            live.confirmed -= sum(parts[n].size for n in missing)
        raise NotFinished(f"{row.name} is being written while it is sent.")

    async def _check_listed(self, row: Row) -> None:
        """Some servers take parts of an upload that is no more, and keep none of them."""
        assert row.upload_id is not None
        if not await multipart.parts(self._s3, row.key, row.upload_id):
            raise UploadGone(f"S3 took a part of {row.key}, and lists none.", code=_UNLISTED)

    def _differs(self, part: HeldPart, whole: Digest) -> bool:
        return part_differs(part, whole, self._s3.capabilities)

    def _knows_options(self) -> bool:
        """Else the first body tells whether the server takes its checksum: one at a time."""
        known = self._s3.capabilities
        return known.offers("body_checksums") or known.lacks("body_checksums")

    async def _compare(
        self, source: SourceFile, live: Live, stretches: Mapping[int, tuple[int, int]]
    ) -> dict[int, Digest]:
        """Read the whole file again, part by part."""
        read: dict[int, Digest] = {}

        async def look(number: int) -> None:
            read[number] = await self._run(digest, source.fd, *stretches[number])
            source.check()
            live.compared += read[number].size

        await _together(deque(stretches), look, self._concurrency)
        return read

    async def _send_part(
        self, row: Row, source: SourceFile, live: Live, number: int, offset: int, whole: Digest
    ) -> HeldPart:
        upload_id = row.upload_id
        assert upload_id is not None

        async def send(refusal: S3IntegrationError | None, **_: bool) -> HeldPart:
            window = self._window(source, offset, whole, live)
            try:
                return await multipart.upload_part(
                    self._s3, row.key, upload_id, number, window, refusal=refusal
                )
            finally:
                live.windows.discard(window)

        part = await self._accepted(row, send, "body_checksums")
        source.check()
        return part

    async def _sent(self, row: Row, live: Live, size: int, *, resent: bool = False) -> None:
        live.confirmed += size
        live.sent = True
        self.parts_sent += 1
        self.parts_resent += int(resent)
        await self._outbox(
            transitions.progress,
            row,
            self._now(),
            LEASE_S,
            sent_bytes=live.confirmed,
            sent=1,
            resent=int(resent),
        )

    def _window(self, source: SourceFile, offset: int, whole: Digest, live: Live) -> FilePart:
        window = self._s3.file_part(source.fd, offset, whole)
        live.windows.add(window)
        return window

    async def _digest(self, source: SourceFile, offset: int, size: int) -> Digest:
        return await self._run(
            lambda: digest(source.fd, offset, size, sha256=self._s3.server.signs_bodies)
        )

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._files, work, *args)

    def _about(self, row: Row) -> dict[str, str]:
        multipart = row.size > self._part_size
        return metadata(
            [
                ("original-filename", row.name),
                ("machine-id", self._machine_id),
                ("upload-timestamp", str(self._receipts.server_time())),
                ("log-kind", row.kind),
                ("log-verdict", row.verdict),
                ("part-size", str(row.part_size or "") if multipart else ""),
                ("session-id", row.session_id or ""),
                *sorted(row.facts.items(), key=lambda fact: (fact[0] == DESCRIPTION, fact)),
            ]
        )


def _for_whom(row: Row) -> dict[str, str]:
    """What a copy says otherwise than its origin."""
    about = [("session-id", row.session_id or ""), (DESCRIPTION, row.facts.get(DESCRIPTION, ""))]
    return metadata(about)


def _stretches(size: int, part_size: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Part numbers from 1, each with offset and size in bytes."""
    for number, offset in enumerate(range(0, size, part_size), start=1):
        yield number, (offset, min(part_size, size - offset))


def _fits(part: HeldPart, stretches: Mapping[int, tuple[int, int]]) -> bool:
    return part.number in stretches and stretches[part.number][1] == part.size


def _checksummed(part: HeldPart, whole: Digest) -> HeldPart:
    """Some servers keep no checksum of a part, and yet want it named at the end.

    The ETag is what the server gave: it may be one of its own making.
    """
    return HeldPart(part.number, part.size, part.etag, whole.crc32_base64)


async def _together(
    order: deque[int], take: Callable[[int], Coroutine[Any, Any, None]], workers: int
) -> None:
    """Take one after the other, ``workers`` at a time; none is left running.

    After a failure nothing new is taken, but what is on its way ends: a part that is cut off
    now would have to travel again.
    """

    failures: list[Exception] = []

    async def work() -> None:
        while order and not failures:
            try:
                await take(order.popleft())
            except Exception as error:  # noqa: BLE001 - raised below, when the others have ended
                failures.append(error)

    tasks = [asyncio.ensure_future(work()) for _ in range(workers)]
    try:
        await asyncio.gather(*tasks)
    finally:
        await ended(*tasks)
    if failures:
        raise failures[0]


async def ended(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait for their end, whatever it is.

    Asked more than once: before Python 3.12 ``asyncio.wait_for`` loses a cancellation that
    comes together with its answer.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
