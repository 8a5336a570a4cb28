"""The past: entries that have lost and stay in their pieces for as long as their bucket keeps history.

Invariant: of two entries the one that beats the other is never given up before it. Each is kept for the same span from its stamp (a
tombstone from the last stamp that it covers), and all that is due in a bucket goes at one moment; else a store might be loaded in
which something that had lost has nothing left to lose to.
"""

from __future__ import annotations

import heapq
from typing import Final

from attrs import define, field

from gossipsync.core.model.hlc import hlc_at
from gossipsync.core.model.ids import Origin
from gossipsync.core.replication.cells import DATA, SLOT, STAMP, TOMBSTONE, Cell, rank

Name = tuple[str, Origin, int]

_GIVEN_UP: Final = 4
"""One in so many pieces with a past goes at a time, where there is too much."""


def age_of(cell: Cell) -> int:
    """The stamp that counts for how long a cell is part of the past."""
    return rank(cell) if cell[SLOT] == TOMBSTONE else cell[STAMP]


@define
class Kept:
    """What one piece keeps only for history."""

    oldest: int = 1 << 63
    size_bytes: int = 0

    def add(self, cell: Cell) -> None:
        """One more entry."""
        self.oldest = min(self.oldest, age_of(cell))
        self.size_bytes += len(cell[DATA])


@define
class Past:
    """Which pieces keep a past, in the order in which it ends."""

    limit_bytes: int
    """Beyond, the oldest goes early: a remote may have announced the history."""
    floors: dict[str, int] = field(factory=dict)
    """Of each bucket with history: what is older is not kept."""
    size_bytes: int = 0
    _heaps: dict[str, list[tuple[int, Name]]] = field(factory=dict)
    _kept: dict[Name, Kept] = field(factory=dict)

    def note(self, name: Name, kept: Kept | None) -> None:
        """A piece keeps this much of the past from now on."""
        former = self._kept.pop(name, None)
        self.size_bytes -= 0 if former is None else former.size_bytes
        if kept is not None and kept.size_bytes:
            self._kept[name] = kept
            self.size_bytes += kept.size_bytes
            heapq.heappush(self._heaps.setdefault(name[0], []), (kept.oldest, name))

    def raise_floor(self, bucket: str, history_ms: int, wall_ms: int) -> list[Name]:
        """Time has passed: the pieces of a bucket in which something is due, all of which are to be pruned now."""
        heap = self._heaps.get(bucket, [])
        floor = max(self.floors.get(bucket, 0), hlc_at(max(0, wall_ms - history_ms)))
        if self.size_bytes > self.limit_bytes and heap:
            floor = max(floor, sorted(heap)[len(heap) // _GIVEN_UP][0] + 1)
        self.floors[bucket] = floor
        due: dict[Name, None] = {}
        while heap and heap[0][0] < floor:
            oldest, name = heapq.heappop(heap)
            kept = self._kept.get(name)
            if kept is not None and kept.oldest == oldest:
                due[name] = None
        return list(due)
