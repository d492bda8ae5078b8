"""Rounds in turn: each tool once in each round, what it takes to start taken off."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Mapping, Sequence

from .peers import Tool, room
from .process import Failed, Used, used
from .sink import Sink

Rounds = dict[str, list[Used]]
"""What each tool has used, round by round."""


def interleaved(
    sink: Sink,
    url: str,
    tools: Sequence[Tool],
    little: str,
    files: list[str],
    rounds: int,
) -> Rounds:
    """Send ``files`` with each tool in each round, in another order each time.

    Before, the same tool sends the file ``little`` alone: what that takes is taken off. A tool that
    fails is left out, with a sentence on standard error.
    """
    starts: Rounds = {tool.name: [] for tool in tools}
    wholes: Rounds = {tool.name: [] for tool in tools}
    for number in range(rounds):
        turn = number % len(tools)
        for tool in [*tools[turn:], *tools[:turn]]:
            if tool.name not in wholes:
                continue
            try:
                starts[tool.name].append(once(sink, url, tool, [little]))
                wholes[tool.name].append(once(sink, url, tool, [little, *files]))
            except Failed as failed:
                print(f"{tool.name} is left out: {failed}", file=sys.stderr)
                del wholes[tool.name]
    return {name: [whole - _middle(starts[name]) for whole in wholes[name]] for name in wholes}


def _middle(starts: Sequence[Used]) -> Used:
    """What it takes to start, without the noise of one round."""
    cpu_s, wall_s = (
        statistics.median(values)
        for values in ([one.cpu_s for one in starts], [one.wall_s for one in starts])
    )
    return Used(cpu_s, wall_s, "")


def once(sink: Sink, url: str, tool: Tool, files: list[str]) -> Used:
    """Send files on a sink that has forgotten all before."""
    with room(sink, url) as env:
        return used(tool.command(sink, url, files), _clean(env))


def _clean(env: Mapping[str, str]) -> dict[str, str]:
    """With nothing of the caller's settings in it."""
    bare = {n: "" for n in os.environ if n.lower().endswith("_proxy") and n.lower() != "no_proxy"}
    return {**bare, **env}
