"""When keys expire: slots of one second, so that a write costs one append and a sweep looks only at what may be due."""

from __future__ import annotations

import heapq
from typing import Final

_SLOT_MS: Final = 1000


class ExpiryWheel:
    """Keys by the second in which they may expire. A key may stand in several slots: only the group itself knows."""

    def __init__(self) -> None:
        self._slots: dict[int, list[str]] = {}
        self._order: list[int] = []

    def add(self, key: str, expires_ms: int) -> None:
        """Look at `key` again once `expires_ms` has passed."""
        slot = -(-expires_ms // _SLOT_MS)  # the first full second at which it has expired
        keys = self._slots.get(slot)
        if keys is None:
            self._slots[slot] = [key]
            heapq.heappush(self._order, slot)
        else:
            keys.append(key)

    def next_ms(self) -> int | None:
        """When the next slot is due, in wall milliseconds."""
        return self._order[0] * _SLOT_MS if self._order else None

    def between(self, after_ms: int, until_ms: int) -> list[str]:
        """Keys in the slots from one moment to another, which stay where they are."""
        first, last = after_ms // _SLOT_MS, until_ms // _SLOT_MS + 1
        slots = range(first, last + 1) if last - first < len(self._slots) else sorted(self._slots)
        return [key for slot in slots if first <= slot <= last for key in self._slots.get(slot, ())]

    def due(self, wall_ms: int) -> list[str]:
        """Take out the keys of every slot that has passed."""
        keys: dict[str, None] = {}
        while self._order and self._order[0] * _SLOT_MS <= wall_ms:
            keys.update(dict.fromkeys(self._slots.pop(heapq.heappop(self._order))))
        return list(keys)
