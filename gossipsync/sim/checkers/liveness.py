"""Liveness: no peer is joining for ever.

At rest every peer is ready, and all peers are linked, directly or through others; that they are equal is for `convergence`. While
the network is sound, a joining peer with a link to a ready member becomes ready within a number of intervals, however many
of its other sources are faulty. Both are judged only where members are gossiped: under a directory links come and go by the round.
"""

from __future__ import annotations

from typing import Final

from gossipsync.core import Peer
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.driver import Driver

_INTERVALS: Final = 60.0
"""Longest time to join from a ready member, gossip intervals."""
_TRIPS: Final = 200.0
"""The share of the network in that time, median one-way latencies."""
_SOURCE_S: Final = 15.0
"""Longest delay by one faulty source: the patience of one question, and some more."""

_Pair = tuple[int, int, int, int, int]
"""A joining peer's number and run, its link, and the number and run of the ready member at the other end."""


class Liveness(Checker):
    """The states of peers against their links."""

    name = "liveness"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]  # the base's own arguments, passed through
        self._since_s: dict[_Pair, float] = {}
        """Since when a joining peer was seen to be linked with a ready member."""

    @property
    def _patience_s(self) -> float:
        simulation, options = self.simulation, self.simulation.options
        sources_s = _SOURCE_S * len(simulation.observer.rogues)
        return _INTERVALS * options.interval + _TRIPS * options.latency + sources_s

    def looked(self, driver: Driver, peer: Peer) -> None:
        """Measure for how long it has been joining although a ready member is linked."""
        simulation, now_s = self.simulation, self.simulation.world.now_s
        if simulation.roster is not None or peer.state != "joining":
            return
        pairs = [
            (driver.number, driver.run, link, other.number, other.run)
            for link, number in driver.neighbours.items()
            if (other := simulation.drivers[number]).peer is not None
            and other.peer.state == "ready"
            and not other.is_rogue
            and not simulation.was_copied(other)
        ]
        is_sound = simulation.network.is_sound and not driver.store.is_failing
        former, self._since_s = (
            self._since_s,
            {
                pair: since_s
                for pair, since_s in self._since_s.items()
                if pair[0] != driver.number or (pair in pairs and is_sound)
            },
        )
        for pair in pairs if is_sound else ():
            since_s = self._since_s.setdefault(pair, former.get(pair, now_s))
            if now_s - since_s > self._patience_s:
                self.violate(
                    f"it has been joining for {now_s - since_s:.0f} s beside peer {pair[3]}, which is ready",
                    driver,
                )
                return

    def finished(self) -> None:
        """Look for peers that are joining at rest, and for peers that no link leads to."""
        simulation = self.simulation
        if simulation.roster is not None or simulation.options.quiet is None:
            return
        if not simulation.faults.are_over:
            return
        honest = list(self.honest())
        if len({driver.key for driver, _ in honest}) < 2:
            return
        for driver, peer in honest:
            if peer.state != "ready":
                states = ", ".join(f"{one.number} {it.state}" for one, it in honest)
                self.violate(f"it is {peer.state} at rest; all: {states}", driver)
                return
        if unreached := simulation.unreached():
            first = honest[0][0].number
            self.violate(f"no links lead from peer {first} to peers {unreached} at rest")
