"""The page on a phone and on a desk, light and dark: nothing is cut off, axe-core finds nothing.

With ``PICTURES=docs`` the pictures of the documentation are made here.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from petal_s3.demo.logs import write_bag, write_ulog
from petal_s3.demo.services import EmbeddedS3
from tests.browser.conftest import Opens
from tests.rest.apis import Api, on_card, standing, until

MB = 1_000_000
BUCKET = "acme-flight-logs"
SIZES = {"390": (390, 844), "1280": (1280, 900)}


@pytest.fixture(scope="module")
def robot(
    _browser: Any, _s3_server: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """A robot in the middle of its work: proven, sending, waiting, dead, and on the card."""
    directory = tmp_path_factory.mktemp("robot")
    _s3_server.create_bucket(BUCKET)
    settings = {"bucket_name": BUCKET, "max_rate": 0.4 * MB, "max_file_size": 50 * MB}
    with standing(_s3_server, directory, **settings) as stand:
        api = stand.api
        with closing(sqlite3.connect(api.state / "outbox.db", timeout=20)) as outbox:
            outbox.executemany("INSERT INTO sample VALUES (NULL, ?, ?, ?)", yesterday())
            outbox.commit()
        for ago, hour in ((2, 9), (1, 11), (1, 15)):
            day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - ago * 86_400))
            folder = api.logs / day
            folder.mkdir(exist_ok=True)
            write_ulog(folder / f"{hour:02}_30_22.ulg", 150_000, seed=10 * ago + hour)
        (api.logs / "crashed.ulg").write_bytes(bytes(5_000))
        api.post("/landed")
        until(lambda: api.get("/status").json["counts"]["verified"] == 3)
        until(lambda: api.get("/status").json["counts"]["dead"] == 1)
        day = time.strftime("%Y-%m-%d", time.gmtime())
        (api.logs / day).mkdir()
        write_bag(api.logs / day / f"inspection_{day}-08-12-02.bag", 48 * MB, seed=5)
        write_ulog(api.logs / day / "08_12_00.ulg", 2 * MB, seed=6)
        api.post("/landed")
        until(lambda: api.get("/status").json["counts"]["uploading"] == 1)
        until(lambda: api.get("/status").json["rate_bytes_s"], 60)
        made = int(time.time()) - 9_000
        with closing(sqlite3.connect(api.state / "outbox.db", timeout=20)) as outbox:
            outbox.execute(
                "UPDATE card SET path = ?, size = 18400000, logged_at = ?, reason = 'It was on the"
                " card before the first flight: it is fetched when asked for.' WHERE id = ?",
                (f"{day}/{time.strftime('%H_%M_%S', time.gmtime(made))}.ulg", made, on_card(api)),
            )
            outbox.commit()
        yield api


def yesterday() -> Iterator[tuple[int, int, int]]:
    """Samples of two landings: time, bytes a second, bytes left."""
    now = int(time.time())
    for began, size in ((now - 68_000, 900 * MB), (now - 31_000, 1_400 * MB)):
        left = size
        for minute in range(120):
            rate = MB * (2 + minute // 20 % 3) // 10 if left > 0 else 0
            yield began + 60 * minute, rate, left
            left = max(0, left - 60 * rate)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", SIZES)
def test_nothing_is_cut_off_and_nothing_bars_anybody(
    robot: Api, opened: Opens, width: str, dark: bool
) -> None:
    window = opened(robot.url, size=SIZES[width], dark=dark)
    window.row_says("crashed.ulg", "cannot be sent")
    window.page.wait_for_timeout(500)
    picture(window, f"page-{width}-{'dark' if dark else 'light'}")
    assert wide(window) == []
    assert window.violations() == []
    window.page.locator("#day").evaluate("(day) => { day.open = true; }")
    assert window.violations() == []
    window.open("08_12_00.ulg" if dark else "crashed.ulg")
    window.page.wait_for_timeout(300)
    picture(window, f"details-{width}-{'dark' if dark else 'light'}")
    assert wide(window) == []
    assert window.violations() == []


def test_twice_as_large_letters_fit_a_phone(robot: Api, opened: Opens) -> None:
    window = opened(robot.url, size=SIZES["390"])
    window.row("crashed.ulg").wait_for()
    window.page.evaluate(
        "document.documentElement.style.fontSize = '200%'; dispatchEvent(new Event('resize'))"
    )
    window.page.wait_for_timeout(300)
    assert wide(window) == []
    window.page.locator("#filter").evaluate("(node) => node.scrollIntoView()")
    assert window.page.locator(".row").first.bounding_box()["height"] > 150


def wide(window: Any) -> list[str]:
    """What makes the page scroll sideways."""
    return list(
        window.page.evaluate(
            """() => document.documentElement.scrollWidth <= innerWidth ? []
            : [...document.querySelectorAll('body *')].filter((node) =>
              node.getBoundingClientRect().right > innerWidth + 1).map((node) => node.outerHTML)"""
        )
    )


def picture(window: Any, name: str) -> None:
    """Keep what is seen, where somebody asks for it."""
    if folder := os.environ.get("PICTURES"):
        window.page.screenshot(path=Path(folder) / f"{name}.png")
