"""What both meshes share: buckets, and questions that are answered from memory.

Invariant: a bucket exists once a mesh, whatever its engine has been through.
"""

from abc import abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from gossipsync.core.model.ids import peer_text
from gossipsync.embed._binding import Binding
from gossipsync.embed._bucket_base import BucketBase
from gossipsync.embed._durations import Ttl
from gossipsync.embed._life import Life
from gossipsync.embed._values import Member, Status
from gossipsync.errors import (
    BucketKindError,
    ConfigError,
    HandOverError,
    TransportError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from gossipsync.runtime.clock import Clock
    from gossipsync.runtime.dials import Expectation
    from gossipsync.runtime.engine import Engine
    from gossipsync.runtime.settings import BucketSettings, Settings

__all__ = [
    "CONNECT_S",
    "MeshBase",
    "Question",
    "check_handed_over",
    "check_outcome",
    "too_late",
]

CONNECT_S = 15.0
"""How long `connect` waits: longer than a handshake may take."""

B = TypeVar("B", bound=BucketBase)
Question = Callable[[], bool]


class MeshBase(Generic[B]):
    """One peer in this process, and the buckets it holds."""

    _may_block = True
    """Whether a read may block its thread until the peer is ready."""

    def __init__(self, settings: "Settings", clock: "Clock") -> None:
        self._settings = settings
        self._bindings: dict[str, Binding] = {}
        self._buckets: dict[str, B] = {}
        self._life = Life(settings, clock, self._bind, self._unbind)

    @property
    def name(self) -> str:
        """This peer's name, for people."""
        return self._settings.name

    @property
    def peer_id(self) -> str:
        """This peer's id: its public key as 52 characters of base32."""
        return peer_text(self._life.engine().peer.peer_id)

    @property
    def address(self) -> str | None:
        """The "host:port" that others are told to dial; None while nothing listens."""
        addresses = self._life.engine().addresses
        return addresses[0] if addresses else None

    def bucket(
        self,
        name: str,
        *,
        kind: str | None = None,
        ttl: Ttl = None,
        deletes: str | None = None,
        history: float | timedelta | None = None,
        unready: str | None = None,
    ) -> B:
        """The bucket of that name; the same object each time. Starts nothing.

        `kind` is "value", "map", "counter" or "set"; `ttl` seconds after which a key ends unless written
        or touched; `deletes` "tombstone" or "final"; `history` for how many seconds what
        was overwritten or deleted is kept for `history(key)`. What is left out is as in the settings, else as the
        mesh announces, else "value", no ttl, "tombstone", no history.

        `unready` says what reads do while a peer with seeds has not been ready since its start: "wait" (the default) waits at
        first use, for `start_wait` at most; "raise" raises NotReadyError; "empty" serves the data that is here. Raises ConfigError, and BucketKindError where
        the bucket is something else; before the start that may also come at first use.
        """
        asked = self._asked(name, kind, ttl, deletes, history, unready)
        binding = self._bindings.get(name)
        if binding is None:
            binding = Binding(self._life, name, asked, may_block=self._may_block)
            bucket = self._make_bucket(binding)
            if (engine := self._life.running) is not None:
                binding.bind(engine)
            self._bindings[name] = binding
            return self._buckets.setdefault(name, bucket)
        self._ask_again(binding, asked)
        return self._buckets[name]

    def status(self) -> Status:
        """What state this peer is in: what `gossipsync status -o json` shows, as attributes."""
        return self._life.engine().status()

    def members(self) -> list[Member]:
        """All members known, self included: what `gossipsync members -o json` shows, as attributes."""
        engine = self._life.engine()
        with engine.lock:
            return list(engine.peer.members(engine.now()))

    def forget(self, peer: str) -> str:
        """Give up a member that is dead for good, everywhere: an exact name, or at least 8 characters of a peer id. Its peer id.

        It counts no more for `ack="majority"` and `"all"`; should it come back, it is a member again.
        Raises LocalError where that names no other member or several, NotPermittedError for one that lives.
        """
        engine = self._life.engine()
        with engine.lock:
            forgotten = engine.peer.forget(peer, engine.now())
            engine.wake()
        return peer_text(forgotten)

    def token(self) -> str:
        """All that this peer has seen, as text: `wait_for` it elsewhere to see as much there."""
        engine = self._life.engine()
        with engine.lock:
            return engine.peer.token(engine.now())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    # -- for both flavours ---------------------------------------------------------------------------------

    @abstractmethod
    def _make_bucket(self, binding: Binding) -> B: ...

    def _bind(self, engine: "Engine") -> None:
        for binding in list(self._bindings.values()):
            binding.bind(engine)

    def _unbind(self) -> None:
        for binding in list(self._bindings.values()):
            binding.unbind()

    def _asked(
        self,
        name: str,
        kind: str | None,
        ttl: Ttl,
        deletes: str | None,
        history: float | timedelta | None,
        unready: str | None,
    ) -> "BucketSettings":
        from gossipsync.embed._asking import asked_of

        asked = asked_of(name, kind, ttl, deletes, history, unready)
        configured = self._settings.buckets.get(name)
        return asked if configured is None else asked.over(configured)

    def _ask_again(self, binding: Binding, asked: "BucketSettings") -> None:
        """The bucket is open; hold this call to it."""
        before = binding.asked
        if asked.differs_from(before):
            raise BucketKindError(
                f"bucket {binding.name!r} was opened with other arguments: {before}, now {asked}"
            )
        merged = asked.over(before)
        if merged == before:
            return
        engine = self._life.running
        if engine is None:
            binding.asked = merged
            return
        binding.asked = merged
        try:
            binding.bind(engine)
        except BaseException:
            binding.asked = before
            raise

    def _question_of_token(self, token: str) -> tuple["Engine", Question]:
        engine = self._life.engine()
        with engine.lock:
            parsed = engine.peer.parse_token(token, engine.now())
        return engine, lambda: engine.seek_token(parsed)

    def _question_of_members(self, n: int) -> tuple["Engine", Question]:
        if type(n) is not int or n < 1:
            raise ConfigError(f"wait_members: a number from 1 up is needed, not {n!r}")
        engine = self._life.engine()
        return engine, lambda: engine.count_alive() >= n

    def _question_of_sync(self) -> tuple["Engine", Question]:
        engine = self._life.engine()
        with engine.lock:
            engine.peer.request_exchange(engine.now())
            engine.wake()
        return engine, engine.peer.is_synced

    def _begin_connect(self, address: str) -> tuple["Engine", "Expectation"]:
        from gossipsync.runtime.durations import UnreadableError
        from gossipsync.runtime.readers import read_addresses

        try:
            (address,) = read_addresses([address])
        except UnreadableError as error:
            raise ConfigError(f"connect: {error}") from None
        engine = self._life.engine()
        if self._settings.is_lone:
            raise ConfigError("connect: this peer has neither a cluster key nor credentials")
        return engine, engine.connect(address)


def too_late(what: str, timeout: float | None) -> WaitTimeoutError:
    """The error of a wait that has expired."""
    return WaitTimeoutError(f"{what} within {timeout:g} s")


def check_handed_over(count: int) -> None:
    """Raise HandOverError if writes ended with the peer."""
    if count:
        raise HandOverError(
            f"this peer has left, and no other member confirmed its last writes ({count}) in time: write them again elsewhere",
            writes=count,
        )


def check_outcome(address: str, outcome: str | None) -> None:
    """Raise TransportError unless dialling an address ended well."""
    if outcome is None:
        raise TransportError(f"cannot connect to {address}: no answer within {CONNECT_S:g} s")
    if outcome:
        raise TransportError(f"cannot connect to {address}: {outcome}")
