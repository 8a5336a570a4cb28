"""What was written and not yet committed: the half of a store that every backend has alike.

The engine writes under the peer's lock while a worker thread commits what came before, so a commit takes the whole batch
in one swap. A batch is the net effect of its calls, log by log: what came and went between two commits never reaches the disk.
Invariant: a batch whose commit failed goes back in front of what came since; nothing is lost or reordered, and no line
skips a bundle or moves backwards, in the buffer or behind it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from enum import Enum, auto
from threading import Lock
from typing import Final

from attrs import Factory, define

from gossipsync.core.model.bundle import MAX_PLACE
from gossipsync.core.model.ids import Origin
from gossipsync.core.ports import StoredLog
from gossipsync.errors import InternalError

MAX_HEAD_BYTES: Final = 64 << 10
"""A head is rewritten whole at each change: beyond this it belongs in bundles."""
MAX_NOTE_BYTES: Final = 128
"""A note is rewritten at each commit to its log, and held in memory for each."""

Log = tuple[str, Origin]
"""What names a log: its bucket and its origin."""


@define
class LogState:
    """What a buffer knows of a log, with all that was buffered."""

    last: int = 0
    note: bytes | None = None
    top: int = 0
    """No piece beyond it is behind the buffer, or on its way there."""


@define
class LogChange:
    """What a commit does to one log, in this order: drop what was, take pieces out, put pieces in, set the line."""

    is_dropped: bool = False
    gone: set[int] = Factory(set)
    """What may be there of these comes out, replaced or not."""
    pieces: dict[int, bytes] = Factory(dict)
    """What goes in: none of these is there then."""
    line: StoredLog | None = None
    """None: there is no such log afterwards."""
    top: int = 0
    """As in LogState."""
    count: int = 0
    """Pieces afterwards, for stores that have to be told."""

    def then(self, later: LogChange) -> LogChange:
        """Both in one."""
        if later.is_dropped:
            return later
        kept = {index: piece for index, piece in self.pieces.items() if index not in later.gone}
        return LogChange(self.is_dropped, self.gone | later.gone, kept | later.pieces)


@define
class Batch:
    """All that one commit makes durable."""

    logs: dict[Log, LogChange] = Factory(dict)
    heads: dict[str, bytes | None] = Factory(dict)
    is_whole: bool = True
    """Whether the store then has all of its peer's state: not while that is written anew, in several commits."""
    only: tuple[set[Log], set[str]] | None = None
    """The logs and heads that may stay, at the end of a rewrite; None where nothing else has to go."""

    def __bool__(self) -> bool:
        return bool(self.logs or self.heads or self.only)

    def with_removals(self, logs: Iterable[Log], heads: Iterable[str]) -> Batch:
        """The same batch for a store that has these logs and heads: what may not stay is removed by name."""
        if self.only is None:
            return self
        stay_logs, stay_heads = self.only
        removed = {log: LogChange(is_dropped=True) for log in logs if log not in stay_logs}
        ended: dict[str, bytes | None] = {name: None for name in heads if name not in stay_heads}
        return Batch(removed | self.logs, ended | self.heads, self.is_whole)


class _Rewrite(Enum):
    """How far a rewrite of the whole state has come."""

    NONE = auto()
    RUNNING = auto()
    ENDING = auto()


class WriteBuffer:
    """Changes to logs and heads that wait for a commit. Every method may be called from any thread."""

    def __init__(self, states: dict[Log, LogState]) -> None:
        """`states`: every committed log."""
        self._lock = Lock()
        self._states = states
        self._batch = Batch()
        self.is_behind = False
        """Whether the store was found without its last commit: nothing is committed before a rewrite begins."""
        self._rewrite = _Rewrite.NONE
        self._heads: set[str] = set()
        """Heads that were put since a rewrite began."""

    def begin_rewrite(self) -> None:
        """The whole state is going to be put again, log by log and head by head."""
        with self._lock:
            self._rewrite = _Rewrite.RUNNING
            self.is_behind = False
            self._heads = {name for name, value in self._batch.heads.items() if value is not None}

    def end_rewrite(self) -> None:
        """It was: the next commit removes whatever else the store has."""
        with self._lock:
            if self._rewrite is _Rewrite.RUNNING:
                self._rewrite = _Rewrite.ENDING

    def append(self, bucket: str, origin: Origin, index: int, bundle: bytes) -> None:
        """Raises InternalError unless this is the next bundle of its log."""
        with self._lock:
            log = (bucket, origin)
            state = self._states.get(log)
            expected = state.last + 1 if state is not None else 1
            if index != expected or index >= MAX_PLACE:
                raise _refused(
                    f"bundle {index} was appended to a log in bucket {bucket!r} that waits for bundle {expected}"
                )
            if state is None:
                state = self._states[log] = LogState()
            state.last = index
            change = self._change(log)
            change.pieces[index] = bundle
            if index <= state.top:
                change.gone.add(index)

    def put_piece(self, bucket: str, origin: Origin, index: int, piece: bytes | None) -> None:
        """Raises InternalError for an index that no bundle has."""
        if not 0 < index < MAX_PLACE:
            raise _refused(f"piece {index} was put into a log in bucket {bucket!r}")
        with self._lock:
            log = (bucket, origin)
            state = self._states.get(log)
            if state is None:
                if piece is None:
                    return
                state = self._states[log] = LogState()
            change = self._change(log)
            if index <= state.top:
                change.gone.add(index)
            if piece is None:
                change.pieces.pop(index, None)
            else:
                change.pieces[index] = piece

    def put_line(self, bucket: str, origin: Origin, last: int, note: bytes | None) -> None:
        """Raises InternalError for a line that moves backwards and for a note that is no small one."""
        if note is not None and len(note) > MAX_NOTE_BYTES:
            raise _refused(
                f"the note of a log in bucket {bucket!r} has {len(note)} bytes, over {MAX_NOTE_BYTES}"
            )
        with self._lock:
            log = (bucket, origin)
            state = self._states.get(log)
            if not (state.last if state is not None else 0) <= last < MAX_PLACE:
                raise _refused(
                    f"the line of a log in bucket {bucket!r} was put to {last}, where it was at "
                    f"{state.last if state is not None else 0}"
                )
            if state is None:
                state = self._states[log] = LogState()
            state.last, state.note = last, note
            self._change(log)

    def drop_log(self, bucket: str, origin: Origin) -> None:
        """Nothing where there is no such log."""
        with self._lock:
            log = (bucket, origin)
            if self._states.pop(log, None) is not None:
                self._batch.logs[log] = LogChange(is_dropped=True)

    def put_head(self, name: str, value: bytes | None) -> None:
        """Raises InternalError for a value that is no small one."""
        if value is not None and len(value) > MAX_HEAD_BYTES:
            raise _refused(f"head {name!r} has {len(value)} bytes, over {MAX_HEAD_BYTES}")
        with self._lock:
            self._batch.heads[name] = value
            if self._rewrite is not _Rewrite.NONE:
                (self._heads.discard if value is None else self._heads.add)(name)

    def take(self) -> Batch:
        """All that waits; the caller commits it or gives it back."""
        with self._lock:
            batch, self._batch = self._batch, Batch()
            for log, change in batch.logs.items():
                state = self._states.get(log)
                if state is None:
                    change.line = None
                else:
                    state.top = change.top = max(state.top, max(change.pieces, default=0))
                    change.line = StoredLog(state.last, state.note)
            batch.is_whole = self._rewrite is not _Rewrite.RUNNING
            if self._rewrite is _Rewrite.ENDING:
                batch.only = (set(self._states), set(self._heads))
                self._rewrite = _Rewrite.NONE
            return batch

    def give_back(self, batch: Batch) -> None:
        """The commit of `batch` failed: it is the first to be tried again."""
        with self._lock:
            since = self._batch
            logs = dict(batch.logs)
            for log, change in since.logs.items():
                logs[log] = logs[log].then(change) if log in logs else change
            self._batch = Batch(logs, batch.heads | since.heads)
            if batch.only is not None and self._rewrite is _Rewrite.NONE:
                self._rewrite = _Rewrite.ENDING
                self._heads.update(name for name, value in since.heads.items() if value is not None)
                self._heads -= {name for name, value in since.heads.items() if value is None}

    def _change(self, log: Log) -> LogChange:
        change = self._batch.logs.get(log)
        if change is None:
            change = self._batch.logs[log] = LogChange()
        return change


class BufferedStore(ABC):
    """The half of `ports.Store` that only buffers, for stores that may be used from any thread."""

    _buffer: WriteBuffer
    doubt: str | None = None
    """Why what was loaded may be older or less than what was once committed; None where nothing says so."""

    @abstractmethod
    def _check_usable(self) -> None:
        """Raises StoreError once the store is closed, or in a forked child."""

    def append(self, bucket: str, origin: Origin, index: int, bundle: bytes) -> None:
        """Raises InternalError unless this is the next bundle of its log."""
        self._check_usable()
        self._buffer.append(bucket, origin, index, bundle)

    def put_piece(self, bucket: str, origin: Origin, index: int, piece: bytes | None) -> None:
        """Raises InternalError for an index that no bundle has."""
        self._check_usable()
        self._buffer.put_piece(bucket, origin, index, piece)

    def put_line(self, bucket: str, origin: Origin, last: int, note: bytes | None) -> None:
        """Raises InternalError for a line that moves backwards and for a note over 128 bytes."""
        self._check_usable()
        self._buffer.put_line(bucket, origin, last, note)

    def drop_log(self, bucket: str, origin: Origin) -> None:
        """Nothing where there is no such log."""
        self._check_usable()
        self._buffer.drop_log(bucket, origin)

    def put_head(self, name: str, value: bytes | None) -> None:
        """Raises InternalError for a value over 64 KiB."""
        self._check_usable()
        self._buffer.put_head(name, value)

    def begin_rewrite(self) -> None:
        """Commits until the end of the rewrite leave a store that says of itself that it has a part only."""
        self._check_usable()
        self._buffer.begin_rewrite()

    def end_rewrite(self) -> None:
        """The next commit makes the store whole, and removes all logs and heads that were not put again."""
        self._check_usable()
        self._buffer.end_rewrite()


def _refused(what: str) -> InternalError:
    return InternalError(f"{what}: nothing was stored; restart the peer and report this")
