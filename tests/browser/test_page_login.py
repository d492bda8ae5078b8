"""A robot with a token: the page asks for it once, and the browser keeps something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from petal_s3.demo.services import EmbeddedS3
from tests.browser.conftest import SMALL_SCREEN, Opens
from tests.rest.apis import Api, log, standing

TOKEN = "a-token-of-forty-characters-or-so-0123456"


@pytest.fixture(scope="module")
def locked(
    _browser: Any, _s3_server: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    directory = tmp_path_factory.mktemp("locked")
    with standing(_s3_server, directory, token=TOKEN, signed=True) as stand:
        yield stand.api


def enter(window: Any, token: str) -> None:
    window.page.locator("#login").wait_for(state="visible")
    window.page.get_by_label("Token").fill(token)
    window.page.keyboard.press("Enter")


@pytest.mark.guarantee(
    "attack",
    "somebody looks into the browser that has opened the page of a robot with a token",
    "neither cookie nor storage has the token, and no script can read the cookie",
)
def test_the_token_is_asked_for_once_and_never_kept(locked: Api, opened: Opens) -> None:
    locked.stored(log(), "behind.ulg")
    window = opened(locked.url, size=SMALL_SCREEN)
    window.page.locator("#login").wait_for(state="visible")
    assert window.focused() == "token"
    assert "behind.ulg" not in window.page.content()
    enter(window, "not-the-token-of-this-robot-at-all-no")
    window.says("#login-error", "That is not the token of this robot.")
    assert window.violations() == []
    enter(window, TOKEN)
    window.row("behind.ulg").wait_for()
    assert window.page.locator("#login").is_hidden()

    cookie, *others = window.page.context.cookies()
    assert others == []
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert TOKEN not in cookie["value"]
    assert TOKEN not in str(window.page.evaluate("JSON.stringify(localStorage)"))
    assert window.page.evaluate("document.cookie") == ""

    window.page.reload()
    window.row("behind.ulg").wait_for()
    window.page.get_by_role("button", name="Look now").click()
    window.told("No new file.")

    window.page.get_by_role("button", name="Log out").click()
    window.page.locator("#login").wait_for(state="visible")
    assert "behind.ulg" not in window.text("body")
    window.page.reload()
    window.page.locator("#login").wait_for(state="visible")


def test_a_login_that_is_over_asks_again_and_shows_what_is_new(locked: Api, opened: Opens) -> None:
    window = opened(locked.url)
    enter(window, TOKEN)
    window.page.locator("#robot").wait_for(state="visible")
    window.page.context.clear_cookies()
    window.page.get_by_role("button", name="Look now").click()
    window.page.locator("#login").wait_for(state="visible")
    assert window.page.locator("#logout").is_hidden()
    locked.stored(log(), "later.ulg")
    enter(window, TOKEN)
    window.row("later.ulg").wait_for()
