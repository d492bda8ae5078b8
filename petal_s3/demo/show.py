"""Run the demo: everything local, a flight, a cut link, a killed host, and the proof."""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from rich.console import Console
from rich.filesize import decimal

from petal_s3.core.settings import MIB
from petal_s3.demo.audit import Finding
from petal_s3.demo.play import Show
from petal_s3.demo.screen import Screen
from petal_s3.demo.stage import Stage, set_up
from petal_s3.demo.watching import ShowFailed

BIG_BYTES = 210 * MIB
_RATE_BYTES_S = 12 * MIB
_LAST_LINES = 25


def run(keep: bool = False, *, console: Console | None = None, big_bytes: int = BIG_BYTES) -> int:
    """Play the whole demo; 0 when everything that it promises was seen to hold, else 1.

    ``keep`` leaves everything running until Ctrl-C. ``big_bytes``: size of the largest log,
    at least 30 MiB, so that there is a middle to cut.
    """
    began = time.monotonic()
    screen = Screen(console or Console())
    # About 20 s for everything, whatever the size: long enough to be seen.
    rate = min(_RATE_BYTES_S, big_bytes / 10)
    try:
        with set_up(room_bytes=2 * big_bytes, rate_bytes_s=rate) as stage:
            return _perform(Show(stage, screen, big_bytes), began, keep=keep)
    except KeyboardInterrupt:
        screen.say("interrupted; everything is stopped and gone", "red")
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        screen.say(f"the stage could not be set up: {error}", "red")
    return 1


def _perform(show: Show, began: float, *, keep: bool) -> int:
    try:
        show.screen.title(
            "petal-s3: one flight, an autopilot's card, four logs, a cut link, a killed host"
        )
        findings = show.play()
    except ShowFailed as error:
        _tell_failure(show, str(error))
        return 1
    except Exception as error:  # noqa: BLE001 - whatever it was, the host's last words help
        _tell_failure(show, f"{type(error).__name__}: {error}".splitlines()[0])
        return 1
    troubles = [f"{one.key}: {one.trouble}" for one in findings if one.trouble]
    if troubles:
        _tell_failure(show, "; ".join(troubles))
    else:
        show.screen.say(_summary(findings, time.monotonic() - began), "bold green")
    if keep:
        _keep(show.stage, show.screen)
    return 1 if troubles else 0


def _summary(findings: Sequence[Finding], took_s: float) -> str:
    size = decimal(sum(one.size for one in findings))
    return (
        f"{len(findings)} logs, {size}: identical in S3 and on disk, each one proven;"
        " cut off and killed half-way, and no confirmed part was sent again;"
        f" {took_s:.0f} s in all."
    )


def _tell_failure(show: Show, reason: str) -> None:
    show.screen.act(f"Failed: {reason}")
    lines = show.stage.host.log_text().splitlines()[-_LAST_LINES:]
    show.screen.say("the last lines of the host's log:")
    for line in lines:
        show.screen.say(line, "dim")


def _keep(stage: Stage, screen: Screen) -> None:
    screen.act("Everything runs on until Ctrl-C")
    screen.facts(
        [
            ("S3 server", stage.s3.url),
            ("session tokens", stage.tokens.url),
            ("host", stage.host.url),
            ("petal", f"{stage.petal_url}/status"),
            ("log directory", str(stage.log_dir)),
            ("try", f"PETAL_S3_CONFIG={stage.settings_file} petal-s3 status"),
        ]
    )
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        screen.say("stopping")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="run on until Ctrl-C")
    parser.add_argument("--big-bytes", type=int, default=BIG_BYTES, help="the largest log")
    given = parser.parse_args()
    return run(given.keep, big_bytes=given.big_bytes)


if __name__ == "__main__":
    sys.exit(main())
