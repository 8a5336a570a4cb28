"""What happens in the mesh, as an iteration: links, members, refusals, the store.

Invariant: a reader that is slower than what happens loses the oldest events and is told how many.
"""

from typing import TYPE_CHECKING

from gossipsync.embed._values import Event
from gossipsync.embed._waiting import wait, wait_async
from gossipsync.errors import ClosedError

if TYPE_CHECKING:
    from gossipsync.runtime.engine import Engine

__all__ = ["AsyncEvents", "Events"]


class _EventsBase:
    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._subscription = engine.observer.subscribe()

    def _has_more(self) -> bool:
        return not self._subscription.is_empty


class Events(_EventsBase):
    """Iterates over what happens from now on, blocking; ends when the mesh closes."""

    def __iter__(self) -> "Events":
        return self

    def __next__(self) -> Event:
        while (event := self._subscription.take()) is None:
            try:
                wait(self._engine, self._has_more, None)
            except ClosedError:
                raise StopIteration from None
        return event


class AsyncEvents(_EventsBase):
    """`async for` over what happens from now on; ends when the mesh closes."""

    def __aiter__(self) -> "AsyncEvents":
        return self

    async def __anext__(self) -> Event:
        while (event := self._subscription.take()) is None:
            try:
                await wait_async(self._engine, self._has_more, None)
            except ClosedError:
                raise StopAsyncIteration from None
        return event
