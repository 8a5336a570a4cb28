"""Counters are exact: what a peer shows is the sum of the additions it holds, each counted once."""

from __future__ import annotations

from collections import Counter

from gossipsync.core import Kind, Peer
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.driver import Driver


class Counters(Checker):
    """Sums of the ledger's additions."""

    name = "counters"
    _is_at_rest = False

    def changed(self, driver: Driver, peer: Peer) -> None:
        """Add up what it holds."""
        expected: Counter[tuple[str, str]] = Counter()
        for entry in self.entries_held(peer):
            if entry.op == "add" and isinstance(entry.value, int):
                expected[entry.bucket, entry.key] += entry.value
        wall_ms = driver.now().wall_ms
        is_ahead = not self._is_at_rest and self.may_be_ahead(driver, peer)
        for (bucket, key), total in expected.items():
            replica = peer.replicas.get(bucket)
            if replica is None or replica.rules.kind is not Kind.COUNTER:
                continue
            shown = replica.counter(key, wall_ms)
            if shown != total and not (is_ahead and total < shown <= self._written(bucket, key)):
                self.violate(f"{key!r} counts {shown}, the additions it holds make {total}", driver)
                return

    looked = changed

    def _written(self, bucket: str, key: str) -> int:
        """All that was ever added; nobody takes away."""
        entries = self.simulation.ledger.by_key[bucket, key]
        return sum(entry.value for entry in entries if isinstance(entry.value, int))

    def finished(self) -> None:
        """Everybody once more."""
        self._is_at_rest = self.simulation.is_settled
        for driver, peer in self.honest():
            self.changed(driver, peer)
