"""Watching a bucket: its present entries, then its changes, from any point that is still known.

A watcher holds a position in the bucket's change log and reads the state of the keys that changed since;
so a key that changed often while nobody looked is shown once, as it is now, and a slow watcher costs no
memory. One that lags behind the log itself is shown the present entries again.

Invariants: no change of a key that is still so is missed by going on from a cursor; what was shown may be
shown again after going on, never lost.
"""

from collections import deque
from typing import TYPE_CHECKING
from zlib import crc32

from gossipsync.core.model.ids import peer_text
from gossipsync.embed._binding import Binding
from gossipsync.embed._durations import check_timeout
from gossipsync.embed._values import Change
from gossipsync.embed._waiting import wait, wait_async
from gossipsync.errors import ClosedError, CursorError

if TYPE_CHECKING:
    from gossipsync.core import Replica
    from gossipsync.runtime.engine import Engine

__all__ = ["AsyncWatch", "Watch"]

_KINDS = {"present": "put", "deleted": "delete", "expired": "expire", "absent": "delete"}


class _Watching:
    """What both flavours share: everything but sleeping. Positions count from the call that made it."""

    def __init__(
        self, binding: Binding, prefix: str, since: str | None, timeout: float | None
    ) -> None:
        self._engine: Engine = binding.engine()
        self._replica: Replica = binding.replica()
        self._binding = binding
        self._prefix = prefix
        self._timeout_s = check_timeout(timeout)
        self._keys: deque[str] = deque()
        self._is_present = False  # whether `_keys` are of the state, not of changes
        with self._engine.lock:
            changes = self._replica.changes
            self._position: int = changes.position
            self._until = self._position
            """Where `_position` will be when `_keys` have been shown."""
            position = None if since is None else self._parse(since)
            if position is None:
                self._show_state()
            elif changes.since(position) is None:
                raise CursorError(
                    "what this cursor points at is no longer kept; watch from since=None"
                )
            else:
                self._position = self._until = position

    def _parse(self, since: str) -> int | None:
        """The position a cursor stands for; None for one within the present entries."""
        if since == "now":
            return self._position
        match since.split("."):
            case [origin, bucket, position] if (origin, bucket) == self._names():
                if position == "":
                    return None
                if position.isascii() and position.isdecimal():
                    return int(position)
        raise CursorError("this cursor is of another peer, start or bucket; watch from since=None")

    def _names(self) -> tuple[str, str]:
        """What a cursor is bound to: this peer in this epoch, and the bucket."""
        return f"{crc32(self._engine.run_name):08x}", f"{crc32(self._binding.name.encode()):08x}"

    def _cursor(self) -> str:
        """Where to go on after the change that is being shown."""
        if not self._keys:
            position = str(self._until)
        else:
            position = "" if self._is_present else str(self._position)
        return ".".join((*self._names(), position))

    def _next(self) -> Change | None:
        """The next change; None where there is none yet."""
        while True:
            while self._keys:
                change = self._shown(self._keys.popleft())
                if change is not None:
                    return change
            with self._engine.lock:
                self._position = self._until
                self._is_present = False
                if not self._has_more():
                    return None
                self._until = self._replica.changes.position
                keys = self._replica.changes.since(self._position)
                if keys is None:
                    self._show_state()
                else:
                    self._keys.extend(key for key in keys if key.startswith(self._prefix))

    def _has_more(self) -> bool:
        return self._replica.changes.position != self._until

    def _show_state(self) -> None:
        self._is_present = True
        self._keys.extend(self._replica.keys(self._binding.wall_ms(), self._prefix))

    def _shown(self, key: str) -> Change | None:
        wall_ms = self._binding.wall_ms()
        try:
            found = self._replica.provenance(key, wall_ms)
        except KeyError:
            if self._is_present:
                return None  # gone since; its change comes later
            kind = _KINDS[self._replica.state_of(key, wall_ms)]
            return Change(key, kind, None, None, self._cursor()) if kind != "put" else None
        kind = "present" if self._is_present else "put"
        return Change(key, kind, found.value, peer_text(found.origin), self._cursor())

    def _left_s(self, began_s: float) -> float | None:
        """What is left of the idle time: changes elsewhere in the bucket do not extend it."""
        if self._timeout_s is None:
            return None
        return max(0.0, self._timeout_s - (self._engine.now().mono_s - began_s))


class Watch(_Watching):
    """Iterates over changes, blocking; ends after `timeout` idle seconds, or when the mesh closes."""

    def __iter__(self) -> "Watch":
        return self

    def __next__(self) -> Change:
        began_s = self._engine.now().mono_s
        while True:
            change = self._next()
            if change is not None:
                return change
            try:
                bucket = self._binding.name
                if wait(self._engine, self._has_more, self._left_s(began_s), bucket=bucket):
                    continue
            except ClosedError:
                pass
            raise StopIteration


class AsyncWatch(_Watching):
    """Iterates over changes with `async for`; ends after `timeout` idle seconds, or when the mesh closes."""

    def __aiter__(self) -> "AsyncWatch":
        return self

    async def __anext__(self) -> Change:
        began_s = self._engine.now().mono_s
        while True:
            change = self._next()
            if change is not None:
                return change
            try:
                bucket = self._binding.name
                left_s = self._left_s(began_s)
                if await wait_async(self._engine, self._has_more, left_s, bucket=bucket):
                    continue
            except ClosedError:
                pass
            raise StopAsyncIteration
