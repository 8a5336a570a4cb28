"""The rows of `journal.db`: all SQL that reads and writes them, and their checksums.

CRC-32, because what it has to find is accidents of the disk; who edits the file on purpose is found by the bundles'
signatures. Invariant: a row is handed on only if it has the types that were written and verifies; whatever else it is,
StoreCorruptError.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from gossipsync.core.model.bundle import MAX_PLACE
from gossipsync.core.model.ids import ORIGIN_BYTES, Origin
from gossipsync.stores._buffer import Log
from gossipsync.stores._chain import Commit
from gossipsync.stores._faults import corrupt


class LogRow(NamedTuple):
    """A log as the file has it; `last`, `note` and `top` are those of LogState."""

    id: int
    last: int
    note: bytes | None
    pieces: int
    """How many it has."""
    top: int


class State(NamedTuple):
    """Row 0 of `logs`: which commit was the last, and the amount of data that it left."""

    commit: Commit
    logs: int
    """Number of logs."""
    total: int
    """Sum of all checksums but its own."""
    is_whole: bool
    """Whether no rewrite is under way, of which the store has only a part."""


Logs = dict[Log, LogRow]
PieceRow = tuple[int, bytes]
"""(id, piece)."""

MAX_LOG_ID: Final = (1 << 63) // MAX_PLACE - 1

_STATE_ID: Final = 0
_STATE_NAME: Final = ""
_PARTIAL: Final = b"partial"
"""Note of a state that is not whole."""
_AT_ONCE: Final = 500
"""Rows removed by one statement; SQLite before 3.32 takes at most 999 values."""
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


def read_logs(connection: sqlite3.Connection, path: Path) -> tuple[Logs, State]:
    """Every log, and the state; the run of a journal of format 2 is empty. Raises sqlite3.Error, StoreCorruptError."""
    logs: Logs = {}
    state = None
    for row in connection.execute(
        "SELECT id, bucket, origin, last, note, pieces, top, checksum FROM logs"
    ):
        match row:
            case (
                int(log_id), str(bucket), bytes(origin), int(last), bytes() | None as note, int(pieces), int(top), int(checksum)
            ) if checksum == _log_checksum(
                bucket, Origin(origin), found := LogRow(log_id, last, note, pieces, top)
            ):  # fmt: skip
                if log_id == _STATE_ID:
                    state = State(Commit(origin, last), pieces, top, note is None)
                    continue
            case _:
                raise corrupt(path, "a log's row does not verify")
        if len(origin) != ORIGIN_BYTES:
            raise corrupt(path, "a log's row does not verify")
        logs[bucket, Origin(origin)] = found
    if state is None or state.logs != len(logs):
        expected = None if state is None else state.logs
        raise corrupt(path, f"it has {len(logs)} logs instead of {expected}")
    return logs, state


def sum_logs(logs: Logs) -> int:
    """Sum of the checksums of these logs' rows."""
    return sum(_log_checksum(bucket, origin, row) for (bucket, origin), row in logs.items())


def sum_heads(connection: sqlite3.Connection) -> int:
    """Sum of the heads' checksums. Raises sqlite3.Error."""
    (total,) = connection.execute("SELECT ifnull(sum(checksum), 0) FROM heads").fetchone()
    return int(total)


def sum_pieces(connection: sqlite3.Connection) -> int:
    """Sum of the pieces' checksums, without reading the pieces. Raises sqlite3.Error."""
    (total,) = connection.execute("SELECT ifnull(sum(checksum), 0) FROM pieces").fetchone()
    return int(total)


def head_names(connection: sqlite3.Connection) -> list[str]:
    """Every head's name. Raises sqlite3.Error."""
    return [name for (name,) in connection.execute("SELECT name FROM heads")]


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


def read_pieces(
    connection: sqlite3.Connection, path: Path, after: int
) -> tuple[list[PieceRow], int]:
    """Some rows that follow the one with this id, and the sum of their checksums. Raises sqlite3.Error, StoreCorruptError."""
    rows: list[PieceRow] = []
    total = 0
    for row in connection.execute(
        "SELECT id, checksum, piece FROM pieces WHERE id > ? ORDER BY id LIMIT ?",
        (after, _LOAD_ROWS),
    ):
        match row:
            case (int(row_id), int(checksum), bytes(piece)) if checksum == _piece_checksum(
                row_id, piece
            ):
                rows.append((row_id, piece))
                total += checksum
            case _:
                raise corrupt(path, f"{piece_text(row[0])} does not verify")
    return rows, total


def write_logs(connection: sqlite3.Connection, logs: Logs) -> int:
    """Insert or replace; the sum of the checksums. Raises sqlite3.Error."""
    rows = [
        (row.id, bucket, origin, row.last, row.note, row.pieces, row.top, _log_checksum(bucket, origin, row))
        for (bucket, origin), row in logs.items()
    ]  # fmt: skip
    connection.executemany("INSERT OR REPLACE INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    return sum(row[-1] for row in rows)


def create_state(connection: sqlite3.Connection, run: bytes) -> None:
    """The state of an empty journal. Raises sqlite3.Error."""
    write_logs(connection, {(_STATE_NAME, Origin(run)): LogRow(_STATE_ID, 0, None, 0, 0)})


def replace_state(connection: sqlite3.Connection, before: Commit, after: State) -> bool:
    """Replace the state if `before` is the last commit; whether it was. Raises sqlite3.Error."""
    note = None if after.is_whole else _PARTIAL
    origin = Origin(after.commit.run)
    row = LogRow(_STATE_ID, after.commit.number, note, after.logs, after.total)
    updated = connection.execute(
        "UPDATE logs SET origin = ?, last = ?, note = ?, pieces = ?, top = ?, checksum = ? "
        "WHERE id = ? AND origin = ? AND last = ?",
        (
            origin, row.last, note, row.pieces, row.top, _log_checksum(_STATE_NAME, origin, row),
            _STATE_ID, before.run, before.number,
        ),
    )  # fmt: skip
    return updated.rowcount == 1


def delete_log(connection: sqlite3.Connection, log_id: int) -> tuple[int, int]:
    """Remove a log with its pieces; their number, and the sum of their checksums. Raises sqlite3.Error."""
    connection.execute("DELETE FROM logs WHERE id = ?", (log_id,))
    ids = (piece_id(log_id, 0), piece_id(log_id, MAX_PLACE - 1))
    count, total = connection.execute(
        "SELECT count(*), ifnull(sum(checksum), 0) FROM pieces WHERE id BETWEEN ? AND ?", ids
    ).fetchone()
    if count:
        connection.execute("DELETE FROM pieces WHERE id BETWEEN ? AND ?", ids)
    return count, total


def delete_pieces(connection: sqlite3.Connection, row_ids: list[int]) -> tuple[int, int]:
    """Remove the pieces among these that are there; their number, and the sum of their checksums. Raises sqlite3.Error."""
    removed, total = 0, 0
    for start in range(0, len(row_ids), _AT_ONCE):
        some = row_ids[start : start + _AT_ONCE]
        among = f"FROM pieces WHERE id IN ({', '.join('?' * len(some))})"
        found, checksums = connection.execute(
            f"SELECT count(*), ifnull(sum(checksum), 0) {among}",
            some,
        ).fetchone()
        if found:
            connection.execute(f"DELETE {among}", some)
        removed += found
        total += checksums
    return removed, total


def insert_pieces(connection: sqlite3.Connection, pieces: list[PieceRow]) -> int:
    """Add pieces that are not there yet; the sum of their checksums. Raises sqlite3.Error."""
    rows = [(row_id, _piece_checksum(row_id, piece), piece) for row_id, piece in pieces]
    connection.executemany("INSERT INTO pieces VALUES (?, ?, ?)", rows)
    return sum(checksum for _, checksum, _ in rows)


def write_heads(connection: sqlite3.Connection, heads: dict[str, bytes | None]) -> int:
    """Replace, or remove where the value is None; the difference to the sum of checksums. Raises sqlite3.Error."""
    former = 0
    for name in heads:
        for (checksum,) in connection.execute("SELECT checksum FROM heads WHERE name = ?", (name,)):
            former += checksum
    connection.executemany(
        "DELETE FROM heads WHERE name = ?",
        [(name,) for name, value in heads.items() if value is None],
    )
    rows = [
        (name, value, _head_checksum(name, value))
        for name, value in heads.items()
        if value is not None
    ]
    connection.executemany("INSERT OR REPLACE INTO heads VALUES (?, ?, ?)", rows)
    return sum(checksum for *_, checksum in rows) - former


def _piece_checksum(row_id: int, piece: bytes) -> int:
    """Over a piece and its place, so that two that changed places are seen too."""
    return crc32(piece, crc32(_PIECE_ID.pack(row_id)))


def _log_checksum(bucket: str, origin: Origin, row: LogRow) -> int:
    numbers = _LOG_NUMBERS.pack(row.id, row.last, row.pieces, row.top, row.note is None)
    return crc32(bucket.encode(), crc32(row.note or b"", crc32(origin, crc32(numbers))))


def _head_checksum(name: str, value: bytes) -> int:
    return crc32(value, crc32(name.encode() + b"\0"))
