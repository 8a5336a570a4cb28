"""One bucket's hold on the engine: found at first use, then as thin as can be.

A read costs two calls on bound methods, `read` and `wall_ms`: no lock, no thread hop. A write takes
the peer's lock, drafts, commits to memory and wakes the engine if it sleeps.

Invariant: while unbound, or not admitted by the start gate, `read` leads through both first; after that neither is asked again.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from gossipsync.embed._waiting import await_ready, wait
from gossipsync.errors import BucketKindError, ClosedError, NotReadyError, OverloadedError

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
    """One bucket of one mesh. `asked` holds the arguments of `mesh.bucket`; `may_block` is False for coroutines."""

    def __init__(
        self, life: "Life", name: str, asked: "BucketSettings", *, may_block: bool = True
    ) -> None:
        self.name = name
        self.asked = asked
        self.wall_ms = life.clock.wall_ms
        self.read: Callable[[str, int], object] = self._read_first
        self._life = life
        self._may_block = may_block
        self._bound: tuple[Engine, Replica] | None = None
        self._engine: Engine | None = None
        """The engine, once the bucket may be read; so is `_replica`."""
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
        self._bound = engine, replica

    def unbind(self) -> None:
        """The engine is gone; the next use looks for another."""
        self._bound = self._engine = self._replica = None
        self.read = self._read_first

    def engine(self) -> "Engine":
        """The engine, started and bound if need be. Does not wait for the mesh's data."""
        return self._bind_first()[0]

    def _bind_first(self) -> tuple["Engine", "Replica"]:
        bound = self._bound
        if bound is None:
            engine = self._life.engine()  # which binds the buckets opened so far
            if self._bound is None:
                self.bind(engine)
            bound = self._bound
            if bound is None:
                raise ClosedError("this mesh was closed while it started")
        return bound

    # -- admission -------------------------------------------------------------------------------------------

    def admit(self) -> tuple["Engine", "Replica"]:
        """Engine and replica, once the bucket may be read by its setting `unready`.

        Waits for `start_wait` at most, once a process start. Raises NotReadyError, ClosedError.
        """
        engine, replica = self._bind_first()
        match self.asked.unready:
            case "empty":
                pass
            case "raise":
                self._check_ready(engine)
            case _:
                self._await_ready(engine)
        self._replica, self._engine, self.read = replica, engine, replica.read
        if self._bound is None or self._bound[0] is not engine:
            self.unbind()  # closed in this very moment
        return engine, replica

    def admit_blind(self, *, is_put: bool) -> "Engine":
        """The engine for a write that need not see the data: a put or delete of a key, where the bucket's rules are known here.

        A put into a map is compared with the map that is here, and without the rules a write would get the default kind and no ttl:
        these are admitted as reads are.
        """
        engine, replica = self._bind_first()
        asked = self.asked
        is_told = None not in (asked.kind, asked.ttl, asked.deletes)
        is_known = replica.is_announced or is_told
        is_compared = is_put and replica.rules.kind.name == "MAP"
        return engine if is_known and not is_compared else self.admit()[0]

    def join(self) -> "Engine":
        """The engine, after the same wait as a read's; never raises NotReadyError."""
        engine = self.engine()
        if self.asked.unready in (None, "wait"):
            self._await_ready(engine)
        return engine

    def _await_ready(self, engine: "Engine") -> None:
        if self._may_block and not engine.gate.is_open:
            await_ready(engine)

    def _check_ready(self, engine: "Engine") -> None:
        if not engine.gate.is_ready():
            from gossipsync.runtime.settings import NOT_READY

            raise NotReadyError(NOT_READY.format(bucket=self.name))

    def replica(self) -> "Replica":
        """The bucket's replica, for reads of any sort."""
        return self._replica or self.admit()[1]

    def _read_first(self, key: str, wall_ms: int) -> object:
        return self.admit()[1].read(key, wall_ms)

    def put(
        self, key: str, value: object, milliseconds: int | None = None, after: str | None = None
    ) -> "Written":
        """Write one value at once, after a token. Raises OverloadedError, TokenError and what a draft raises."""
        engine = self._engine or self.admit_blind(is_put=True)
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
        self, change: Callable[["Draft"], T], after: str | None = None, *, is_blind: bool = False
    ) -> tuple[T, "Written | None"]:
        """Write the draft that `change` makes, after a token; None if it is empty. Raises TokenError and what `change` raises.

        `is_blind` says that `change` needs no data: it deletes a key.
        """
        engine = self._engine or (self.admit_blind(is_put=False) if is_blind else self.admit()[0])
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
        engine = self._engine or self.admit_blind(is_put=True)
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
        engine, replica = self.admit()
        with engine.lock:
            return take(replica, self.wall_ms())

    def history(self, key: str) -> "list[Version]":
        """The writes to a key that are kept."""
        engine, _ = self.admit()
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
