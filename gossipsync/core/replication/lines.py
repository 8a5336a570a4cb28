"""The version vector of all buckets as a set of lines, and what stands for it compactly.

A line is (bucket, origin, index, head hash, head HLC). Every line contributes one hash to sums over ranges of a 16-way tree
keyed by a hash of (bucket, origin): equal sums, equal vectors. The root sum is the idle hash; where it differs two peers
descend only into ranges that differ (range-based set reconciliation: Meyer, arXiv:2212.13567). Updating a line costs the same
however many there are, and a list of lines by recency gives those that changed since a given moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import NetworkId, Origin

DEPTH: Final = 3
"""Levels below the root: 4,096 leaf ranges, 2.4 lines each at 10,000 origins."""
SUM_BYTES: Final = 16
HEAD_BYTES: Final = 8
_MODULUS: Final = 1 << (8 * SUM_BYTES)
_MASK: Final = _MODULUS - 1
_WHOLE: Final = 1 << 64
"""What is remembered of ended epochs is summed up in so many: the lesser half of a line's hash."""
_NOTHING: Final = (0, 0)

LineKey = tuple[str, Origin]
Prefix = bytes
"""Nibbles, one a byte, 0 to DEPTH of them."""


def whole_sum(digest: bytes, covered: bytes) -> int:
    """What stands for the lines of a digest and those of ended epochs (8 bytes) together: the same when a line goes from these to those."""
    return (int.from_bytes(digest, "big") + int.from_bytes(covered, "big")) % _WHOLE


class Line(NamedTuple):
    """One origin's log in one bucket, as far as somebody has it."""

    bucket: str
    origin: Origin
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    head: bytes
    """First 8 bytes of the head's hash."""
    hlc: Hlc

    @property
    def key(self) -> LineKey:
        """What the line is about."""
        return (self.bucket, self.origin)


class Range(NamedTuple):
    """A range of lines and what stands for them."""

    prefix: Prefix
    sum: bytes
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here


class LineTree:
    """All lines with their sums."""

    def __init__(self, network: NetworkId) -> None:
        self._salt = sha256(b"gossipsync lines v1" + network)
        self._total = 0
        self._sums: dict[Prefix, tuple[int, int]] = {}
        """Of all ranges but the whole, without what is late."""
        self._late: dict[Prefix, tuple[int, int]] = {}
        """By leaf range, what its sum and those above lack: most changes come and go without anybody asking for a part of the whole."""
        self._digest: bytes | None = None
        self._leaves: dict[Prefix, set[LineKey]] = {}
        self._lines: dict[LineKey, tuple[Line, int, Prefix]] = {}
        """With each line its hash, and the leaf range that it is in."""
        self._recent: dict[LineKey, int] = {}
        self.seq = 0
        """Changes so far."""
        self.removed_seq = 0
        """`seq` after the last removal: what changed since an earlier moment no longer tells the whole difference."""

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Line]:
        return (line for line, _, _ in self._lines.values())

    def find(self, key: LineKey) -> Line | None:
        """My line, if I have one."""
        known = self._lines.get(key)
        return None if known is None else known[0]

    def update(self, line: Line) -> None:
        """Set a line."""
        key = line.key
        known = self._lines.get(key)
        value = self.hash_of(line)
        if known is None:
            digest = sha256(line.bucket.encode() + b"\x00" + line.origin).digest()
            prefix = bytes((digest[0] >> 4, digest[0] & 15, digest[1] >> 4))
            self._leaves.setdefault(prefix, set()).add(key)
            self._add(prefix, value, 1)
        else:
            prefix = known[2]
            self._add(prefix, value - known[1], 0)
        self._lines[key] = (line, value, prefix)
        self.seq += 1
        self._recent.pop(key, None)
        self._recent[key] = self.seq

    def _add(self, prefix: Prefix, value: int, lines: int) -> None:
        self._total = (self._total + value) & _MASK
        self._digest = None
        total, count = self._late.get(prefix, _NOTHING)
        self._late[prefix] = (total + value, count + lines)

    def _catch_up(self) -> None:
        """Bring the sums of all parts up to date."""
        sums = self._sums
        for leaf, (value, lines) in self._late.items():
            for level in range(1, DEPTH + 1):
                prefix = leaf[:level]
                total, count = sums.get(prefix, _NOTHING)
                if count + lines:
                    sums[prefix] = ((total + value) & _MASK, count + lines)
                else:
                    sums.pop(prefix, None)
        self._late.clear()

    def remove(self, key: LineKey) -> None:
        """Take a line out, if it is there."""
        known = self._lines.pop(key, None)
        if known is None:
            return
        _, value, prefix = known
        self._add(prefix, -value, -1)
        leaf = self._leaves[prefix]
        leaf.discard(key)
        if not leaf:
            del self._leaves[prefix]
        self._recent.pop(key, None)
        self.seq += 1
        self.removed_seq = self.seq

    def seq_of(self, key: LineKey) -> int:
        """When a line last changed, as a value of `seq`; 0 for an unknown one."""
        return self._recent.get(key, 0)

    def digest(self) -> bytes:
        """What stands for all lines."""
        if self._digest is None:
            self._digest = self._total.to_bytes(SUM_BYTES, "big")
        return self._digest

    def range_at(self, prefix: Prefix) -> Range:
        """One range."""
        if self._late:
            self._catch_up()
        total, count = self._sums.get(prefix, _NOTHING) if prefix else (self._total, len(self))
        return Range(prefix, total.to_bytes(SUM_BYTES, "big"), count)

    def children(self, prefix: Prefix) -> list[Range]:
        """The sixteen parts of a range, empty ones included: they say what is lacking."""
        return [self.range_at(prefix + bytes((nibble,))) for nibble in range(16)]

    def lines_in(self, prefix: Prefix) -> list[Line]:
        """All lines of a range."""
        if not prefix:
            return [self._lines[key][0] for key in sorted(self._lines)]
        if len(prefix) == DEPTH:
            return [self._lines[key][0] for key in sorted(self._leaves.get(prefix, ()))]
        found: list[Line] = []
        for child in self.children(prefix):
            if child.count:
                found += self.lines_in(child.prefix)
        return found

    def changed_since(self, seq: int) -> Iterator[Line]:
        """Lines changed after `seq`, newest first; lazy, so that the caller may stop early."""
        for key in reversed(self._recent):
            if self._recent[key] <= seq:
                return
            yield self._lines[key][0]

    def hash_of(self, line: Line) -> int:
        """What a line contributes to the sums, whether it is in them or not."""
        state = self._salt.copy()
        state.update(
            line.bucket.encode() + b"\x00" + line.origin + line.index.to_bytes(8, "big") + line.head
        )
        return int.from_bytes(state.digest()[:SUM_BYTES], "big")
