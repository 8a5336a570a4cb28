"""Hybrid logical clock in one 64-bit integer: 48 bits of milliseconds, 16 bits of counter.

Kulkarni et al., "Logical Physical Clocks" (OPODIS 2014). Time is handed in: this module never reads a clock.
Invariant: `tick()` returns strictly increasing stamps until `reset()`, and never one below anything folded in.
"""

from __future__ import annotations

from typing import Final, NewType

from attrs import define

Hlc = NewType("Hlc", int)

COUNTER_BITS: Final = 16
ZERO: Final = Hlc(0)


def hlc_at(wall_ms: int) -> Hlc:
    """The first stamp of a millisecond."""
    return Hlc(wall_ms << COUNTER_BITS)


def hlc_ms(hlc: Hlc) -> int:
    """The millisecond part of a stamp."""
    return hlc >> COUNTER_BITS


@define
class HybridClock:
    """The newest stamp this peer has given or seen."""

    last: Hlc = ZERO

    def tick(self, wall_ms: int) -> Hlc:
        """A stamp for an event now, after everything seen so far."""
        self.last = max(Hlc(self.last + 1), hlc_at(wall_ms))
        return self.last

    def fold(self, seen: Hlc) -> None:
        """Take in a stamp of another origin, already checked against the skew bound."""
        if seen > self.last:
            self.last = seen

    def is_ahead(self, bound_ms: int) -> bool:
        """Does our newest stamp lie at or beyond the moment from which on others accept none?"""
        return self.last >= hlc_at(bound_ms)

    def reset(self, wall_ms: int) -> None:
        """Start again from the wall clock; only together with a new epoch."""
        self.last = hlc_at(wall_ms)
