"""What can be seen of a run from outside: who has what by when, and how the bytes add up.

Peers are compared by digest and what they remember of ended epochs, together: equal sums, equal version vectors. How many there are
of each is kept as peers change, so asking whether all are equal costs nothing. What rogues signed is left out, for it is theirs to spoil;
where there are any, the vectors themselves are compared. Invariant: only peers that run and
are honest are counted. The one thing of theirs that all must have alike is what they signed twice: see `forks_differ()`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256

from gossipsync.core import Peer, Replica
from gossipsync.core.model.bundle import FROZEN
from gossipsync.core.model.events import Event, Forked
from gossipsync.core.model.ids import PeerId, peer_of
from gossipsync.core.replication import views
from gossipsync.core.replication.cells import EXPIRES, ORIGIN, SIZE, SLOT, STAMP, Cell, cells_in
from gossipsync.core.replication.lines import LineKey, whole_sum
from gossipsync.sim.clocks import after_all
from gossipsync.sim.driver import Driver
from gossipsync.sim.world import World

Listener = Callable[[Driver], None]
Witness = Callable[[Driver, Event], None]


class Observer:
    """Digests of all honest running peers; satisfies `driver.Watcher`."""

    def __init__(self, world: World) -> None:
        self.changed_s: dict[int, float] = {}
        """When each counted peer changed last."""
        self.events: Counter[str] = Counter()
        self.listeners: list[Listener] = []
        self.witnesses: list[Witness] = []
        """Told of every event of an honest peer."""
        self.meetings: list[Listener] = []
        """Told of every peer that has one more link."""
        self.rogues: set[PeerId] = set()
        self._world = world
        self._digests: dict[int, bytes] = {}
        self._drivers: dict[int, Driver] = {}
        """Those counted."""
        self._counts: Counter[bytes] = Counter()
        self._has_forks = False
        self._states_s: float | None = None
        """When states were last found to differ."""
        self._differed_s: float | None = None
        """When forks were last found to differ: to look again at once would cost more than the world itself."""

    def __len__(self) -> int:
        return len(self._digests)

    def came(self, driver: Driver) -> None:
        """A peer has started."""
        if not driver.is_rogue:
            self._note(driver)

    def gone(self, driver: Driver) -> None:
        """A peer has stopped."""
        digest = self._digests.pop(driver.number, None)
        self._drivers.pop(driver.number, None)
        self.changed_s.pop(driver.number, None)
        if digest is not None:
            self._take_out(digest)

    def changed(self, driver: Driver) -> None:
        """What a peer holds may have changed."""
        if driver.number in self._digests:
            self._note(driver)
            for listener in self.listeners:
                listener(driver)

    def happened(self, driver: Driver, event: Event) -> None:
        """A peer emitted an event."""
        self.events[type(event).__name__] += 1
        self._has_forks |= isinstance(event, Forked)
        if not driver.is_rogue:
            for witness in self.witnesses:
                witness(driver, event)

    def linked(self, driver: Driver) -> None:
        """A peer has one more link."""
        for listener in self.meetings:
            listener(driver)

    def vector_of(self, peer: Peer) -> dict[LineKey, int]:
        """What a peer holds of what honest peers wrote."""
        vector = peer.vector()
        if not self.rogues:
            return vector
        return {key: index for key, index in vector.items() if peer_of(key[1]) not in self.rogues}

    def _digest_of(self, peer: Peer) -> bytes:
        if not self.rogues:
            return whole_sum(peer.digest, peer.covered).to_bytes(8, "big")
        return sha256(repr(sorted(self.vector_of(peer).items())).encode()).digest()

    def _note(self, driver: Driver) -> None:
        assert driver.peer is not None, "only a running peer is counted"
        self._drivers[driver.number] = driver
        digest = self._digest_of(driver.peer)
        former = self._digests.get(driver.number)
        if digest == former:
            return
        if former is not None:
            self._take_out(former)
        self._digests[driver.number] = digest
        self._counts[digest] += 1
        self.changed_s[driver.number] = self._world.now_s

    def _take_out(self, digest: bytes) -> None:
        self._counts[digest] -= 1
        if not self._counts[digest]:
            del self._counts[digest]

    @property
    def are_equal(self) -> bool:
        """Do all counted peers have the same?"""
        return len(self._counts) <= 1

    def forks_differ(self, *, with_entries: bool) -> bool:
        """Is a log frozen at one peer and not at another, or by another proof, or with other entries? Looked at once a second."""
        if not self._has_forks or self._differed_s == (second := self._world.now_s // 1):
            return self._has_forks
        # One moment for all, after what any clock has shown: expiries by different clocks differ rightly.
        wall_ms = after_all(driver.newest_ms for driver in self._drivers.values())
        frozen = {
            frozenset(_frozen_in(driver, wall_ms, with_entries=with_entries))
            for driver in self._drivers.values()
        }
        self._differed_s = second if len(frozen) > 1 else None
        return len(frozen) > 1

    def states_differ(self) -> bool:
        """Whether peers with equal vectors show different data. Looked at once a second.

        A reconciliation that was cut brings cells and moves no line; if no peer is left that has their bundles, only the
        comparison of states spreads these cells, some rounds after the vectors have become equal.
        """
        if self._states_s == (second := self._world.now_s // 1):
            return True
        # After what any clock has shown, for what has ended by one clock is gone there; without a sweep, which would end sessions early.
        wall_ms = after_all(driver.newest_ms for driver in self._drivers.values())
        states = {
            tuple(
                (name, shown)
                for name, replica in sorted(driver.peer.replicas.items())
                if (shown := _shown(replica, wall_ms))
            )
            for driver in self._drivers.values()
            if driver.peer is not None
        }
        self._states_s = second if len(states) > 1 else None
        return len(states) > 1

    @property
    def most_equal(self) -> list[int]:
        """The largest set of peers that have the same."""
        if not self._counts:
            return []
        most = max(self._counts.items(), key=lambda pair: (pair[1], pair[0]))[0]
        return [number for number, digest in self._digests.items() if digest == most]


def _frozen_in(driver: Driver, wall_ms: int, *, with_entries: bool) -> Iterator[object]:
    """What a peer has of logs that forked: their proofs, and the values of theirs that it shows."""
    peer = driver.peer
    assert peer is not None, "only a running peer is counted"
    frozen = {key for key, index in peer.vector().items() if index == FROZEN}
    if not frozen:
        return
    yield str(peer.gossip_info(driver.now())["forks"])
    for name, replica in peer.replicas.items() if with_entries else ():
        for key in replica.keys(wall_ms):
            for cell in cells_in(replica.group(key) or {}):
                if (name, cell[ORIGIN]) in frozen and _is_shown(cell, wall_ms):
                    yield (name, key, cell[SLOT], cell[STAMP])


def _is_shown(cell: Cell, wall_ms: int) -> bool:
    expires = cell[EXPIRES]
    return cell[SIZE] > 0 and (expires is None or expires > wall_ms)


def _shown(replica: Replica, wall_ms: int) -> tuple[tuple[str, str, int | None], ...]:
    """Keys, values and ends of the keys that are visible at a moment; changes nothing."""
    shown = []
    for key, value in replica.pairs(wall_ms):
        group = replica.group(key)
        last = None if group is None else views.newest(group)
        parts = sorted(value.items()) if isinstance(value, dict) else value
        parts = sorted(value) if isinstance(value, frozenset) else parts
        shown.append((key, repr(parts), None if last is None else last[EXPIRES]))
    return tuple(sorted(shown))
