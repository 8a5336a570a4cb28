"""Spreading: how statements get from one peer to all, and what that may cost.

What is news goes at once to all links, and to every link that opens while it is fresh, so that it reaches a sparse mesh along
many ways. Where hundreds of members are lost at once, or all dials fail, every peer would pass on several statements about
every other: what exceeds `Limits.spread_bytes_per_s` over its burst waits here, our own word first, and goes unless it was
refuted meanwhile.

Invariant: nothing that stands is dropped, and what waits is at most what stands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context, Link
from gossipsync.core.membership.allowance import Allowance
from gossipsync.core.membership.statements import Statement
from gossipsync.core.model.ids import LinkId
from gossipsync.core.wire.liveness import Statements

_FRESH_ROUNDS: Final = 4
"""Rounds for which a statement is told to links that open, at least; else log2 of the members."""
_FRESH: Final = 256
"""Fresh statements remembered; in a sparse mesh more than any member's part of a partition into halves."""
_PAUSE_S: Final = 0.25
"""What has to wait goes together, so many times a second."""


@define(eq=False)
class Spreading:
    """The statements that one peer tells. `stands(statement)` says whether it is still worth telling."""

    _ctx: Context
    _stands: Callable[[Statement], bool]
    delayed: int = 0
    """Statements that had to wait because there were too many."""
    next_s: float = float("inf")
    """When to `flush` again."""
    _fresh: deque[tuple[int, float, Statement]] = field(factory=lambda: deque(maxlen=_FRESH))
    _seq: int = 0
    _waiting: dict[bytes, tuple[Statement, LinkId | None]] = field(factory=dict)
    """What is to be told, and the link that brought it; by its datum."""
    _room: Allowance | None = None

    def add(self, statement: Statement, source: Link | None) -> None:
        """Have a statement told to all links but its source, with the next `flush`."""
        if source is None:
            self._waiting = {statement.data: (statement, None), **self._waiting}
        else:
            self._waiting[statement.data] = (statement, source.id)

    def flush(self) -> None:
        """Tell what waits, as much of it as may be told now."""
        ctx, now_s = self._ctx, self._ctx.now.mono_s
        if not self._waiting or (now_s < self.next_s < float("inf")):
            return
        limits = ctx.config.limits
        if self._room is None:
            self._room = Allowance(limits.spread_bytes, now_s)
        self._room.grow(now_s, limits.spread_bytes, limits.spread_bytes_per_s)
        links = list(ctx.by_peer.values())
        told: dict[LinkId, list[bytes]] = {link.id: [] for link in links}
        was_waiting = self.next_s < float("inf")
        for data, (statement, source) in list(self._waiting.items()):
            if self._stands(statement):
                if not self._room.take(min(len(data) * len(links), limits.spread_bytes)):
                    break
                self._seq += 1
                self._fresh.append((self._seq, now_s, statement))
                for link in links:
                    if link.id != source:
                        told[link.id].append(data)
            del self._waiting[data]
        for link in links:
            link.told_statements = self._seq
            self._tell(link, told[link.id])
        self.next_s = now_s + _PAUSE_S if self._waiting else float("inf")
        if self._waiting and not was_waiting:
            self.delayed += len(self._waiting)

    def greet(self, link: Link, dismissals: Iterable[Statement]) -> None:
        """Tell a new link what is fresh; one that is to stay, also who was dismissed."""
        ctx = self._ctx
        rounds = max(_FRESH_ROUNDS, ctx.mesh_size.bit_length())
        since_s = ctx.now.mono_s - rounds * ctx.config.gossip_interval_s
        told = {
            statement.data: None
            for seq, at_s, statement in self._fresh
            if at_s >= since_s and seq > link.told_statements and self._stands(statement)
        }
        if not link.is_transient:
            told |= {dismissal.data: None for dismissal in dismissals}
        link.told_statements = self._seq
        self._tell(link, list(told))

    def _tell(self, link: Link, data: list[bytes]) -> None:
        share = self._ctx.config.limits.statements
        for start in range(0, len(data), share):
            self._ctx.send(link, Statements(tuple(data[start : start + share])))
