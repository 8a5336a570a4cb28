"""Acks are true: whoever is said to have stored a write has it in its store, and k confirmed are k stored.

A rogue may lie about its own store and nobody else's; a machine put back to an old copy has lost what it once had. Both are what
no peer can know of another, so those, and only those, are excused.
"""

from __future__ import annotations

from typing import Final

from gossipsync.core import Peer
from gossipsync.core.model.acks import Ack
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.driver import Driver
from gossipsync.sim.ledger import Entry

_NEWEST: Final = 60
"""Writes asked about at a time."""


class Acks(Checker):
    """Asked of the stores themselves, at the moment when an application was told."""

    name = "acks"

    def confirmed(self, driver: Driver, peer: Peer, entry: Entry, ack: Ack) -> None:
        """Count the stores that have it now."""
        if not _has_stored(driver, entry):
            self.violate(f"write {entry.number} is confirmed and its own store lacks it", driver)
            return
        claimed = set(peer.acked_by(entry.written))
        counted = sum(
            any(
                (not other.is_rogue and _has_stored(other, entry))
                or ((other.is_rogue or other.was_restored) and key in claimed)
                for other in machines
            )
            for key, machines in self.simulation.machines.items()
            if key != driver.identity.peer
        )
        needed = ack if isinstance(ack, int) else self._share(driver, peer, ack)
        if counted < needed:
            self.violate(
                f"write {entry.number} is confirmed for ack={ack!r}, which takes {needed} other stores; {counted} have it",
                driver,
            )

    def _share(self, driver: Driver, peer: Peer, ack: str) -> int:
        """How many others a level stands for: of those in the directory, or whom the writer knows.

        Zones are known of members alone, never from the directory; in a simulated mesh all are of no zone, which makes one.
        """
        known = len(peer.members(driver.now()))
        roster = self.simulation.roster
        mesh = known if roster is None else len(roster)
        return {"self": 0, "majority": mesh // 2, "all": mesh - 1, "zones": min(1, known - 1)}[ack]

    def looked(self, driver: Driver, peer: Peer) -> None:
        """Ask a writer who confirmed its newest writes."""
        simulation = self.simulation
        for entry in simulation.ledger.entries[-_NEWEST:]:
            if entry.writer != driver.number or entry.written.origin != peer.origin:
                continue
            if peer.is_stored(entry.written) and not _has_stored(driver, entry):
                self.violate(
                    f"its own store lacks write {entry.number}, which it calls stored", driver
                )
                return
            for acker in peer.acked_by(entry.written):
                if acker in entry.acked_s:
                    continue
                entry.acked_s[acker] = simulation.world.now_s
                machines = simulation.machines.get(acker, [])
                if any(other.was_restored or other.is_rogue for other in machines):
                    continue
                if machines and not any(_has_stored(other, entry) for other in machines):
                    self.violate(
                        f"peer {machines[0].number} is said to have stored write {entry.number}, and has not",
                        driver,
                    )
                    return

    def finished(self) -> None:
        """Everybody once more."""
        for driver, peer in self.honest():
            self.looked(driver, peer)


def _has_stored(driver: Driver, entry: Entry) -> bool:
    return driver.store.was_stored(entry.bucket, entry.written.origin) >= entry.written.index
