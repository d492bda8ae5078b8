"""The host's registry of proxies: ours in the place of its own, and back again."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Protocol

from petal_s3.host.guarded import guarded


class Stoppable(Protocol):
    """What is used of a proxy of the host."""

    async def stop(self) -> object:
        """End it."""


class Registry:
    """Where other petals and the host look a proxy up, by the names that ours takes."""

    def __init__(self, proxies: MutableMapping[str, Stoppable], names: Sequence[str]) -> None:
        """``proxies``: the host's own dict, which everybody reads anew."""
        self._proxies, self._names = proxies, names
        self._replaced: dict[str, Stoppable] = {}

    def put(self, ours: Stoppable) -> None:
        """From now on ours is found."""
        for name in self._names:
            if name in self._proxies:
                self._replaced[name] = self._proxies[name]
            self._proxies[name] = ours

    def step_back(self) -> None:
        """From now on what was there before is found again."""
        for name in self._names:
            if name in self._replaced:
                self._proxies[name] = self._replaced[name]
            else:
                self._proxies.pop(name, None)

    async def stop_replaced(self) -> None:
        """Stop what was replaced: the host does not. Nothing is raised."""
        for old in {id(one): one for one in self._replaced.values()}.values():
            with guarded("the replaced bucket proxy did not stop"):
                await old.stop()
