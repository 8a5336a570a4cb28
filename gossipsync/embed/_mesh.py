"""The mesh for threads: every method may be called in any thread, and what waits blocks it.

Invariant: nothing is started before `start`, `with` or the first use.
"""

from types import TracebackType
from typing import Self

from gossipsync.embed._binding import Binding
from gossipsync.embed._bucket import Bucket
from gossipsync.embed._durations import check_timeout
from gossipsync.embed._events import Events
from gossipsync.embed._mesh_base import (
    CONNECT_S,
    MeshBase,
    check_handed_over,
    check_outcome,
    too_late,
)
from gossipsync.embed._waiting import wait

__all__ = ["Mesh"]


class Mesh(MeshBase[Bucket]):
    """One peer in this process. Made by `gossipsync.open`; a context manager.

    Starts at `start()`, `with` or first use, which raise what keeps it from starting: ConfigError,
    StoreError, TransportError. A forked child's first use starts a peer of its own.
    """

    def _make_bucket(self, binding: Binding) -> Bucket:
        return Bucket(binding)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start now, rather than at first use."""
        self._life.engine()

    def close(self) -> int:
        """Hand over the last writes and end, within two seconds; this peer stays a member, `away`. Idempotent.

        Returns the number of writes that are lost: no other member confirmed them in time, and no `data_dir` keeps them. 0 in good
        order, and for a peer that is alone without seeds. Lost writes are logged as an error.

        Runs at the interpreter's exit too, and at SIGTERM where the program does not handle that itself.
        """
        return self._life.close()

    def leave(self) -> None:
        """Hand over the last writes, give up membership, and close. Raises HandOverError if no other member confirmed all writes."""
        self._life.engine()
        check_handed_over(self._life.close(leave=True))

    def connect(self, address: str) -> None:
        """Dial "host:port" and return when a member there is linked. Raises ConfigError, TransportError."""
        engine, expectation = self._begin_connect(address)
        wait(engine, lambda: expectation.outcome is not None, CONNECT_S)
        check_outcome(address, expectation.outcome)

    def events(self) -> Events:
        """Iterate over what happens from now on, blocking; bounded: see `Event`."""
        return Events(self._life.engine())

    def wait_for(self, token: str, *, timeout: float | None = None) -> None:
        """Block until this peer has seen all that a token stands for.

        Raises TokenError, WaitTimeoutError.
        """
        engine, is_met = self._question_of_token(token)
        if not wait(engine, is_met, check_timeout(timeout)):
            raise too_late("what the token stands for has not arrived", timeout)

    def wait_members(self, n: int, *, timeout: float | None = None) -> None:
        """Block until `n` members, self included, are alive. Raises WaitTimeoutError."""
        engine, is_met = self._question_of_members(n)
        if not wait(engine, is_met, check_timeout(timeout)):
            raise too_late(f"there were not {n} members", timeout)

    def wait_synced(self, *, timeout: float | None = None) -> None:
        """Block until no member is known to have what this peer lacks. Raises WaitTimeoutError."""
        engine, is_met = self._question_of_sync()
        if not wait(engine, is_met, check_timeout(timeout)):
            raise too_late("this peer has not caught up", timeout)
