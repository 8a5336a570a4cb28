"""Per-origin prefix: a vector never claims what the state lacks. Whoever has bundle n of an origin has what is live of 1 … n - 1."""

from __future__ import annotations

from gossipsync.core import Peer
from gossipsync.core.model.hlc import hlc_ms
from gossipsync.core.replication.cells import STAMP, TOMBSTONE, cells_in, rank
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.driver import Driver
from gossipsync.sim.ledger import Entry


class Prefix(Checker):
    """Every entry at or below a line is in the state, or lost to something that is."""

    name = "prefix"
    reads_all = True

    def changed(self, driver: Driver, peer: Peer) -> None:
        """Look at the newest entry of each key that the vector claims: a key that knows that one knows all before it."""
        newest_of: dict[tuple[str, str], Entry] = {}
        for entry in self.entries_held(peer):
            known = newest_of.get((entry.bucket, entry.key))
            if known is None or entry.written.hlc > known.written.hlc:
                newest_of[entry.bucket, entry.key] = entry
        for (bucket, key), entry in newest_of.items():
            if self._may_be_forgotten(entry):
                continue
            replica = peer.replicas.get(bucket)
            group = None if replica is None else replica.group(key)
            newest = 0
            for cell in () if group is None else cells_in(group):
                is_tombstone = cell[1] == TOMBSTONE
                newest = max(newest, rank(cell) if is_tombstone else cell[STAMP])
            if newest < entry.written.hlc and not self._was_deleted(entry):
                self.violate(
                    f"its vector claims bundle {entry.written.index} of peer {entry.writer}, "
                    f"but {key!r} knows nothing that new",
                    driver,
                )
                return

    looked = changed

    def _may_be_forgotten(self, entry: Entry) -> bool:
        """Is it a delete, or has it expired, so long ago by anybody's clock that a newcomer need not be told of it?

        Peers keep shadows for twice the largest skew longer, but states are compared without those that may be gone by then.
        """
        options = self.simulation.options
        ended_ms = hlc_ms(entry.written.hlc) if entry.op == "delete" else entry.expires_ms
        if ended_ms is None:
            return False
        return ended_ms + 1000 * options.horizon <= self.simulation.newest_ms()

    def _was_deleted(self, entry: Entry) -> bool:
        """Did it lose to something that may be forgotten, and whose own line this vector need not claim yet?

        A reconciliation that was cut has brought cells and moved no line.
        """
        return any(
            later.written.hlc > entry.written.hlc and self._may_be_forgotten(later)
            for later in self.simulation.ledger.by_key[entry.bucket, entry.key]
        )

    def finished(self) -> None:
        """Everybody once more."""
        for driver, peer in self.honest():
            self.changed(driver, peer)
