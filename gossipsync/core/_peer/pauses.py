"""Pause detector: time in which this peer's own process did not run does not count as another's silence.

A process that was stopped, swapped out or starved finds its deadlines overdue. Everything that it was to hear meanwhile may still wait to
be read, or was given up by the other end, so every moment at which another peer was last heard moves forward by the length of the pause.
The local health score of Lifeguard (Dadgar et al., 2018) treats the same fault for probes alone; see `failure_detector`.

Invariant: no member is judged by silence that includes a pause of this peer.
"""

from __future__ import annotations

from typing import Final

from attrs import define

from gossipsync.core._peer.context import Context

PAUSE_SHARE: Final = 0.5
"""Lateness of a deadline beyond which this peer's own loop stood still, probe intervals."""


@define(eq=False)
class Pauses:
    """The pauses of one peer."""

    _ctx: Context
    armed_s: float = float("inf")
    """Deadline that the driver was told last, monotonic seconds."""

    def notice(self) -> None:
        """Compare the present moment with the deadline that was armed; called before any silence is judged."""
        ctx = self._ctx
        late_s = ctx.now.mono_s - self.armed_s
        if late_s <= PAUSE_SHARE * ctx.config.probe_interval_s:
            return
        self.armed_s = float("inf")
        ctx.counters["pauses"] += 1
        now_s = ctx.now.mono_s
        for member in ctx.members:
            member.heard_s = min(now_s, member.heard_s + late_s)
        for link in ctx.links.values():
            link.heard_s = min(now_s, link.heard_s + late_s)
            for exchange in link.exchanges.values():
                exchange.started_s = min(now_s, exchange.started_s + late_s)
