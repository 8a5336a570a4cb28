"""Fetching: what one named member has, seen and not taken.

Invariant: a fetch that ends, however it ends, leaves no look under way.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gossipsync.embed._binding import Binding
from gossipsync.errors import ConfigError, WaitTimeoutError

if TYPE_CHECKING:
    from gossipsync.core import Sight
    from gossipsync.runtime.engine import Engine

__all__ = ["Fetching", "fetching"]


class Fetching:
    """One fetch under way: ask the engine whether `is_over`, then take its `outcome`."""

    def __init__(self, engine: "Engine", sight: "Sight", wall_ms: Callable[[], int]) -> None:
        self.engine = engine
        self._sight = sight
        self._wall_ms = wall_ms

    def is_over(self) -> bool:
        """Has all of it come, or an error?"""
        return self._sight.is_over

    def outcome(self, timeout_s: float | None) -> dict[str, object]:
        """What came of it. Raises WaitTimeoutError, RemoteError."""
        if not self._sight.is_over:
            raise WaitTimeoutError(
                f"{self._sight.name!r} has not shown all of it within {timeout_s:g} s"
            )
        if self._sight.error is not None:
            raise self._sight.error
        return self._sight.values(self._wall_ms())


@contextmanager
def fetching(
    binding: Binding, prefix: str, keys: Iterable[str] | None, peer: str
) -> Iterator[Fetching]:
    """Begin to fetch. Raises ConfigError, LocalError, TransportError."""
    if prefix and keys is not None:
        raise ConfigError("fetch: give a prefix or keys, not both")
    if isinstance(keys, str):
        raise ConfigError("fetch: keys are a list of str; one key is a list of one")
    if not isinstance(peer, str):
        raise ConfigError(f"fetch: peer is a name or a peer id, not {peer!r}")
    named = None if keys is None else list(keys)
    engine = binding.join()  # before it has met anyone, a peer knows no member to ask
    with engine.lock:
        sight = engine.peer.look(peer, binding.name, engine.now(), prefix=prefix, keys=named)
        engine.wake()
    try:
        yield Fetching(engine, sight, binding.wall_ms)
    finally:
        with engine.lock:
            engine.peer.end_look(sight, engine.now())
            engine.wake()
