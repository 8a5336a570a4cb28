"""Lag: lines of which a member told more than this peer has, and for how long.

A busy mesh always names bundles that are still on their way, so a line lags only if it has not reached within `_LAG_S` what a member
had told. Lines that wait for the clock, because a member stamps ahead of it, count only if it is this peer's clock that is wrong.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context
from gossipsync.core.replication.lines import LineKey

_LAG_S: Final = 5.0
"""Longest time that a line may take to reach what a member told of it."""
_BEHIND_BUNDLES: Final = 256
"""Bundles said to be missing from which on a peer is behind at once."""


@define(eq=False)
class Lag:
    """Looks once a round at the lines that are behind."""

    _ctx: Context
    _goals: dict[LineKey, tuple[int, float]] = field(factory=dict)
    """For each line that is behind: what it is to reach, and since when that is known."""

    def round(self) -> None:
        """Note new goals, and forget those that were reached or are claimed no longer."""
        now_s, index_of = self._ctx.now.mono_s, self._ctx.logs.index
        goals = {}
        for key, index in self._ctx.fetcher.goals():
            known = self._goals.get(key)
            is_reached = known is None or known[0] <= index_of(key)
            goals[key] = (index, now_s) if known is None or is_reached else known
        self._goals = goals

    def is_behind(self, *, is_clock_suspect: bool) -> bool:
        """Whether this peer lacks much of what members have, or something for long."""
        ctx, fetcher = self._ctx, self._ctx.fetcher
        if fetcher.bundles_behind() >= _BEHIND_BUNDLES:
            return True
        oldest_s = ctx.now.mono_s - _LAG_S
        return any(
            since_s <= oldest_s
            and index > ctx.logs.index(key)
            and fetcher.is_behind(key)
            and (is_clock_suspect or not fetcher.is_ahead(key))
            for key, (index, since_s) in self._goals.items()
        )
