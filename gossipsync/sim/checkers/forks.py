"""Forks stay apart: whoever signs two histories, every peer keeps to one of them, and to nothing more once it has seen both.

Watched for: an honest peer's log that is reported as forked, whichever copies of its store it may have come back from; a line that moves after its peer has reported it; and a bundle in a
store that does not follow the one before by its hash. Not promised in this version: that peers which were fed different
branches end with the same one (see SECURITY.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossipsync.core import Peer
from gossipsync.core.model.bundle import NO_PREVIOUS
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
        self._frozen: dict[tuple[int, int, LineKey], int] = {}
        """(peer, its run, line) -> how far the line was when it was reported."""

    def happened(self, driver: Driver, event: Event) -> None:
        """Note where a line has to stay."""
        if not isinstance(event, Forked) or driver.peer is None:
            return
        if event.peer not in self.simulation.observer.rogues:
            self.violate("an honest peer's log is reported as forked", driver)
            return
        key = (event.bucket, origin_of(event.peer, event.epoch))
        self._frozen[driver.number, driver.run, key] = driver.peer.vector()[key]

    def changed(self, driver: Driver, peer: Peer) -> None:
        """Look at the lines that were reported."""
        if not self._frozen:
            return
        vector = peer.vector()
        for (number, run, key), index in self._frozen.items():
            if (number, run) == (driver.number, driver.run) and vector[key] != index:
                self.violate(f"a forked line went on from {index} to {vector[key]}", driver)
                return

    looked = changed

    def finished(self) -> None:
        """Follow every log of every store, where somebody had a reason to fork one."""
        if not (self.simulation.observer.rogues or self.simulation.has_old_lives):
            return
        for driver, peer in self.honest():
            self.changed(driver, peer)
            heads: dict[LineKey, tuple[int, bytes]] = {}
            for bucket, origin, _, data in driver.store.load_pieces():
                header = parse_piece(data).header
                index, head = heads.get((bucket, origin), (0, NO_PREVIOUS))
                if header.index == index + 1 and header.previous != head:
                    self.violate(f"bundle {header.index} in its store follows another", driver)
                    return
                heads[bucket, origin] = header.index, header.hash
