"""The change log of one bucket: which keys changed, in order, so that watchers read on from where they stopped.

It has the newest changes as they came: half as many as there are keys in state, 256 at least and `limit` at most. Of older ones it keeps, once somebody follows, the last of each key: as many as
there are keys in state, and `limit` more for keys of which nothing is left; so a watcher that lags misses nothing, and what is
kept for it grows with the bucket, not with its history. Positions grow by one a change and mean something only on this peer.

Invariant: from a position that is known, the last change of every key that has changed since is told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence, Sized
from itertools import islice
from typing import Final

_LEAST: Final = 256
"""Changes that are kept as they came, however few keys there are."""
_HELD_SHARE: Final = 2
"""And one for so many keys in state, up to the limit."""
_SPARE_SHARE: Final = 8
"""One in so many goes at a time, where too many are kept: one by one, each would look for the oldest again."""


class ChangeLog:
    """Keys in the order of their changes."""

    def __init__(self, limit: int, held: Sized = ()) -> None:
        self._limit = limit
        self.held = held
        """Has a length, that of the keys in state."""
        self._keys = 0
        self._runs: deque[tuple[int, Sequence[str]]] = deque()
        self._older: dict[str, int] = {}
        self._floor = 0
        """Changes before it are not known any more."""
        self.position = 0
        """Changes so far."""
        self.is_followed = False
        """Has anybody a cursor?"""

    def add(self, keys: Sequence[str]) -> None:
        """Take in keys that changed together."""
        if not keys:
            return
        self._runs.append((self.position, keys))
        self.position += len(keys)
        self._keys += len(keys)
        self.fit()

    def fit(self) -> None:
        """Keep no more than is due beside the keys in state, of which some may have gone."""
        # Beside a small bucket a long history of it would be what takes the memory.
        limit = min(self._limit, max(_LEAST, len(self.held) // _HELD_SHARE))
        while self._keys > limit and len(self._runs) > 1:
            start, old = self._runs.popleft()
            self._keys -= len(old)
            if self.is_followed:
                self._keep_last(start, old)
            else:
                self._floor = start + len(old)

    def since(self, position: int) -> list[str] | None:
        """Keys changed from `position` on, each once, oldest first; None where that is no longer, or not yet, known."""
        changed = self.changed_since(position)
        return None if changed is None else [key for key, _ in changed]

    def changed_since(self, position: int) -> list[tuple[str, int]] | None:
        """As `since`, each key with the position of its last change, in that order: whoever goes on behind it misses none."""
        if not self._floor <= position <= self.position:
            return None
        seen: dict[str, int] = {}
        for key, at in self._backwards():
            if at < position:
                break
            seen.setdefault(key, at)
        return list(reversed(seen.items()))

    def newest(self, size_bytes: int) -> tuple[int, list[tuple[str, int]]]:
        """The end of the log, for a store: as many keys as fit, as in `changed_since` the position that is also given."""
        seen: dict[str, int] = {}
        floor = self._floor
        for key, at in self._backwards():
            if key not in seen:
                size_bytes -= len(key.encode()) + _POSITION_BYTES
                if size_bytes < 0:
                    floor = at + 1
                    break
                seen[key] = at
        return floor, list(reversed(seen.items()))

    def go_on(self, position: int, floor: int, changed: Sequence[tuple[str, int]]) -> None:
        """The log of an earlier run, in place of what was added while the state was loaded."""
        self._runs.clear()
        self._keys = 0
        self._older = dict(changed)
        self._floor, self.position = floor, position
        self.is_followed = True

    def _backwards(self) -> Iterator[tuple[str, int]]:
        """Changes from the newest on back, of old ones the last of each key."""
        for start, keys in reversed(self._runs):
            for at in range(len(keys) - 1, -1, -1):
                yield keys[at], start + at
        yield from reversed(self._older.items())

    def _keep_last(self, start: int, keys: Sequence[str]) -> None:
        older = self._older
        for at, key in enumerate(keys, start):
            older.pop(key, None)
            older[key] = at
        spare = len(older) - len(self.held) - self._limit
        if spare > 0:
            for key in list(islice(older, spare + len(older) // _SPARE_SHARE)):
                self._floor = older.pop(key) + 1


_POSITION_BYTES: Final = 12
"""What a key takes in a store beside its text, at most."""
