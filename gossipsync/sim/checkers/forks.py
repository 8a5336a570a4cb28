"""Forks heal: whoever signs two histories, every peer freezes that log by the same proof, and takes what is valid of either.

Watched for: an honest peer's log that is reported as forked, whichever copies of its store it may have come back from; a line that
goes on after its peer has reported it; a bundle in a store that does not follow the one before by its hash, in a log that is not
frozen; and, once a world has settled, a log that is frozen at one honest peer and not at another, by another proof, or with other
entries of its origin in their states.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossipsync.core import Peer
from gossipsync.core.model.bundle import FROZEN, NO_PREVIOUS
from gossipsync.core.model.events import Event, Forked
from gossipsync.core.model.ids import origin_of
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.pieces import parse_piece
from gossipsync.sim.checkers.base import Checker, Violate
from gossipsync.sim.driver import Driver

if TYPE_CHECKING:
    from gossipsync.sim.simulation import Simulation


class Forks(Checker):
    """One history of each log at each peer."""

    name = "forks"

    def __init__(self, simulation: Simulation, violate: Violate) -> None:
        super().__init__(simulation, violate)
        self._frozen: set[tuple[int, int, LineKey]] = set()
        """(peer, its run, line) that was reported."""

    def happened(self, driver: Driver, event: Event) -> None:
        """Note where a line has to stay."""
        if not isinstance(event, Forked) or driver.peer is None:
            return
        if event.peer not in self.simulation.observer.rogues:
            self.violate("an honest peer's log is reported as forked", driver)
            return
        key = (event.bucket, origin_of(event.peer, event.epoch))
        self._frozen.add((driver.number, driver.run, key))

    def changed(self, driver: Driver, peer: Peer) -> None:
        """Look at the lines that were reported."""
        if not self._frozen:
            return
        vector = peer.vector()
        for number, run, key in self._frozen:
            if (number, run) == (driver.number, driver.run) and vector[key] != FROZEN:
                self.violate(f"a forked line went on to {vector[key]}", driver)
                return

    looked = changed

    def finished(self) -> None:
        """Follow every log of every store, where somebody had a reason to fork one."""
        observer, options = self.simulation.observer, self.simulation.options
        if not (observer.rogues or self.simulation.has_old_lives):
            return
        if options.quiet is not None and observer.are_equal and self.simulation.forks_differ:
            self.violate(
                "peers do not freeze the same logs by the same proofs with the same entries"
            )
        for driver, peer in self.honest():
            self.changed(driver, peer)
            heads: dict[LineKey, tuple[int, bytes]] = {}
            vector = peer.vector()
            for bucket, origin, _, data in driver.store.load_pieces():
                header = parse_piece(data).header
                index, head = heads.get((bucket, origin), (0, NO_PREVIOUS))
                is_next = header.index == index + 1 and vector.get((bucket, origin)) != FROZEN
                if is_next and header.previous != head:
                    self.violate(f"bundle {header.index} in its store follows another", driver)
                    return
                heads[bucket, origin] = header.index, header.hash
