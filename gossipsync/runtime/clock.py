"""The two clocks of this machine, read together: the only source of `Now` in production.

A clock is a value that callers hand on, so that a test can put in one that stands still.

Invariant: `mono_s` never goes back; `wall_ms` is whatever the machine believes, and may step.
"""

from time import monotonic, time_ns
from typing import Protocol

from gossipsync.core.model.now import Now

__all__ = ["Clock", "ManualClock", "SystemClock"]

_NS_PER_MS = 1_000_000


class Clock(Protocol):
    """Tells the time to one peer."""

    def now(self) -> Now:
        """Both clocks at this moment."""
        ...

    def wall_ms(self) -> int:
        """The wall clock alone, for reads."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def now(self) -> Now:
        """Both clocks at this moment."""
        return Now(monotonic(), time_ns() // _NS_PER_MS)

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return time_ns() // _NS_PER_MS


class ManualClock:
    """The machine's clocks plus an offset that the owner moves: for tests of what takes long."""

    def __init__(self) -> None:
        self._offset_s = 0.0

    def advance(self, seconds: float) -> None:
        """Let that much time pass at once. Wake the engine afterwards: it sleeps by the real clock."""
        self._offset_s += seconds

    def now(self) -> Now:
        """Both clocks at this moment."""
        return Now(monotonic() + self._offset_s, self.wall_ms())

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return time_ns() // _NS_PER_MS + round(self._offset_s * 1000)
