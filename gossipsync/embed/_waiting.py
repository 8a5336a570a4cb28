"""Sleeping until the mesh has moved: one question, three ways to sleep.

Whoever waits hands the engine a question and how to be woken, and sleeps in its own fashion: a thread on
a lock, a coroutine in asyncio or in trio. The question is asked by the engine, under its lock, whenever
something moved.

Invariant: a wait that ends, however it ends, leaves nothing behind in the engine.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Protocol

from gossipsync.errors import ClosedError
from gossipsync.runtime.waiters import Waiter

if TYPE_CHECKING:
    from gossipsync.runtime.engine import Engine

__all__ = [
    "AsyncParker",
    "ThreadParker",
    "async_parker",
    "await_ready",
    "await_ready_async",
    "wait",
    "wait_async",
]


class AsyncParker(Protocol):
    """One coroutine's sleep. `wake` may be called in any thread, also too late."""

    def wake(self) -> None:
        """End the sleep."""
        ...

    async def park(self, timeout_s: float | None) -> bool:
        """Sleep until woken; False if the time was up first."""
        ...


class ThreadParker:
    """One thread's sleep."""

    def __init__(self) -> None:
        self._event = Event()
        self.wake = self._event.set

    def park(self, timeout_s: float | None) -> bool:
        """Sleep until woken; False if the time was up first."""
        return self._event.wait(timeout_s)


class _AsyncioParker:
    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:
            pass  # the loop has been closed: nobody sleeps there any more

    async def park(self, timeout_s: float | None) -> bool:
        import asyncio

        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        return True


class _TrioParker:
    def __init__(self) -> None:
        import trio

        self._token = trio.lowlevel.current_trio_token()
        self._event = trio.Event()

    def wake(self) -> None:
        import trio

        try:
            self._token.run_sync_soon(self._event.set)
        except trio.RunFinishedError:
            pass  # that program has ended: nobody sleeps there any more

    async def park(self, timeout_s: float | None) -> bool:
        import trio

        with trio.move_on_after(float("inf") if timeout_s is None else timeout_s):
            await self._event.wait()
        return self._event.is_set()


def async_parker() -> AsyncParker:
    """A sleep for the library that runs this coroutine: trio, else asyncio."""
    from trio.lowlevel import in_trio_task

    return _TrioParker() if in_trio_task() else _AsyncioParker()


def wait(
    engine: "Engine",
    is_met: Callable[[], bool],
    timeout_s: float | None,
    *,
    bucket: str | None = None,
) -> bool:
    """Sleep until the question is answered with yes; False if the time was up first.

    `is_met` is asked under the engine's lock; what it raises is raised here. Where `bucket` is given it
    is asked only when that bucket's data moved. Raises ClosedError.
    """
    parker = ThreadParker()
    with _asking(engine, is_met, parker.wake, bucket) as waiter:
        is_woken = parker.park(timeout_s)
    return _outcome(engine, waiter, is_woken=is_woken)


async def wait_async(
    engine: "Engine",
    is_met: Callable[[], bool],
    timeout_s: float | None,
    *,
    bucket: str | None = None,
) -> bool:
    """`wait` for coroutines of asyncio and trio."""
    parker = async_parker()
    with _asking(engine, is_met, parker.wake, bucket) as waiter:
        is_woken = await parker.park(timeout_s)
    return _outcome(engine, waiter, is_woken=is_woken)


def await_ready(engine: "Engine") -> None:
    """Wait until the peer has been ready once, or its `start_wait` is over. Raises ClosedError."""
    gate = engine.gate
    if not wait(engine, gate.is_ready, gate.left_s()):
        gate.expire()


async def await_ready_async(engine: "Engine") -> None:
    """`await_ready` for coroutines of asyncio and trio."""
    gate = engine.gate
    if not gate.is_open and not await wait_async(engine, gate.is_ready, gate.left_s()):
        gate.expire()


@contextmanager
def _asking(
    engine: "Engine", is_met: Callable[[], bool], wake: Callable[[], None], bucket: str | None
) -> Iterator[Waiter]:
    waiter = Waiter(is_met, wake, bucket)
    with engine.lock:
        engine.waiters.add(waiter)
    try:
        yield waiter
    finally:
        with engine.lock:
            engine.waiters.discard(waiter)


def _outcome(engine: "Engine", waiter: Waiter, *, is_woken: bool) -> bool:
    if waiter.error is not None:
        raise waiter.error
    with engine.lock:
        if waiter.is_met():
            return True
        if engine.waiters.is_closed:
            raise ClosedError("the mesh was closed while this call waited for it")
    return is_woken
