"""The durable store: one SQLite file `journal.db` in the peer's data folder: bundles as received, or what is left of them.

Why a journal and not a row for each cell: the replica in memory answers all reads, so the disk only has to give it back
after a restart; docs/decisions/store-journal.md has the figures. Theory of operation: opening takes the folder's lock and
checks the file through a connection that cannot write; the first commit replaces it by one that can. Invariants: when
`commit` returns, its batch survives a power cut; a file that failed a check is never written; what a load yields is what
was appended, or it raises; a commit goes into the file that has the commit before it, or nowhere (`_chain`).
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Final
from weakref import WeakSet

from gossipsync.core.model.bundle import MAX_PLACE
from gossipsync.core.model.ids import NetworkId, Origin, PeerId
from gossipsync.core.ports import StoredLog
from gossipsync.errors import StoreBehindError, StoreCorruptError, StoreError
from gossipsync.stores import _journal_file, _rows
from gossipsync.stores._buffer import Batch, BufferedStore, Log, LogChange, LogState, WriteBuffer
from gossipsync.stores._chain import Commit, new_run
from gossipsync.stores._faults import UNFINISHED, behind, corrupt, reading, system_calls, writing
from gossipsync.stores._file_place import FilePlace
from gossipsync.stores._lock import FolderLock
from gossipsync.stores._space import Space
from gossipsync.stores._witness import Witness


class SqliteStore(BufferedStore):
    """`ports.Store` in `data_dir/journal.db`. Every method may be called from any thread.

    In a forked child every method but `close` raises StoreError, and `close` does nothing.
    """

    def __init__(
        self, data_dir: str | os.PathLike[str], *, network: NetworkId, peer: PeerId
    ) -> None:
        """Open the journal, or create one. Raises StoreLockedError, StoreCorruptError, StoreFullError, StoreError."""
        folder = Path(data_dir)
        self._path = folder / "journal.db"
        self._owner = (network, peer)
        self._run = new_run()
        self._pid = os.getpid()
        self._io_lock = Lock()
        self._is_closed = False
        self._can_write = False
        self._damage: StoreCorruptError | None = None
        self._is_lost = False
        """Whether the file that the connection has open is no longer the journal."""
        self._changes = 0
        """Commits to logs: a load that one of them overtakes would mix two moments."""
        self._space = Space()
        try:
            with self._io_lock:
                # From now on a fork waits, as it waits for a commit: opening is work inside SQLite, too.
                with _forking:
                    _stores.add(self)
                self._take(folder)
        except BaseException:
            self._forget()
            raise
        self._buffer = WriteBuffer(
            {log: LogState(row.last, row.note, row.top) for log, row in self._logs.items()}
        )
        self._witness = Witness(folder, "sqlite")
        commit = self._state.commit
        # A journal that was moved aside on purpose is made anew, and its peer is a joiner in any case.
        older = self._witness.doubt(commit) if commit.number else None
        self.doubt = older if self._state.is_whole else UNFINISHED

    def _take(self, folder: Path) -> None:
        with system_calls(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = FolderLock(folder)
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise

    @property
    def place(self) -> str:
        """The journal's path."""
        return str(self._path)

    def load_logs(self) -> dict[Log, StoredLog]:
        """Every committed log."""
        with self._connection_for(reading):
            return {log: StoredLog(row.last, row.note) for log, row in self._logs.items()}

    def load_pieces(self) -> Iterator[tuple[str, Origin, int, bytes]]:
        """What is committed by now, log by log. Raises StoreCorruptError, at the first row in doubt.

        Raises StoreError at the first row that is read after a commit to a log.
        """
        with self._connection_for(reading):
            expected = -1
            if self._state.commit.run:
                expected = self._state.total - _rows.sum_heads(self._connection)
            return self._verified(dict(self._logs), self._changes, expected)

    def load_heads(self) -> dict[str, bytes]:
        """Every committed head. Raises StoreCorruptError."""
        with self._connection_for(reading):
            return _rows.read_heads(self._connection, self._path)

    def commit(self) -> None:
        """One transaction, on the disk when this returns; nothing is lost from the buffer when it raises StoreError.

        With nothing to write, the moment to give back what the file does not need.
        """
        with self._connection_for(writing):
            batch = self._buffer.take()
            if not batch:
                if self._can_write and self._damage is None and not self._is_lost:
                    with suppress(sqlite3.Error):
                        self._space.rest(self._connection, self._pieces)
                return
            try:
                self._write(batch)
            except BaseException:
                self._buffer.give_back(batch)
                raise
            # The batch is on the disk, whatever becomes of this: no room for the copy, or another program's lock.
            with suppress(sqlite3.Error):
                self._space.committed(self._connection, self._pieces)

    def close(self) -> None:
        """Close the file and give up the folder, without committing. Idempotent; waits for a commit that runs."""
        if os.getpid() != self._pid:
            return
        try:
            with self._io_lock:
                if self._is_closed:
                    return
                self._is_closed = True
                try:
                    with writing(self._path):
                        if not self._is_lost:
                            self._connection.close()
                finally:
                    self._witness.close()
                    self._lock.release()
        finally:
            self._forget()

    # ------------------------------------------------------------ opening

    def _open(self) -> None:
        """Connect for reading, and read what is small."""
        with system_calls(self._path):
            about = self._path.stat() if self._path.exists() else None
        if about is not None and (about.st_dev, about.st_ino) in _inherited_files:
            raise StoreError(
                f"{self._path} was open when this process was forked, and SQLite's memory of it came along: open it in a "
                "new process, or give this peer a data_dir of its own"
            )
        if about is None or (about.st_size == 0 and stat.S_ISREG(about.st_mode)):
            _journal_file.create(self._path, *self._owner)
        connection = _journal_file.open_for_reading(self._path, *self._owner)
        try:
            with reading(self._path):
                self._read_logs(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self._can_write = connection, False
        self._place = FilePlace(self._path)

    def _read_logs(self, connection: sqlite3.Connection) -> None:
        self._logs, self._state = _rows.read_logs(connection, self._path)
        self._ids = {row.id for row in self._logs.values()}
        self._next_id = max(self._ids, default=0) + 1
        self._pieces = sum(row.pieces for row in self._logs.values())

    def _reopen(self) -> None:
        """Another file, or none, has taken the place of ours: go on with what is there, and say that it is behind."""
        last = self._state.commit
        with system_calls(self._path):
            self._lock.renew()
            self._place.set_aside_wal()
        if not self._is_lost:
            self._is_lost = True
            if self._place.has_file():
                self._connection.close()  # only the WAL was lost: closing copies all commits into the file
            else:
                # Closing would remove the WAL of the file that is there now.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        self._open()
        self._is_lost, self._damage = False, None
        self._buffer.is_behind |= self._state.commit != last

    # ------------------------------------------------------------ loading

    def _verified(
        self, logs: _rows.Logs, changes: int, expected: int
    ) -> Iterator[tuple[str, Origin, int, bytes]]:
        """Every piece. `expected`: sum of the checksums of all pieces and logs, or -1 in a journal of format 2."""
        names = {row.id: log for log, row in logs.items()}
        missing = {row.id: row.pieces for row in logs.values()}
        row_id = -1
        total = expected - _rows.sum_logs(logs)
        while True:
            rows, checksums = self._rows_after(row_id, changes)
            if not rows:
                break
            total -= checksums
            for row_id, piece in rows:
                log_id, index = divmod(row_id, MAX_PLACE)
                if log_id not in names:
                    raise self._corrupt(f"{_rows.piece_text(row_id)} belongs to no log")
                missing[log_id] -= 1
                yield *names[log_id], index, piece
        for row in logs.values():
            if missing[row.id]:
                raise self._corrupt(
                    f"a log of {row.pieces} pieces has {row.pieces - missing[row.id]}"
                )
        if total and expected >= 0:
            raise self._corrupt(
                "its rows are not those of its last commit, as after a copy of a journal in use, or with another journal's -wal"
            )

    def _rows_after(self, row_id: int, changes: int) -> tuple[list[_rows.PieceRow], int]:
        with self._connection_for(reading):
            if self._changes != changes:
                raise StoreError(f"{self._path} was written while it was loaded: load it again")
            return _rows.read_pieces(self._connection, self._path, row_id)

    def _corrupt(self, what: str) -> StoreCorruptError:
        self._damage = corrupt(self._path, what)
        return self._damage

    # ------------------------------------------------------------ writing

    def _write(self, batch: Batch) -> None:
        if self._damage is not None and not self._is_lost:
            raise StoreCorruptError(str(self._damage))
        if self._is_lost or self._place.has_changed():
            self._reopen()
        if self._buffer.is_behind:
            raise StoreBehindError(behind(str(self._path)))
        if not self._can_write:
            reader, self._connection = self._connection, _journal_file.open_for_writing(self._path)
            self._can_write = True
            reader.close()
        connection = self._connection
        if batch.only is not None:
            batch = batch.with_removals(self._logs, _rows.head_names(connection))
        connection.execute("BEGIN IMMEDIATE")
        try:
            base = self._base()
            logs, gone, difference = self._write_logs(batch.logs)
            difference += _rows.write_heads(connection, batch.heads)
            count = len(self._logs) + sum(
                (row is not None) - (log in self._logs) for log, row in logs.items()
            )
            commit = Commit(self._run, self._state.commit.number + 1)
            state = _rows.State(commit, count, base + difference, batch.is_whole)
            self._replace_state(state)
            self._space.commit(connection, gone)
            connection.execute("COMMIT")
        except BaseException as error:
            # SQLite has already rolled back by itself after some errors, a full disk among them.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, StoreBehindError):
                self._buffer.is_behind = True
                self._read_logs(connection)
            raise
        self._changes += bool(batch.logs)
        self._state = state
        self._witness.note(state.commit)
        self._place.note_wal()
        for log, row in logs.items():
            self._replace(log, row)

    def _replace_state(self, state: _rows.State) -> None:
        if not _rows.replace_state(self._connection, self._state.commit, state):
            raise StoreBehindError(behind(str(self._path)))

    def _base(self) -> int:
        """Sum of the checksums before a commit, which a journal of format 2 does not have yet."""
        if self._state.commit.run:
            return self._state.total
        connection = self._connection
        connection.execute(f"PRAGMA user_version = {_journal_file.FORMAT}")
        logs = _rows.sum_logs(self._logs)
        return logs + _rows.sum_pieces(connection) + _rows.sum_heads(connection)

    def _write_logs(
        self, changes: dict[Log, LogChange]
    ) -> tuple[dict[Log, _rows.LogRow | None], int, int]:
        """The rows of these logs afterwards, the number of pieces removed, and the difference to the sum of checksums."""
        connection = self._connection
        rows: dict[Log, _rows.LogRow | None] = {}
        added: list[_rows.PieceRow] = []
        gone, lost = 0, 0
        for log, change in changes.items():
            known = self._logs.get(log)
            count = known.pieces if known is not None else 0
            removed, checksums = 0, 0
            if known is not None and change.is_dropped:
                removed, checksums = _rows.delete_log(connection, known.id)
            elif known is not None and change.gone:
                removed, checksums = _rows.delete_pieces(
                    connection, [_rows.piece_id(known.id, index) for index in change.gone]
                )
            gone += removed
            lost += checksums
            if change.line is None:
                rows[log] = None
                continue
            log_id = known.id if known is not None else self._fresh_id()
            count += len(change.pieces) - removed
            rows[log] = _rows.LogRow(log_id, *change.line, count, change.top)
            added += [
                (_rows.piece_id(log_id, index), piece) for index, piece in change.pieces.items()
            ]
        total = _rows.insert_pieces(connection, added) - lost
        written = {log: row for log, row in rows.items() if row is not None}
        former = {log: self._logs[log] for log in rows if log in self._logs}
        total += _rows.write_logs(connection, written) - _rows.sum_logs(former)
        return rows, gone, total

    def _fresh_id(self) -> int:
        """One that no log has; where a commit fails it is not given again before the numbers have gone round."""
        while True:
            log_id = self._next_id
            self._next_id = log_id % _rows.MAX_LOG_ID + 1
            if log_id not in self._ids:
                return log_id

    def _replace(self, log: Log, row: _rows.LogRow | None) -> None:
        known = self._logs.pop(log, None)
        if known is not None:
            self._ids.discard(known.id)
            self._pieces -= known.pieces
        if row is not None:
            self._logs[log] = row
            self._ids.add(row.id)
            self._pieces += row.pieces

    # ------------------------------------------------------------ guards

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise StoreError(
                f"{self._path} belongs to process {self._pid}, and this is its forked child: open a store of its own here"
            )
        if self._is_closed:
            raise StoreError(f"{self._path} is closed: open the store again")

    @contextmanager
    def _connection_for(
        self, use: Callable[[Path], AbstractContextManager[None]]
    ) -> Iterator[None]:
        """The connection to this thread alone, errors mapped.

        Damage is remembered, so that nothing is written over what somebody may want to rescue.
        """
        # Before the lock, too: a forked child may have inherited it locked for ever.
        self._check_usable()
        with self._io_lock:
            self._check_usable()
            try:
                with use(self._path):
                    yield
            except StoreCorruptError as error:
                self._damage = error
                raise

    def _forget(self) -> None:
        """Not while `_io_lock` is held, for which a fork that holds `_forking` waits."""
        with _forking:
            _stores.discard(self)

    def _abandon(self) -> None:
        """In a forked child, which must not even free the connection: SQLite would roll back and checkpoint for the parent."""
        # An opening that outlasted the fork's patience may have neither yet.
        if "_connection" in vars(self):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        if "_lock" in vars(self):
            self._lock.abandon()
        try:
            about = self._path.stat()
        except OSError:
            return
        _inherited_files.add((about.st_dev, about.st_ino))


# ---------------------------------------------------------------- fork

_stores: WeakSet[SqliteStore] = WeakSet()
"""Open, or about to be. Changed by whoever holds `_forking`."""
_inherited_files: set[tuple[int, int]] = set()
"""(device, inode) of journals that an ancestor of this process had open."""
_forking = Lock()
_held_locks: list[Lock] = []
"""Of the thread that forks, which holds `_forking`."""
_COMMIT_PATIENCE_S: Final = 5.0
"""How long a fork waits for a commit or an opening; a disk that hangs for longer must not keep the program from forking."""


def _before_fork() -> None:
    """No thread may be inside SQLite: its locks would stay held in the child, which could never open a store of its own."""
    _forking.acquire()
    _held_locks[:] = [
        store._io_lock  # noqa: SLF001 (this module's own)
        for store in list(_stores)
        if store._io_lock.acquire(timeout=_COMMIT_PATIENCE_S)  # noqa: SLF001
    ]


def _after_fork_in_parent() -> None:
    for lock in _held_locks:
        lock.release()
    _held_locks.clear()
    _forking.release()


def _after_fork_in_child() -> None:
    for store in list(_stores):
        store._abandon()  # noqa: SLF001 (this module's own)
    _stores.clear()
    _held_locks.clear()
    _forking.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
