"""Counters are exact: what a peer shows is the sum of the additions it holds, each counted once."""

from __future__ import annotations

from collections import Counter

from gossipsync.core import Kind, Peer
from gossipsync.core.replication.cells import INDEX, ORIGIN, SLOT, cells_in
from gossipsync.core.replication.replica import Replica
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.driver import Driver


class Counters(Checker):
    """Sums of the ledger's additions."""

    name = "counters"
    reads_all = True
    _is_at_rest = False

    def changed(self, driver: Driver, peer: Peer) -> None:
        """Add up what it holds."""
        expected: Counter[tuple[str, str]] = Counter()
        for entry in self.entries_held(peer):
            if entry.op == "add" and isinstance(entry.value, int):
                expected[entry.bucket, entry.key] += entry.value
        wall_ms = driver.now().wall_ms
        is_ahead = not self._is_at_rest and self.may_be_ahead(driver, peer)
        for (bucket, key), by_lines in expected.items():
            replica = peer.replicas.get(bucket)
            if replica is None or replica.rules.kind is not Kind.COUNTER:
                continue
            shown = replica.counter(key, wall_ms)
            total = by_lines
            if shown != total:
                total += self._beyond(peer, replica, key)
            if shown != total and not (is_ahead and total < shown <= self._written(bucket, key)):
                self.violate(f"{key!r} counts {shown}, the additions it holds make {total}", driver)
                return

    looked = changed

    def _beyond(self, peer: Peer, replica: Replica, key: str) -> int:
        """Additions whose totals came by themselves, of bundles that no line has reached: nobody may be left who has these."""
        group = replica.group(key)
        cells = [] if group is None else cells_in(group)
        reached = {cell[ORIGIN]: cell[INDEX] for cell in cells if type(cell[SLOT]) is bytes}
        vector = peer.vector()
        return sum(
            entry.value
            for entry in self.simulation.ledger.by_key[replica.name, key]
            if isinstance(entry.value, int)
            and vector.get((replica.name, entry.written.origin), 0)
            < entry.written.index
            <= reached.get(entry.written.origin, 0)
        )

    def _written(self, bucket: str, key: str) -> int:
        """All that was ever added; nobody takes away."""
        entries = self.simulation.ledger.by_key[bucket, key]
        return sum(entry.value for entry in entries if isinstance(entry.value, int))

    def finished(self) -> None:
        """Everybody once more."""
        self._is_at_rest = self.simulation.is_equal
        for driver, peer in self.honest():
            self.changed(driver, peer)
