"""Commits: the store's blocking half, in a worker thread, one at a time.

A memory store has nothing to wait for, so its commits are answered where they are asked for; a hop into a
thread and back would be most of the delay between a write and its being sent.

Invariant: each ticket is answered once, in the order of asking, whatever the store raises.
"""

import logging
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

import trio

from gossipsync.core.ports import Store
from gossipsync.errors import GossipsyncError, InternalError, StoreBehindError

__all__ = ["Committer", "Failure"]

_log = logging.getLogger("gossipsync.store")


class Failure(NamedTuple):
    """Why a commit was not carried out."""

    detail: str
    is_behind: bool = False
    """Whether the store no longer has the commit before."""


class Committer:
    """Commits one store. `answer(ticket, failure)` is called in the trio thread; failure None: stored."""

    def __init__(
        self, store: Store, answer: Callable[[int, Failure | None], None], *, is_immediate: bool
    ) -> None:
        self._store = store
        self._answer = answer
        self.is_immediate = is_immediate
        self.is_busy = False
        self._lock = Lock()  # between the worker thread and `close`
        self._is_in_thread = False
        self._is_closed = False
        self._send, self._receive = trio.open_memory_channel[int](1)

    def ask(self, ticket: int) -> None:
        """Commit what the store has buffered. One ticket may be outstanding."""
        if self.is_busy:
            raise InternalError("the core asked for a commit before the last one was answered")
        self.is_busy = True
        self._send.send_nowait(ticket)

    def commit_now(self) -> Failure | None:
        """Commit here; what went wrong, if anything."""
        try:
            self._store.commit()
        except GossipsyncError as error:
            return Failure(str(error), isinstance(error, StoreBehindError))
        except Exception as error:  # noqa: BLE001 - mapped to a failure
            # A backend's own exception: the data stays buffered and is tried again, like any failure.
            _log.exception("the store raised what no store may raise")
            return Failure(f"{type(error).__name__}: {error}")
        return None

    async def run(self) -> None:
        """Commit until cancelled. A commit that hangs is left behind then, with its store."""
        async for ticket in self._receive:
            failure = await trio.to_thread.run_sync(self._commit_aside, abandon_on_cancel=True)
            self.is_busy = False
            self._answer(ticket, failure)

    def close(self) -> None:
        """Close the store; where a commit still runs in it, as soon as that has ended."""
        with self._lock:
            self._is_closed = True
            if not self._is_in_thread:
                self._store.close()
                return
        _log.error("a commit did not end in time; what it was to store may be lost")

    def _commit_aside(self) -> Failure | None:
        """In the worker thread."""
        with self._lock:
            if self._is_closed:
                return Failure("the store has been closed")
            self._is_in_thread = True
        try:
            return self.commit_now()
        finally:
            self._leave_thread()

    def _leave_thread(self) -> None:
        with self._lock:
            self._is_in_thread = False
            if self._is_closed:
                self._store.close()
