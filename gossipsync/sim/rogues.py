"""Rogues: peers whose certificate is good and whose intentions are not. They run the real core and alter what it sends.

What must follow: nothing they forge is merged, nobody but they are blamed, and correct peers converge without them.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from gossipsync.sim.randomness import Randomness

_KEPT_FRAMES: Final = 32
_HEADER_BYTES: Final = 4
_BUNDLE_TYPES: Final = frozenset({5, 6})
"""Message types that carry bundles: Delta and Push; see core.wire.messages."""
HABITS: Final = ("tamper", "withhold", "replay", "garble")


class Rogue:
    """What one rogue does to its frames; each habit strikes some frames and leaves others, as a careful rogue would."""

    def __init__(self, habit: str, randomness: Randomness) -> None:
        self.habit = habit
        self._randomness = randomness
        self._kept: deque[bytes] = deque(maxlen=_KEPT_FRAMES)

    def alter(self, data: bytes) -> list[bytes]:
        """What goes out in place of one frame."""
        if not self._randomness.chance(0.5):
            return [data]
        carries_bundles = len(data) > _HEADER_BYTES + 1 and data[_HEADER_BYTES + 1] in _BUNDLE_TYPES
        match self.habit:
            case "tamper" if carries_bundles:
                return [self._flipped(data, _HEADER_BYTES + 2)]
            case "withhold" if carries_bundles:
                return []
            case "replay":
                self._kept.append(data)
                return [data, self._randomness.pick(self._kept)]
            case "garble":
                return [self._flipped(data, _HEADER_BYTES)]
            case _:
                return [data]

    def _flipped(self, data: bytes, start: int) -> bytes:
        if len(data) <= start:
            return data
        position = start + self._randomness.below(len(data) - start)
        bit = 1 << self._randomness.below(8)
        return data[:position] + bytes((data[position] ^ bit,)) + data[position + 1 :]
