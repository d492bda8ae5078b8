"""Slow down whoever guesses the bearer token, each address by itself, and say so in the log."""

from __future__ import annotations

import ipaddress
import logging
from collections import OrderedDict

log = logging.getLogger("petal_s3")

AT_ONCE = 30
"""So many wrong tokens of one peer are looked at as they come."""
EACH_S = 2.0
"""Then one is looked at in so many seconds."""
MOST_PEERS = 1024
SAY_S = 60.0


class WrongTokens:
    """Who has sent wrong tokens lately. Times are seconds of a clock that is never set."""

    def __init__(self) -> None:
        self._paid_at: OrderedDict[str, float] = OrderedDict()
        """Per peer, when its wrong tokens would be over, one taking :data:`EACH_S`."""
        self._said_at: float | None = None
        self._unsaid = 0

    def wait_s(self, peer: str, now: float) -> float:
        """Seconds until the next token of ``peer`` is looked at; 0: now."""
        paid_at = self._paid_at.get(_network(peer), now)
        return max(0.0, paid_at - now - (AT_ONCE - 1) * EACH_S)

    def note(self, peer: str, now: float) -> None:
        """``peer`` has sent a wrong one. Logged once a minute at most, with how many there were.

        The peers that were silent longest are forgotten beyond :data:`MOST_PEERS`.
        """
        network = _network(peer)
        self._paid_at[network] = max(now, self._paid_at.get(network, now)) + EACH_S
        self._paid_at.move_to_end(network)
        while len(self._paid_at) > MOST_PEERS:
            self._paid_at.popitem(last=False)
        self._unsaid += 1
        if self._said_at is None or now - self._said_at >= SAY_S:
            log.warning("wrong bearer token peer=%s count=%d", ascii(peer)[1:-1], self._unsaid)
            self._said_at, self._unsaid = now, 0

    @property
    def peers(self) -> int:
        """How many peers are remembered."""
        return len(self._paid_at)


def _network(peer: str) -> str:
    """The address of a peer; of IPv6 its /64, out of which one machine may take any address."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer[:64]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))
