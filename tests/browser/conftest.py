"""Fixtures: Debian's chromium, driven by a Playwright from an environment of its own."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from petal_s3.demo.services import EmbeddedS3
from tests.browser.window import AXE, Window
from tests.rest.apis import Api, Standing, in_host, standing
from tests.servers.environments import CannotBeHadError, environment

NAMES = ("chromium", "chromium-browser", "google-chrome")
SMALL_SCREEN = (390, 844)

Opens = Callable[..., Window]


@pytest.fixture(scope="session")
def _browser() -> Iterator[Any]:
    chromium = next((path for name in NAMES if (path := shutil.which(name))), None)
    if chromium is None:
        pytest.skip("There is no chromium: `scripts/test browser` installs it where it may.")
    try:
        made = environment("browser")
    except CannotBeHadError as error:
        pytest.skip(str(error))
    AXE[:] = [made / "node_modules/axe-core/axe.min.js"]
    (packages,) = made.glob("lib/python*/site-packages")
    # At the end: what is ours comes first.
    sys.path.append(str(packages))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's sandbox does not run as root, and there is nothing but our page in it.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(_browser: Any) -> Iterator[Opens]:
    """Opens the page of an api: ``opened(api.url, size=(390, 844), dark=True)``.

    At the end nothing may have gone wrong in any of them.
    """
    windows: list[Window] = []

    def opens(
        url: str, *, size: tuple[int, int] = (1280, 900), dark: bool = False, slash: bool = True
    ) -> Window:
        context = _browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            timezone_id="Europe/Berlin",
            permissions=["clipboard-write"],
        )
        there = urlsplit(url)
        window = Window(context.new_page(), f"{there.scheme}://{there.netloc}")
        windows.append(window)
        window.watch()
        window.page.goto(f"{url}/" if slash and not url.endswith("/") else url)
        return window

    yield opens
    for window in windows:
        window.page.context.close()
    assert [wrong for window in windows for wrong in window.wrong] == []


@pytest.fixture(scope="module")
def _stand(
    _browser: Any, _s3_server: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Standing]:
    with standing(_s3_server, tmp_path_factory.mktemp("stand")) as stand:
        yield stand


@pytest.fixture
def api(_stand: Standing) -> Iterator[Api]:
    """The stand-alone server."""
    yield _stand.api
    _stand.api.mend()


@pytest.fixture(scope="module", params=["stand-alone", "host"])
def _door(
    request: pytest.FixtureRequest,
    _browser: Any,
    _s3_server: EmbeddedS3,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Api]:
    directory = tmp_path_factory.mktemp("door")
    if request.param == "host":
        pytest.importorskip("petal_app_manager")
        with in_host(_s3_server, directory, PETAL_S3_MAX_RATE="2MB") as api:
            yield api
    else:
        with standing(_s3_server, directory, max_rate=2_000_000) as stand:
            yield stand.api


@pytest.fixture
def slow(_door: Api) -> Iterator[Api]:
    """The stand-alone server, then the real host; both send 2 MB/s."""
    yield _door
    _door.mend()
