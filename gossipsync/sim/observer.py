"""What can be seen of a run from outside: who has what by when, and how the bytes add up.

Peers are compared by digest: equal digests, equal version vectors; from the moment on when somebody takes the lines of an ended epoch
out of its digest, by the vectors themselves, since not all do so at once. How many there are of each is kept as peers change, so asking
whether all are equal costs nothing. What rogues signed is left out: it is theirs to spoil. Invariant: only peers that run and
are honest are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from hashlib import sha256

from gossipsync.core import Peer
from gossipsync.core.model.events import Event
from gossipsync.core.model.ids import PeerId, peer_of
from gossipsync.core.replication.lines import LineKey
from gossipsync.sim.driver import Driver
from gossipsync.sim.world import World

Listener = Callable[[Driver], None]
Witness = Callable[[Driver, Event], None]
_NOTHING_COVERED = bytes(8)


class Observer:
    """Digests of all honest running peers; satisfies `driver.Watcher`."""

    def __init__(self, world: World) -> None:
        self.changed_s: dict[int, float] = {}
        """When each counted peer changed last."""
        self.events: Counter[str] = Counter()
        self.listeners: list[Listener] = []
        self.witnesses: list[Witness] = []
        """Told of every event of an honest peer."""
        self.rogues: set[PeerId] = set()
        self._world = world
        self._digests: dict[int, bytes] = {}
        self._drivers: dict[int, Driver] = {}
        """Those counted."""
        self._has_covered = False
        """Has anybody a line that is not in its digest?"""
        self._counts: Counter[bytes] = Counter()

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
        if not driver.is_rogue:
            for witness in self.witnesses:
                witness(driver, event)

    def vector_of(self, peer: Peer) -> dict[LineKey, int]:
        """What a peer holds of what honest peers wrote."""
        vector = peer.vector()
        if not self.rogues:
            return vector
        return {key: index for key, index in vector.items() if peer_of(key[1]) not in self.rogues}

    def _digest_of(self, peer: Peer) -> bytes:
        if not self.rogues and not self._has_covered:
            return peer.digest
        return sha256(repr(sorted(self.vector_of(peer).items())).encode()).digest()

    def _note(self, driver: Driver) -> None:
        assert driver.peer is not None, "only a running peer is counted"
        self._drivers[driver.number] = driver
        if not self._has_covered and driver.peer.covered != _NOTHING_COVERED:
            self._has_covered = True
            changed_s = dict(self.changed_s)
            for other in list(self._drivers.values()):
                self._note(other)
            self.changed_s.update(changed_s)
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

    @property
    def most_equal(self) -> list[int]:
        """The largest set of peers that have the same."""
        if not self._counts:
            return []
        most = max(self._counts.items(), key=lambda pair: (pair[1], pair[0]))[0]
        return [number for number, digest in self._digests.items() if digest == most]
