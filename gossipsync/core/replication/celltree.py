"""What stands for a bucket's cells: sums over ranges of a 16-way tree of its keys, brought up to date by what changed.

Equal sums, equal cells; where sums differ two peers descend only into ranges that differ (range-based set reconciliation: Meyer,
arXiv:2212.13567). Sums add up salted hashes, so neither order nor history matters. Nothing is kept before somebody asks.

The sums of ranges stand for all that is held, so that whoever takes over a state gets every shadow that still has something to beat.
Where states are only compared, what may soon be forgotten is left out of the sum of all: cells that end up to a **cut** time, the
same for both who compare, since one of them may have forgotten such cells already.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Final, NamedTuple

from attrs import define, field

from gossipsync.core.model.bucket import Kind
from gossipsync.core.model.entry import stub_of
from gossipsync.core.replication import views
from gossipsync.core.replication.cells import (
    DATA,
    ORIGIN,
    SHADOW_SIZE,
    SIZE,
    SLOT,
    TOMBSTONE,
    Cell,
    Group,
    cells_in,
)
from gossipsync.core.replication.ends import end_ms
from gossipsync.core.replication.tables import fitted

TREE_DEPTH: Final = 4
"""Levels that a range may lie below the root: 65,536 ranges, 15 keys each at a million."""
SHALLOW: Final = 3
"""Levels that are kept while there are few keys, which spares memory; ranges below are looked through key by key."""
_MANY_KEYS: Final = 200_000
HASH_BYTES: Final = 8
_MODULUS: Final = 1 << (8 * HASH_BYTES)

Prefix = bytes
"""Nibbles, one a byte, 0 to TREE_DEPTH of them."""


class Found(NamedTuple):
    """A cell with the hash that names it in comparisons."""

    hash: bytes
    key: str
    cell: Cell
    ends_ms: int | None
    """When it may be forgotten; None for what lives."""


def sum_of(found: Iterable[Found]) -> int:
    """What stands for some cells."""
    return sum(int.from_bytes(one.hash, "big") for one in found) % _MODULUS


@define
class _Leaf:
    """The keys of a lowest range, and beside each what stands for its cells and how many these are: so a change costs what changed."""

    keys: list[str] = field(factory=list)
    sums: array[int] = field(factory=lambda: array("Q"))
    counts: array[int] = field(factory=lambda: array("L"))

    def put(self, key: str, total: int, count: int) -> tuple[int, int]:
        """Note a key's cells, none if it has gone. By how much the leaf's sum and its count of cells have changed."""
        if key not in self.keys:
            if count:
                self.keys.append(key)
                self.sums.append(total)
                self.counts.append(count)
            return total, count
        place = self.keys.index(key)
        change = total - self.sums[place], count - self.counts[place]
        if count:
            self.sums[place], self.counts[place] = total, count
        else:
            for column in (self.keys, self.sums, self.counts):
                del column[place]
        return change


class CellTree:
    """The sums of one bucket. `grace_ms` as for the replica."""

    def __init__(self, bucket: str, grace_ms: int) -> None:
        self._salt = b"gossipsync cells v1" + bucket.encode() + b"\x00"
        self._grace_ms = grace_ms
        self._sums: dict[Prefix, tuple[int, int]] = {}
        self._leaves: dict[Prefix, _Leaf] = {}
        self._ending: dict[str, int] = {}
        """Keys with cells that end up to the cut, and what stands for these cells."""
        self._ending_total = 0
        self.depth = SHALLOW
        self.cut_ms = 0

    def is_too_shallow(self, keys: int) -> bool:
        """Are there so many keys that the tree is worth another level? Then it is to be built anew."""
        return keys > _MANY_KEYS and self.depth == SHALLOW

    def deepen(self) -> None:
        """Begin anew with one level more."""
        self.depth = TREE_DEPTH
        self._sums.clear()
        self._leaves.clear()
        self._ending.clear()
        self._ending_total = 0

    def refresh(
        self, cells: Mapping[str, Group], kind: Kind, changed: Iterable[str], cut_ms: int
    ) -> None:
        """Take in what changed, and what now ends before the cut."""
        self.cut_ms = cut_ms
        added: dict[Prefix, tuple[int, int]] = {}
        for key in changed:
            group = cells.get(key)
            if type(group) is tuple and group[SIZE] > SHADOW_SIZE and group[SLOT] != TOMBSTONE:
                # The common case of one live cell, spelled out for speed.
                total, count, ending = int.from_bytes(self._full_name(group), "big"), 1, 0
            else:
                found = [] if group is None else list(self._found(cells, kind, (key,)))
                total, count, ending = sum_of(found), len(found), self._ending_of(found)
            self._note_ending(key, ending)
            prefix = self.leaf_of(key)[: self.depth]
            leaf = self._leaves.get(prefix)
            if leaf is None:
                leaf = self._leaves[prefix] = _Leaf()
            total, count = leaf.put(key, total, count)
            if total or count:
                before, held = added.get(prefix, (0, 0))
                added[prefix] = (before + total, held + count)
            if not leaf.keys:
                del self._leaves[prefix]
        self._add(added)
        self._sums = fitted(self._sums)
        self._leaves = fitted(self._leaves)
        self._ending = fitted(self._ending)

    def leaf_of(self, key: str) -> Prefix:
        """The range of the lowest level in which a key lies."""
        a, b = sha256(self._salt + key.encode()).digest()[:2]
        return bytes((a >> 4, a & 15, b >> 4, b & 15))

    def place_of(self, key: str) -> tuple[Prefix, str]:
        """Where a key stands in the order of `keys_after`."""
        return self.leaf_of(key), key

    def keys_after(self, key: str | None) -> Iterator[str]:
        """The keys behind one, of whatever is not only dead, in the order of their ranges: no key that comes or goes moves a place in it."""
        start = (b"", "") if key is None else self.place_of(key)
        for leaf in self._leaves_from(b"", start[0][: self.depth]):
            for place in sorted(map(self.place_of, self._leaves[leaf].keys)):
                if place > start:
                    yield place[1]

    def _leaves_from(self, prefix: Prefix, first: Prefix) -> Iterator[Prefix]:
        if len(prefix) == self.depth:
            yield prefix
            return
        for nibble in range(16):
            lower = prefix + bytes((nibble,))
            if lower >= first[: len(lower)] and self.count_at(lower):
                yield from self._leaves_from(lower, first)

    def sum_at(self, prefix: Prefix) -> int:
        """What stands for a range, not below `depth`; 0 for an empty one."""
        return self._sums.get(prefix, (0, 0))[0]

    @property
    def lasting_sum(self) -> int:
        """What stands for all cells but those that end up to the cut."""
        return (self.sum_at(b"") - self._ending_total) % _MODULUS

    def count_at(self, prefix: Prefix) -> int:
        """Cells in a range, not below `depth`."""
        return self._sums.get(prefix, (0, 0))[1]

    def found_in(self, cells: Mapping[str, Group], kind: Kind, prefix: Prefix) -> list[Found]:
        """The cells of a range."""
        if len(prefix) >= self.depth:
            leaf = self._leaves.get(prefix[: self.depth])
            keys = [] if leaf is None else leaf.keys
            if len(prefix) > self.depth:
                keys = [key for key in keys if self.leaf_of(key)[: len(prefix)] == prefix]
            return list(self._found(cells, kind, keys))
        found: list[Found] = []
        for nibble in range(16):
            lower = prefix + bytes((nibble,))
            if self.count_at(lower):
                found += self.found_in(cells, kind, lower)
        return found

    def _ending_of(self, found: Iterable[Found]) -> int:
        return sum_of(
            one for one in found if one.ends_ms is not None and one.ends_ms <= self.cut_ms
        )

    def _note_ending(self, key: str, total: int) -> None:
        self._ending_total += total - self._ending.pop(key, 0)
        if total:
            self._ending[key] = total

    def _add(self, added: dict[Prefix, tuple[int, int]]) -> None:
        """What has come to lowest ranges, and so to those above."""
        sums = self._sums
        for level in reversed(range(self.depth + 1)):
            above: dict[Prefix, tuple[int, int]] = {}
            for prefix, (total, count) in added.items():
                before, held = sums.get(prefix, (0, 0))
                if held + count:
                    sums[prefix] = ((before + total) % _MODULUS, held + count)
                else:
                    sums.pop(prefix, None)
                if level:
                    more, others = above.get(prefix[:-1], (0, 0))
                    above[prefix[:-1]] = (more + total, others + count)
            added = above

    def _found(
        self, cells: Mapping[str, Group], kind: Kind, keys: Iterable[str]
    ) -> Iterable[Found]:
        for key in keys:
            group = cells[key]
            for cell in cells_in(group):
                is_live = cell[SIZE] > SHADOW_SIZE and cell[SLOT] != TOMBSTONE
                ends_ms = None if is_live else end_ms(cell, group, kind, self._grace_ms)
                yield Found(self._name(cell, group), key, cell, ends_ms)

    def names_of(self, cell: Cell) -> tuple[bytes, bytes]:
        """The hashes by which a cell may be named: as it is, and where its value is lacking."""
        return self._full_name(cell), self._hollow_name(cell)

    def _name(self, cell: Cell, group: Group) -> bytes:
        is_hollow = cell[SIZE] == SHADOW_SIZE and not views.is_shadow(group)
        return self._hollow_name(cell) if is_hollow else self._full_name(cell)

    def _full_name(self, cell: Cell) -> bytes:
        stub = stub_of(cell[DATA], cell[SIZE])
        return sha256(self._salt + cell[ORIGIN] + stub).digest()[:HASH_BYTES]

    def _hollow_name(self, cell: Cell) -> bytes:
        stub = stub_of(cell[DATA], cell[SIZE])
        return sha256(self._salt + cell[ORIGIN] + stub + b"hollow").digest()[:HASH_BYTES]
