"""The rows of `journal.db`: all SQL that reads and writes them, and their checksums.

CRC-32, because what it has to find is accidents of the disk; who edits the file on purpose is found by the bundles'
signatures. Invariant: a row is handed on only if it has the types that were written and verifies; whatever else it is,
StoreCorruptError.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from gossipsync.core.model.bundle import MAX_PLACE
from gossipsync.core.model.ids import ORIGIN_BYTES, Origin
from gossipsync.stores._buffer import Log
from gossipsync.stores._faults import corrupt


class LogRow(NamedTuple):
    """A log as the file has it; `last`, `note` and `top` are those of LogState."""

    id: int
    last: int
    note: bytes | None
    pieces: int
    """How many it has."""
    top: int


Logs = dict[Log, LogRow]
PieceRow = tuple[int, bytes]
"""(id, piece)."""

MAX_LOG_ID: Final = (1 << 63) // MAX_PLACE - 1

_COUNT_ID: Final = 0
_LOAD_ROWS: Final = 32
"""Pieces read at a time: at most 28 MiB at the largest bundle size, and one query's cost spread over as many."""
_LOG_NUMBERS: Final = Struct(">qqqq?")
_PIECE_ID: Final = Struct(">q")


def piece_id(log_id: int, index: int) -> int:
    """The key of a piece."""
    return log_id * MAX_PLACE + index


def piece_text(row_id: int) -> str:
    """A piece as people read it."""
    log_id, index = divmod(row_id, MAX_PLACE)
    return f"piece {index} of log {log_id}"


def read_logs(connection: sqlite3.Connection, path: Path) -> Logs:
    """Every log. Raises sqlite3.Error, StoreCorruptError."""
    logs: Logs = {}
    count = None
    for row in connection.execute(
        "SELECT id, bucket, origin, last, note, pieces, top, checksum FROM logs"
    ):
        match row:
            case (
                int(log_id), str(bucket), bytes(origin), int(last), bytes() | None as note, int(pieces), int(top), int(checksum)
            ) if checksum == _log_checksum(
                bucket, Origin(origin), found := LogRow(log_id, last, note, pieces, top)
            ):  # fmt: skip
                if log_id == _COUNT_ID:
                    count = pieces
                    continue
            case _:
                raise corrupt(path, "a log's row does not verify")
        if len(origin) != ORIGIN_BYTES:
            raise corrupt(path, "a log's row does not verify")
        logs[bucket, Origin(origin)] = found
    if count != len(logs):
        raise corrupt(path, f"it has {len(logs)} logs instead of {count}")
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


def read_pieces(connection: sqlite3.Connection, path: Path, after: int) -> list[PieceRow]:
    """Some rows that follow the one with this id. Raises sqlite3.Error, StoreCorruptError."""
    rows: list[PieceRow] = []
    for row in connection.execute(
        "SELECT id, checksum, piece FROM pieces WHERE id > ? ORDER BY id LIMIT ?",
        (after, _LOAD_ROWS),
    ):
        match row:
            case (int(row_id), int(checksum), bytes(piece)) if checksum == _piece_checksum(
                row_id, piece
            ):
                rows.append((row_id, piece))
            case _:
                raise corrupt(path, f"{piece_text(row[0])} does not verify")
    return rows


def write_logs(connection: sqlite3.Connection, logs: Logs) -> None:
    """Insert or replace. Raises sqlite3.Error."""
    connection.executemany(
        "INSERT OR REPLACE INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                row.id, bucket, origin, row.last, row.note, row.pieces, row.top, _log_checksum(bucket, origin, row)
            )
            for (bucket, origin), row in logs.items()
        ],
    )  # fmt: skip


def write_log_count(connection: sqlite3.Connection, count: int) -> None:
    """How many logs there are. Raises sqlite3.Error."""
    write_logs(connection, {("", Origin(b"")): LogRow(_COUNT_ID, 0, None, count, 0)})


def delete_log(connection: sqlite3.Connection, log_id: int) -> int:
    """Remove a log with its pieces; how many. Raises sqlite3.Error."""
    connection.execute("DELETE FROM logs WHERE id = ?", (log_id,))
    pieces = connection.execute(
        "DELETE FROM pieces WHERE id BETWEEN ? AND ?",
        (piece_id(log_id, 0), piece_id(log_id, MAX_PLACE - 1)),
    )
    return pieces.rowcount


def delete_pieces(connection: sqlite3.Connection, row_ids: Iterable[int]) -> int:
    """Remove those of these that are there; how many were. Raises sqlite3.Error."""
    return connection.executemany(
        "DELETE FROM pieces WHERE id = ?", [(row_id,) for row_id in row_ids]
    ).rowcount


def insert_pieces(connection: sqlite3.Connection, pieces: list[PieceRow]) -> None:
    """Add what is not there yet. Raises sqlite3.Error."""
    connection.executemany(
        "INSERT INTO pieces VALUES (?, ?, ?)",
        [(row_id, _piece_checksum(row_id, piece), piece) for row_id, piece in pieces],
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


def _piece_checksum(row_id: int, piece: bytes) -> int:
    """Over a piece and its place, so that two that changed places are seen too."""
    return crc32(piece, crc32(_PIECE_ID.pack(row_id)))


def _log_checksum(bucket: str, origin: Origin, row: LogRow) -> int:
    numbers = _LOG_NUMBERS.pack(row.id, row.last, row.pieces, row.top, row.note is None)
    return crc32(bucket.encode(), crc32(row.note or b"", crc32(origin, crc32(numbers))))


def _head_checksum(name: str, value: bytes) -> int:
    return crc32(value, crc32(name.encode() + b"\0"))
