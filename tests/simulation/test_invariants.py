"""The invariants of the simulations, and their servers: each is broken by what breaks it."""

from __future__ import annotations

import contextlib
import random
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import aiohttp
import pytest
from yarl import URL

from petal_s3.demo.faults import Answer, Fault, refusal
from petal_s3.logs.opening import Identity
from petal_s3.outbox import entering
from petal_s3.outbox.outbox import Outbox
from petal_s3.outbox.rows import Entry
from petal_s3.s3.checksums import crc32_base64
from tests.simulation.drone import Drone
from tests.simulation.invariants import Accepted, InvariantBroken
from tests.simulation.loop import VirtualLoop
from tests.simulation.options import _Odd
from tests.simulation.simulation import ACTS, Simulation
from tests.simulation.waste import HOME
from tests.simulation.world import BUCKET, PART, Air, Reply, World

KEY = f"{HOME}20260301_000000_log1x.ulg"
PROBE = f"{HOME}tmp/petal-s3-probe"
BODY = b"b" * PART
CRC32 = {"x-amz-checksum-crc32": "AAAAAA=="}
UNLESS_THERE = {"if-none-match": "*"}

# A request that makes use of each option, and one that does without.
USES: dict[str, tuple[str, str, dict[str, str]]] = {
    "body checksum": ("PUT", KEY, {"x-amz-checksum-crc32": ""}),
    "checksum mode": ("HEAD", KEY, {"x-amz-checksum-mode": "ENABLED"}),
    "checksum at create": ("POST", f"{KEY}?uploads", {"x-amz-checksum-type": "FULL_OBJECT"}),
    "condition": ("PUT", KEY, UNLESS_THERE),
    "condition at copy": ("PUT", f"{HOME}copy", UNLESS_THERE),
}


class Wire:
    """Requests to the server of one world, as a process makes them."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.world = World(random.Random(0), self.loop)
        self.world.tokens.strict = False
        self.world.invariants.held_by(Accepted("/logs/log1x.ulg", len(BODY), 0), BODY)

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers (lower case) of the answer; raises :class:`InvariantBroken`."""
        if target == f"{HOME}copy":
            headers = {**headers, "x-amz-copy-source": f"/{BUCKET}/{KEY}"}
        url = URL(f"http://s3.test/{BUCKET}/{target}", encoded=True)
        asked = Air(self.world).request(method, url=url, headers=headers, data=body)
        reply: Reply = self.loop.run_until_complete(asked)
        told = {name.lower(): value for name, value in reply.headers.items()}
        return reply.status, self.loop.run_until_complete(reply.read()), told

    def put(self, key: str = KEY, body: bytes = BODY, **headers: str) -> int:
        return self.ask("PUT", key, body, headers=headers)[0]

    def begin(self, key: str = KEY) -> str:
        """Begin a multipart upload: its id."""
        self.ask("POST", f"{key}?uploads")
        return next(reversed(self.world.mind.uploads))

    def part(self, upload_id: str, key: str = KEY, body: bytes = BODY) -> int:
        return self.ask("PUT", f"{key}?partNumber=1&uploadId={upload_id}", body)[0]

    def complete(self, upload_id: str, **headers: str) -> int:
        etag = self.world.mind.uploads[upload_id].parts[1].md5.hex()
        body = f"<C><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></C>"
        target = f"{KEY}?uploadId={upload_id}"
        return self.ask("POST", target, body.encode(), headers=headers)[0]

    def kill(self) -> None:
        """Another process asks from now on."""
        self.world.generation += 1

    def wait(self, seconds: float) -> None:
        self.loop._jump.passed_s += seconds

    def odd(self, option: str, answer: Answer | None) -> None:
        """The server refuses an option with this answer, or ignores it."""
        self.world.options._odd[option] = _Odd(answer, True, self.loop.time())


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.loop.close()


# -- what tries the server is no log


def test_an_object_and_a_part_of_one_byte_below_tmp_are_no_logs(wire: Wire) -> None:
    assert wire.put(PROBE, b"x") == 200
    assert wire.put(PROBE, b"x", **UNLESS_THERE) == 412
    for _ in range(2):
        assert wire.part(wire.begin(PROBE), PROBE, b"x") == 200
    assert wire.ask("DELETE", PROBE)[0] == 204
    assert wire.world.invariants.parts_sent == 0


def test_anything_longer_below_tmp_is_what_no_file_ever_held(wire: Wire) -> None:
    with pytest.raises(InvariantBroken, match="no file ever held"):
        wire.put(PROBE, b"xy")


def test_what_is_planned_for_a_log_does_not_meet_what_tries_the_server(wire: Wire) -> None:
    wire.world.racing = True
    assert wire.put(PROBE, b"x") == 200
    assert wire.world.racing
    assert wire.world.invariants.strangers == {}


# -- servers with odd options


@pytest.mark.parametrize("option", USES)
def test_what_asks_for_a_refused_option_is_refused_and_all_else_is_done(
    wire: Wire, option: str
) -> None:
    method, target, headers = USES[option]
    wire.put()
    wire.world.mind.things.pop(f"{HOME}copy", None)
    wire.odd(option, Answer(400))
    body = BODY if method == "PUT" and target == KEY else None
    if body is not None:
        wire.wait(125.0)

    refused = wire.ask(method, target, body, headers=headers)
    done = wire.ask(method, target, body)

    assert refused[0] == 400
    assert done[0] == 200


def test_a_checksum_that_is_ignored_is_not_kept(wire: Wire) -> None:
    wire.odd("body checksum", None)

    assert wire.put(**CRC32) == 200  # a false one, and nothing notices

    assert not wire.world.mind.things[KEY].told_crc32


def test_a_head_that_does_not_ask_for_checksums_gets_none(wire: Wire) -> None:
    wire.put(**{"x-amz-checksum-crc32": crc32_base64(zlib.crc32(BODY))})
    mode = {"x-amz-checksum-mode": "ENABLED"}

    assert "x-amz-checksum-crc32" in wire.ask("HEAD", KEY, headers=mode)[2]
    assert "x-amz-checksum-crc32" not in wire.ask("HEAD", KEY)[2]
    wire.odd("checksum mode", None)
    assert "x-amz-checksum-crc32" not in wire.ask("HEAD", KEY, headers=mode)[2]


def test_a_complete_that_brings_a_checksum_is_refused_and_one_without_is_done(wire: Wire) -> None:
    upload_id = wire.begin()
    wire.part(upload_id)
    wire.odd("checksum at complete", refusal(400, "BadDigest"))
    told = {"x-amz-checksum-crc32": crc32_base64(zlib.crc32(BODY))}

    assert wire.complete(upload_id, **told) == 400
    assert wire.complete(upload_id) == 200


def test_what_is_stored_is_shown_late(wire: Wire) -> None:
    wire.world.options.late_reads()
    wire.put()

    assert wire.ask("HEAD", KEY)[0] == 404
    assert wire.ask("GET", KEY)[:2] == (200, BODY)
    wire.wait(25.0)
    assert wire.ask("HEAD", KEY)[0] == 200


@pytest.mark.parametrize(("how", "status"), [("no such key", 404), ("no parts", 200)])
def test_the_parts_of_a_gone_upload_are_spoken_of_in_other_words(
    wire: Wire, how: str, status: int
) -> None:
    upload_id = wire.begin()
    wire.world.options.gone_as = how
    assert b"NoSuchKey" not in wire.ask("GET", f"{KEY}?uploadId={upload_id}")[1]
    wire.world.mind.collect(0)

    told, body, _ = wire.ask("GET", f"{KEY}?uploadId={upload_id}")

    assert told == status
    assert b"NoSuchUpload" not in body
    assert b"<Part>" not in body


# -- the invariants


def test_a_body_that_was_refused_for_an_option_must_not_ask_for_it_again(wire: Wire) -> None:
    wire.odd("body checksum", Answer(400))
    wire.put(**CRC32)
    wire.wait(1.0)

    with pytest.raises(InvariantBroken, match="a body checksum that S3 had refused"):
        wire.put(**CRC32)


def test_a_body_may_be_refused_once_in_each_process_and_each_time(wire: Wire) -> None:
    wire.odd("body checksum", Answer(400))
    for _ in range(2):
        assert wire.put(**CRC32) == 400
        wire.kill()
    assert wire.put(**CRC32) == 400
    wire.wait(1.0)
    wire.odd("body checksum", Answer(501))
    assert wire.put(**CRC32) == 501
    assert wire.put() == 200


@pytest.mark.parametrize("how", ["a lie", "no answer", "no permission"])
def test_a_process_that_could_not_try_the_server_may_send_one_more_body(
    wire: Wire, how: str
) -> None:
    wire.odd("body checksum", Answer(400))
    wire.put(**CRC32)
    wire.wait(1.0)
    _try_in_vain(wire, how)

    assert wire.put(**CRC32) == 400
    wire.wait(1.0)
    assert wire.put(PROBE, b"x") == 200
    with pytest.raises(InvariantBroken, match="a body checksum that S3 had refused"):
        wire.put(**CRC32)


def _try_in_vain(wire: Wire, how: str) -> None:
    if how == "no permission":
        wire.world.mind.forbidden.add("PutObject")
        assert wire.put(PROBE, b"x") == 403
        wire.world.mind.forbidden.clear()
        return
    lost = Fault("deaf", deaf=True) if how == "no answer" else Fault("500", say=Answer(500))
    wire.world.planned.append(("*", lost))
    with contextlib.suppress(aiohttp.ServerDisconnectedError):
        wire.put(PROBE, b"x")


def test_what_s3_has_stored_must_not_come_again_for_a_while(wire: Wire) -> None:
    wire.put()
    wire.wait(100.0)

    with pytest.raises(InvariantBroken, match="was stored and came again"):
        wire.put()


def test_what_s3_had_stored_may_come_again_when_it_was_waited_for(wire: Wire) -> None:
    wire.put()
    wire.wait(125.0)
    assert wire.put() == 200


def test_what_another_process_was_told_this_one_need_not_know(wire: Wire) -> None:
    wire.put()
    wire.kill()
    assert wire.put() == 200


def test_the_parts_of_a_completed_upload_must_not_come_again_because_it_is_gone(
    wire: Wire,
) -> None:
    upload_id = wire.begin()
    wire.part(upload_id)
    wire.complete(upload_id)
    assert wire.ask("GET", f"{KEY}?uploadId={upload_id}")[0] == 404

    with pytest.raises(InvariantBroken, match="was confirmed and came again"):
        wire.part(wire.begin())


def test_the_parts_of_an_upload_that_was_told_to_be_gone_may_come_again(wire: Wire) -> None:
    for how in ("no parts", "no such key", ""):
        upload_id = wire.begin()
        assert wire.part(upload_id) == 200
        wire.world.options.gone_as = how
        wire.world.mind.collect(0)
        wire.ask("GET", f"{KEY}?uploadId={upload_id}")


def test_a_missing_bucket_does_not_say_that_an_upload_is_gone(wire: Wire) -> None:
    upload_id = wire.begin()
    wire.part(upload_id)
    wire.world.mind.exists = False
    assert wire.ask("GET", f"{KEY}?uploadId={upload_id}")[0] == 404
    wire.world.mind.exists = True

    with pytest.raises(InvariantBroken, match="was confirmed and came again"):
        wire.part(wire.begin())


def test_no_part_is_begun_of_an_upload_that_was_called_gone(wire: Wire) -> None:
    upload_id = wire.begin()
    wire.world.mind.collect(0)
    assert wire.part(upload_id) == 404
    wire.wait(1.0)

    with pytest.raises(InvariantBroken, match="called gone"):
        wire.part(upload_id)


@pytest.mark.parametrize("told_by", ["a lie", "a refusal", "silence"])
def test_a_stranger_that_was_there_at_the_look_stays_also_without_conditions(
    wire: Wire, told_by: str
) -> None:
    wire.world.stranger(KEY)
    _conditions_fail(wire, told_by)
    assert wire.ask("HEAD", KEY)[0] == 200

    with pytest.raises(InvariantBroken, match="was a stranger's and is overwritten"):
        wire.put(**UNLESS_THERE if told_by == "silence" else {})


@pytest.mark.parametrize("told_by", ["a lie", "a refusal", "silence"])
def test_a_stranger_that_came_after_the_look_cannot_be_known_without_conditions(
    wire: Wire, told_by: str
) -> None:
    _conditions_fail(wire, told_by)
    assert wire.ask("HEAD", KEY)[0] == 404
    wire.wait(0.1)
    wire.world.stranger(KEY)

    assert wire.put(**UNLESS_THERE if told_by == "silence" else {}) == 200


def _conditions_fail(wire: Wire, told_by: str) -> None:
    if told_by == "silence":
        wire.odd("condition", None)
        return
    if told_by == "a lie":
        wire.world.planned.append(("*", Fault("501", say=Answer(501))))
    else:
        wire.odd("condition", Answer(400))
    assert wire.put(f"{HOME}other", **UNLESS_THERE) in {400, 501}


def test_a_copy_that_keeps_its_condition_says_nothing_of_that_of_a_body(wire: Wire) -> None:
    assert wire.put() == 200
    _conditions_fail(wire, "a refusal")
    assert wire.ask("PUT", f"{HOME}copy", headers=UNLESS_THERE)[0] == 200
    assert wire.ask("HEAD", f"{HOME}second")[0] == 404
    wire.wait(0.1)
    wire.world.stranger(f"{HOME}second")

    assert wire.put(f"{HOME}second") == 200


def test_a_listing_is_a_look_at_a_key_too(wire: Wire) -> None:
    _conditions_fail(wire, "a refusal")
    assert wire.ask("GET", f"?list-type=2&prefix={KEY}&max-keys=1")[0] == 200
    wire.wait(0.1)
    wire.world.stranger(KEY)

    assert wire.put() == 200


def test_a_stranger_that_a_listing_named_is_not_overwritten(wire: Wire) -> None:
    _conditions_fail(wire, "a refusal")
    wire.world.stranger(KEY)
    assert wire.ask("GET", f"?list-type=2&prefix={KEY}&max-keys=1")[0] == 200

    with pytest.raises(InvariantBroken, match="was a stranger's and is overwritten"):
        wire.put()


def test_a_server_that_ignores_what_it_once_knew_cannot_be_seen_through(wire: Wire) -> None:
    wire.world.stranger(KEY)
    assert wire.put(**UNLESS_THERE) == 412
    wire.kill()
    wire.odd("condition", None)
    assert wire.put(**UNLESS_THERE) == 200


def test_a_probe_that_shows_a_server_to_ignore_conditions_makes_a_look_due(wire: Wire) -> None:
    wire.world.stranger(KEY)
    assert wire.put(**UNLESS_THERE) == 412
    wire.kill()
    wire.odd("condition", None)
    for _ in range(2):
        assert wire.put(PROBE, b"x", **UNLESS_THERE) == 200

    assert wire.ask("HEAD", KEY)[0] == 200
    with pytest.raises(InvariantBroken, match="was a stranger's and is overwritten"):
        wire.put()


def test_a_412_shows_that_conditions_are_kept_although_they_are_lost_before_it_is_heard(
    wire: Wire,
) -> None:
    assert wire.put(PROBE, b"x") == 200
    wire.loop.call_later(
        1.5 * wire.world.latency_s, wire.odd, "condition", None
    )  # while the answer is on its way
    assert wire.put(PROBE, b"x", **UNLESS_THERE) == 412
    assert "condition" in wire.world.options._odd
    wire.world.stranger(KEY)

    assert wire.put(**UNLESS_THERE) == 200, "it cannot be seen through"


def test_a_stranger_that_comes_after_the_look_is_not_seen_where_conditions_were_ignored(
    wire: Wire,
) -> None:
    wire.odd("condition", None)
    for _ in range(2):
        assert wire.put(PROBE, b"x", **UNLESS_THERE) == 200
    assert wire.ask("HEAD", KEY)[0] == 404
    wire.wait(0.1)
    wire.world.stranger(KEY)
    wire.world.options._odd.clear()  # it knows them again, and nothing has told

    assert wire.put() == 200


@pytest.mark.parametrize("told_by", ["nothing", "a refusal"])
def test_a_stranger_that_is_deleted_is_a_broken_law(wire: Wire, told_by: str) -> None:
    if told_by == "a refusal":
        _conditions_fail(wire, told_by)
    wire.ask("HEAD", KEY)
    wire.wait(0.1)
    wire.world.stranger(KEY)
    with pytest.raises(InvariantBroken, match="was a stranger's"):
        wire.ask("DELETE", KEY)


@pytest.mark.parametrize(("ino", "mtime_ns"), [(1, 3_600 * 10**9), (2, 0)])
def test_a_file_whose_time_or_inode_moved_has_one_row(
    wire: Wire, tmp_path: Path, ino: int, mtime_ns: int
) -> None:
    invariants, path = wire.world.invariants, "/logs/log1x.ulg"
    invariants.held_by(Accepted(path, len(BODY), mtime_ns), BODY)
    invariants.gone.add(path)
    file = Identity(7, 1, len(BODY), 0)
    entry = Entry(path, file, KEY, "log1x.ulg", "ulog", "complete", {}, 0, 0)
    with contextlib.closing(Outbox(tmp_path / "outbox.db", boot_id="boot-1")) as outbox:
        one = entering.enqueue(outbox, entry)
    twin = replace(one, id=2, ino=ino, mtime_ns=mtime_ns)
    why = {1: "it waits", 2: "it waits"}

    invariants.on_rows([one, replace(twin, asked_key=f"{HOME}a.ulg")], why)  # that one has its own
    with pytest.raises(InvariantBroken, match="more than one row"):
        invariants.on_rows([one, twin], why)
    invariants.excused.add("log1x")
    invariants.on_rows([one, twin], why)  # somebody has written to it


# -- all of it can befall


def test_every_act_is_a_verb(wire: Wire, tmp_path: Path) -> None:
    simulation = Simulation(wire.world, Drone(wire.world, wire.loop, tmp_path), random.Random(0))
    for name in ACTS:
        assert callable(simulation._act(name))


@pytest.mark.parametrize("moved_s", [0, 3600])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cards_are_mounted_anew_with_the_same_bytes(
    wire: Wire, tmp_path: Path, seed: int, moved_s: int
) -> None:
    drone = Drone(wire.world, wire.loop, tmp_path)
    simulation = Simulation(wire.world, drone, random.Random(seed))
    simulation.logs.new_log()
    simulation.logs.event()
    before = {path: (path.stat(), path.read_bytes()) for path in tmp_path.glob("*/*")}

    simulation.logs.remount(moved_s, other_inodes=True)

    assert len(before) == 2
    for path, (was, body) in before.items():
        status = path.stat()
        keeps = simulation.logs.events_keep if path.suffix == ".xml" else ""
        assert (status.st_ino == was.st_ino) == (keeps == "inodes")
        assert status.st_mtime_ns - was.st_mtime_ns == (0 if keeps == "times" else moved_s * 10**9)
        assert path.read_bytes() == body
        assert simulation.logs.living[str(path)].mtime_ns == status.st_mtime_ns
    assert wire.world.invariants.excused == set()
