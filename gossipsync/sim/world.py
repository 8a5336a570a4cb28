"""Virtual time: one heap of what is still to happen, in order of time and, at one moment, of arrival.

Nothing waits: time jumps from one event to the next. Invariant: time never goes back, and two runs that schedule the same
events run them in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final

from gossipsync.sim.randomness import Randomness
from gossipsync.sim.trace import Trace

WALL_START_MS: Final = 1_790_000_000_000
"""What a clock without fault shows at virtual second 0; long after every certificate's beginning."""

Act = Callable[..., None]


class World:
    """The clock, the heap, the seed and the trace that all parts of a simulation share."""

    def __init__(self, seed: int, trace: Trace) -> None:
        self.randomness = Randomness("gossipsync world v1", seed)
        self.trace = trace
        self.now_s = 0.0
        self.events = 0
        """Events run so far."""
        self._heap: list[tuple[float, int, Act, tuple[object, ...]]] = []
        self._next = 0

    def at(self, when_s: float, act: Act, *arguments: object) -> None:
        """Run `act(*arguments)` at a moment, now at the earliest."""
        self._next += 1
        heappush(self._heap, (max(when_s, self.now_s), self._next, act, arguments))

    def after(self, delay_s: float, act: Act, *arguments: object) -> None:
        """Run `act(*arguments)` after a while."""
        self.at(self.now_s + delay_s, act, *arguments)

    def next_s(self) -> float | None:
        """When the next event is due."""
        return self._heap[0][0] if self._heap else None

    def step(self) -> None:
        """Run the next event."""
        self.now_s, _, act, arguments = heappop(self._heap)
        self.events += 1
        act(*arguments)

    def run_until(self, when_s: float) -> None:
        """Run all events up to a moment, and let the clock reach it."""
        while self._heap and self._heap[0][0] <= when_s:
            self.step()
        self.now_s = max(self.now_s, when_s)
