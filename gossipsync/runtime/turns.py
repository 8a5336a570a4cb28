"""Whose turn it is: the engine goes before writers who would take the peer's lock again at once.

A thread that writes in a loop gives the lock back and takes it again before a waiting thread has woken up: the engine would
be woken for every write and come too late each time, which costs both of them more than the write itself. So a
waiting engine closes a door, and the next writer waits at it until the engine has the lock.

Invariant: `let_pass` delays a writer by 10 ms at most, so one that already holds the lock cannot be locked out by it.
"""

from threading import Lock, RLock
from types import TracebackType
from typing import Final

__all__ = ["EngineTurn"]

_LONGEST_S: Final = 0.010


class EngineTurn:
    """`with turn:` holds `lock`, ahead of writers. For the engine's thread alone; all others take `lock` itself."""

    def __init__(self) -> None:
        self.lock = RLock()
        self._door = Lock()
        self._is_waiting = False

    def let_pass(self) -> None:
        """Wait until the engine, if it waits for the lock, has got it. For writers, before they take the lock."""
        if self._is_waiting and self._door.acquire(timeout=_LONGEST_S):
            self._door.release()

    def __enter__(self) -> None:
        if self.lock.acquire(blocking=False):
            return
        with self._door:
            self._is_waiting = True
            self.lock.acquire()
            self._is_waiting = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.lock.release()
