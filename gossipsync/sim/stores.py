"""Stores as machines lose them: what was not committed is gone after a crash, a disk may fail for a while, and an old copy may
be put back.

Invariant: `load_*` gives what was committed when the copy was taken, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from attrs import Factory, define

from gossipsync.core.model.ids import Origin
from gossipsync.core.ports import StoredLog
from gossipsync.errors import InternalError, StoreBehindError, StoreError

_Log = tuple[str, Origin]


@define
class _Kept:
    last: int = 0
    note: bytes | None = None
    pieces: dict[int, bytes] = Factory(dict)

    def twin(self) -> _Kept:
        return _Kept(self.last, self.note, dict(self.pieces))


class SimulatedStore:
    """One machine's disk; satisfies `core.ports.Store`."""

    def __init__(self) -> None:
        self.is_failing = False
        self._logs: dict[_Log, _Kept] = {}
        self._heads: dict[str, bytes] = {}
        self._waiting: list[Callable[[], None]] = []
        self._lines: dict[_Log, int] = {}
        """Where the buffered calls have moved them."""
        self._copy: tuple[dict[_Log, _Kept], dict[str, bytes], str | None] | None = None
        self._is_rolled_back = False
        """Whether committed data is missing that this process has committed or loaded."""
        self._lost: dict[_Log, int] = {}
        """Lines as they were before the store returned to an older copy under the running peer."""
        self._rewritten: tuple[set[_Log], set[str]] | None = None
        """Logs and heads that were put again since a rewrite began."""
        self.doubt: str | None = None
        self._copied: set[_Log] = set()
        """Logs that the copy shares: they are written only after another copy of them."""

    @property
    def place(self) -> str:
        """No file."""
        return "the simulated disk"

    def load_logs(self) -> dict[_Log, StoredLog]:
        """Committed logs."""
        return {log: StoredLog(kept.last, kept.note) for log, kept in self._logs.items()}

    def load_pieces(self) -> Iterator[tuple[str, Origin, int, bytes]]:
        """Committed pieces, log by log."""
        found = [(log, sorted(kept.pieces.items())) for log, kept in self._logs.items()]
        return ((*log, index, piece) for log, pieces in found for index, piece in pieces)

    def piece(self, bucket: str, origin: Origin, index: int) -> bytes | None:
        """One committed piece."""
        kept = self._logs.get((bucket, origin))
        return None if kept is None else kept.pieces.get(index)

    def load_heads(self) -> dict[str, bytes]:
        """Committed heads."""
        return dict(self._heads)

    def append(self, bucket: str, origin: Origin, index: int, bundle: bytes) -> None:
        """Buffer a bundle. Raises InternalError unless it is the next of its log."""
        log = (bucket, origin)
        if index != self._line(log) + 1:
            raise InternalError(f"bundle {index} of a log at {self._line(log)}")
        self._lines[log] = index
        self._waiting.append(lambda: self._append(log, index, bundle))

    def put_piece(self, bucket: str, origin: Origin, index: int, piece: bytes | None) -> None:
        """Buffer what is left of a bundle."""
        self._waiting.append(lambda: self._put_piece((bucket, origin), index, piece))

    def put_line(self, bucket: str, origin: Origin, last: int, note: bytes | None) -> None:
        """Buffer a line. Raises InternalError where it would move backwards."""
        log = (bucket, origin)
        if last < self._line(log):
            raise InternalError(f"line {last} of a log at {self._line(log)}")
        self._lines[log] = last
        self._waiting.append(lambda: self._put_line(log, last, note))

    def drop_log(self, bucket: str, origin: Origin) -> None:
        """Buffer that a log is forgotten."""
        log = (bucket, origin)
        self._lines[log] = 0
        self._waiting.append(lambda: self._drop_log(log))

    def put_head(self, name: str, value: bytes | None) -> None:
        """Buffer a head."""
        self._waiting.append(lambda: self._put_head(name, value))

    def begin_rewrite(self) -> None:
        """Buffer that everything is going to be put again."""
        self._is_rolled_back = False
        self._rewritten = (set(), set())
        self._waiting.append(partial(setattr, self, "doubt", "a rewrite did not end"))

    def end_rewrite(self) -> None:
        """Buffer that it was."""
        self._waiting.append(self._remove_others)

    def commit(self) -> None:
        """Keep what was buffered. Raises StoreError while the disk fails, StoreBehindError where an older copy came back."""
        if self.is_failing:
            raise StoreError("the simulated disk fails")
        if self._is_rolled_back:
            raise StoreBehindError(
                "the simulated disk holds an older copy: its last commit is gone"
            )
        for change in self._waiting:
            change()
        self._forget_buffer()

    def close(self) -> None:
        """Nothing to release."""

    def crash(self) -> None:
        """The machine stops: the buffer is lost. An older copy on a server is told by the note that the machine keeps."""
        if self._is_rolled_back:
            self.doubt = "it is older than what this peer committed"
        self._rewritten = None
        self._forget_buffer()

    def keep_copy(self) -> None:
        """Take a copy of what is committed, as a backup does."""
        self._copy = (dict(self._logs), dict(self._heads), self.doubt)
        self._copied = set(self._logs)

    def restore_copy(self) -> bool:
        """Put the copy back, as an operator does; False where there is none."""
        if self._copy is None:
            return False
        self._forget_buffer()
        logs, heads, self.doubt = self._copy
        self._logs, self._heads = dict(logs), dict(heads)
        self._copied = set(logs)
        return True

    def roll_back(self) -> bool:
        """Put the copy back under a running peer, as a fail-over to a lagging replica does; False where there is none.

        A commit proves that the commit before it is there, so none succeeds before the peer puts its whole state again.
        """
        if self._copy is None:
            return False
        # It may have returned to the copy before, in the same run.
        former = {log: kept.last for log, kept in self._logs.items()} | self._lost
        buffer, lines = list(self._waiting), dict(self._lines)
        self.restore_copy()
        self._waiting, self._lines = buffer, {**former, **lines}
        self._lost = former
        self._is_rolled_back = True
        return True

    def twin(self) -> SimulatedStore:
        """Another disk, with what is committed on this one."""
        twin = SimulatedStore()
        twin._logs = {log: kept.twin() for log, kept in self._logs.items()}
        twin._heads, twin.doubt = dict(self._heads), self.doubt
        twin._copy, twin._copied = self._copy, set()
        return twin

    def wipe(self) -> None:
        """The disk is lost."""
        self.crash()
        self._logs.clear()
        self._heads.clear()

    def stored(self, bucket: str, origin: Origin) -> int:
        """The committed line of a log; 0 for none."""
        kept = self._logs.get((bucket, origin))
        return kept.last if kept is not None else 0

    def was_stored(self, bucket: str, origin: Origin) -> int:
        """The line of a log that this run may call stored: it was committed, whether or not an older copy has come back since."""
        return max(self.stored(bucket, origin), self._lost.get((bucket, origin), 0))

    def _line(self, log: _Log) -> int:
        line = self._lines.get(log)
        return line if line is not None else self.stored(*log)

    def _forget_buffer(self) -> None:
        self._is_rolled_back = False
        if self._rewritten is None:
            self._lost = {}
        self._waiting.clear()
        self._lines.clear()

    # -- what a commit does ----------------------------------------------------------------------------------

    def _kept(self, log: _Log) -> _Kept:
        if self._rewritten is not None:
            self._rewritten[0].add(log)
        kept = self._logs.get(log)
        if kept is None:
            kept = self._logs[log] = _Kept()
        elif log in self._copied:
            kept = self._logs[log] = kept.twin()
        self._copied.discard(log)
        return kept

    def _append(self, log: _Log, index: int, bundle: bytes) -> None:
        kept = self._kept(log)
        kept.last = index
        kept.pieces[index] = bundle

    def _put_piece(self, log: _Log, index: int, piece: bytes | None) -> None:
        if piece is not None:
            self._kept(log).pieces[index] = piece
        elif log in self._logs:
            self._kept(log).pieces.pop(index, None)

    def _put_line(self, log: _Log, last: int, note: bytes | None) -> None:
        kept = self._kept(log)
        kept.last, kept.note = last, note

    def _remove_others(self) -> None:
        logs, heads = self._rewritten or (set(self._logs), set(self._heads))
        self._logs = {log: kept for log, kept in self._logs.items() if log in logs}
        self._heads = {name: value for name, value in self._heads.items() if name in heads}
        self._rewritten, self.doubt = None, None

    def _drop_log(self, log: _Log) -> None:
        self._logs.pop(log, None)
        self._copied.discard(log)

    def _put_head(self, name: str, value: bytes | None) -> None:
        if value is None:
            self._heads.pop(name, None)
        else:
            self._heads[name] = value
        if self._rewritten is not None:
            self._rewritten[1].add(name)
