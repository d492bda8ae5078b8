"""Uploads that nobody owns any more are found and aborted; nothing depends on it."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from aiohttp import web
from rich.console import Console
from robot import (
    BUCKET,
    DROP,
    HOME,
    LOSE_ANSWER,
    MACHINE,
    PART,
    PORTAL_PAGE,
    TWO_PARTS,
    UNWELL,
    Robot,
    refusal,
    until,
)

from petal_s3.cleanup.stale_uploads import Pass
from petal_s3.cli import screen
from petal_s3.demo.faults import Fault, says
from petal_s3.demo.ledger import Request
from petal_s3.errors import LocalStorageError, NotS3, S3BucketError
from petal_s3.objects.ownership import KeyOwnership
from petal_s3.outbox.rows import Row
from petal_s3.s3 import lifecycle, multipart
from petal_s3.service.snapshot import read_status

DENIED = refusal(403, "AccessDenied")
LISTING = "ListMultipartUploads"
RULES = "Other"  # the ledger has no name for the question after lifecycle rules
LOST = HOME + "lost.ulg"
DAY = timedelta(days=1)
PORTALS = (
    says(200),
    says(200, PORTAL_PAGE, {"Content-Type": "text/html"}),
    says(200, b"<html><body/></html>"),
)


def begin(robot: Robot, key: str = LOST) -> str:
    """Somebody begins an upload, long ago as this stand-in tells it; returns its id."""
    return str(robot.cloud.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"])


def xml(name: str, inner: str, **headers: str) -> Fault:
    body = f"<?xml version='1.0'?><{name}>{inner}</{name}>"
    return says(200, body.encode(), {"Content-Type": "application/xml", **headers})


def listing(
    *uploads: tuple[str, str, datetime], bucket: str = BUCKET, following: str = "", **headers: str
) -> Fault:
    """What S3 says of open uploads: key, id, begun at; ``following``: there are more."""
    told = "".join(
        f"<Upload><Key>{key}</Key><UploadId>{upload_id}</UploadId>"
        f"<Initiated>{begun.isoformat()}</Initiated></Upload>"
        for key, upload_id, begun in uploads
    )
    more = f"<NextKeyMarker>{following}</NextKeyMarker>" if following else ""
    inner = f"<Bucket>{bucket}</Bucket>{more}<IsTruncated>{str(bool(following)).lower()}"
    return xml("ListMultipartUploadsResult", f"{inner}</IsTruncated>{told}", **headers)


def holds(key: str, upload_id: str, stored: datetime) -> Fault:
    """What S3 says of an upload that holds one part."""
    return xml(
        "ListPartsResult",
        f"<Bucket>{BUCKET}</Bucket><Key>{key}</Key><UploadId>{upload_id}</UploadId>"
        f"<IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber><Size>5</Size>"
        f'<ETag>"x"</ETag><LastModified>{stored.isoformat()}</LastModified></Part>',
    )


def ago(age: timedelta) -> datetime:
    return datetime.now(timezone.utc) - age


def say(robot: Robot, first: Fault) -> None:
    """One pass hears this of home, and that nothing is open below the other roots."""
    robot.fault(LISTING, first)
    others = len(robot.service.ownership.owned_prefixes) - 1
    robot.fault(LISTING, listing(), times=others)


async def collect(robot: Robot) -> Pass:
    return await robot.service.orphans.collect()


async def half_sent(robot: Robot) -> Row:
    """A row of which S3 holds the first part."""
    robot.fault("UploadPart", DROP, part=2)
    return await robot.attempt(await robot.land(size=TWO_PARTS))


async def of_unheard_id(robot: Robot, name: str = "flight.ulg", **more: Any) -> Row:
    """A row whose upload S3 has begun, but whose id never arrived."""
    robot.fault("CreateMultipartUpload", LOSE_ANSWER)
    row = await robot.attempt(await robot.land(name, size=TWO_PARTS, **more))
    assert (row.upload_id, len(robot.open_uploads())) == (None, 1)
    return row


# -- what is collected, and what is not


@pytest.mark.guarantee(
    "orphans", "an upload that no row owns", "it is aborted when nobody added to it for a day"
)
async def test_an_upload_that_no_row_owns_is_aborted(
    robot: Robot, caplog: pytest.LogCaptureFixture
) -> None:
    begin(robot)

    with caplog.at_level(logging.INFO, "petal_s3"):
        await robot.service.drainer.turn()

    assert robot.open_uploads() == []
    assert robot.service.orphans.aborted == 1
    assert f"orphan aborted key={LOST}" in caplog.text


async def test_orphans_are_looked_for_below_every_prefix_of_this_machine(robot: Robot) -> None:
    roots = robot.service.ownership.owned_prefixes
    for root in roots:
        begin(robot, root + "lost.ulg")

    found = await collect(robot)

    assert found == Pass(listed=4, aborted=4, refused=False)
    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "orphans", "the upload of a log that waits is old", "it is kept, and goes on where it was"
)
async def test_an_upload_that_a_row_owns_is_left_alone(robot: Robot) -> None:
    row = await half_sent(robot)
    robot.service.orphans.age_s = -60  # everything is old

    found = await collect(robot)
    done = await robot.finish(row)

    assert (found.listed, found.aborted) == (1, 0)
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


async def test_the_upload_of_a_cancelled_row_that_is_tried_again_is_left_alone(
    robot: Robot,
) -> None:
    row = await half_sent(robot)
    robot.service.orphans.age_s = -60  # everything is old
    await robot.service.cancel(row.id)

    found = await collect(robot)
    await robot.service.retry(row.id)

    assert found.aborted == 0

    robot.assert_sent_once(await robot.finish(row), robot.logs / "flight.ulg")


@pytest.mark.guarantee(
    "orphans", "another machine's upload is stale", "it is neither listed nor aborted"
)
@pytest.mark.threat("neighbour")
async def test_uploads_of_other_machines_are_left_alone(robot: Robot) -> None:
    theirs = [
        f"flight_logs/{MACHINE}1/lost.ulg",
        "flight_logs/drone-002/lost.ulg",
        "flight_logs/lost.ulg",
        "deleted/drone-002/lost.ulg",
        "lost.ulg",
    ]
    for key in theirs:
        begin(robot, key)

    found = await collect(robot)

    assert found.listed == 0
    assert sorted(key for key, _ in robot.open_uploads()) == sorted(theirs)


async def test_a_key_that_escapes_its_folder_is_never_touched(robot: Robot) -> None:
    for name in ("../drone-002/lost.ulg", "x//lost.ulg", ""):
        say(robot, listing((HOME + name, "id", ago(9 * DAY))))

        assert (await collect(robot)).listed == 0

    assert robot.count("AbortMultipartUpload") == 0


@pytest.mark.guarantee(
    "orphans",
    "a second outbox of this machine has begun an upload",
    "for a day by S3's clock it is left alone",
)
async def test_a_young_upload_is_left_alone(robot: Robot) -> None:
    for device_is_ahead in (timedelta(0), 3650 * DAY, -3650 * DAY):
        robot.service.s3.clock.wall = lambda off=device_is_ahead: ago(-off).timestamp()
        upload_id = begin(robot)

        say(robot, listing((LOST, upload_id, ago(DAY - timedelta(minutes=2)))))
        young = await collect(robot)
        say(robot, listing((LOST, upload_id, ago(DAY + timedelta(minutes=2)))))
        old = await collect(robot)

        assert (young.aborted, old.aborted) == (0, 1)
        assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "orphans",
    "a second outbox sends one log for days",
    "while its parts arrive it is left alone",
)
async def test_an_old_upload_to_which_parts_are_added_is_left_alone(robot: Robot) -> None:
    upload_id = begin(robot)
    robot.cloud.upload_part(Bucket=BUCKET, Key=LOST, UploadId=upload_id, PartNumber=1, Body=b"x")

    in_use = await collect(robot)
    robot.fault("ListParts", holds(LOST, upload_id, ago(DAY + timedelta(minutes=2))))
    at_rest = await collect(robot)

    assert (in_use.aborted, at_rest.aborted) == (0, 1)
    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "orphans", "nobody tells the time, and the device is years ahead", "nothing is aborted"
)
async def test_without_the_time_of_s3_nothing_is_old(robot: Robot) -> None:
    upload_id = begin(robot)
    robot.service.s3.clock.wall = lambda: ago(-9 * 365 * DAY).timestamp()
    robot.fault(LISTING, listing((LOST, upload_id, ago(9 * DAY)), Date="nonsense"))
    robot.fault(LISTING, listing(Date="nonsense"), times=3)

    found = await collect(robot)

    assert (found.listed, found.aborted) == (1, 0)
    assert robot.open_uploads() == [(LOST, upload_id)]


async def test_an_upload_without_a_date_is_never_old(robot: Robot) -> None:
    upload_id = begin(robot)
    upload = f"<Upload><Key>{LOST}</Key><UploadId>{upload_id}</UploadId></Upload>"
    say(robot, xml("ListMultipartUploadsResult", f"<Bucket>{BUCKET}</Bucket>{upload}"))

    found = await collect(robot)

    assert (found.listed, found.aborted) == (1, 0)
    assert robot.open_uploads() == [(LOST, upload_id)]


@pytest.mark.guarantee(
    "orphans", "S3 has just given an id that is not in its row yet", "that upload is left alone"
)
async def test_an_upload_whose_id_is_not_written_down_yet_is_left_alone(robot: Robot) -> None:
    async def look_first(request: Request) -> Fault:
        upload_id = begin(robot, request.key)
        say(robot, listing((request.key, upload_id, ago(timedelta(seconds=1)))))
        await collect(robot)
        told = f"<Bucket>{BUCKET}</Bucket><Key>{request.key}</Key><UploadId>{upload_id}</UploadId>"
        return xml("InitiateMultipartUploadResult", told)

    robot.fault("CreateMultipartUpload", look_first)

    done = await robot.attempt(await robot.land(size=TWO_PARTS))

    robot.assert_sent_once(done, robot.logs / "flight.ulg")


async def test_an_upload_that_ends_while_it_is_looked_at_is_no_failure(robot: Robot) -> None:
    upload_id = begin(robot)
    say(robot, listing((LOST, upload_id, ago(9 * DAY))))
    robot.cloud.abort_multipart_upload(Bucket=BUCKET, Key=LOST, UploadId=upload_id)

    assert await collect(robot) == Pass(listed=1, aborted=0, refused=False)


@pytest.mark.guarantee(
    "orphans",
    "the outbox was lost in the middle of an upload",
    "the log is sent anew, the old parts are collected a day later",
)
async def test_what_a_lost_outbox_had_begun_is_collected(robot: Robot) -> None:
    row = await half_sent(robot)
    await robot.service.stop()
    robot.database.unlink()
    service = await robot.open()
    await service.scan()
    await service.landed()

    done = await robot.attempt(1)
    soon = await collect(robot)
    still_open = robot.open_uploads()
    robot.fault("ListParts", holds(row.key, str(row.upload_id), ago(DAY + timedelta(minutes=2))))
    later = await collect(robot)

    assert (soon.aborted, still_open) == (0, [(row.key, row.upload_id)])
    assert later.aborted == 1
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


# -- when S3 does not let us, or somebody else answers


@pytest.mark.guarantee(
    "orphans", "listing uploads is not granted", "nothing depends on it, no token is given up"
)
async def test_nothing_depends_on_the_permission_to_list(robot: Robot) -> None:
    row = await of_unheard_id(robot)
    robot.tokens.fail_with(503)  # a token given up now could not be replaced

    for refused in (refusal(405, "MethodNotAllowed"), refusal(501, "NotImplemented"), DENIED):
        robot.heal()
        robot.always(LISTING, refused)
        robot.always(RULES, refused)
        assert await collect(robot) == Pass(listed=0, aborted=0, refused=True)
    done = await robot.attempt(row)

    assert done.state == "verified"
    assert robot.service.orphans.advice == []
    assert robot.tokens.fetches == 1


async def test_nothing_depends_on_the_permission_to_abort(robot: Robot) -> None:
    begin(robot)
    for op in ("AbortMultipartUpload", "ListParts"):
        robot.always(op, DENIED)

        assert await collect(robot) == Pass(listed=1, aborted=0, refused=True)
        robot.heal()

    assert (await collect(robot)).aborted == 1


@pytest.mark.guarantee(
    "orphans",
    "a bad bucket, when asked after a lost upload",
    "that is no missing permission: it is asked again",
)
async def test_another_refusal_is_no_missing_permission(robot: Robot) -> None:
    row = await of_unheard_id(robot)
    await robot.service.cancel(row.id)
    robot.fault(LISTING, refusal(404, "NoSuchBucket"))

    await robot.service.drainer.housekeeping.sweep()
    not_yet = robot.open_uploads()
    await robot.service.drainer.housekeeping.sweep()

    assert len(not_yet) == 1
    assert robot.open_uploads() == []


async def test_a_row_that_was_given_up_does_not_wait_for_the_permission_to_list(
    robot: Robot,
) -> None:
    row = await of_unheard_id(robot)
    await robot.service.cancel(row.id)
    robot.fault(LISTING, refusal(501, "NotImplemented"))

    await robot.service.drainer.housekeeping.sweep()

    assert (await robot.row(row)).part_size is None
    assert (await collect(robot)).aborted == 1


async def test_a_bad_bucket_ends_the_pass(robot: Robot) -> None:
    robot.fault(LISTING, refusal(404, "NoSuchBucket"))

    with pytest.raises(S3BucketError):
        await collect(robot)


@pytest.mark.guarantee(
    "orphans", "a captive portal answers", "nothing counts as aborted, the next look collects it"
)
async def test_a_portal_collects_nothing(robot: Robot) -> None:
    begin(robot)
    for op in (LISTING, "ListParts", "AbortMultipartUpload"):
        for portal in PORTALS:
            robot.fault(op, portal)

            with pytest.raises(NotS3):
                await collect(robot)

    assert robot.service.orphans.aborted == 0
    assert (await collect(robot)).aborted == 1


@pytest.mark.guarantee(
    "orphans",
    "a server lists all open uploads, whatever prefix is asked for",
    "those of other machines are left alone",
)
async def test_uploads_of_other_machines_in_a_listing_are_left_alone(robot: Robot) -> None:
    old = ago(9 * DAY)
    foreign = "flight_logs/drone-002/lost.ulg"
    theirs = begin(robot, foreign)
    robot.always(LISTING, listing((LOST, begin(robot), old), (foreign, theirs, old)))

    await collect(robot)

    assert robot.open_uploads() == [(foreign, theirs)]


LIES = {"bucket": 1, "without marker": 1, "same page": 2, "ever more": 100}


@pytest.mark.guarantee(
    "orphans",
    "a listing of another bucket, or without an end",
    "it is not believed, nothing is aborted",
)
async def test_a_listing_that_lies_is_not_believed(robot: Robot) -> None:
    old = ago(9 * DAY)
    pages = iter(range(10_000))

    async def answer(_: Request) -> Fault:
        if lie == "bucket":
            return listing((LOST, "id", old), bucket="other")
        if lie == "without marker":
            told = f"<Bucket>{BUCKET}</Bucket><IsTruncated>true</IsTruncated>"
            return xml("ListMultipartUploadsResult", told)
        following = LOST if lie == "same page" else f"{HOME}{next(pages)}"
        return listing((LOST, "id", old), following=following)

    robot.always(LISTING, answer)

    for lie, asked in LIES.items():
        robot.ledger.clear()

        with pytest.raises(NotS3):
            await collect(robot)

        assert robot.count(LISTING) == asked, lie
        assert robot.count("AbortMultipartUpload") == 0, lie


async def test_a_server_that_ignores_the_prefix_does_not_hold_up_a_log(robot: Robot) -> None:
    row = await of_unheard_id(robot)
    mine = robot.open_uploads()[0]
    foreign = ("flight_logs/drone-002/lost.ulg", "id", ago(DAY))
    robot.fault(LISTING, listing(foreign, (*mine, ago(DAY))))

    robot.assert_sent_once(await robot.attempt(row), robot.logs / "flight.ulg")


class Paged:
    """An S3 that lists its open uploads two by two, as asked by prefix and markers."""

    def __init__(self) -> None:
        self.uploads: list[tuple[str, str]] = []
        self.whole_keys_only = False
        self.markers = True
        self.asked = 0

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.asked += 1
        prefix, after = request.query["prefix"], request.query.get("key-marker", "")
        found = [u for u in self.uploads if u[0].startswith(prefix)]
        if self.whole_keys_only:
            found = [u for u in found if u[0] == prefix]
        marker = (after, request.query.get("upload-id-marker", ""))
        if marker in found:
            found = found[found.index(marker) + 1 :]
        elif after:
            found = [u for u in found if u[0] > after]
        page = listing(*((*u, ago(9 * DAY)) for u in found[:2])).say
        assert page is not None
        key, upload_id = found[:2][-1] if found else ("", "")
        marked = (
            f"<NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{upload_id}"
            "</NextUploadIdMarker>"
        )
        more = f"{marked if self.markers else ''}<IsTruncated>true"
        body = page.body.replace(b"<IsTruncated>false", more.encode() * (len(found) > 2) or b"<X>")
        body = body if len(found) > 2 else page.body
        return web.Response(body=body, content_type="application/xml")


@pytest.fixture
async def paged(robot: Robot) -> AsyncIterator[Paged]:
    made = Paged()
    runner = web.ServerRunner(web.Server(made.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await robot.restart(endpoint_url=f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield made
    await robot.service.stop()
    await runner.cleanup()


async def test_a_listing_of_many_pages_is_read_to_its_end(robot: Robot, paged: Paged) -> None:
    # Several ids of one key stand in the order of their beginning, not of their names.
    paged.uploads = [(f"{HOME}{n}.ulg", f"{9 - i}") for n in range(3) for i in range(3)]
    paged.uploads.append((f"{HOME}2.ulg.more", "9"))
    paged.uploads.append(("flight_logs/drone-002/lost.ulg", "9"))

    below = await multipart.uploads_below(robot.service.s3, HOME)
    of_one = await multipart.uploads(robot.service.s3, f"{HOME}2.ulg")

    assert [(one.key, one.upload_id) for one in below] == paged.uploads[:10]
    assert of_one == ["9", "8", "7"]
    assert paged.asked == 5 + 2


@pytest.mark.guarantee(
    "orphans",
    "a listing of uploads is cut, and does not say where to go on (SeaweedFS 4.48)",
    "what is listed is looked at; the others are listed once these are gone",
)
async def test_a_listing_that_does_not_say_where_to_go_on_is_one_page(
    robot: Robot, paged: Paged
) -> None:
    paged.uploads = [(f"{HOME}{n}.ulg", "1") for n in range(5)]
    paged.markers = False

    below = await multipart.uploads_below(robot.service.s3, HOME)

    assert [(one.key, one.upload_id) for one in below] == paged.uploads[:2]
    assert paged.asked == 1


async def test_a_server_that_takes_a_prefix_for_a_whole_key_has_no_orphans(
    robot: Robot, paged: Paged
) -> None:
    paged.uploads = [(LOST, "1"), (LOST, "2"), (LOST, "3")]
    paged.whole_keys_only = True

    assert await multipart.uploads_below(robot.service.s3, HOME) == []
    assert await multipart.uploads(robot.service.s3, LOST) == ["1", "2", "3"]


# -- when it is looked


async def test_orphans_are_looked_for_once_at_a_start_and_then_once_a_day(robot: Robot) -> None:
    later_s = 0.0
    drainer = robot.service.drainer
    now = drainer.timing.now
    drainer.timing.now = lambda: now() + later_s
    asked = []

    for later_s in (0.0, 1.0, 86_000.0, 86_500.0, 86_600.0):  # noqa: B007 - read by the clock
        await drainer.turn()
        asked.append(robot.count(LISTING))

    assert asked == [4, 4, 4, 8, 8]


def questions(robot: Robot) -> list[str]:
    return [op for op in robot.ops() if op != "Token"]


@pytest.mark.guarantee(
    "orphans",
    "the process or the computer starts again and again",
    "orphans are looked for once a day by S3's clock; a start costs one small question",
)
@pytest.mark.parametrize("years", [0, 10, -50])
async def test_a_start_does_not_look_again_for_what_was_looked_for_today(
    robot: Robot, years: int
) -> None:
    """The date of the device may be anything."""
    await robot.service.drainer.turn()
    advice = robot.service.orphans.advice
    wall = robot.service.s3.clock.wall
    asked = []

    for _ in range(3):
        service = await robot.restart()
        service.s3.clock.wall = lambda: wall() + years * 365 * DAY.total_seconds()
        robot.ledger.clear()
        left_s = await robot.service.orphans.collect_if_due()
        asked.append(questions(robot))

    assert asked == [["ListObjectsV2"]] * 3
    assert 86_000 < left_s <= 86_400
    assert robot.service.orphans.advice == advice != []


async def a_day_passes(robot: Robot) -> None:
    robot.sql(
        "UPDATE fact SET value = json_set(value, '$.at', json_extract(value, '$.at') - 86400)"
        " WHERE name LIKE 'orphans %'"
    )


async def test_a_start_a_day_later_looks_again(robot: Robot) -> None:
    await robot.service.drainer.turn()
    await a_day_passes(robot)
    begin(robot)
    await robot.restart()

    await robot.service.drainer.turn()

    assert robot.open_uploads() == []


async def test_a_look_that_failed_is_made_at_the_next_start(robot: Robot) -> None:
    robot.fault(RULES, UNWELL)
    await robot.service.drainer.turn()
    await robot.restart()
    begin(robot)

    await robot.service.drainer.turn()

    assert robot.open_uploads() == []


async def test_a_start_looks_where_s3_does_not_tell_its_time(robot: Robot) -> None:
    await robot.service.drainer.turn()
    await robot.restart()
    robot.fault("ListObjectsV2", page(Date="nonsense"))
    robot.fault(LISTING, listing(Date="nonsense"))
    before = robot.count(LISTING)

    await robot.service.drainer.turn()

    assert robot.count(LISTING) == before + len(robot.service.ownership.listed)


async def test_a_start_that_may_not_list_learns_the_time_from_the_refusal(robot: Robot) -> None:
    await robot.service.drainer.turn()
    await robot.restart()
    robot.fault("ListObjectsV2", DENIED)
    before = robot.count(LISTING)

    await robot.service.drainer.turn()

    assert robot.count(LISTING) == before


async def test_what_was_looked_for_in_another_bucket_says_nothing(robot: Robot) -> None:
    await robot.service.drainer.turn()
    before = robot.count(LISTING)
    await robot.restart(upload_prefix="elsewhere/")

    await robot.service.drainer.turn()

    assert robot.count(LISTING) == before + 4


async def test_a_server_that_has_no_uploads_and_says_so_by_404_has_none(robot: Robot) -> None:
    robot.always(LISTING, refusal(404, "NoSuchUpload"))

    found = await collect(robot)

    assert found == Pass(listed=0, aborted=0, refused=False)


async def test_nothing_is_looked_for_while_rows_are_due(robot: Robot) -> None:
    await robot.land("one.ulg")
    await robot.land("two.ulg", seed=1)
    seen = []

    for _ in range(3):
        await robot.service.drainer.turn()
        seen.append((robot.count("PutObject"), robot.count(LISTING)))

    assert seen == [(1, 0), (2, 0), (2, 4)]


async def test_nothing_is_looked_for_while_the_drain_is_blocked(robot: Robot) -> None:
    row = await half_sent(robot)
    await robot.service.cancel(row.id)
    robot.fault("AbortMultipartUpload", refusal(503, "SlowDown", Retry_After="90"))

    await robot.service.drainer.turn()

    assert robot.service.drainer.block is not None
    assert robot.count(LISTING) == 0


@pytest.mark.guarantee(
    "orphans", "a log lands while orphans are looked for", "the look ends, the log is sent at once"
)
async def test_a_log_that_lands_ends_the_look_for_orphans(robot: Robot) -> None:
    proven = asyncio.Event()

    async def hang(_: Request) -> None:
        await proven.wait()

    robot.fault(LISTING, hang)
    service = await robot.run(request_timeout=1000)
    await until(lambda: robot.count(LISTING) == 1)

    row = await robot.land()
    done = await robot.until_state(row, "verified")
    proven.set()

    robot.assert_sent_once(done, robot.logs / "flight.ulg")
    assert robot.count(LISTING) == 1
    assert service.drainer.housekeeping.tidy_at - service.now() < 60  # it is made later


async def test_arming_ends_the_look_for_orphans(robot: Robot) -> None:
    over = asyncio.Event()

    async def hang(_: Request) -> None:
        await over.wait()

    robot.fault(LISTING, hang)
    service = await robot.run(request_timeout=1000)
    await until(lambda: robot.count(LISTING) == 1)

    service.flight.told(armed=True, now=service.now())
    await until(lambda: service.drainer.housekeeping.tidy_at > 0)
    over.set()

    assert robot.count(LISTING) == 1


async def test_stopping_in_the_middle_of_a_look_stops(robot: Robot) -> None:
    over = asyncio.Event()

    async def hang(_: Request) -> None:
        await over.wait()

    robot.fault(LISTING, hang)
    service = await robot.run(request_timeout=1000)
    await until(lambda: robot.count(LISTING) == 1)

    await asyncio.wait_for(service.stop(), 30)
    over.set()


@pytest.mark.guarantee(
    "orphans", "looking for orphans fails", "no log waits for it, it is tried again by and by"
)
async def test_a_failed_look_blocks_nothing(robot: Robot) -> None:
    begin(robot)
    drainer = robot.service.drainer
    drainer.timing.spread = lambda: 1.0

    for op, fault in (
        (LISTING, DROP),
        (LISTING, refusal(404, "NoSuchBucket")),
        ("ListParts", UNWELL),
        (RULES, UNWELL),
    ):
        robot.always(op, fault)
        drainer.housekeeping.tidy_at, drainer.housekeeping.failures = 0.0, 0
        waits = [await look_once(robot) for _ in range(3)]
        robot.heal()

        assert waits == [32, 64, 128], (op, fault)
        assert drainer.block is None
    done = await robot.attempt(await robot.land())

    assert done.state == "verified"


async def look_once(robot: Robot) -> int:
    """Turn once when a look is due; returns seconds until the next one."""
    drainer = robot.service.drainer
    drainer.housekeeping.tidy_at = 0.0
    await drainer.turn()
    return round(drainer.housekeeping.tidy_at - drainer.timing.now())


async def test_s3_may_ask_for_patience_with_the_look(robot: Robot) -> None:
    robot.fault(LISTING, refusal(503, "SlowDown", Retry_After="3000"))
    drainer = robot.service.drainer

    await drainer.turn()

    assert 2990 < drainer.housekeeping.tidy_at - drainer.timing.now() <= 3000


async def test_a_look_that_crashes_harms_nothing(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash() -> Pass:
        raise ZeroDivisionError

    monkeypatch.setattr(robot.service.orphans, "collect", crash)

    await robot.service.drainer.turn()
    done = await robot.attempt(await robot.land())

    assert "looking for orphans crashed" in caplog.text
    assert done.state == "verified"


# -- the rule of the bucket


def put_rule(robot: Robot, **rule: Any) -> None:
    whole = {"ID": "r", "Status": "Enabled", "AbortIncompleteMultipartUpload": DAYS, **rule}
    rules = {"Rules": [{k: v for k, v in whole.items() if v is not None}]}
    robot.cloud.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=rules)


DAYS = {"DaysAfterInitiation": 7}
TAGS = [{"Key": "a", "Value": "b"}]
ENABLED = (
    "<Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>7"
    "</DaysAfterInitiation></AbortIncompleteMultipartUpload>"
)


async def test_a_rule_counts_when_it_covers_every_key_of_this_machine(robot: Robot) -> None:
    expire = {"AbortIncompleteMultipartUpload": None, "Expiration": {"Days": 365}}
    rules: list[tuple[dict[str, Any], bool]] = [
        ({"Filter": {}}, True),
        ({"Filter": {"Prefix": ""}}, True),
        ({"Filter": {"Prefix": "flight_logs/"}}, True),
        ({"Filter": {"Prefix": HOME}}, True),
        ({"Prefix": "flight_logs/"}, True),
        ({"Filter": {"Prefix": HOME + "2025/"}}, False),
        ({"Filter": {"Prefix": "videos/"}}, False),
        ({"Prefix": "videos/"}, False),
        ({"Filter": {"And": {"Prefix": "flight_logs/", "Tags": TAGS}}}, False),
        ({"Filter": {"Tag": TAGS[0]}}, False),
        ({"Filter": {}, "Status": "Disabled"}, False),
        ({"Filter": {}, **expire}, False),
    ]
    for rule, covers in rules:
        put_rule(robot, **rule)

        assert await lifecycle.stale_upload_rule(robot.service.s3, HOME) is covers, rule


async def test_a_rule_for_large_objects_only_does_not_count(robot: Robot) -> None:
    large = "<Filter><ObjectSizeGreaterThan>500</ObjectSizeGreaterThan></Filter>"
    robot.fault(RULES, xml("LifecycleConfiguration", f"<Rule>{ENABLED}{large}</Rule>"))

    assert await lifecycle.stale_upload_rule(robot.service.s3, HOME) is False


async def test_one_rule_of_many_is_enough(robot: Robot) -> None:
    rules = "".join(
        f"<Rule>{ENABLED}<Filter><And><Prefix>{prefix}</Prefix></And></Filter></Rule>"
        for prefix in ("videos/", "flight_logs/")
    )
    robot.fault(RULES, xml("LifecycleConfiguration", rules))

    assert await lifecycle.stale_upload_rule(robot.service.s3, HOME) is True


async def test_a_bucket_without_any_rule_has_none(robot: Robot) -> None:
    assert await lifecycle.stale_upload_rule(robot.service.s3, HOME) is False


@pytest.mark.guarantee(
    "orphans", "S3 does not say which rules the bucket has", "nobody is told anything wrong"
)
async def test_what_s3_does_not_say_is_unknown(robot: Robot) -> None:
    for answer in (
        DENIED,
        refusal(501, "NotImplemented"),
        refusal(405, "MethodNotAllowed"),
        refusal(404, "NotHere"),
        refusal(400, "InvalidRequest"),
        says(200),
        says(200, b"<html><body/></html>"),
        xml("LifecycleConfiguration", ""),
    ):
        robot.fault(RULES, answer)

        found = await collect(robot)

        assert found.refused is False, answer
        assert robot.service.orphans.advice == [], answer


@pytest.mark.guarantee(
    "orphans", "the bucket has no rule for stale uploads", "the operator is told how to add one"
)
async def test_a_bucket_without_a_rule_brings_advice(
    robot: Robot, caplog: pytest.LogCaptureFixture
) -> None:
    service = robot.service
    service.lock.take()
    before = (await service.status()).advice
    for _ in range(2):
        service.drainer.housekeeping.tidy_at = 0.0
        await service.drainer.turn()
    await service.reporter.publish()

    told = (await service.status()).advice
    seen = io.StringIO()
    found = read_status(service.settings, 10)
    shown = Console(file=seen, width=80)
    screen.show(shown, screen.status_view(found, found.rows, []))

    assert before == []
    [sentence] = told
    assert "the prefix flight_logs/" in sentence
    assert "AbortIncompleteMultipartUpload" in sentence
    assert caplog.text.count(sentence) == 1
    assert sentence in " ".join(seen.getvalue().split())


async def test_advice_that_was_followed_is_no_longer_given(robot: Robot) -> None:
    await collect(robot)
    before = robot.service.orphans.advice

    put_rule(robot, Filter={})
    await collect(robot)

    assert len(before) == 1
    assert robot.service.orphans.advice == []


async def test_without_a_drain_there_is_no_advice_but_its_name(robot: Robot) -> None:
    assert (await robot.service.status()).advice == []


# -- no upload is left without a row


@pytest.mark.guarantee(
    "orphans",
    "cancelled while S3 begins the upload, and listing is not granted",
    "the row keeps the id that arrives, and by it the upload is aborted",
)
async def test_an_id_that_arrives_after_the_cancellation_is_aborted(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot.always(LISTING, DENIED)
    row = await robot.land(size=TWO_PARTS)
    begin = multipart.begin

    async def cancelled_meanwhile(*args: Any, **more: Any) -> Any:
        begun = await begin(*args, **more)
        robot.sql("UPDATE log SET state = 'cancelled', lease = NULL, reason = 'asked'")
        return begun

    monkeypatch.setattr(multipart, "begin", cancelled_meanwhile)
    robot.fault("AbortMultipartUpload", DROP)
    await robot.step()
    not_yet = robot.open_uploads()
    await robot.service.drainer.housekeeping.sweep()

    assert len(not_yet) == 1
    assert (await robot.row(row)).state == "cancelled"
    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "orphans",
    "cancelled, and S3 begins the upload only after we tidied up",
    "it is collected a day later",
)
async def test_an_upload_that_s3_begins_after_the_sweep_is_collected(robot: Robot) -> None:
    swept = asyncio.Event()
    row = await robot.land(size=TWO_PARTS)

    async def act_late(_: Request) -> None:
        await robot.service.cancel(row.id)
        await swept.wait()

    robot.fault("CreateMultipartUpload", act_late)
    await robot.step()
    await robot.service.drainer.turn()
    swept.set()
    await until(robot.open_uploads)

    await collect(robot)

    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "orphans", "the disk is full when S3's id arrives", "the upload is aborted, the log waits"
)
async def test_an_id_that_cannot_be_written_down_is_aborted(robot: Robot) -> None:
    robot.always(LISTING, DENIED)
    service = robot.service

    async def write_protect(_: Request) -> None:
        await service.outbox(lambda box: box.sql.conn.execute("PRAGMA query_only = ON"))

    robot.fault("CreateMultipartUpload", write_protect)
    row = await robot.land(size=TWO_PARTS)
    with pytest.raises(LocalStorageError):
        await robot.step()
    await service.outbox(lambda box: box.sql.conn.execute("PRAGMA query_only = OFF"))
    none_is_left = robot.open_uploads()
    await robot.restart()

    assert none_is_left == []
    robot.assert_sent_once(await robot.attempt(row), robot.logs / "flight.ulg")


async def test_killed_between_the_id_and_its_note_it_is_aborted(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: Any) -> None:
        raise asyncio.CancelledError

    row = await robot.land(size=TWO_PARTS)
    with monkeypatch.context() as patch, pytest.raises(asyncio.CancelledError):
        patch.setattr(multipart, "begin", killed(robot, die))
        await robot.step()
    left = robot.open_uploads()
    await robot.restart()

    assert len(left) == 1
    robot.assert_sent_once(await robot.attempt(row), robot.logs / "flight.ulg")


def killed(robot: Robot, die: Any) -> Any:
    begin = multipart.begin

    async def call(*args: Any, **more: Any) -> Any:
        await begin(*args, **more)
        await die()
        return "", False

    return call


@pytest.mark.guarantee(
    "orphans",
    "the id was never heard, and the key is taken meanwhile",
    "the upload at the old key is aborted first",
)
async def test_an_unheard_upload_goes_before_the_key_changes(robot: Robot) -> None:
    row = await of_unheard_id(robot)
    robot.put(row.key, b"other bytes")

    done = await robot.attempt(row)

    assert (done.state, done.key == row.key) == ("verified", False)
    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "orphans",
    "the id was never heard, and the same bytes arrive another way",
    "the upload is aborted, nothing is sent",
)
async def test_an_unheard_upload_goes_before_the_bytes_are_recognised(robot: Robot) -> None:
    row = await of_unheard_id(robot)
    twin = await robot.attempt(await robot.land("twin.ulg", size=TWO_PARTS, priority=99))
    before = robot.count("UploadPart")

    done = await robot.attempt(row)

    assert (done.state, done.same_as) == ("verified", twin.id)
    assert robot.count("UploadPart") == before
    assert robot.open_uploads() == []


async def test_an_unheard_upload_goes_before_the_part_size_changes(robot: Robot) -> None:
    row = await of_unheard_id(robot)
    await robot.restart(part_size=2 * PART)

    done = await robot.attempt(row)

    assert (done.state, robot.count("PutObject")) == ("verified", 1)
    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "orphans",
    "the id was never heard, and the file changes",
    "the upload is aborted before the new file is sent",
)
@pytest.mark.parametrize("cancelled", [False, True])
async def test_an_unheard_upload_goes_when_the_file_lands_anew(
    robot: Robot, cancelled: bool
) -> None:
    row = await of_unheard_id(robot, priority=0)
    if cancelled:
        robot.sql("UPDATE log SET state = 'dead', reason = 'gone', code = 'source_gone'")
    path = robot.write("flight.ulg", size=TWO_PARTS, seed=1)
    again = await robot.service.enqueue(path)

    done = await robot.finish(row)

    assert again.id == row.id
    assert done.state == "verified"
    assert robot.body(done.key) == path.read_bytes()
    assert robot.open_uploads() == []


async def test_an_unheard_upload_goes_when_the_file_is_gone(robot: Robot) -> None:
    row = await of_unheard_id(robot)
    (robot.logs / "flight.ulg").unlink()

    dead = await robot.attempt(row)
    await robot.service.drainer.housekeeping.sweep()

    assert dead.state == "dead"
    assert robot.open_uploads() == []


@pytest.mark.guarantee(
    "orphans",
    "somebody else completes the same bytes first",
    "the log is proven by them, our own parts are aborted",
)
async def test_our_own_parts_go_when_another_process_brought_the_same_bytes(robot: Robot) -> None:
    row = await robot.land(size=TWO_PARTS)
    path = robot.logs / "flight.ulg"

    async def overtake(request: Request) -> None:
        other = begin(robot, request.key)
        data = path.read_bytes()
        parts = [
            {
                "PartNumber": number,
                "ETag": robot.cloud.upload_part(
                    Bucket=BUCKET, Key=request.key, UploadId=other, PartNumber=number, Body=body
                )["ETag"],
            }
            for number, body in enumerate((data[:PART], data[PART:]), 1)
        ]
        robot.cloud.complete_multipart_upload(
            Bucket=BUCKET, Key=request.key, UploadId=other, MultipartUpload={"Parts": parts}
        )

    robot.fault("CompleteMultipartUpload", overtake)
    robot.fault("AbortMultipartUpload", UNWELL)

    not_yet = await robot.attempt(row)
    done = await robot.attempt(row)

    assert (not_yet.state, not_yet.code) == ("queued", "s3_unwell")
    robot.assert_sent_once(done, path)


@pytest.mark.guarantee(
    "orphans", "S3 fails again and again to say what is open", "the log goes up all the same"
)
async def test_a_log_does_not_wait_for_ever_for_tidying_up(robot: Robot) -> None:
    row = await of_unheard_id(robot)
    robot.always(LISTING, UNWELL)

    done = await robot.finish(row)
    robot.heal()
    await collect(robot)

    assert done.attempts == 4
    robot.assert_sent_once(done, robot.logs / "flight.ulg")


async def test_an_abort_that_s3_refuses_is_made_again(robot: Robot) -> None:
    row = await half_sent(robot)
    await robot.service.cancel(row.id)
    robot.fault("AbortMultipartUpload", UNWELL, times=2)

    for _ in range(3):
        await robot.service.drainer.housekeeping.sweep()

    assert robot.open_uploads() == []
    assert (await robot.row(row)).upload_id is None


# -- what was handed over by key and left

TEMPORARY = HOME + "tmp/s1/left.pdf"


def page(*found: tuple[str, datetime | None], following: str = "", **headers: str) -> Fault:
    """What S3 says of objects: key, last modified."""
    told = "".join(
        f"<Contents><Key>{key}</Key><Size>1</Size><ETag>x</ETag>"
        + (f"<LastModified>{moment.isoformat()}</LastModified>" if moment else "")
        + "</Contents>"
        for key, moment in found
    )
    more = f"<NextContinuationToken>{following}</NextContinuationToken>" if following else ""
    inner = f"<Name>{BUCKET}</Name><IsTruncated>{str(bool(following)).lower()}</IsTruncated>{more}"
    return xml("ListBucketResult", f"{inner}{told}", **headers)


@pytest.mark.guarantee(
    "clock",
    "a file that was handed over is left, on a device whose date is ten years off",
    "it is deleted when it is 24 h old by S3's clock, and not before",
)
async def test_what_was_handed_over_is_deleted_after_a_day_of_s3(robot: Robot) -> None:
    for device_is_ahead in (timedelta(0), 3650 * DAY, -3650 * DAY):
        robot.service.s3.clock.wall = lambda off=device_is_ahead: ago(-off).timestamp()
        robot.put(TEMPORARY, b"left")

        robot.fault("ListObjectsV2", page((TEMPORARY, ago(DAY - timedelta(minutes=2)))))
        await collect(robot)
        young = robot.stored()
        robot.fault("ListObjectsV2", page((TEMPORARY, ago(DAY + timedelta(minutes=2)))))
        await collect(robot)

        assert (young, robot.stored()) == ([TEMPORARY], [])


async def test_only_what_is_temporary_and_ours_is_deleted(robot: Robot) -> None:
    robot.service.orphans.age_s = -60  # everything is old
    row = await robot.finish(await robot.land())
    kept = [
        row.key,
        f"{HOME}tmp",
        f"{HOME}tmp.ulg",
        f"{HOME}xtmp/a",
        f"{HOME}sessions/tmp/logs/a.log",
        f"flight_logs/{MACHINE}1/tmp/s1/a.pdf",
        "flight_logs/drone-002/tmp/s1/a.pdf",
        "flight_logs/tmp/s1/a.pdf",
        f"{MACHINE}/tmp/s1/a.pdf",
        f"deleted/{TEMPORARY}",
    ]
    for key in [*kept[1:], TEMPORARY, f"{HOME}tmp/loose", f"{HOME}tmp/s1/a/b"]:
        robot.put(key, b"x")

    await collect(robot)

    assert sorted(robot.stored()) == sorted(kept)
    assert (await robot.row(row)).state == "verified"


async def test_what_was_handed_over_under_the_id_of_the_host_is_deleted_too(robot: Robot) -> None:
    ownership = KeyOwnership("flight_logs/", (MACHINE, "host-id"), BUCKET)
    robot.service.orphans.ownership = ownership
    robot.service.orphans.age_s = -60
    robot.put("flight_logs/host-id/tmp/s1/a.pdf", b"x")

    await collect(robot)

    assert robot.stored() == []


async def test_without_the_time_of_s3_nothing_temporary_is_old(robot: Robot) -> None:
    robot.put(TEMPORARY, b"x")
    robot.service.s3.clock.wall = lambda: ago(-9 * 365 * DAY).timestamp()
    robot.fault(
        LISTING, listing(Date="nonsense"), times=len(robot.service.ownership.owned_prefixes)
    )
    robot.fault("ListObjectsV2", page((TEMPORARY, ago(9 * DAY)), Date="nonsense"))

    await collect(robot)

    assert robot.stored() == [TEMPORARY]
    assert robot.count("DeleteObject") == 0


async def test_a_temporary_object_without_a_date_is_never_old(robot: Robot) -> None:
    robot.put(TEMPORARY, b"x")
    robot.fault("ListObjectsV2", page((TEMPORARY, None)))

    await collect(robot)

    assert robot.stored() == [TEMPORARY]


@pytest.mark.threat(
    "server",
    "it names logs, or keys that climb, among the temporary objects that are old",
    "nothing is deleted",
)
async def test_a_listing_of_temporary_objects_that_escapes_deletes_nothing(robot: Robot) -> None:
    flight = HOME + "flight.ulg"
    robot.put(flight, b"x")
    for key in (f"{HOME}tmp/../flight.ulg", f"{HOME}tmp/%2e%2e/flight.ulg", f"{HOME}tmp//x"):
        robot.fault("ListObjectsV2", page((key, ago(9 * DAY))))
        await collect(robot)
    robot.fault("ListObjectsV2", page((flight, ago(9 * DAY))))
    with pytest.raises(NotS3):
        await collect(robot)

    assert robot.stored() == [flight]
    assert robot.count("DeleteObject") == 0


async def test_temporary_objects_on_many_pages_are_all_looked_at(robot: Robot) -> None:
    keys = [f"{HOME}tmp/s1/{number}" for number in range(4)]
    for key in keys:
        robot.put(key, b"x")
    old, young = ago(9 * DAY), ago(timedelta(0))
    robot.fault("ListObjectsV2", page((keys[0], old), (keys[1], young), following="a"))
    robot.fault("ListObjectsV2", page((keys[2], old), (keys[3], young)))

    await collect(robot)

    assert robot.stored() == [keys[1], keys[3]]


async def test_a_listing_of_temporary_objects_that_never_ends_ends(robot: Robot) -> None:
    robot.always("ListObjectsV2", page(following="again"))

    await collect(robot)

    assert robot.count("ListObjectsV2") <= 100


@pytest.mark.parametrize("op", ["ListObjectsV2", "DeleteObject"])
async def test_temporary_objects_that_s3_withholds_stop_nothing(
    robot: Robot, op: str, caplog: pytest.LogCaptureFixture
) -> None:
    robot.service.orphans.age_s = -60
    robot.put(TEMPORARY, b"x")
    begin(robot)
    robot.always(op, DENIED)

    found = await collect(robot)

    assert found.aborted == 1
    assert "temporary objects stay" in caplog.text
    assert len(robot.service.orphans.advice) == 1, "what comes after it was done too"
    assert robot.stored() == [TEMPORARY]
