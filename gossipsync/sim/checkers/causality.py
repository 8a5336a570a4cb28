"""Causality under tokens: who waited for a token sees that write or a newer one; a write that comes after one
is ordered after what that names.

Both whatever the clocks say, and wherever the token came back. What may be seen is told from the ledger alone: the value of the
write itself or of one that beats it, and nothing only where a delete beats it or time has ended it.
"""

from __future__ import annotations

from gossipsync.core import Deletes, Kind, Peer
from gossipsync.core.model.ids import peer_of
from gossipsync.sim.checkers.anew import was_written_anew
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.driver import Driver
from gossipsync.sim.ledger import Entry


class Causality(Checker):
    """Reads after tokens, and stamps after tokens."""

    name = "causality"

    def read(self, driver: Driver, peer: Peer, entry: Entry) -> None:
        """Compare what is shown with the write that the token named."""
        held = peer.vector().get((entry.bucket, entry.written.origin), 0)
        if held < entry.written.index:
            self.violate(
                f"its token of write {entry.number} is satisfied, and it holds {held} of {entry.written.index} bundles",
                driver,
            )
            return
        replica = peer.replicas[entry.bucket]
        if replica.rules.kind is not Kind.VALUE or entry.op == "touch":
            return
        wall_ms = driver.now().wall_ms
        rivals = [
            other
            for other in self.simulation.ledger.by_key[entry.bucket, entry.key]
            if other is entry
            or _rank(other) >= _rank(entry)  # of two copies' writes a hash decides
        ]
        if replica.has(entry.key, wall_ms):
            shown = replica.read(entry.key, wall_ms)
            allowed = any(other.op == "put" and other.value == shown for other in rivals)
        else:
            shown = "nothing"
            allowed = self._may_be_gone(driver, entry, rivals)
        if not allowed:
            value = replica.read(entry.key, wall_ms) if replica.has(entry.key, wall_ms) else None
            group = replica.group(entry.key)
            allowed = was_written_anew(self.simulation, group, entry, value)
        if not allowed:
            self.violate(
                f"after the token of write {entry.number} of {entry.key!r} it shows {str(shown)[:40]!r}, which is older",
                driver,
            )

    def _may_be_gone(self, driver: Driver, entry: Entry, rivals: list[Entry]) -> bool:
        # Whoever hands a cell over may have found its time to be over, by a clock that is ahead of ours.
        newest_ms = self.simulation.newest_ms()
        rules = driver.peer.replicas[entry.bucket].rules if driver.peer is not None else None
        if rules is not None and rules.deletes is Deletes.FINAL:
            rivals = self.simulation.ledger.by_key[entry.bucket, entry.key]
        # A tombstone covers what is stamped up to it, whosoever wrote that.
        return any(
            other.op == "delete" and other.written.hlc >= entry.written.hlc
            for other in self.simulation.ledger.by_key[entry.bucket, entry.key]
        ) or any(
            other.op == "delete" or (other.expires_ms is not None and other.expires_ms <= newest_ms)
            for other in rivals
        )

    def finished(self) -> None:
        """Compare each write with the one whose token it came after."""
        entries = self.simulation.ledger.entries
        for entry in entries:
            if entry.after is None:
                continue
            earlier = entries[entry.after]
            if entry.written.hlc <= earlier.written.hlc:
                self.violate(
                    f"write {entry.number} came after {earlier.number} and is stamped before it",
                    self.simulation.drivers[entry.writer],
                )
                return


def _rank(entry: Entry) -> tuple[int, bytes]:
    return (entry.written.hlc, peer_of(entry.written.origin))
