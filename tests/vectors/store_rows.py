"""Golden rows of the stores: a small store that holds one log of two pieces, a covered log and two heads."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from unittest.mock import patch

from gossipsync.core.model.ids import Epoch, NetworkId, Origin, PeerId, origin_of
from gossipsync.core.ports import StoredLog
from gossipsync.stores import SqliteStore, _chain
from gossipsync.stores._remote import (
    StoredLine,
    _pack_state,
    _State,
    owner_of,
    pack_log,
    seal,
    seal_line,
)

TABLES = ("binding", "heads", "logs", "pieces")


def rows(
    network: NetworkId, peer: PeerId, origin: Origin, pieces: dict[int, bytes]
) -> dict[str, object]:
    """All rows of the SQLite file, and the values as the servers' stores seal them."""
    return {
        "sqlite": _of_sqlite(network, peer, origin, pieces),
        "sealed": _sealed(network, peer, origin, pieces),
    }


def _of_sqlite(
    network: NetworkId, peer: PeerId, origin: Origin, pieces: dict[int, bytes]
) -> dict[str, object]:
    # The one random part of the rows: the identity of a run.
    fixed = patch.object(_chain, "urandom", lambda size: bytes(range(size)))
    with tempfile.TemporaryDirectory() as folder, fixed:
        store = SqliteStore(folder, network=network, peer=peer)
        for index, piece in pieces.items():
            store.append("values", origin, index, piece)
        store.put_line("covered", origin_of(peer, Epoch(1)), 5, b"a note")
        store.put_head("touched", bytes(16))
        store.put_head("gone", b"soon")
        store.commit()
        store.put_head("gone", None)
        store.commit()
        store.close()
        connection = sqlite3.connect(Path(folder) / "journal.db")
        try:
            return {
                "user_version": _one(connection, "PRAGMA user_version"),
                "application_id": _one(connection, "PRAGMA application_id"),
                "auto_vacuum": _one(connection, "PRAGMA auto_vacuum"),
                "schema": dict(connection.execute("SELECT name, sql FROM sqlite_master").fetchall()),
                **{
                    table: [
                        [part.hex() if isinstance(part, bytes) else part for part in row]
                        for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1")
                    ]
                    for table in TABLES
                },
            }
        finally:
            connection.close()


def _one(connection: sqlite3.Connection, question: str) -> object:
    return connection.execute(question).fetchone()[0]


def _sealed(
    network: NetworkId, peer: PeerId, origin: Origin, pieces: dict[int, bytes]
) -> dict[str, object]:
    log = ("values", origin)
    name = pack_log(log)
    line = StoredLine(StoredLog(2, None), 2, 2)
    noted = StoredLine(StoredLog(5, b"a note"), 0, 0)
    return {
        "owner": owner_of(network, peer).hex(),
        "log_name": name.hex(),
        "redis_line": seal_line(line, b"logs", name).hex(),
        "redis_line_with_note": seal_line(noted, b"logs", name).hex(),
        "redis_pieces": [
            seal(piece, b"log:" + name, b"%d" % index).hex() for index, piece in pieces.items()
        ],
        "postgres_line": seal_line(line, log[0].encode(), origin).hex(),
        "postgres_pieces": [
            seal(piece, log[0].encode(), origin, b"%d" % index).hex()
            for index, piece in pieces.items()
        ],
        "state": _pack_state(
            _State(_chain.Commit(bytes(range(_chain.RUN_BYTES)), 2), 2, 1, is_whole=True)
        ).hex(),
        "head": seal(bytes(16), b"heads", b"touched").hex(),
    }
