"""Budgets: how many bytes one delta of one link may have, adapted to what the link carries.

Additive increase, multiplicative decrease: what used its budget and was through in time adds a step; what was late halves the
budget, once for all that was under way together. Links that share one narrow way so come to equal shares of it (Chiu and Jain,
"Analysis of the Increase and Decrease Algorithms for Congestion Avoidance in Computer Networks", 1989).
Invariant: a budget is never above `delta_bytes`, nor below `delta_least_bytes` where that is smaller.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from gossipsync.core.model.limits import Limits

_FAR_LESS: Final = 0.6
_HARDLY_SOONER: Final = 0.8
"""So much less that takes more than that share of the time is not late for its size."""


@define
class Budget:
    """Bytes of one delta over one link in one direction; it starts at `size_bytes`."""

    _limits: Limits
    size_bytes: int = field()
    has_trip: bool = False
    """Do the times have a round trip and the other's own work in them, which no smaller delta makes shorter?"""
    trip_s: float = 0.0
    """How much of the times is not for size, as far as a cut has shown: it is no sign of anything."""
    cuts: int = 0
    """How often it was halved."""
    _cut_s: float = float("-inf")
    _late: tuple[int, float] = (0, 0.0)
    """What led to the last cut: bytes, and how long they took."""

    @size_bytes.default
    def _as_high_as_may_be(self) -> int:
        return self._limits.delta_bytes

    def __attrs_post_init__(self) -> None:
        self.size_bytes = self._within(self.size_bytes)

    def settle(self, since_s: float, now_s: float, used_bytes: int) -> None:
        """So many bytes were asked for or queued at one moment, and were through at another."""
        taken_s, is_used = now_s - since_s, 2 * used_bytes >= self.size_bytes
        if taken_s <= self.trip_s + self._limits.delta_s:
            self.trip_s = min(self.trip_s, taken_s)
            if is_used:
                self.size_bytes = self._within(self.size_bytes + self._limits.delta_step_bytes)
        elif since_s >= self._cut_s:
            late_bytes, late_s = self._late
            is_least = self.size_bytes <= self._limits.delta_least_bytes
            is_far_less = is_least or (is_used and used_bytes <= _FAR_LESS * late_bytes)
            if self.has_trip and late_bytes and is_far_less and taken_s > _HARDLY_SOONER * late_s:
                self.trip_s = taken_s
                self.size_bytes = self._within(2 * self.size_bytes)
                self._late = (0, 0.0)
            else:
                self.cut(since_s, now_s)
                self._late = (used_bytes, taken_s)

    def cut(self, since_s: float, now_s: float) -> None:
        """What has been under way since a moment is late. If it was on its way at the last cut, that was meant for it too."""
        if since_s >= self._cut_s:
            self.size_bytes = self._within(self.size_bytes // 2)
            self.cuts += 1
            self._cut_s = now_s

    def _within(self, size_bytes: int) -> int:
        limits = self._limits
        return min(limits.delta_bytes, max(limits.delta_least_bytes, size_bytes))
