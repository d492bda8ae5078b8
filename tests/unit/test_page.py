"""The status page is made of files that hold no data, and may run nothing but those files."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from petal_s3.web.page import POLICY, static_files


class Tags(HTMLParser):
    """What a browser makes of a page: its tags with their attributes, and text inside of some."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline = ""
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in {"script", "style"}:
            self.inline += data.strip()


def page() -> Tags:
    return Tags(static_files()["index.html"].content.decode())


@pytest.mark.guarantee(
    "attack",
    "a name that is a script, on the status page",
    "the page comes without any name in it; its policy runs and shows nothing but its own files",
)
@pytest.mark.threat("wifi")
def test_the_page_may_run_and_load_only_its_own_files() -> None:
    rules = dict(rule.strip().partition(" ")[::2] for rule in POLICY.split(";"))
    assert rules == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    seen = page()
    assert seen.inline == "", "its policy would not run it"
    for tag, attributes in seen.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag


def test_what_the_page_asks_for_is_there_and_relative_to_where_it_is() -> None:
    asked = [
        value
        for _, attributes in page().tags
        for name, value in attributes.items()
        if name in {"src", "href"} and not value.startswith(("data:", "#"))
    ]
    assert asked
    for one in asked:
        folder, _, name = one.partition("/")
        assert (folder, name in static_files()) == ("static", True), one


@pytest.mark.parametrize("suffix", [".css", ".js"])
def test_its_styles_and_scripts_ask_for_nothing_from_elsewhere(suffix: str) -> None:
    files = {name: one for name, one in static_files().items() if name.endswith(suffix)}
    assert files
    for name, file in files.items():
        text = re.sub(r"http://www\.w3\.org/\S+", "", file.content.decode())  # names, not addresses
        assert not re.search(r"https?://|url\(['\"]?//|@import", text), name


def test_the_page_is_small() -> None:
    assert sum(len(file.content) for file in static_files().values()) <= 60 * 1024
