"""A directory that every peer of a world reads: who is there, kept by the world itself.

It stands for a list of members that something else keeps (a static list, service discovery), so that a thousand peers need not
verify a thousand presences each before the first round. Membership by gossip is the other mode, and then nobody reads this.
"""

from __future__ import annotations

from gossipsync.core.model.ids import PeerId
from gossipsync.core.ports import Rng


class Roster:
    """Members with their addresses; satisfies `core.ports.Directory`."""

    def __init__(self) -> None:
        self._members: list[tuple[PeerId, str]] = []
        self._positions: dict[PeerId, int] = {}

    def __len__(self) -> int:
        return len(self._members)

    def add(self, peer: PeerId, address: str) -> None:
        """Somebody came."""
        if peer not in self._positions:
            self._positions[peer] = len(self._members)
            self._members.append((peer, address))

    def remove(self, peer: PeerId) -> None:
        """Somebody is gone."""
        position = self._positions.pop(peer, None)
        if position is None:
            return
        last = self._members.pop()
        if position < len(self._members):
            self._members[position] = last
            self._positions[last[0]] = position

    def partners(self, rng: Rng, count: int, asking: PeerId) -> list[tuple[PeerId, str]]:
        """Different members, uniformly at random, by drawing again what was drawn before."""
        size = len(self._members)
        own = self._positions.get(asking)
        others = size - (own is not None)
        count = min(count, others)
        bits = size.bit_length()
        drawn: dict[int, None] = {}
        while len(drawn) < count:
            position = rng.getrandbits(bits)
            if position < size and position != own:
                drawn[position] = None
        return [self._members[position] for position in drawn]
