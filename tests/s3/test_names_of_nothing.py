"""A name or a path that nothing can have is one error with its code, also for other programs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from robot import HOME, SMALL, Robot

from petal_s3.errors import S3IntegrationError, as_json
from petal_s3.host.proxy import S3BucketProxy
from petal_s3.service import sessions, temporary_files

BAD = {
    "a name of 300 characters": f"{'a' * 300}.ulg",
    "a folder of 300 characters": f"{'d' * 300}/a.ulg",
    "a path that is too long": f"{'d/' * 3000}a.ulg",
    "half a pair of surrogates": "\ud800.ulg",
    "a NUL": "a\0.ulg",
}
LONG_NAMES = ["a" * 300 + ".ulg", "\ud800.ulg"]
LONG_KEY = f"{HOME}{'k' * 1100}.ulg"
Way = Callable[[Robot, S3BucketProxy, str], Awaitable[Any]]

PATHS: dict[str, Way] = {
    "enqueue": lambda robot, _, path: robot.service.enqueue(path),
    "enqueue inside": lambda robot, _, path: robot.service.enqueue(path, inside_only=True),
    "log of a session": lambda robot, _, path: sessions.enter_log(robot.service, path, "s-1"),
    "proxy enqueue": lambda _, proxy, path: proxy.enqueue(path),
    "proxy upload": lambda _, proxy, path: proxy.upload_file(path),
    "proxy log of a session": lambda _, proxy, path: proxy.sessions.upload_log(path, "s-1"),
}
NAMES: dict[str, Way] = {
    "upload": lambda robot, proxy, name: proxy.upload_file(robot.write(), custom_filename=name),
    "stream": lambda robot, proxy, name: proxy.stream_upload(body(robot), name),
    "receive": lambda robot, _, name: robot.service.receive(body(robot), name),
    "hand over": lambda robot, _, name: temporary_files.begin(robot.service, "s-1", name, 3),
    "hand over here": lambda robot, _, name: temporary_files.take_inline(
        robot.service, "s-1", name, "YWJj"
    ),
    "result": lambda robot, _, name: sessions.enter_result(robot.service, "s-1", {}, name),
}
KEYS: dict[str, Way] = {
    "upload": lambda robot, proxy, key: proxy.upload_file(robot.write(), custom_s3_key=key),
    "enqueue": lambda robot, proxy, key: proxy.enqueue(robot.write(), key=key),
    "list": lambda _, proxy, key: proxy.list_files(key),
    "download": lambda robot, proxy, key: proxy.download_file(key, str(robot.tmp / "got")),
    "delete": lambda _, proxy, key: proxy.delete_file(key),
    "head": lambda _, proxy, key: proxy.head_object(key),
    "move from": lambda _, proxy, key: proxy.move_file(key, f"{HOME}a.ulg"),
    "move to": lambda _, proxy, key: proxy.move_file(f"{HOME}a.ulg", key),
    "presign": lambda _, proxy, key: proxy.generate_presigned_url(key),
    "range": lambda _, proxy, key: proxy.get_file_range(key, 0, 1),
}


async def body(robot: Robot) -> Any:
    path = robot.tmp / "body.ulg"
    robot.store.copy(path, SMALL, 1)
    yield path.read_bytes()


@pytest.fixture
async def proxy(robot: Robot) -> Any:
    made = S3BucketProxy(service=robot.service)
    yield made
    await made.stop()


async def told(robot: Robot, proxy: S3BucketProxy, way: Way, given: str) -> dict[str, Any]:
    """The error as REST would answer it, raised or returned."""
    try:
        answer = await way(robot, proxy, given)
    except S3IntegrationError as error:
        answer = as_json(error)
    assert robot.sql("SELECT count(*) FROM log") == [(0,)]
    assert len(answer["error"]) < 400
    return dict(answer)


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("way", PATHS)
async def test_a_path_that_no_file_can_have_is_bad_input(
    robot: Robot, proxy: S3BucketProxy, way: str, bad: str
) -> None:
    answer = await told(robot, proxy, PATHS[way], f"{robot.logs}/{BAD[bad]}")
    assert answer["status"] == 400
    assert answer["code"] in {"bad_name", "bad_path"}


@pytest.mark.parametrize("name", LONG_NAMES)
@pytest.mark.parametrize("way", NAMES)
async def test_a_name_that_no_file_can_have_is_bad_input(
    robot: Robot, proxy: S3BucketProxy, way: str, name: str
) -> None:
    answer = await told(robot, proxy, NAMES[way], name)
    assert (answer["status"], answer["code"]) == (400, "bad_name")


@pytest.mark.parametrize("way", KEYS)
async def test_a_key_that_no_object_can_have_is_bad_input(
    robot: Robot, proxy: S3BucketProxy, way: str
) -> None:
    answer = await told(robot, proxy, KEYS[way], LONG_KEY)
    assert (answer["status"], answer["code"]) == (400, "bad_input")


async def test_a_download_to_where_no_file_can_lie_is_a_bad_path(
    robot: Robot, proxy: S3BucketProxy
) -> None:
    key = (await robot.finish(await robot.land())).key
    for name in ("a" * 300, "d/" * 3000 + "a"):
        answer = await proxy.download_file(key, str(robot.tmp / name))
        assert (answer["status"], answer["code"]) == (400, "bad_path"), name
    assert Path(robot.tmp).exists()
