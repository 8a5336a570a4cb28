"""The mesh for coroutines of asyncio and trio: what waits is awaited, all else is a plain call.

The engine runs in a thread of its own here too, so that a loop that is kept busy does not stall gossip.

Invariant: no coroutine here blocks its loop, and each may be cancelled at any await.
"""

from gossipsync.embed._async_bucket import AsyncBucket
from gossipsync.embed._binding import Binding
from gossipsync.embed._durations import check_timeout
from gossipsync.embed._events import AsyncEvents
from gossipsync.embed._mesh_base import (
    CONNECT_S,
    MeshBase,
    check_handed_over,
    check_outcome,
    too_late,
)
from gossipsync.embed._waiting import await_ready_async, wait_async

__all__ = ["AsyncMesh"]


class AsyncMesh(MeshBase[AsyncBucket]):
    """One peer in this process, started. Made by `async with gossipsync.open_async(…) as mesh`."""

    _may_block = False

    def _make_bucket(self, binding: Binding) -> AsyncBucket:
        return AsyncBucket(binding)

    async def start(self) -> None:
        """Start, and wait until this peer is ready, for `start_wait` at most; `open_async` does it.

        Reads are plain calls and cannot wait without blocking the event loop, so the wait is here. Raises ConfigError, StoreError,
        TransportError, and ClosedError if the mesh is closed meanwhile.
        """
        if self._life.running is None:
            engine = await self._life.start_async()
            try:
                await await_ready_async(engine)
            except BaseException:  # cancelled: nothing is left running
                self._life.request_close()
                raise

    async def close(self) -> int:
        """Hand over the last writes and end, within two seconds; this peer stays a member, `away`. Idempotent.

        Returns the number of writes that are lost, as `Mesh.close`.
        """
        return await self._life.close_async()

    async def leave(self) -> None:
        """Hand over the last writes, give up membership, and close. Raises HandOverError if no other member confirmed all writes."""
        self._life.engine()
        check_handed_over(await self._life.close_async(leave=True))

    async def connect(self, address: str) -> None:
        """Dial "host:port" and return when a member there is linked. Raises ConfigError, TransportError."""
        engine, expectation = self._begin_connect(address)
        await wait_async(engine, lambda: expectation.outcome is not None, CONNECT_S)
        check_outcome(address, expectation.outcome)

    def events(self) -> AsyncEvents:
        """`async for` over what happens from now on; bounded: see `Event`."""
        return AsyncEvents(self._life.engine())

    async def wait_for(self, token: str, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the contract's name
        """Wait until this peer has seen all that a token stands for. Raises TokenError, WaitTimeoutError."""
        engine, is_met = self._question_of_token(token)
        if not await wait_async(engine, is_met, check_timeout(timeout)):
            raise too_late("what the token stands for has not arrived", timeout)

    async def wait_members(self, n: int, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the contract's name
        """Wait until `n` members, self included, are alive. Raises WaitTimeoutError."""
        engine, is_met = self._question_of_members(n)
        if not await wait_async(engine, is_met, check_timeout(timeout)):
            raise too_late(f"there were not {n} members", timeout)

    async def wait_synced(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the contract's name
        """Wait until no member is known to have what this peer lacks. Raises WaitTimeoutError."""
        engine, is_met = self._question_of_sync()
        if not await wait_async(engine, is_met, check_timeout(timeout)):
            raise too_late("this peer has not caught up", timeout)
