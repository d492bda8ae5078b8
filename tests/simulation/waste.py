"""No body travels in vain: what S3 has refused, has stored or has no place for stays at home."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from petal_s3.demo.faults import Answer
from tests.simulation.options import Provoked
from tests.support.wire import Ask

HOME = "flight_logs/drone-1/"
BODIES = {"PutObject", "UploadPart"}
_ON_ITS_WAY_S = 0.5  # what was read and signed when an answer came is not held back
_BLIND_S = 120.0  # for so long after a 200 nothing is sent again, whatever a HEAD says


def is_temporary(key: str) -> bool:
    """Whether a key stands where nothing stays, and no log is."""
    return key.startswith(f"{HOME}tmp/")


def is_probe(asked: Ask) -> bool:
    """Whether a body only tries what the server can: one byte at most, that is no log."""
    return is_temporary(asked.key) and asked.body.size <= 1


@dataclass(frozen=True)
class _Told:
    """When one process was told something; another process may not know it."""

    process: int
    at: float


class Waste:
    """What the running process has been told that makes a body useless."""

    def __init__(self) -> None:
        self._trying = False
        """What tries the server is on its way, or was lost there."""
        self._refused: dict[str, _Told] = {}
        """By option: when a body was refused because of it."""
        self._dead: dict[str, _Told] = {}
        """By upload: when a part of it was refused, as there is no such upload."""
        self._stored: dict[tuple[str, bytes], _Told] = {}
        """By key and MD5: when a whole object was confirmed."""
        self._completed: dict[str, _Told] = {}
        """By upload: when its end was confirmed."""

    def begun(
        self, asked: Ask, process: int, begun_at: float, refused_since: Mapping[str, float]
    ) -> str:
        """The invariant that a body breaks by being begun; empty for none.

        ``refused_since``: the options of it that the server refuses.
        """
        if is_temporary(asked.key):
            self._trying = True
            return ""
        if asked.op not in BODIES:
            return ""
        if self._trying:
            self._forgive()
        for option, since in refused_since.items():
            told = self._refused.get(option)
            if self._knew(told, process, begun_at) and told is not None and told.at >= since:
                return f"a body was begun with a {option} that S3 had refused"
        if self._knew(self._dead.get(asked.upload_id), process, begun_at):
            return f"a part was begun of {asked.upload_id}, which S3 had called gone"
        return ""

    def tried(self, asked: Ask, answer: Answer, *, honest: bool) -> None:
        """Take in what came of trying the server.

        Whoever could not try does not know for which of its options a body was refused, and
        sends one more.
        """
        if is_temporary(asked.key):
            self._trying = False
            told = answer.status < 400 or answer.status in {404, 412}
            if not honest or not (told or isinstance(answer, Provoked)):
                self._forgive()

    def _forgive(self) -> None:
        self._trying = False
        self._refused.clear()

    @staticmethod
    def _knew(told: _Told | None, process: int, begun_at: float) -> bool:
        if told is None or told.process != process:
            return False
        return begun_at > told.at + _ON_ITS_WAY_S

    def stored(self, asked: Ask, process: int, now: float) -> bool:
        """Whether this process was told not long ago that these bytes are stored at this key."""
        told = self._stored.get((asked.key, asked.body.md5))
        return told is not None and told.process == process and now - told.at < _BLIND_S

    def completed(self, upload_id: str, process: int, now: float) -> bool:
        """Whether this process was told not long ago that this upload is an object now."""
        told = self._completed.get(upload_id)
        return told is not None and told.process == process and now - told.at < _BLIND_S

    def told(self, asked: Ask, answer: Answer, process: int, now: float) -> None:
        """Take in an honest answer that has arrived."""
        told = _Told(process, now)
        if asked.op in BODIES and isinstance(answer, Provoked) and not is_probe(asked):
            self._refused[answer.option] = told
        elif asked.op == "UploadPart" and b"NoSuchUpload" in answer.body:
            self._dead[asked.upload_id] = told
        elif asked.op == "PutObject" and answer.status == 200:
            self._stored[asked.key, asked.body.md5] = told
        elif asked.op == "CompleteMultipartUpload" and answer.status == 200:
            self._completed[asked.upload_id] = told
