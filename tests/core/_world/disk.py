"""A disk: what was committed survives a crash, what was only buffered does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gossipsync.core.model.ids import Origin
from gossipsync.core.ports import StoredLog

Row = tuple[str, Origin, int, bytes]
Log = tuple[str, Origin]


class DiskError(Exception):
    """The core handed the disk something out of order."""


class Disk:
    """`ports.Store`. A commit has two moments: `begin()` takes what is buffered, `finish()` makes it durable.

    `rows` are the pieces in the order in which they came, for tests to look at and to damage.
    """

    def __init__(
        self,
        rows: list[Row] | None = None,
        heads: dict[str, bytes] | None = None,
        logs: dict[Log, StoredLog] | None = None,
    ) -> None:
        self.rows = rows if rows is not None else []
        self.heads = heads if heads is not None else {}
        self.logs = logs if logs is not None else {}
        self.is_failing = False
        self.is_behind = False
        """Whether an older copy was put back under the running peer; a rewrite makes up for it."""
        self.doubt: str | None = None
        self._again: tuple[set[Log], set[str]] | None = None
        self.seen: dict[tuple[str, Origin, int], bytes] = {}
        """Every bundle that was ever appended, whatever became of it."""
        self._lines = {log: line.last for log, line in self.logs.items()}
        self._present = {row[:3] for row in self.rows}
        self._buffer: list[Callable[[], None]] = []
        self._taken: list[Callable[[], None]] = []

    @property
    def place(self) -> str:
        return "the disk"

    def load_logs(self) -> dict[Log, StoredLog]:
        return dict(self.logs)

    def load_pieces(self) -> Iterator[Row]:
        """Log by log in the order in which they first came."""
        places = {log: place for place, log in enumerate(self.logs)}
        return iter(sorted(self.rows, key=lambda row: (places[row[:2]], row[2])))

    def load_heads(self) -> dict[str, bytes]:
        return dict(self.heads)

    def append(self, bucket: str, origin: Origin, index: int, bundle: bytes) -> None:
        log = (bucket, origin)
        if index != self._lines.get(log, 0) + 1:
            raise DiskError(f"bundle {index} of {bucket} is not the next of its log")
        self._lines[log] = index
        self.seen[bucket, origin, index] = bundle
        self._buffer.append(lambda: self._append(log, index, bundle))

    def put_piece(self, bucket: str, origin: Origin, index: int, piece: bytes | None) -> None:
        self._buffer.append(lambda: self._put_piece((bucket, origin), index, piece))

    def put_line(self, bucket: str, origin: Origin, last: int, note: bytes | None) -> None:
        log = (bucket, origin)
        if last < self._lines.get(log, 0):
            raise DiskError(f"the line of a log in {bucket} goes back to {last}")
        self._lines[log] = last
        self._buffer.append(lambda: self._put_line(log, last, note))

    def drop_log(self, bucket: str, origin: Origin) -> None:
        log = (bucket, origin)
        self._lines.pop(log, None)
        self._buffer.append(lambda: self._drop_log(log))

    def put_head(self, name: str, value: bytes | None) -> None:
        self._buffer.append(lambda: self._put_head(name, value))

    def roll_back(self, copy: Disk) -> None:
        """An older copy of this disk takes its place."""
        self.rows, self.heads, self.logs = list(copy.rows), dict(copy.heads), dict(copy.logs)
        self._present = {row[:3] for row in self.rows}
        self.is_behind = True

    def begin_rewrite(self) -> None:
        self.is_behind = False
        self._again = (set(), set())
        self._buffer.append(lambda: setattr(self, "doubt", "a rewrite did not end"))

    def end_rewrite(self) -> None:
        self._buffer.append(self._remove_others)

    @property
    def is_committing(self) -> bool:
        return bool(self._taken)

    def begin(self) -> None:
        assert not self._taken, "one commit at a time"
        self._taken, self._buffer = self._buffer, []

    def give_back(self) -> None:
        self._taken, self._buffer = [], self._taken + self._buffer

    def finish(self) -> None:
        for change in self._taken:
            change()
        self._taken = []

    def commit(self) -> None:
        self.begin()
        self.finish()

    def close(self) -> None:
        pass

    def after_crash(self) -> Disk:
        """What another process finds."""
        found = Disk(list(self.rows), dict(self.heads), dict(self.logs))
        found.seen, found.doubt = self.seen, self.doubt
        return found

    # ---------------------------------------------------------------- what a commit does

    def _remove_others(self) -> None:
        assert self._again is not None
        logs, heads = self._again
        for log in set(self.logs) - logs:
            self._drop_log(log)
        self.heads = {name: value for name, value in self.heads.items() if name in heads}
        self._again, self.doubt = None, None

    def _append(self, log: Log, index: int, bundle: bytes) -> None:
        note = self.logs[log].note if log in self.logs else None
        if self._again is not None:
            self._again[0].add(log)
        self._put_piece(log, index, bundle)
        self.logs[log] = StoredLog(index, note)

    def _put_piece(self, log: Log, index: int, piece: bytes | None) -> None:
        name = (*log, index)
        if self._again is not None:
            self._again[0].add(log)
        if name in self._present:
            self._present.discard(name)
            self.rows[:] = [row for row in self.rows if row[:3] != name]
        if piece is not None:
            self.logs.setdefault(log, StoredLog(0, None))
            self._present.add(name)
            self.rows.append((*name, piece))

    def _drop_log(self, log: Log) -> None:
        self.logs.pop(log, None)
        self.rows[:] = [row for row in self.rows if row[:2] != log]
        self._present = {row[:3] for row in self.rows}

    def _put_line(self, log: Log, last: int, note: bytes | None) -> None:
        self.logs[log] = StoredLog(last, note)
        if self._again is not None:
            self._again[0].add(log)

    def _put_head(self, name: str, value: bytes | None) -> None:
        if self._again is not None:
            self._again[1].add(name)
        if value is None:
            self.heads.pop(name, None)
        else:
            self.heads[name] = value
