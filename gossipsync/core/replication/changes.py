"""The change log of one bucket: which keys changed, in order, so that watchers read on from where they stopped.

It remembers the newest `limit` changes; a watcher that lags further is told so and reads the state instead. Positions grow by
one a change and mean something only on this peer, in this epoch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class ChangeLog:
    """Keys in the order of their changes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._keys = 0
        self._runs: deque[tuple[int, Sequence[str]]] = deque()
        self.position = 0
        """Changes so far."""

    def add(self, keys: Sequence[str]) -> None:
        """Take in keys that changed together."""
        if not keys:
            return
        self._runs.append((self.position, keys))
        self.position += len(keys)
        self._keys += len(keys)
        while self._keys > self._limit and len(self._runs) > 1:
            self._keys -= len(self._runs.popleft()[1])

    def since(self, position: int) -> list[str] | None:
        """Keys changed from `position` on, each once, oldest first; None where that is no longer, or not yet, known."""
        changed = self.changed_since(position)
        return None if changed is None else [key for key, _ in changed]

    def changed_since(self, position: int) -> list[tuple[str, int]] | None:
        """As `since`, each key with the position of its last change, in that order: whoever goes on behind it misses none."""
        oldest = self._runs[0][0] if self._runs else self.position
        if not oldest <= position <= self.position:
            return None
        seen: dict[str, int] = {}
        for start, keys in reversed(self._runs):
            if start + len(keys) <= position:
                break
            for at in range(len(keys) - 1, max(0, position - start) - 1, -1):
                seen.setdefault(keys[at], start + at)
        return list(reversed(seen.items()))
