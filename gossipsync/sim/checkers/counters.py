"""Counters are exact: what a peer shows is the sum of the additions it holds, each counted once."""

from __future__ import annotations

from collections import Counter

from gossipsync.core import Kind, Peer
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.driver import Driver


class Counters(Checker):
    """Sums of the ledger's additions."""

    name = "counters"

    def changed(self, driver: Driver, peer: Peer) -> None:
        """Add up what it holds."""
        expected: Counter[tuple[str, str]] = Counter()
        for entry in self.entries_held(peer):
            if entry.op == "add" and isinstance(entry.value, int):
                expected[entry.bucket, entry.key] += entry.value
        wall_ms = driver.now().wall_ms
        for (bucket, key), total in expected.items():
            replica = peer.replicas.get(bucket)
            if replica is None or replica.rules.kind is not Kind.COUNTER:
                continue
            shown = replica.counter(key, wall_ms)
            if shown != total:
                self.violate(f"{key!r} counts {shown}, the additions it holds make {total}", driver)
                return

    looked = changed

    def finished(self) -> None:
        """Everybody once more."""
        for driver, peer in self.honest():
            self.changed(driver, peer)
