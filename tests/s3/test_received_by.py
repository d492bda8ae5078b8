"""Object and row tell by which way a log came in: found by this machine, or handed over."""

from __future__ import annotations

import ast
import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from robot import HOME, SMALL, TWO_PARTS, Robot
from wired import KEY, OTHER, Wired, noise

import petal_s3
from petal_s3.host.proxy import S3BucketProxy
from petal_s3.intake import descriptions
from petal_s3.intake.spooling import adopt_copies
from petal_s3.objects.copy import METADATA_BYTES, Copier
from petal_s3.outbox import queries
from petal_s3.outbox.rows import Row
from petal_s3.service import sessions, temporary_files
from petal_s3.service.views.objects import PresignView

PACKAGE = Path(petal_s3.__file__).parent


async def body_of(robot: Robot, seed: int = 0) -> AsyncIterator[bytes]:
    path = robot.tmp / f"body-{seed}.ulg"
    robot.store.copy(path, SMALL, seed)
    yield path.read_bytes()


async def posted(robot: Robot, seed: int = 0) -> Row:
    return await robot.service.receive(body_of(robot, seed), "flight.ulg", received_by="rest")


async def newest(robot: Robot) -> Row:
    return (await robot.service.outbox(queries.rows, None, 1))[0]


async def by_scan(robot: Robot) -> Row:
    robot.write()
    await robot.service.watcher.scan_and_accept()
    return await newest(robot)


async def by_proxy(robot: Robot) -> Row:
    proxy = S3BucketProxy(service=robot.service)
    told = await proxy.enqueue(robot.write(), received_by="scan")  # a petal says what it likes
    return await robot.row(told["id"])


async def by_session(robot: Robot) -> Row:
    text = robot.tmp / "agent.log"
    text.write_text("what an agent saw\n" * 10)
    return await sessions.enter_log(robot.service, text, "s-1")


async def by_session_result(robot: Robot) -> Row:
    return await sessions.enter_result(robot.service, "s-1", {"found": 1})


WAYS: dict[str, tuple[Callable[[Robot], Awaitable[Row]], str]] = {
    "scan": (by_scan, "scan"),
    "posted": (posted, "rest"),
    "proxy": (by_proxy, "proxy"),
    "session log": (by_session, "session"),
    "session result": (by_session_result, "session"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.guarantee(
    "attack",
    "a log was posted, or handed over by another program",
    "its row and its object say so: it is told from one that the robot recorded",
)
@pytest.mark.threat("wifi")
@pytest.mark.threat("sibling")
async def test_row_and_object_say_how_a_log_came_in(robot: Robot, way: str) -> None:
    enter, said = WAYS[way]
    row = await enter(robot)

    done = await robot.finish(row)

    assert done.state == "verified"
    assert (await robot.service.row(row.id)).received_by == said
    assert robot.head(done.key)["Metadata"]["received-by"] == said


async def test_a_log_of_many_parts_says_it_too(robot: Robot) -> None:
    done = await robot.finish(await robot.land(size=TWO_PARTS, received_by="cli"))
    assert robot.head(done.key)["Metadata"]["received-by"] == "cli"


def test_every_front_end_says_which_way_it_is() -> None:
    """No call that lets a log in may leave it out; those of another way are said by their row."""
    silent = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and _enters(node):
                named = {keyword.arg for keyword in node.keywords}
                more = "received_by" in ast.unparse(node) or path.name == "service.py"
                silent += [] if "received_by" in named or more else [f"{path}:{node.lineno}"]
    assert silent == []


def _enters(node: ast.Call) -> bool:
    called = [node.func, *node.args[:1]]  # partial(Service.enqueue, ...)
    names = {one.attr for one in called if isinstance(one, ast.Attribute)}
    whose = {ast.unparse(one.value) for one in called if isinstance(one, ast.Attribute)}
    service = {"service", "self.service", "self._service", "Service"} & whose
    plain = isinstance(node.func, ast.Name) and node.func.id in {"RowOptions", "Description"}
    adds = ast.unparse(node.func) == "signing.presign" and _names_a_method(node)
    enters = adds or bool(names & {"enqueue", "receive"} and service)
    return enters or (plain and bool(node.keywords))


def _names_a_method(node: ast.Call) -> bool:
    return any(keyword.arg == "method" for keyword in node.keywords)


# -- what is put straight into the bucket, by a URL


async def put_by_url(made: PresignView, body: bytes, headers: dict[str, str]) -> int:
    def put() -> int:
        asked = urllib.request.Request(made.url, body, headers, method="PUT")
        try:
            with urllib.request.urlopen(asked, timeout=10) as got:
                return int(got.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    return await asyncio.to_thread(put)


@pytest.mark.guarantee(
    "attack",
    "an object is put by a URL that adds one, with another word for how it came in, or with none",
    "the word is signed into the URL: no other is taken, and the object says it",
)
@pytest.mark.threat("sibling")
async def test_what_is_put_by_a_url_says_who_has_made_the_url(wired: Wired) -> None:
    made = await wired.proxy.generate_presigned_url(KEY, method="PUT")
    view = PresignView.model_validate(dict(made))
    named = {"x-amz-meta-received-by": "proxy"}
    assert named.items() <= view.headers.items()

    without = {name: value for name, value in view.headers.items() if name not in named}
    assert await put_by_url(view, b"x", {**without, "x-amz-meta-received-by": "scan"}) == 403
    assert await put_by_url(view, b"x", without) == 403
    assert await put_by_url(view, b"x", dict(view.headers)) == 200
    about = (await wired.proxy.head_object(KEY))["metadata"]
    assert about["received-by"] == "proxy"


async def test_what_is_handed_over_by_key_says_it_too(robot: Robot) -> None:
    made = await temporary_files.begin(robot.service, "s-1", "plan.pdf", 3)
    assert await put_by_url(made, b"abc", dict(made.headers)) == 200
    inline = await temporary_files.take_inline(robot.service, "s-1", "a.bin", "YWJj")
    for key in (made.s3_key, inline.s3Key):
        assert robot.head(key)["Metadata"]["received-by"] == "session"


# -- it lasts


@pytest.mark.guarantee(
    "attack",
    "a log was posted, and the outbox was lost before it was sent",
    "the copy in the spool still says that it was posted",
)
async def test_the_copy_in_the_spool_knows_it_without_the_outbox(robot: Robot) -> None:
    await posted(robot)
    await robot.service.stop()
    for file in robot.state.glob("outbox.db*"):
        file.unlink()

    service = await robot.open()
    await adopt_copies(service.intake)
    row = await newest(robot)
    done = await robot.finish(row)

    assert row.received_by == "rest"
    assert robot.head(done.key)["Metadata"]["received-by"] == "rest"


async def test_a_description_with_another_word_says_nothing(robot: Robot) -> None:
    row = await posted(robot)
    about = Path(row.path).with_name(f".{Path(row.path).name}.about")
    about.write_text(about.read_text().replace('"rest"', '"robot"'))
    assert descriptions.described(Path(row.path)).received_by == ""


async def test_a_row_that_is_taken_up_again_says_what_it_said(robot: Robot) -> None:
    row = await posted(robot)
    await robot.service.cancel(row.id)
    again = await robot.service.retry(row.id)
    assert (again.state, again.received_by) == ("queued", "rest")


async def test_a_log_that_was_entered_and_then_found_keeps_its_first_way(robot: Robot) -> None:
    row = await robot.land(received_by="rest")
    await robot.service.watcher.scan_and_accept()
    assert (await newest(robot)).id == row.id
    assert (await robot.row(row)).received_by == "rest"


async def test_a_file_that_is_no_log_says_it_too(robot: Robot) -> None:
    (robot.logs / "no.ulg").write_bytes(b"no log at all" * 10)
    await robot.service.watcher.scan_and_accept()
    row = await newest(robot)
    assert (row.state, row.received_by) == ("dead", "scan")


@pytest.mark.guarantee(
    "attack",
    "a log that is up was posted, and its recorder's file of the same bytes is found",
    "it is there already: nothing is sent, and the object says on what it said",
)
async def test_what_is_there_already_does_not_depend_on_it(robot: Robot) -> None:
    first = await robot.finish(await posted(robot))
    sent = robot.ledger.body_bytes
    path = robot.logs / "flight.ulg"
    robot.store.copy(path, SMALL, 0)
    await robot.service.watcher.scan_and_accept()
    done = await robot.finish(await newest(robot))

    assert (done.state, done.same_as, done.received_by) == ("verified", first.id, "scan")
    assert robot.ledger.body_bytes == sent
    assert robot.head(first.key)["Metadata"]["received-by"] == "rest"


@pytest.mark.threat(
    "sibling",
    "it gives a log a fact named like the mark that says how a log came in",
    "the mark stays what petal-s3 says",
)
async def test_a_fact_of_that_name_does_not_speak_in_its_place(robot: Robot) -> None:
    facts = {"received-by": "scan"}
    done = await robot.finish(await robot.land(received_by="rest", facts=facts))
    assert robot.head(done.key)["Metadata"]["received-by"] == "rest"


@pytest.mark.parametrize("limit", [1 << 40, 1 << 20], ids=["in one request", "by ranges"])
async def test_a_moved_object_keeps_it_also_where_its_metadata_are_full(
    wired: Wired, limit: int
) -> None:
    marks = {"moved-from": KEY, "moved-etag": "e" * 32, "a": ""}
    left = METADATA_BYTES - sum(len(name) + len(text) for name, text in marks.items())
    wired.put(KEY, noise(6 << 20), x_amz_meta_a="y" * (left - 5), x_amz_meta_received_by="rest")
    wired.objects.copier = Copier(wired.service.s3, limit)

    assert (await wired.proxy.move_file(KEY, OTHER))["success"] is True

    about = (await wired.proxy.head_object(OTHER))["metadata"]
    assert about["received-by"] == "rest"
    assert HOME in about["moved-from"]
