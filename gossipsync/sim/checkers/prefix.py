"""Per-origin prefix: a vector never claims what the state lacks. Whoever has bundle n of an origin has what is live of 1 … n - 1."""

from __future__ import annotations

from gossipsync.core import Peer
from gossipsync.core.replication.cells import STAMP, TOMBSTONE, cells_in, rank
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.driver import Driver


class Prefix(Checker):
    """Every entry at or below a line is in the state, or lost to something that is."""

    name = "prefix"

    def changed(self, driver: Driver, peer: Peer) -> None:
        """Look at every entry that the vector claims."""
        for entry in self.entries_held(peer):
            replica = peer.replicas.get(entry.bucket)
            group = None if replica is None else replica.group(entry.key)
            newest = 0
            for cell in () if group is None else cells_in(group):
                is_tombstone = cell[1] == TOMBSTONE
                newest = max(newest, rank(cell) if is_tombstone else cell[STAMP])
            if newest < entry.written.hlc:
                self.violate(
                    f"its vector claims bundle {entry.written.index} of peer {entry.writer}, "
                    f"but {entry.key!r} knows nothing that new",
                    driver,
                )
                return

    looked = changed

    def finished(self) -> None:
        """Everybody once more."""
        for driver, peer in self.honest():
            self.changed(driver, peer)
