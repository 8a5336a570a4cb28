"""The backlog: own bundles that no linked member has confirmed, so that a writer does not run away from the mesh.

The fastest neighbour counts: what one of them has stored can reach all others without us. Without a link there is nobody to
wait for. Nor is a neighbour that confirms nothing at all waited for: it is not slow but deaf, and must not keep us from writing.
Invariant: `size_bytes` is the size of the bundles that wait here.
"""

from __future__ import annotations

from collections import deque

from attrs import define, field

from gossipsync.core._peer.context import Context


@define(eq=False)
class Backlog:
    """How far our writes are ahead of what our neighbours have stored."""

    _ctx: Context
    size_bytes: int = 0
    _waiting: dict[str, deque[tuple[int, int]]] = field(factory=dict)
    """By bucket: numbers and sizes of bundles, in order."""
    _confirmed_s: float = 0.0
    """When a neighbour last confirmed anything, or was first asked to."""

    @property
    def is_full(self) -> bool:
        """Are our neighbours too far behind the bundles we sealed?"""
        return self.is_full_with(0)

    def is_full_with(self, more_bytes: int) -> bool:
        """Would they be, once writes of this size are sealed too?"""
        limit = self._ctx.config.limits.unconfirmed_bytes
        return self.size_bytes + more_bytes > limit and bool(self._ctx.by_peer)

    def sealed(self, bucket: str, index: int, size_bytes: int) -> None:
        """One more bundle of ours is on its way to those who are there."""
        if not self._ctx.by_peer:
            return
        if not self.size_bytes:
            self._confirmed_s = self._ctx.now.mono_s
        self._waiting.setdefault(bucket, deque()).append((index, size_bytes))
        self.size_bytes += size_bytes

    def confirmed(self, bucket: str, index: int) -> None:
        """A member has stored our log of a bucket up to a number."""
        waiting = self._waiting.get(bucket, ())
        while waiting and waiting[0][0] <= index:
            self.size_bytes -= waiting.popleft()[1]
            self._confirmed_s = self._ctx.now.mono_s

    def clear(self) -> None:
        """Wait for nobody."""
        self._waiting.clear()
        self.size_bytes = 0

    def forgive(self) -> None:
        """Wait no longer where there is no neighbour left, or none that confirms anything."""
        ctx = self._ctx
        if not self.size_bytes:
            return
        if not ctx.by_peer:
            self.clear()
        elif self.is_full and ctx.now.mono_s - self._confirmed_s > ctx.config.limits.wanted_span_s:
            ctx.counters["backlog-forgiven"] += 1
            self.clear()
        else:
            return
        ctx.has_moved = True
