"""Final deletes are final: a key that ended stays ended at everybody who knows, whatever was written before or beside it."""

from __future__ import annotations

from gossipsync.core import Deletes, Peer
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.driver import Driver


class Finals(Checker):
    """Nobody who holds a final delete shows the key."""

    name = "finals"
    reads_all = True

    def changed(self, driver: Driver, peer: Peer) -> None:
        """Look at every ended key."""
        wall_ms = driver.now().wall_ms
        for entry in self.entries_held(peer):
            replica = peer.replicas.get(entry.bucket)
            if replica is None or entry.op != "delete":
                continue
            if replica.rules.deletes is Deletes.FINAL and replica.has(entry.key, wall_ms):
                self.violate(f"{entry.key!r} ended for good and is there again", driver)
                return

    looked = changed

    def finished(self) -> None:
        """Everybody once more."""
        for driver, peer in self.honest():
            self.changed(driver, peer)
