"""Waiting for the mesh: the one mechanism behind `wait`, `watch`, acks and back-pressure.

A waiter is a question about the peer, and a way to wake whoever asked. The engine asks again whenever
the core says that something moved (`Tell`), under the peer's lock; the one who waits only sleeps. So no
thread polls, and a wake-up costs one call whatever the flavour of the sleeper.

Invariant: a waiter is woken at most once, and is then no longer held; after `close` every waiter, also
one that comes later, is woken at once.
"""

import logging
from collections.abc import Callable
from typing import Final

from attrs import define, field

__all__ = ["Waiter", "Waiters"]

_log: Final = logging.getLogger("gossipsync.engine")


@define(eq=False)
class Waiter:
    """`is_met` is asked under the peer's lock and may raise; `wake` may be called in any thread."""

    is_met: Callable[[], bool]
    wake: Callable[[], None]
    bucket: str | None = None
    """If set: asked only when this bucket's data may have changed."""
    error: Exception | None = field(default=None, init=False)
    """What asking raised: the one who waits is to raise it."""


class Waiters:
    """All who wait for one peer. Every method is called under the peer's lock."""

    def __init__(self) -> None:
        self._waiters: dict[Waiter, None] = {}
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._waiters)

    def add(self, waiter: Waiter) -> None:
        """Hold a waiter until it is woken or discarded; woken at once if it need not wait."""
        self._waiters[waiter] = None
        self._ask(waiter)

    def discard(self, waiter: Waiter) -> None:
        """Forget one that no longer waits. Idempotent."""
        self._waiters.pop(waiter, None)

    def tell(self, buckets: frozenset[str]) -> None:
        """Ask again; `buckets` are those whose data may have changed."""
        for waiter in tuple(self._waiters):
            if waiter.bucket is None or waiter.bucket in buckets:
                self._ask(waiter)

    def close(self) -> None:
        """Wake everybody, for good."""
        self.is_closed = True
        for waiter in tuple(self._waiters):
            self._wake(waiter)

    def _ask(self, waiter: Waiter) -> None:
        try:
            is_met = self.is_closed or waiter.is_met()
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asked, not to the engine
            waiter.error = error
            is_met = True
        if is_met:
            self._wake(waiter)

    def _wake(self, waiter: Waiter) -> None:
        self.discard(waiter)
        try:
            waiter.wake()
        except Exception:  # noqa: BLE001 - its loop may have ended; those behind it are woken
            _log.exception("a waiter could not be woken")
