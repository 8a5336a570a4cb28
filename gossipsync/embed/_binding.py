"""One bucket's hold on the engine: found at first use, then as thin as can be.

`read` and `wall_ms` are what a read costs: two calls on bound methods, no lock, no thread hop. A write takes
the peer's lock, drafts, commits to memory and wakes the engine if it sleeps.

Invariant: while unbound, `read` binds first; so nobody has to ask whether the mesh runs.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from gossipsync.embed._waiting import wait
from gossipsync.errors import BucketKindError, OverloadedError

if TYPE_CHECKING:
    from gossipsync.core import Draft, Replica, Version, Written
    from gossipsync.embed._life import Life
    from gossipsync.runtime.engine import Engine
    from gossipsync.runtime.settings import BucketSettings

__all__ = ["PATIENCE_S", "Binding"]

PATIENCE_S = 1.0
"""How long a blocking write waits for room before it gives up."""

T = TypeVar("T")


class Binding:
    """One bucket of one mesh. `asked` is what the application asked the bucket to be."""

    def __init__(self, life: "Life", name: str, asked: "BucketSettings") -> None:
        self.name = name
        self.asked = asked
        self.wall_ms = life.clock.wall_ms
        self.read: Callable[[str, int], object] = self._read_first
        self._life = life
        self._engine: Engine | None = None
        self._replica: Replica | None = None

    def bind(self, engine: "Engine") -> None:
        """Open the bucket at an engine that has started. Raises BucketKindError."""
        asked = self.asked
        with engine.lock:
            replica = engine.peer.open_bucket(
                self.name,
                engine.now(),
                kind=asked.kind,
                deletes=asked.deletes,
                ttl_ms=asked.ttl_ms,
                history_ms=asked.history_ms,
            )
            engine.wake()
        self.read = replica.read
        self._replica = replica
        self._engine = engine

    def unbind(self) -> None:
        """The engine is gone; the next use looks for another."""
        self._engine = self._replica = None
        self.read = self._read_first

    def engine(self) -> "Engine":
        """The engine, started and bound if need be."""
        engine = self._engine
        if engine is None:
            engine = self._life.engine()  # which binds what it knows of
            if self._engine is None:
                self.bind(engine)
        return engine

    def replica(self) -> "Replica":
        """The bucket's replica, for reads of any sort."""
        replica = self._replica
        if replica is None:
            self.engine()
            replica = self._replica
            assert replica is not None
        return replica

    def _read_first(self, key: str, wall_ms: int) -> object:
        return self.replica().read(key, wall_ms)

    def put(
        self, key: str, value: object, milliseconds: int | None = None, after: str | None = None
    ) -> "Written":
        """Write one value at once, after a token. Raises OverloadedError, TokenError and what a draft raises."""
        engine = self._engine or self.engine()
        engine.let_pass()
        with engine.lock:
            peer = engine.peer
            now = engine.clock.now()
            token = None if after is None else peer.parse_token(after, now)
            draft = peer.draft(self.name, now, token)
            draft.put(key, value, milliseconds)
            written = peer.commit_draft(draft, now)
            engine.wake()
        return written

    def edit(
        self, change: Callable[["Draft"], T], after: str | None = None
    ) -> tuple[T, "Written | None"]:
        """Write whatever `change` drafts, after a token; None where that is nothing. Raises TokenError and what `change` raises."""
        engine = self._engine or self.engine()
        engine.let_pass()
        with engine.lock:
            peer = engine.peer
            now = engine.clock.now()
            token = None if after is None else peer.parse_token(after, now)
            draft = peer.draft(self.name, now, token)
            outcome = change(draft)
            if draft.is_empty:
                return outcome, None
            written = peer.commit_draft(draft, now)
            engine.wake()
        return outcome, written

    def draft(self, after: str | None) -> tuple["Engine", "Draft"]:
        """A draft that stays open, and the engine it is for. Raises TokenError."""
        engine = self.engine()
        with engine.lock:
            now = engine.clock.now()
            token = None if after is None else engine.peer.parse_token(after, now)
            return engine, engine.peer.draft(self.name, now, token)

    def patiently(self, write: Callable[[], T]) -> T:
        """Do a write, waiting up to a second for room in all. Raises OverloadedError."""
        left_s = PATIENCE_S
        while True:
            try:
                return write()
            except OverloadedError:
                began_s = self._life.clock.now().mono_s
                if left_s <= 0 or not self.wait_room(left_s):
                    raise
                left_s -= self._life.clock.now().mono_s - began_s

    def wait_room(self, timeout_s: float | None) -> bool:
        """Block until a write would be taken; False if the time was up first."""
        engine = self.engine()
        return wait(engine, engine.peer.is_writable, timeout_s)

    def snapshot(self, take: Callable[["Replica", int], T]) -> T:
        """What `take` copies from the replica, under the lock."""
        replica = self.replica()
        engine = self.engine()
        with engine.lock:
            return take(replica, self.wall_ms())

    def history(self, key: str) -> "list[Version]":
        """What is kept of the writes to a key."""
        engine = self.engine()
        with engine.lock:
            look = engine.peer.history(self.name, key, engine.now())
            engine.wake()
        return look()

    def check_kind(self, kind: str) -> None:
        """Raise BucketKindError unless this is the bucket's kind, given in lower case."""
        actual = self.replica().rules.kind.name.lower()
        if actual != kind:
            raise BucketKindError(
                f"bucket {self.name!r} holds {actual}s, not {kind}s; open another bucket for the other kind"
            )
