"""The fingerprint of a bucket's visible data, brought up to date by what changed since it was last asked for.

A sum of salted hashes, one a visible key, so that neither order nor history matters (Clarke et al., "Incremental Multiset Hash
Functions and Their Application to Memory Integrity Checking", 2003). Nothing is kept until somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

from attrs import frozen

from gossipsync.core.model.bucket import Kind
from gossipsync.core.replication import views
from gossipsync.core.replication.cells import DATA, EXPIRES, SIZE, SLOT, TOMBSTONE, Group, cells_in
from gossipsync.core.replication.changes import ChangeLog
from gossipsync.core.replication.tables import fitted


@frozen
class Totals:
    """Sums over a bucket."""

    fingerprint: str
    """16 hex digits: equal visible data, equal fingerprint."""
    bytes: int
    """Entries held, in bytes as received."""
    tombstones: int


_Part = tuple[int, int, bool]
_NOTHING: Final[_Part] = (0, 0, False)


class LiveSum:
    """Contributions of single keys and their sums."""

    def __init__(self, bucket: str) -> None:
        self._salt = sha256(b"gossipsync live v1" + bucket.encode() + b"\x00")
        self._parts: dict[str, _Part] = {}
        self._position: int | None = None
        self._hash = self._bytes = self._tombstones = 0

    def totals(self, cells: Mapping[str, Group], kind: Kind, changes: ChangeLog) -> Totals:
        """The sums as of now; `cells` must have been swept."""
        changed: Iterable[str] | None = (
            None if self._position is None else changes.since(self._position)
        )
        for key in cells if changed is None else changed:
            self._update(key, cells.get(key), kind)
        self._position = changes.position
        return Totals(f"{self._hash % (1 << 64):016x}", self._bytes, self._tombstones)

    def keys(self) -> list[tuple[str, int]]:
        """Each visible key with what stands for its value and expiry, as `totals` left it."""
        return [(key, part[0]) for key, part in self._parts.items() if part[0]]

    def forget(self, keys: Iterable[str]) -> None:
        """Keys of which nothing is held any more; nobody could see them."""
        for key in keys:
            self._add(self._parts.pop(key, _NOTHING), _NOTHING)

    def fit(self) -> None:
        """Keep no more room than what is left needs."""
        self._parts = fitted(self._parts)

    def _update(self, key: str, group: Group | None, kind: Kind) -> None:
        if group is None:
            return  # forgotten since it changed
        size = sum(len(cell[DATA]) for cell in cells_in(group))
        has_tombstone = any(cell[SLOT] == TOMBSTONE for cell in cells_in(group))
        new = (self._contribution(key, group, kind), size, has_tombstone)
        self._add(self._parts.get(key, _NOTHING), new)
        self._parts[key] = new

    def _add(self, old: _Part, new: _Part) -> None:
        self._hash += new[0] - old[0]
        self._bytes += new[1] - old[1]
        self._tombstones += new[2] - old[2]

    def _contribution(self, key: str, group: Group, kind: Kind) -> int:
        """Zero for an invisible key; else a hash of key, expiry and every visible part."""
        parts = _visible_parts(group, kind)
        if not parts:
            return 0
        last = views.newest(group)
        assert last is not None
        line = self._salt.copy()
        line.update(
            b"".join(
                _sized(part) for part in (key.encode(), str(last[EXPIRES]).encode(), *sorted(parts))
            )
        )
        return int.from_bytes(line.digest()[:8], "big")


def _visible_parts(group: Group, kind: Kind) -> list[bytes]:
    content = views.content(group, kind)
    if not content or kind is not Kind.COUNTER:
        return [
            _sized(str(cell[SLOT]).encode()) + (views.value_bytes(cell) if cell[SIZE] > 0 else b"")
            for cell in content
        ]
    return [str(views.show(group, kind)).encode()]


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part
