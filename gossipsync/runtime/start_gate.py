"""The start gate: whether the buckets of a peer that has just started may be read.

A process that has just started holds nothing, and an absent key would look like a session that does not exist. So the first use of a
peer with seeds waits until the peer has been ready once, for at most the setting `start_wait`. All callers share one wait: its time
runs from the first of them. When it has expired, the data that is here is served, and the peer warns until it is ready.

Invariants: a gate that is open stays open; whether it opened by expiry is counted once.
"""

from collections.abc import Callable
from threading import RLock

from gossipsync.core import Now, Peer

__all__ = ["StartGate"]


class StartGate:
    """The gate of one engine. Methods may be called in any thread."""

    def __init__(
        self,
        peer: Peer,
        lock: RLock,
        now: Callable[[], Now],
        wake: Callable[[], None],
        wait_s: float,
    ) -> None:
        self.is_open = wait_s == 0 or peer.may_serve()
        """Whether reads need not wait: the peer has been ready, or the wait has expired."""
        self._is_ready = peer.may_serve()
        self._peer = peer
        self._lock = lock
        self._now = now
        self._wake = wake
        self._wait_s = wait_s
        self._deadline_s: float | None = None

    def is_ready(self) -> bool:
        """Whether the peer has been ready since its start, or has no seeds to be ready with."""
        if not self._is_ready:
            with self._lock:
                if self._peer.may_serve():
                    self._is_ready = self.is_open = True
        return self._is_ready

    def left_s(self) -> float:
        """Seconds that the wait still lasts; the first call begins it."""
        with self._lock:
            now_s = self._now().mono_s
            if self._deadline_s is None:
                self._deadline_s = now_s + self._wait_s
            return max(0.0, self._deadline_s - now_s)

    def expire(self) -> None:
        """The wait is over: serve the data that is here, and warn."""
        with self._lock:
            if not self.is_open and not self.is_ready():
                self.is_open = True
                self._peer.note_start_wait_expired(self._wait_s, self._now())
                self._wake()
