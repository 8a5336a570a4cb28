"""A store that forgets: what a peer without `data_dir` has, and what a simulated one has.

Invariant: as in every store, a load shows what was committed and nothing that was only buffered; here that lasts as long as the
object. A peer that is never started again from the same object has no use for a second copy of its data: `keeps=False`.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock

from attrs import Factory, define

from gossipsync.core.model.ids import Origin
from gossipsync.core.ports import StoredLog
from gossipsync.errors import StoreError
from gossipsync.stores._buffer import BufferedStore, Log, LogChange, WriteBuffer


@define
class _Kept:
    line: StoredLog
    pieces: dict[int, bytes] = Factory(dict)


class MemoryStore(BufferedStore):
    """`ports.Store` in this process's memory. Every method may be called from any thread."""

    def __init__(self, *, keeps: bool = True) -> None:
        self._keeps = keeps
        self._commit_lock = Lock()
        self._buffer = WriteBuffer({})
        self._logs: dict[Log, _Kept] = {}
        self._heads: dict[str, bytes] = {}
        self._is_closed = False

    @property
    def place(self) -> str:
        """No file."""
        return "this process's memory"

    def load_logs(self) -> dict[Log, StoredLog]:
        """Every committed log."""
        self._check_usable()
        with self._commit_lock:
            return {log: kept.line for log, kept in self._logs.items()}

    def load_pieces(self) -> Iterator[tuple[str, Origin, int, bytes]]:
        """What is committed by now, log by log."""
        self._check_usable()
        with self._commit_lock:
            found = [(log, sorted(kept.pieces.items())) for log, kept in self._logs.items()]
        return ((*log, index, piece) for log, pieces in found for index, piece in pieces)

    def load_heads(self) -> dict[str, bytes]:
        """A copy of the committed heads."""
        self._check_usable()
        with self._commit_lock:
            return dict(self._heads)

    def commit(self) -> None:
        """Show what was buffered to later loads."""
        with self._commit_lock:
            self._check_usable()
            batch = self._buffer.take().with_removals(self._logs, self._heads)
            if not self._keeps:
                return
            for log, change in batch.logs.items():
                self._apply(log, change)
            for name, value in batch.heads.items():
                if value is None:
                    self._heads.pop(name, None)
                else:
                    self._heads[name] = value

    def _apply(self, log: Log, change: LogChange) -> None:
        if change.is_dropped:
            self._logs.pop(log, None)
        if change.line is None:
            return
        kept = self._logs.setdefault(log, _Kept(change.line))
        kept.line = change.line
        for index in change.gone:
            kept.pieces.pop(index, None)
        kept.pieces |= change.pieces

    def close(self) -> None:
        """Refuse further use."""
        self._is_closed = True

    def _check_usable(self) -> None:
        if self._is_closed:
            raise StoreError("this store is closed: open a new one")
