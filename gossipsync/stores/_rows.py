"""The rows of `journal.db`: all SQL that reads and writes them, and their checksums.

CRC-32, because what it has to find is accidents of the disk; who edits the file on purpose is found by the bundles'
signatures. Invariant: a row is handed on only if it has the types that were written and verifies; whatever else it is,
StoreCorruptError.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from struct import Struct
from typing import Final
from zlib import crc32

from gossipsync.core.model.ids import ORIGIN_BYTES, Origin
from gossipsync.stores._buffer import Log
from gossipsync.stores._faults import corrupt

Logs = dict[Log, tuple[int, int]]
"""Of each log its id in the file and its last committed index."""
BundleRow = tuple[int, int, int, bytes]
"""(row's place in the order of arrival, log id, index, bundle)."""

_LOAD_ROWS: Final = 32
"""Bundles read at a time: at most 28 MiB at the largest bundle size, and one query's cost spread over as many."""
_PLACE: Final = Struct(">qq")


def read_logs(connection: sqlite3.Connection, path: Path) -> Logs:
    """Every log. Raises sqlite3.Error, StoreCorruptError."""
    logs: Logs = {}
    for row in connection.execute("SELECT id, bucket, origin, last, checksum FROM logs"):
        match row:
            case (int(log_id), str(bucket), bytes(origin), int(last), int(checksum)) if len(
                origin
            ) == ORIGIN_BYTES and checksum == _log_checksum(log_id, bucket, Origin(origin), last):
                logs[bucket, Origin(origin)] = (log_id, last)
            case _:
                raise corrupt(path, "a log's row does not verify")
    return logs


def read_heads(connection: sqlite3.Connection, path: Path) -> dict[str, bytes]:
    """Every head. Raises sqlite3.Error, StoreCorruptError."""
    heads: dict[str, bytes] = {}
    for row in connection.execute("SELECT name, value, checksum FROM heads"):
        match row:
            case (str(name), bytes(value), int(checksum)) if checksum == _head_checksum(
                name, value
            ):
                heads[name] = value
            case _:
                raise corrupt(path, "a head does not verify")
    return heads


def read_bundles(
    connection: sqlite3.Connection, path: Path, after: int, end: int
) -> list[BundleRow]:
    """Some rows that follow row `after`, up to row `end`. Raises sqlite3.Error, StoreCorruptError."""
    rows: list[BundleRow] = []
    for row in connection.execute(
        "SELECT seq, log, number, checksum, bundle FROM journal WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
        (after, end, _LOAD_ROWS),
    ):
        match row:
            case (int(seq), int(log_id), int(index), int(checksum), bytes(bundle)) if (
                checksum == _bundle_checksum(log_id, index, bundle)
            ):
                rows.append((seq, log_id, index, bundle))
            case _:
                raise corrupt(path, f"the bundle in row {row[0]} does not verify")
    return rows


def write_logs(connection: sqlite3.Connection, logs: Logs) -> None:
    """Insert or replace. Raises sqlite3.Error."""
    connection.executemany(
        "INSERT OR REPLACE INTO logs VALUES (?, ?, ?, ?, ?)",
        [
            (log_id, bucket, origin, last, _log_checksum(log_id, bucket, origin, last))
            for (bucket, origin), (log_id, last) in logs.items()
        ],
    )


def write_bundles(connection: sqlite3.Connection, placed: list[tuple[int, int, bytes]]) -> None:
    """Add (log id, index, bundle) at the end. Raises sqlite3.Error."""
    connection.executemany(
        "INSERT INTO journal (log, number, checksum, bundle) VALUES (?, ?, ?, ?)",
        [
            (log_id, index, _bundle_checksum(log_id, index, bundle), bundle)
            for log_id, index, bundle in placed
        ],
    )


def write_heads(connection: sqlite3.Connection, heads: dict[str, bytes | None]) -> None:
    """Replace, or remove where the value is None. Raises sqlite3.Error."""
    connection.executemany(
        "DELETE FROM heads WHERE name = ?",
        [(name,) for name, value in heads.items() if value is None],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO heads VALUES (?, ?, ?)",
        [
            (name, value, _head_checksum(name, value))
            for name, value in heads.items()
            if value is not None
        ],
    )


def _bundle_checksum(log_id: int, index: int, bundle: bytes) -> int:
    """Over a bundle and its place, so that two bundles that changed places are seen too."""
    return crc32(bundle, crc32(_PLACE.pack(log_id, index)))


def _log_checksum(log_id: int, bucket: str, origin: Origin, last: int) -> int:
    return crc32(bucket.encode(), crc32(origin, crc32(_PLACE.pack(log_id, last))))


def _head_checksum(name: str, value: bytes) -> int:
    return crc32(value, crc32(name.encode() + b"\0"))
