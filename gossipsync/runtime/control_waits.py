"""Waiting inside the peer, for callers of the control socket.

Invariant: a caller that goes away, or whose time is up, leaves no waiter behind.
"""

from collections.abc import Awaitable, Callable
from threading import RLock
from typing import Protocol

import trio

from gossipsync.core import Now, Peer, PeerStatus, Token, Written
from gossipsync.core.model.acks import Ack
from gossipsync.errors import ClosedError
from gossipsync.runtime.settings import Settings
from gossipsync.runtime.start_gate import StartGate
from gossipsync.runtime.strangers import StrangerStatus
from gossipsync.runtime.transport import Transport
from gossipsync.runtime.waiters import Waiter, Waiters

__all__ = ["SendPart", "ServedEngine", "until"]

SendPart = Callable[[object], Awaitable[None]]
"""Sends the caller one part of an answer; waits until it is read."""


class ServedEngine(Protocol):
    """What the control socket needs of the engine."""

    @property
    def settings(self) -> Settings: ...
    @property
    def lock(self) -> RLock: ...
    @property
    def peer(self) -> Peer: ...
    @property
    def waiters(self) -> Waiters: ...
    @property
    def transport(self) -> Transport: ...
    @property
    def gate(self) -> StartGate: ...
    @property
    def addresses(self) -> tuple[str, ...]: ...
    def now(self) -> Now:
        """This moment on both clocks."""
        ...

    def status(self) -> PeerStatus:
        """What state the peer is in."""
        ...

    def incompatible(self) -> tuple[StrangerStatus, ...]:
        """Members of this network without a common protocol that were met of late."""
        ...

    def count_alive(self) -> int:
        """Members that are alive, self included. With the lock held."""
        ...

    def wake(self) -> None:
        """Have the peer drained soon."""
        ...

    def seek_acks(self, written: Written, ack: Ack) -> bool:
        """Is a write stored so widely? If not, it is sought. With the lock held."""
        ...

    def seek_token(self, token: Token) -> bool:
        """Has the peer seen what a token names? If not, it is sought. With the lock held."""
        ...

    def request_close(self, *, leave: bool = False) -> None:
        """End the engine."""
        ...


async def until(
    engine: ServedEngine,
    is_met: Callable[[], bool],
    timeout_s: float | None,
    *,
    bucket: str | None = None,
) -> bool:
    """Wait until `is_met`, asked under the lock, holds; False if it does not in time.

    Raises what `is_met` raises, and ClosedError once the peer closes.
    """
    moved = trio.Event()
    token = trio.lowlevel.current_trio_token()
    is_woken = False

    def wake() -> None:
        nonlocal is_woken
        is_woken = True
        token.run_sync_soon(moved.set)

    waiter = Waiter(is_met, wake, bucket)
    with engine.lock:
        engine.waiters.add(waiter)
    try:
        if not is_woken:
            with trio.move_on_after(float("inf") if timeout_s is None else timeout_s):
                await moved.wait()
    finally:
        with engine.lock:
            engine.waiters.discard(waiter)
    if waiter.error is not None:
        raise waiter.error
    if engine.waiters.is_closed:
        raise ClosedError("the peer has closed")
    return is_woken
