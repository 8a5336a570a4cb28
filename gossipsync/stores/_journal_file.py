"""The file `journal.db`: its format, how it is made, and how it is told from anything else before it is touched.

An SQLite file in WAL mode with the application id "goss", a format number in `user_version` and four tables: `binding`
(whose journal this is), `logs`, `pieces` (bundles as received, or what is left of them, log by log) and `heads`. SQLite's own
checks see broken structure but not a flipped payload bit, so every row carries a checksum (`_rows`).

Invariant: a file that is not ours, or damaged, is never opened for writing and gets no files beside it.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

from gossipsync.core.model.ids import NetworkId, PeerId, peer_text
from gossipsync.errors import StoreError
from gossipsync.stores import _rows
from gossipsync.stores._chain import new_run
from gossipsync.stores._faults import corrupt, reading, system_calls, writing
from gossipsync.stores._formats import newer

APPLICATION_ID: Final = int.from_bytes(b"goss", "big")
FORMAT: Final = 3
"""3: row 0 of `logs` names the last commit and sums up all rows (`_rows.State`)."""
READ: Final = (2, 3)
"""Formats that this build reads; 2 becomes 3 with the first commit."""

SCHEMA: Final = {
    "binding": "CREATE TABLE binding (network BLOB, peer BLOB, checksum INTEGER)",
    "heads": "CREATE TABLE heads (name TEXT PRIMARY KEY, value BLOB, checksum INTEGER) WITHOUT ROWID",
    # `pieces` is how many it has: what tells a lost one from a trimmed one. No piece has an index above `top`.
    # Row 0 is no log: it is the state, with the run as `origin`, the commit's number as `last`, the number of logs as `pieces`
    # and the sum as `top`.
    "logs": "CREATE TABLE logs (id INTEGER PRIMARY KEY, bucket TEXT, origin BLOB, last INTEGER, note BLOB, pieces INTEGER, top INTEGER, checksum INTEGER)",
    # The id is the log's << 40 | the index: found without another index, and read log by log.
    "pieces": "CREATE TABLE pieces (id INTEGER PRIMARY KEY, checksum INTEGER, piece BLOB)",
}

_BUSY_TIMEOUT_S: Final = 5.0
"""How long a commit waits for an operator's sqlite3 shell that holds the file."""
_CHECKPOINT_PAGES: Final = 4096
"""16 MiB of WAL between checkpoints: each bundle's pages are then mostly written to the main file in large runs."""
_WAL_KEPT_BYTES: Final = 32 << 20

_HEADER: Final = Struct(">16s2xBB40xI4xI28x")
_MAGIC: Final = b"SQLite format 3\0"


def create(path: Path, network: NetworkId, peer: PeerId) -> None:
    """Make an empty journal, whole or not at all: it gets its name only when it is complete on the disk.

    An empty file of that name, which has nothing to lose, is replaced.
    """
    if has_wal(path):
        # SQLite would replay the old log into the new file.
        raise corrupt(
            path,
            f"it is missing or empty, but {path.name}-wal, which has its newest commits, is still there; "
            "if the journal was moved, put it back beside its -wal",
        )
    unfinished = path.with_name(path.name + ".new")
    with system_calls(unfinished):
        for suffix in ("", "-journal", "-wal", "-shm"):
            unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
        for suffix in ("-wal", "-shm"):
            # What a checkpoint or a crash left behind: it holds no commit.
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with writing(unfinished):
        connection = _connect(unfinished, "mode=rw")
        try:
            _fill(connection, network, peer)
        finally:
            connection.close()
    with system_calls(path):
        _sync(unfinished)
        unfinished.rename(path)
        _sync(path.parent)


def _fill(connection: sqlite3.Connection, network: NetworkId, peer: PeerId) -> None:
    # Before the first table, or never.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("BEGIN")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    for statement in SCHEMA.values():
        connection.execute(statement)
    row = (network, peer, crc32(network + peer))
    connection.execute("INSERT INTO binding VALUES (?, ?, ?)", row)
    _rows.create_state(connection, new_run())
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")


def open_for_reading(path: Path, network: NetworkId, peer: PeerId) -> sqlite3.Connection:
    """A connection that changes nothing, to a file whose owner and structure have been checked.

    Raises StoreCorruptError for damage and strangers; StoreError for a newer format, another network, another peer.
    """
    _check_header(path)
    with reading(path):
        # Without a WAL the file is the database. Opened as immutable it gets no -wal and no -shm. With one it is the database
        # only together with that: a checkpoint may have ended between any two pages, and VACUUM moves all of them.
        connection = _connect(path, "mode=ro" if has_wal(path) else "mode=ro&immutable=1")
        try:
            _check_owner(connection, path, network, peer)
            _check_structure(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def open_for_writing(path: Path) -> sqlite3.Connection:
    """A connection whose commits are on the disk when they return. Raises sqlite3.Error."""
    connection = _connect(path, "mode=rw")
    try:
        _use_wal(connection, path)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, options: str) -> sqlite3.Connection:
    """Transactions are begun by hand; the caller keeps threads apart."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_TIMEOUT_S,
    )
    connection.execute("PRAGMA cell_size_check = ON")
    # Where VACUUM builds its copy (`_space` bounds it): not in a folder that may be another, fuller disk.
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _check_header(path: Path) -> None:
    """By hand, since SQLite cannot look at a file without preparing to recover it.

    Closing the descriptor drops this process's POSIX locks on the file: no connection may be open yet.
    """
    with system_calls(path):
        # Non-blocking, or opening a pipe would wait for its other end.
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        try:
            is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            header = os.pread(descriptor, _HEADER.size, 0) if is_regular else b""
        finally:
            os.close(descriptor)
    if len(header) < _HEADER.size:
        raise corrupt(
            path, "it is too short for a journal" if is_regular else "it is no regular file"
        )
    magic, write_version, read_version, user_version, application_id = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise corrupt(path, "it is no SQLite file")
    if application_id != APPLICATION_ID:
        raise corrupt(path, "it belongs to another program")
    _check_format(path, user_version)
    if not {write_version, read_version} <= {1, 2}:
        raise corrupt(path, "its header makes no sense")


def _check_format(path: Path, number: int) -> None:
    if number > FORMAT:
        raise newer(str(path), number, READ)
    if number == 1:
        raise StoreError(
            f"{path} has format 1, of before the first release, which this gossipsync does not read: move {path.parent} away "
            "and start again; the peer joins anew and the mesh gives back all that any peer still holds"
        )
    if number not in READ:
        raise corrupt(path, "its header makes no sense")


def _check_owner(
    connection: sqlite3.Connection, path: Path, network: NetworkId, peer: PeerId
) -> None:
    # Once more, because page 1 may be newer in the WAL.
    (number,) = connection.execute("PRAGMA user_version").fetchone()
    _check_format(path, number)
    tables = dict(connection.execute("SELECT name, sql FROM sqlite_master").fetchall())
    if tables != SCHEMA:
        raise corrupt(path, "its tables are not a journal's")
    match connection.execute("SELECT network, peer, checksum FROM binding").fetchall():
        case [(bytes(its_network), bytes(its_peer), checksum)] if checksum == crc32(
            its_network + its_peer
        ):
            pass
        case _:
            raise corrupt(path, "it does not say whose it is")
    for word, its_own, given in (
        ("network", its_network.hex(), network.hex()),
        ("peer", peer_text(PeerId(its_peer)), peer_text(peer)),
    ):
        if its_own != given:
            raise StoreError(
                f"{path} belongs to {word} {its_own}, and this is {word} {given}: use the credentials or cluster key that "
                "it was written with, or another data_dir"
            )


def _check_structure(connection: sqlite3.Connection, path: Path) -> None:
    """Every page, the free ones too: a commit after a false free list would overwrite what is in use."""
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise corrupt(path, verdict)


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(
            f"{path} cannot be kept in WAL mode on this file system: put data_dir on a local disk"
        )


def has_wal(path: Path) -> bool:
    """Whether a write-ahead log with anything in it lies beside the journal."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
