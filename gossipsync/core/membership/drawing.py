"""Drawing partners: members that may be there, at random, in constant time however large the mesh, with a share for other zones.

Talk within a zone is cheap, and talk across zones is what keeps them one mesh: of each draw a quarter goes to another zone, every
zone alike, however few members it has. Without zones, or with a single one, all are alike.
Invariant: nobody is in the crowd twice, and nobody is drawn twice in one draw.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from gossipsync.core.model.ids import PeerId
from gossipsync.core.ports import Rng

OTHER_ZONES: Final = 0.25
"""Share of draws that goes to other zones."""
_TRIES: Final = 4
"""Draws for one partner, where the same comes again."""


@define(eq=False)
class _Pool:
    """A list without order, of which members may go."""

    peers: list[PeerId] = field(factory=list)
    _places: dict[PeerId, int] = field(factory=dict)

    def add(self, peer: PeerId) -> None:
        self._places[peer] = len(self.peers)
        self.peers.append(peer)

    def discard(self, peer: PeerId) -> None:
        place = self._places.pop(peer)
        last = self.peers.pop()
        if last != peer:
            self.peers[place] = last
            self._places[last] = place


@define(eq=False)
class Crowd:
    """Who may be there, by zone."""

    _all: _Pool = field(factory=_Pool)
    _zones: dict[str, _Pool] = field(factory=dict)
    _zone_of: dict[PeerId, str] = field(factory=dict)

    @property
    def everybody(self) -> list[PeerId]:
        """All, in no order. Not to be changed."""
        return self._all.peers

    def arrive(self, peer: PeerId, zone: str) -> None:
        """Somebody may be there, or has changed zones."""
        former = self._zone_of.get(peer)
        if former == zone:
            return
        if former is not None:
            self.depart(peer)
        self._zone_of[peer] = zone
        self._all.add(peer)
        self._zones.setdefault(zone, _Pool()).add(peer)

    def depart(self, peer: PeerId) -> None:
        """Somebody is not there any more."""
        zone = self._zone_of.pop(peer, None)
        if zone is None:
            return
        self._all.discard(peer)
        pool = self._zones[zone]
        pool.discard(peer)
        if not pool.peers:
            del self._zones[zone]

    def has_far(self, zone: str) -> bool:
        """Is anybody in another zone?"""
        return len(self._zones) > (zone in self._zones)

    def draw_far(self, rng: Rng, count: int, zone: str) -> list[PeerId]:
        """Up to `count` different partners in other zones than `zone`, every zone alike."""
        others = [name for name in self._zones if name != zone]
        found: dict[PeerId, None] = {}
        for _ in range(count * _TRIES if others else 0):
            if len(found) == count:
                break
            pool = self._zones[others[int(rng.random() * len(others))]]
            found[rng.sample(pool.peers, 1)[0]] = None
        return list(found)

    def draw(self, rng: Rng, count: int, zone: str) -> list[PeerId]:
        """Up to `count` different partners for a peer in `zone`."""
        others = [name for name in self._zones if name != zone]
        if not others or zone not in self._zones:
            return rng.sample(self.everybody, min(count, len(self.everybody)))
        found: dict[PeerId, None] = {}
        for _ in range(min(count, len(self.everybody)) * _TRIES):
            if len(found) == count:
                break
            is_near = rng.random() >= OTHER_ZONES
            pool = self._zones[zone if is_near else others[int(rng.random() * len(others))]]
            found[rng.sample(pool.peers, 1)[0]] = None
        return list(found)
