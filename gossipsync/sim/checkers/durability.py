"""Durability: nothing acknowledged is lost while a holder lives.

A machine whose store was put back to an older copy, between two runs or under a running peer, holds what that copy has or what it
has stored since.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossipsync.core import Peer
from gossipsync.sim.checkers.base import Checker, Violate
from gossipsync.sim.driver import Driver
from gossipsync.sim.ledger import Entry

if TYPE_CHECKING:
    from gossipsync.sim.simulation import Simulation

_NEWEST: Final = 60
"""Writes asked about at a time."""


class Durability(Checker):
    """In a mesh at rest everybody has every write that somebody who still runs has confirmed to have stored."""

    name = "durability"

    def __init__(self, simulation: Simulation, violate: Violate) -> None:
        super().__init__(simulation, violate)
        self._holders: dict[int, set[int]] = {}
        """Write -> the machines that are said to have stored it and have, the writer's included; of copies with one key each by itself."""

    def looked(self, driver: Driver, peer: Peer) -> None:
        """Ask a writer who holds its newest writes."""
        for entry in self.simulation.ledger.entries[-_NEWEST:]:
            if entry.writer != driver.number or entry.written.origin != peer.origin:
                continue
            holders = self._holders.setdefault(entry.number, set())
            acked = set(peer.acked_by(entry.written))
            holders.update(
                other.number
                for other in (self.simulation.drivers if acked else ())
                if other.identity.peer in acked
                and other.store.stored(entry.bucket, entry.written.origin) >= entry.written.index
            )
            if peer.is_stored(entry.written):
                holders.add(driver.number)

    changed = looked

    def finished(self) -> None:
        """Look for confirmed writes in every vector."""
        simulation = self.simulation
        if not simulation.is_equal:
            return
        alive = {driver.number: driver for driver in simulation.honest()}
        vectors = [(driver, peer.vector()) for driver, peer in self.honest()]
        for entry in simulation.ledger.entries:
            confirmed = self._holders.get(entry.number, set())
            if not any(_has_kept(alive[number], entry) for number in confirmed & alive.keys()):
                continue
            key = (entry.bucket, entry.written.origin)
            for driver, vector in vectors:
                if vector.get(key, 0) < entry.written.index:
                    self.violate(
                        f"write {entry.number} was confirmed by a peer that still runs, and is gone",
                        driver,
                    )
                    return


def _has_kept(driver: Driver, entry: Entry) -> bool:
    """Whether its store was never put back to an older copy, or has the write in spite of that."""
    stored = driver.store.stored(entry.bucket, entry.written.origin)
    return not driver.was_restored or stored >= entry.written.index
