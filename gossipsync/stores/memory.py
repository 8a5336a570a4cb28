"""A store that forgets: what a peer without `data_dir` has, and what a simulated one has.

Invariant: as in every store, a load shows what was committed and nothing that was only appended; here that lasts as long as the
object. A peer that is never started again from the same object has no use for a second copy of its data: `keeps=False`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from threading import Lock

from gossipsync.core.model.ids import Origin
from gossipsync.errors import StoreError
from gossipsync.stores._buffer import WriteBuffer


class MemoryStore:
    """`ports.Store` in this process's memory. Every method may be called from any thread."""

    def __init__(self, *, keeps: bool = True) -> None:
        self._keeps = keeps
        self._commit_lock = Lock()
        self._buffer = WriteBuffer({})
        self._bundles: list[tuple[str, Origin, int, bytes]] = []
        self._heads: dict[str, bytes] = {}
        self._is_closed = False

    @property
    def place(self) -> str:
        """No file."""
        return "this process's memory"

    def load_bundles(self) -> Iterator[tuple[str, Origin, int, bytes]]:
        """What is committed by now, in the order of arrival."""
        self._check_open()
        return islice(self._bundles, len(self._bundles))

    def load_heads(self) -> dict[str, bytes]:
        """A copy of the committed heads."""
        self._check_open()
        with self._commit_lock:
            return dict(self._heads)

    def append(self, bucket: str, origin: Origin, index: int, bundle: bytes) -> None:
        """Raises InternalError unless this is the next bundle of its log."""
        self._check_open()
        self._buffer.append(bucket, origin, index, bundle)

    def put_head(self, name: str, value: bytes | None) -> None:
        """Raises InternalError for a value over 64 KiB."""
        self._check_open()
        self._buffer.put_head(name, value)

    def commit(self) -> None:
        """Show what was buffered to later loads."""
        with self._commit_lock:
            self._check_open()
            batch = self._buffer.take()
            if not self._keeps:
                return
            self._bundles += batch.bundles
            for name, value in batch.heads.items():
                if value is None:
                    self._heads.pop(name, None)
                else:
                    self._heads[name] = value

    def close(self) -> None:
        """Refuse further use."""
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreError("this store is closed: open a new one")
