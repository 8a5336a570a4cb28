"""What was appended and not yet committed: the half of a store that every backend has alike.

The engine appends under the peer's lock while a worker thread commits what came before, so a commit takes the whole batch
in one swap. Invariant: a batch whose commit failed goes back in front of what came since; nothing is lost or reordered,
and no log ever has a gap, in the buffer or behind it.
"""

from __future__ import annotations

from threading import Lock
from typing import Final

from attrs import Factory, define

from gossipsync.core.model.ids import Origin
from gossipsync.errors import InternalError

MAX_HEAD_BYTES: Final = 64 << 10
"""A head is rewritten whole at each change: beyond this it belongs in bundles."""

Log = tuple[str, Origin]
"""What names a log: its bucket and its origin."""


@define
class Batch:
    """All that one commit makes durable."""

    bundles: list[tuple[str, Origin, int, bytes]] = Factory(list)
    heads: dict[str, bytes | None] = Factory(dict)

    def __bool__(self) -> bool:
        return bool(self.bundles or self.heads)


class WriteBuffer:
    """Bundles and heads that wait for a commit. Every method may be called from any thread."""

    def __init__(self, last_indexes: dict[Log, int]) -> None:
        """`last_indexes`: the last committed index of every log."""
        self._lock = Lock()
        self._last = last_indexes
        self._batch = Batch()

    def append(self, bucket: str, origin: Origin, index: int, bundle: bytes) -> None:
        """Raises InternalError unless this is the next bundle of its log."""
        with self._lock:
            expected = self._last.get((bucket, origin), 0) + 1
            if index != expected:
                raise InternalError(
                    f"bundle {index} was appended to a log in bucket {bucket!r} that waits for bundle {expected}: "
                    "nothing was stored; restart the peer and report this"
                )
            self._last[bucket, origin] = index
            self._batch.bundles.append((bucket, origin, index, bundle))

    def put_head(self, name: str, value: bytes | None) -> None:
        """Raises InternalError for a value that is no small one."""
        if value is not None and len(value) > MAX_HEAD_BYTES:
            raise InternalError(
                f"head {name!r} has {len(value)} bytes, over {MAX_HEAD_BYTES}: "
                "nothing was stored; restart the peer and report this"
            )
        with self._lock:
            self._batch.heads[name] = value

    def take(self) -> Batch:
        """All that waits; the caller commits it or gives it back."""
        with self._lock:
            batch, self._batch = self._batch, Batch()
            return batch

    def give_back(self, batch: Batch) -> None:
        """The commit of `batch` failed: it is the first to be tried again."""
        with self._lock:
            since = self._batch
            self._batch = Batch(batch.bundles + since.bundles, batch.heads | since.heads)
