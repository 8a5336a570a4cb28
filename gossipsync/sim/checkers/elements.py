"""Elements: a set shows the elements whose newest write that the peer holds inserts them. No removed element returns.

The expectation is computed from the ledger: of the writes to one element that a peer holds, the one with the greatest (stamp,
writer's key) decides. Elements of which a peer may hold more than its vector claims, and those that two lives of one key
wrote, are judged at the end only: a stamp given anew is not in the ledger.
"""

from __future__ import annotations

from gossipsync.core import Kind, Peer
from gossipsync.core.model.ids import peer_of
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.checkers.values import newest_of
from gossipsync.sim.driver import Driver
from gossipsync.sim.ledger import Entry


class Elements(Checker):
    """Sets agree with the ledger."""

    name = "elements"
    reads_all = True
    _is_at_rest = False

    def changed(self, driver: Driver, peer: Peer) -> None:
        """Compare every element that was ever written, as far as this peer holds the writes."""
        held: dict[tuple[str, str, str], list[Entry]] = {}
        for entry in self.entries_held(peer):
            if entry.op in ("insert", "remove"):
                held.setdefault((entry.bucket, entry.key, str(entry.value)), []).append(entry)
        wall_ms = driver.now().wall_ms
        is_ahead = not self._is_at_rest and self.may_be_ahead(driver, peer)
        for (bucket, key, element), entries in held.items():
            replica = peer.replicas.get(bucket)
            if replica is None or replica.rules.kind is not Kind.SET or _are_of_copies(entries):
                continue
            newest = newest_of(entries)
            shown = replica.has(key, wall_ms) and element in self._elements(peer, bucket, key)
            if shown == (newest.op == "insert") or (is_ahead and self._has_more(newest, entries)):
                continue
            is_or_not = "shows" if shown else "does not show"
            self.violate(
                f"{key!r} {is_or_not} {element!r}, which its newest write held, {newest.number}, says otherwise",
                driver,
            )
            return

    looked = changed

    def _elements(self, peer: Peer, bucket: str, key: str) -> frozenset[str]:
        shown = peer.replicas[bucket].read(key, 0)  # elements here do not expire
        assert isinstance(shown, frozenset), "a set reads as one"
        return shown

    def _has_more(self, newest: Entry, held: list[Entry]) -> bool:
        """Whether the element has writes that the peer's vector does not claim yet."""
        return any(
            entry.value == newest.value and entry not in held
            for entry in self.simulation.ledger.by_key[newest.bucket, newest.key]
        )

    def finished(self) -> None:
        """Everybody once more."""
        self._is_at_rest = self.simulation.is_settled
        for driver, peer in self.honest():
            self.changed(driver, peer)


def _are_of_copies(entries: list[Entry]) -> bool:
    """Whether two lives of one key wrote an element."""
    origins = {entry.written.origin for entry in entries}
    return len({peer_of(origin) for origin in origins}) < len(origins)
