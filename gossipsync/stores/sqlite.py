"""The durable store: one SQLite file `journal.db` in the peer's data folder, which holds bundles as they were received.

Why a journal and not a row for each cell: the replica in memory answers all reads, so the disk only has to give it back
after a restart; docs/decisions/store-journal.md has the figures. Theory of operation: opening takes the folder's lock and
checks the file through a connection that cannot write; the first commit replaces it by one that can. Invariants: when
`commit` returns, its batch survives a power cut; a file that failed a check is never written; what a load yields is what
was appended, or it raises.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Lock
from weakref import WeakSet

from gossipsync.core.model.ids import NetworkId, Origin, PeerId
from gossipsync.errors import StoreCorruptError, StoreError
from gossipsync.stores import _journal_file, _rows
from gossipsync.stores._buffer import Batch, WriteBuffer
from gossipsync.stores._faults import corrupt, reading, system_calls, writing
from gossipsync.stores._lock import FolderLock


class SqliteStore:
    """`ports.Store` in `data_dir/journal.db`. Every method may be called from any thread.

    In a forked child every method but `close` raises StoreError, and `close` does nothing.
    """

    def __init__(
        self, data_dir: str | os.PathLike[str], *, network: NetworkId, peer: PeerId
    ) -> None:
        """Open the journal, or create one. Raises StoreLockedError, StoreCorruptError, StoreFullError, StoreError."""
        folder = Path(data_dir)
        self._path = folder / "journal.db"
        self._pid = os.getpid()
        self._io_lock = Lock()
        self._is_closed = False
        self._can_write = False
        self._damage: StoreCorruptError | None = None
        with system_calls(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = FolderLock(folder)
        try:
            self._connection = self._open(network, peer)
            try:
                with reading(self._path):
                    self._logs = _rows.read_logs(self._connection, self._path)
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            self._lock.release()
            raise
        self._buffer = WriteBuffer({log: last for log, (_, last) in self._logs.items()})
        _open_stores.add(self)

    @property
    def place(self) -> str:
        """The journal's path."""
        return str(self._path)

    def load_bundles(self) -> Iterator[tuple[str, Origin, int, bytes]]:
        """What is committed by now, in the order of arrival. Raises StoreCorruptError, at the first row in doubt."""
        with self._connection_for(reading):
            (end,) = self._connection.execute("SELECT max(seq) FROM journal").fetchone()
            expected = dict(self._logs)
        return self._verified(expected, end or 0)

    def load_heads(self) -> dict[str, bytes]:
        """Every committed head. Raises StoreCorruptError."""
        with self._connection_for(reading):
            return _rows.read_heads(self._connection, self._path)

    def append(self, bucket: str, origin: Origin, index: int, bundle: bytes) -> None:
        """Raises InternalError unless this is the next bundle of its log."""
        self._check_usable()
        self._buffer.append(bucket, origin, index, bundle)

    def put_head(self, name: str, value: bytes | None) -> None:
        """Raises InternalError for a value over 64 KiB."""
        self._check_usable()
        self._buffer.put_head(name, value)

    def commit(self) -> None:
        """One transaction, on the disk when this returns; nothing is lost from the buffer when it raises StoreError."""
        with self._connection_for(writing):
            batch = self._buffer.take()
            if not batch:
                return
            try:
                self._write(batch)
            except BaseException:
                self._buffer.give_back(batch)
                raise

    def close(self) -> None:
        """Close the file and give up the folder, without committing. Idempotent; waits for a commit that runs."""
        if os.getpid() != self._pid:
            return
        with self._io_lock:
            if self._is_closed:
                return
            self._is_closed = True
            _open_stores.discard(self)
            try:
                with writing(self._path):
                    self._connection.close()
            finally:
                self._lock.release()

    # ------------------------------------------------------------ opening

    def _open(self, network: NetworkId, peer: PeerId) -> sqlite3.Connection:
        with system_calls(self._path):
            about = self._path.stat() if self._path.exists() else None
        if about is None:
            _journal_file.create(self._path, network, peer)
        elif (about.st_dev, about.st_ino) in _inherited_files:
            raise StoreError(
                f"{self._path} was open when this process was forked, and SQLite's memory of it came along: open it in a "
                "new process, or give this peer a data_dir of its own"
            )
        return _journal_file.open_for_reading(self._path, network, peer)

    # ------------------------------------------------------------ loading

    def _verified(self, expected: _rows.Logs, end: int) -> Iterator[tuple[str, Origin, int, bytes]]:
        names = {log_id: log for log, (log_id, _) in expected.items()}
        reached = dict.fromkeys(names, 0)
        seq = 0
        while rows := self._rows_after(seq, end):
            for seq, log_id, index, bundle in rows:
                if reached.get(log_id) != index - 1:
                    raise self._corrupt(f"bundle {index} in row {seq} does not continue its log")
                reached[log_id] = index
                yield *names[log_id], index, bundle
        for log_id, last in expected.values():
            if reached[log_id] != last:
                raise self._corrupt(f"a log of {last} bundles ends at {reached[log_id]}")

    def _rows_after(self, seq: int, end: int) -> list[_rows.BundleRow]:
        with self._connection_for(reading):
            return _rows.read_bundles(self._connection, self._path, seq, end)

    def _corrupt(self, what: str) -> StoreCorruptError:
        self._damage = corrupt(self._path, what)
        return self._damage

    # ------------------------------------------------------------ writing

    def _write(self, batch: Batch) -> None:
        if self._damage is not None:
            raise StoreCorruptError(str(self._damage))
        if not self._can_write:
            reader, self._connection = self._connection, _journal_file.open_for_writing(self._path)
            self._can_write = True
            reader.close()
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            logs, placed = self._place(batch)
            _rows.write_logs(connection, logs)
            _rows.write_bundles(connection, placed)
            _rows.write_heads(connection, batch.heads)
            connection.execute("COMMIT")
        except BaseException:
            # SQLite has already rolled back by itself after some errors, a full disk among them.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._logs |= logs

    def _place(self, batch: Batch) -> tuple[_rows.Logs, list[tuple[int, int, bytes]]]:
        """The state after the batch of the logs it touches, and (log id, index, bundle) of its bundles."""
        logs: _rows.Logs = {}
        placed: list[tuple[int, int, bytes]] = []
        next_id = len(self._logs) + 1
        for bucket, origin, index, bundle in batch.bundles:
            log = (bucket, origin)
            known = logs.get(log) or self._logs.get(log)
            log_id = known[0] if known else next_id
            next_id += known is None
            logs[log] = (log_id, index)
            placed.append((log_id, index, bundle))
        return logs, placed

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

    def _abandon(self) -> None:
        """In a forked child, which must not even free the connection: SQLite would roll back and checkpoint for the parent."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        self._lock.abandon()
        try:
            about = self._path.stat()
        except OSError:
            return
        _inherited_files.add((about.st_dev, about.st_ino))


# ---------------------------------------------------------------- fork

_open_stores: WeakSet[SqliteStore] = WeakSet()
_inherited_files: set[tuple[int, int]] = set()
"""(device, inode) of journals that an ancestor of this process had open."""


def _after_fork_in_child() -> None:
    for store in list(_open_stores):
        store._abandon()  # noqa: SLF001 (this module's own)
    _open_stores.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
