"""Per-origin prefix: a vector never claims what the state lacks. Whoever has bundle n of an origin has what is live of 1 … n - 1."""

from __future__ import annotations

from gossipsync.core import Peer
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.driver import Driver


class Prefix(Checker):
    """Every entry at or below a line is in the state, or lost to something that is."""

    name = "prefix"
    reads_all = True

    def changed(self, driver: Driver, peer: Peer) -> None:
        """Look at the newest entry of each key that the vector claims."""
        entry = self.unknown_of(self.entries_held(peer), peer)
        if entry is not None:
            self.violate(
                f"its vector claims bundle {entry.written.index} of peer {entry.writer}, "
                f"but {entry.key!r} knows nothing that new",
                driver,
            )

    looked = changed

    def finished(self) -> None:
        """Everybody once more."""
        for driver, peer in self.honest():
            self.changed(driver, peer)
