"""Durability: nothing acknowledged is lost while a holder lives."""

from __future__ import annotations

from gossipsync.sim.checkers.base import Checker


class Durability(Checker):
    """In a mesh at rest everybody has every write that somebody who still runs has confirmed to have stored."""

    name = "durability"

    def finished(self) -> None:
        """Look for confirmed writes in every vector."""
        simulation = self.simulation
        if not simulation.is_settled:
            return
        holders = {
            driver.identity.peer for driver in simulation.honest() if not driver.was_restored
        }
        vectors = [(driver, peer.vector()) for driver, peer in self.honest()]
        for entry in simulation.ledger.entries:
            is_kept = entry.is_stored and simulation.drivers[entry.writer].identity.peer in holders
            if not (is_kept or any(peer in holders for peer in entry.acked_s)):
                continue
            key = (entry.bucket, entry.written.origin)
            for driver, vector in vectors:
                if vector.get(key, 0) < entry.written.index:
                    self.violate(
                        f"write {entry.number} was confirmed by a peer that still runs, and is gone here",
                        driver,
                    )
                    return
