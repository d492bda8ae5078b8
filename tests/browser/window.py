"""A browser window on the status page, which notes whatever should not happen in it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

AXE: list[Path] = []
"""Where axe-core is, once the environment is made."""
_WAITS_MS = 20_000


def slowness() -> float:
    """By how much this machine is slowed down by others now: 1 where it is idle."""
    began, cpu = time.perf_counter(), time.process_time()
    sum(range(3_000_000))
    spent = max(time.process_time() - cpu, 1e-6)
    return max(1.0, (time.perf_counter() - began) / spent) * (1 + psutil.cpu_percent(0.2) / 100)


@dataclass
class Window:
    """``page``: of Playwright; ``origin``: the only one that may be asked."""

    page: Any
    origin: str
    wrong: list[str] = field(default_factory=list)
    """Errors of scripts, refusals of the content policy, requests that leave the robot."""

    def watch(self) -> None:
        """Note what goes wrong from now on."""
        self.page.set_default_timeout(_WAITS_MS)
        self.page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        self.page.on("console", self._console)
        self.page.on("request", self._request)

    def _console(self, said: Any) -> None:
        # A robot that is away, or asks for its token, is no fault of the page.
        if said.type in {"error", "warning"} and "Failed to load resource" not in said.text:
            self.wrong.append(f"console: {said.text}")

    def _request(self, request: Any) -> None:
        there = urlsplit(request.url)
        if f"{there.scheme}://{there.netloc}" != self.origin:
            self.wrong.append(f"asked: {request.url}")

    # -- what it shows

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).first.inner_text())

    @property
    def headline(self) -> str:
        return self.text("#headline")

    def row(self, name: str) -> Any:
        """The row of the log with this name; it may not be there yet."""
        return self.page.locator("#list > .row").filter(has_text=name)

    def shows(self, what: str, within_s: float = 20) -> None:
        """Wait until an expression of JavaScript is true in the page, asked as a debugger does."""
        deadline = time.monotonic() + within_s
        while not self.page.evaluate(what):
            assert time.monotonic() < deadline, f"not in time: {what}"
            self.page.wait_for_timeout(30)

    def says(self, selector: str, text: str, within_s: float = 20) -> None:
        """Wait until the text is in the first of these elements."""
        where, wanted = json.dumps(selector), json.dumps(text)
        self.shows(f"document.querySelector({where})?.innerText.includes({wanted})", within_s)

    def row_says(self, name: str, text: str, within_s: float = 20) -> None:
        """Wait until the row of a log has this text."""
        here = f"row.innerText.includes({json.dumps(name)}) && row.innerText.includes("
        self.shows(
            f"[...document.querySelectorAll('.row')].some((row) => {here}{json.dumps(text)}))",
            within_s,
        )

    # -- what a person does

    def open(self, name: str) -> Any:
        """Open the details of a log; gives them."""
        self.row(name).locator("a").click()
        details = self.page.locator("#details")
        details.wait_for(state="visible")
        return details

    def press(self, name: str) -> None:
        """Press a button in the details."""
        self.page.locator("#details").get_by_role("button", name=name, exact=True).click()

    def told(self, text: str) -> None:
        """Wait until the page has said what was done."""
        self.page.locator("#said, .said").get_by_text(text).first.wait_for()

    def reach(self, true: Callable[[], bool], key: str = "Tab", most: int = 40) -> None:
        """Press a key until something is so."""
        for _ in range(most):
            if true():
                return
            self.page.keyboard.press(key)
        raise AssertionError("the keyboard does not get there")

    def focused(self) -> str:
        """What has the focus, in its own words."""
        return str(
            self.page.evaluate(
                "document.activeElement.innerText || document.activeElement.id"
                " || document.activeElement.tagName"
            )
        )

    def violations(self) -> list[str]:
        """What axe-core finds wrong: rule, and the elements."""
        (script,) = AXE
        # The policy lets no other script into the page: it is evaluated as a debugger does.
        self.page.evaluate(script.read_text())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{one['id']}: {[node['html'][:160] + node['failureSummary'] for node in one['nodes']]}"
            for one in found["violations"]
        ]
