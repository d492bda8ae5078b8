"""The robot goes away, in one way or another, and comes back: the page stays and goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from petal_s3.core.loop_thread import LoopThread
from petal_s3.demo.link import Link
from petal_s3.web.server import Server
from tests.browser.conftest import Opens
from tests.rest.apis import Api, Standing, log


@pytest.fixture
def line(api: Api) -> Iterator[Any]:
    """A line to the robot that can be cut, and can fall silent: ``line(Link.cut)``."""
    thread = LoopThread("line")
    link = Link(api.url)

    async def tell(verb: Any) -> None:
        verb(link)

    thread.run(link.start())
    told = lambda verb: thread.run(tell(verb))  # noqa: E731
    told.url = link.url  # type: ignore[attr-defined]
    try:
        yield told
    finally:
        thread.run(link.stop())
        thread.close()


@pytest.mark.guarantee(
    "links",
    "the robot stops, or leaves the network, while its page is open in a browser",
    "the page says since when, shows what was known, and goes on by itself when the robot is back",
)
def test_a_robot_that_stops_is_told_with_what_was_known_and_its_return_too(
    _stand: Standing, api: Api, opened: Opens
) -> None:
    api.stored(log(), "known.ulg")
    window = opened(api.url)
    window.row("known.ulg").wait_for()
    _stand.thread.run(_stand.server.stop())
    window.says("#away", "Robot not reachable since ", 8)
    assert window.row("known.ulg").is_visible()
    assert window.page.get_by_role("button", name="Look now").is_disabled()
    assert window.violations() == []

    again = Server(_stand.service, host="127.0.0.1", port=_stand.server.port, token=None)
    _stand.thread.run(again.start())
    try:
        window.told("The robot is reachable again")
        assert window.page.locator("#away").is_hidden()
        api.stored(log(), "new.ulg")
        window.row_says("new.ulg", "proven")
        window.page.context.close()
    finally:
        _stand.thread.run(again.stop())
        _stand.server = Server(
            _stand.service, host="127.0.0.1", port=_stand.server.port, token=None
        )
        _stand.thread.run(_stand.server.start())


def test_a_line_that_falls_silent_is_noticed_without_a_reset(
    line: Any, api: Api, opened: Opens
) -> None:
    window = opened(line.url)
    window.page.locator("#robot").wait_for(state="visible")

    def silent(link: Link) -> None:
        link.silence()
        link.black_hole()

    line(silent)
    began = time.monotonic()
    window.says("#away", "Robot not reachable since ", 30)
    assert time.monotonic() - began < 20
    line(Link.reset)
    line(Link.forward)
    window.told("The robot is reachable again")
    window.page.context.close()


@pytest.fixture
def no_events(api: Api) -> Iterator[str]:
    """A proxy under a prefix that gives no events; its address."""
    import aiohttp

    thread = LoopThread("proxy")

    async def forward(request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if path == "events":
            return web.json_response({"error": "No.", "code": "", "status": 502}, status=501)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method,
                f"{api.url}/{path}?{request.query_string}",
                data=await request.read(),
            ) as answer,
        ):
            headers = {"Content-Type": answer.headers["Content-Type"]}
            return web.Response(body=await answer.read(), status=answer.status, headers=headers)

    async def start() -> tuple[web.AppRunner, int]:
        app = web.Application()
        app.router.add_route("*", "/robots/one/{path:.*}", forward)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, runner.addresses[0][1]

    runner, port = thread.run(start())
    yield f"http://127.0.0.1:{port}/robots/one/"
    thread.run(runner.cleanup())
    thread.close()


def test_behind_a_proxy_without_events_the_page_asks_by_itself(
    no_events: str, api: Api, opened: Opens
) -> None:
    window = opened(no_events)
    window.page.locator("#robot").wait_for(state="visible")
    api.stored(log(), "polled.ulg")
    window.row_says("polled.ulg", "proven", 15)
    window.page.get_by_role("button", name="Look now").click()
    window.page.locator("#said p").wait_for()
    window.page.context.close()
