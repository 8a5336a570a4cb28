"""Watching a bucket, as an iteration that blocks and as one that is awaited. What is shown, and from where, `runtime.watching` says.

Invariant: a watch that has ended, or was dropped, leaves no waiter behind.
"""

from typing import TYPE_CHECKING

from gossipsync.core.model.ids import peer_text
from gossipsync.embed._binding import Binding
from gossipsync.embed._durations import check_timeout
from gossipsync.embed._values import Change
from gossipsync.embed._waiting import wait, wait_async
from gossipsync.errors import ClosedError
from gossipsync.runtime.watching import Watching

if TYPE_CHECKING:
    from gossipsync.runtime.engine import Engine

__all__ = ["AsyncWatch", "Watch"]


class _Watch:
    """What both flavours share: everything but sleeping. Positions count from the call that made it."""

    def __init__(
        self, binding: Binding, prefix: str, since: str | None, timeout: float | None
    ) -> None:
        if since is None or since == "now":
            binding.admit()  # a cursor goes on where it was, also in a peer that is joining
        self._engine: Engine = binding.engine()
        self._bucket = binding.name
        self._timeout_s = check_timeout(timeout)
        self._watching = Watching(
            self._engine.peer,
            self._engine.lock,
            binding.wall_ms,
            binding.name,
            prefix,
            since,
        )

    def _next(self) -> Change | None:
        """The next change; None where there is none yet."""
        shown = self._watching.next()
        if shown is None:
            return None
        found = shown.found
        if found is None:
            return Change(shown.key, shown.kind, None, None, shown.cursor)
        return Change(shown.key, shown.kind, found.value, peer_text(found.origin), shown.cursor)

    def _left_s(self, began_s: float) -> float | None:
        """What is left of the idle time: changes elsewhere in the bucket do not extend it."""
        if self._timeout_s is None:
            return None
        return max(0.0, self._timeout_s - (self._engine.now().mono_s - began_s))


class Watch(_Watch):
    """Iterates over changes, blocking; ends after `timeout` idle seconds, or when the mesh closes."""

    def __iter__(self) -> "Watch":
        return self

    def __next__(self) -> Change:
        began_s = self._engine.now().mono_s
        while True:
            change = self._next()
            if change is not None:
                return change
            try:
                has_more, left_s = self._watching.has_more, self._left_s(began_s)
                if wait(self._engine, has_more, left_s, bucket=self._bucket):
                    continue
            except ClosedError:
                pass
            raise StopIteration


class AsyncWatch(_Watch):
    """Iterates over changes with `async for`; ends after `timeout` idle seconds, or when the mesh closes."""

    def __aiter__(self) -> "AsyncWatch":
        return self

    async def __anext__(self) -> Change:
        began_s = self._engine.now().mono_s
        while True:
            change = self._next()
            if change is not None:
                return change
            try:
                has_more, left_s = self._watching.has_more, self._left_s(began_s)
                if await wait_async(self._engine, has_more, left_s, bucket=self._bucket):
                    continue
            except ClosedError:
                pass
            raise StopAsyncIteration
