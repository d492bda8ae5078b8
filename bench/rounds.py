"""Rounds in turn: each tool once in each round, what it takes to start taken off."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from .peers import Tool, room
from .process import Failed, Used, used
from .sink import Sink

Rounds = dict[str, list[Used]]
"""What each tool has used, round by round."""


class Turns:
    """Rounds on one sink at one URL. What a tool takes to start is measured once in each round of
    the first files, and is the same for those that follow."""

    def __init__(self, sink: Sink, url: str, little: str, rounds: int) -> None:
        """``little``: a file that each tool sends alone, to see what it takes to start."""
        self.sink, self.url, self.rounds = sink, url, rounds
        self._little = little
        self._starts: Rounds = {}

    def send(self, tools: Sequence[Tool], files: list[str]) -> Rounds:
        """Send ``files`` with each tool in each round, in another order each time.

        A tool that fails is left out, with a sentence on standard error.
        """
        found: Rounds = {tool.name: [] for tool in tools}
        for number in range(self.rounds):
            turn = number % len(tools)
            for tool in [*tools[turn:], *tools[:turn]]:
                if tool.name not in found:
                    continue
                try:
                    self._start(tool)
                    sent = once(self.sink, self.url, tool, [self._little, *files])
                except Failed as failed:
                    print(f"{tool.name} is left out: {failed}", file=sys.stderr)
                    del found[tool.name]
                else:
                    found[tool.name].append(sent)
        starts = {name: _middle(self._starts[name]) for name in found}
        return {name: [whole - starts[name] for whole in found[name]] for name in found}

    def _start(self, tool: Tool) -> None:
        starts = self._starts.setdefault(tool.name, [])
        if len(starts) < self.rounds:
            starts.append(once(self.sink, self.url, tool, [self._little]))


def _middle(starts: Sequence[Used]) -> Used:
    """What it takes to start, without the noise of one round."""
    cpu_s = statistics.median(one.cpu_s for one in starts)
    wall_s = statistics.median(one.wall_s for one in starts)
    requests = statistics.median_low([one.requests for one in starts])
    return Used(cpu_s, wall_s, "", requests)


def once(sink: Sink, url: str, tool: Tool, files: list[str]) -> Used:
    """Send files on a sink that has forgotten all before."""
    with room(sink, url, Path(files[-1]).parent) as env:
        found = used(tool.command(sink, url, files), _clean(env))
        asked = sink.reset()
        return replace(found, requests=sum(asked[op] for op in asked if op != "body_bytes"))


def _clean(env: Mapping[str, str]) -> dict[str, str]:
    """With nothing of the caller's settings in it."""
    bare = {n: "" for n in os.environ if n.lower().endswith("_proxy") and n.lower() != "no_proxy"}
    return {**bare, **env}
