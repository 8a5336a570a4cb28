"""Acks are true: whoever is said to have stored a write has it in its store."""

from __future__ import annotations

from typing import Final

from gossipsync.core import Peer
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.driver import Driver

_NEWEST: Final = 60
"""Writes asked about at a time."""


class Acks(Checker):
    """k confirmed = k stored, asked of the stores themselves."""

    name = "acks"

    def looked(self, driver: Driver, peer: Peer) -> None:
        """Ask a writer who confirmed its newest writes."""
        simulation = self.simulation
        by_peer = {other.identity.peer: other for other in simulation.drivers}
        for entry in simulation.ledger.entries[-_NEWEST:]:
            if entry.writer != driver.number or entry.written.origin != peer.origin:
                continue
            stored = driver.store.stored(entry.bucket, entry.written.origin)
            if peer.is_stored(entry.written) and stored < entry.written.index:
                self.violate(
                    f"its own store lacks write {entry.number}, which it calls stored", driver
                )
                return
            for acker in peer.acked_by(entry.written):
                if acker in entry.acked_s:
                    continue
                entry.acked_s[acker] = simulation.world.now_s
                other = by_peer.get(acker)
                if other is None or other.was_restored:
                    continue
                if other.store.stored(entry.bucket, entry.written.origin) < entry.written.index:
                    self.violate(
                        f"peer {other.number} is said to have stored write {entry.number}, and has not",
                        driver,
                    )
                    return

    def finished(self) -> None:
        """Everybody once more."""
        for driver, peer in self.honest():
            self.looked(driver, peer)
