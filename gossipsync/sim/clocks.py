"""Wall clocks that are wrong: an offset, a drift, and steps. The monotonic clock is virtual time itself.

Invariant: a clock is a function of virtual time and of the steps made so far; reading it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define

from gossipsync.core import Now
from gossipsync.sim.world import WALL_START_MS


def after_all(shown_ms: Iterable[int]) -> int:
    """A moment, in wall milliseconds, by which what any of these clocks has seen expire is swept everywhere: sweeps go by full seconds."""
    return -(-max(shown_ms, default=0) // 1000) * 1000


@define
class Clock:
    """One machine's clock; survives the restarts of its peer."""

    offset_ms: float = 0.0
    drift: float = 0.0
    """Milliseconds gained a millisecond; quartz does 1e-5 to 1e-4."""

    def read(self, now_s: float) -> Now:
        """What the machine believes at a virtual moment."""
        return Now(now_s, WALL_START_MS + int(now_s * 1000 * (1 + self.drift) + self.offset_ms))

    def step(self, by_ms: float) -> None:
        """Somebody sets the clock."""
        self.offset_ms += by_ms
