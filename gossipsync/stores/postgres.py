"""A store in PostgreSQL, 12 or newer (extra `postgres`).

Four tables in the first schema of the connection's search path, made where they are missing: `gossipsync_owners` (a row for each
network and peer, with a number that every opening raises), `gossipsync_logs`, `gossipsync_pieces` and `gossipsync_heads`. Values
are sealed. Wherever a name could hold what PostgreSQL's text cannot, it is bytes.

What is promised: when `commit` returns, the transaction is on the server's disk (`synchronous_commit` on at least; a server with
`fsync = off` is refused). The lock is an advisory lock of the session: the server gives it up when the connection ends, soon
after SIGKILL (opening waits for it), and a minute after the host vanished, by the TCP keep-alive that we ask for. Commits run in that session, so whoever lost it cannot
write. After a lost connection the number in `gossipsync_owners` tells whether somebody else opened the store since. A pooler
that hands each transaction another session (PgBouncer's transaction mode) breaks the lock: connect past it.

Every table has a mark of each peer; that in `gossipsync_heads` is the state, which every commit compares and replaces in its own
transaction. Where a mark is missing or another state is there (a table was truncated, a snapshot restored, a lagging replica
promoted), nothing is written onto that before the whole state of the peer is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import psycopg

from gossipsync.core.model.ids import NetworkId, Origin, PeerId
from gossipsync.errors import (
    ConfigError,
    StoreBehindError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreLockedError,
)
from gossipsync.stores._buffer import Batch, Log, LogChange
from gossipsync.stores._remote import (
    MARK,
    TIMEOUT_S,
    RemoteStore,
    StoredLine,
    corrupt,
    owner_of,
    place_of,
    seal,
    seal_line,
    unseal,
    unseal_line,
)

_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS gossipsync_owners (owner bytea PRIMARY KEY, opened bigint NOT NULL)",
    (
        "CREATE TABLE IF NOT EXISTS gossipsync_logs (id bigserial PRIMARY KEY, owner bytea NOT NULL, bucket bytea NOT NULL, "
        "origin bytea NOT NULL, line bytea NOT NULL, UNIQUE (owner, bucket, origin))"
    ),
    "CREATE TABLE IF NOT EXISTS gossipsync_pieces (log bigint, number bigint, piece bytea NOT NULL, PRIMARY KEY (log, number))",
    "CREATE TABLE IF NOT EXISTS gossipsync_heads (owner bytea, name bytea, value bytea NOT NULL, PRIMARY KEY (owner, name))",
)
_SCHEMA_LOCK: Final = int.from_bytes(b"gossipsy", "big")
"""IF NOT EXISTS fails where two create at once."""
_ALIVE: Final = {
    "tcp_keepalives_idle": 30,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""Of the server's end: a session whose client vanished without a word ends, and with it the lock, after a minute."""
_DAMAGED: Final = frozenset({"XX001", "XX002"})


class PostgresStore(RemoteStore):
    """`ports.Store` at a `postgresql://` address."""

    def __init__(
        self,
        url: str,
        *,
        network: NetworkId,
        peer: PeerId,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        """Connect, make the tables where there are none, and take the lock."""
        place = place_of(url)
        super().__init__(place, _Backend(url, place, owner_of(network, peer)), data_dir)


class _Backend:
    def __init__(self, url: str, place: str, owner: bytes) -> None:
        self._url = url
        self._place = place
        self._owner = owner
        self._opened = 0
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    def connect(self) -> None:
        try:
            self._connection = psycopg.connect(
                self._url,
                connect_timeout=TIMEOUT_S,
                application_name="gossipsync",
                keepalives_idle=30,
                keepalives_interval=10,
                keepalives_count=3,
                tcp_user_timeout=_ALIVE["tcp_user_timeout"],
                autocommit=True,
            )
        except psycopg.ProgrammingError:
            # Its words may hold the password.
            raise ConfigError(f"store = {self._place} is no address that libpq can read") from None
        connection = self._connection
        for name, value in {"statement_timeout": TIMEOUT_S * 1000, **_ALIVE}.items():
            connection.execute(f"SET {name} = {value}".encode())
        if self._one("SHOW fsync") == "off":
            raise StoreError(f"{self._place} does not flush what it is given: set fsync = on there")
        if self._one("SHOW synchronous_commit") in {"off", "local"}:
            connection.execute("SET synchronous_commit = on")
        key = int.from_bytes(self._owner[:8], "big", signed=True)
        if not self._one("SELECT pg_try_advisory_lock(%s)", key):
            raise self._locked()
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
            for statement in _SCHEMA:
                connection.execute(statement.encode())
            opened = self._open(connection)
        self._opened = opened

    def _open(self, connection: psycopg.Connection[tuple[object, ...]]) -> int:
        """Count this opening, unless this store is only connected anew, and put marks where there are none."""
        owner, ours = self._owner, self._opened
        found = int(
            str(self._one("SELECT opened FROM gossipsync_owners WHERE owner = %s", owner) or 0)
        )
        if ours and found > ours:
            raise self._locked()
        opened = ours or found + 1
        connection.execute(
            "INSERT INTO gossipsync_owners VALUES (%s, %s) ON CONFLICT (owner) DO UPDATE SET opened = EXCLUDED.opened",
            (owner, opened),
        )
        # Pieces of the mark are written even if its row was there, because either table may have been emptied alone.
        connection.execute(
            "INSERT INTO gossipsync_logs (owner, bucket, origin, line) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (owner, MARK, MARK, owner),
        )
        marked = connection.execute(
            "INSERT INTO gossipsync_pieces SELECT id, 0, owner FROM gossipsync_logs "
            "WHERE owner = %s AND bucket = %s AND origin = %s ON CONFLICT DO NOTHING",
            (owner, MARK, MARK),
        )
        if ours and marked.rowcount:
            # It was emptied while this store had no connection. Its state must not match what is left.
            connection.execute(
                "DELETE FROM gossipsync_heads WHERE owner = %s AND name = %s", (owner, MARK)
            )
        return opened

    def _check(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        """Raise StoreBehindError unless all marks are there, and StoreLockedError where another process has opened it since."""
        row = connection.execute(
            "SELECT (SELECT opened FROM gossipsync_owners WHERE owner = %(owner)s), "
            "EXISTS (SELECT FROM gossipsync_logs JOIN gossipsync_pieces ON log = id "
            "WHERE owner = %(owner)s AND bucket = %(mark)s AND origin = %(mark)s AND number = 0)",
            {"owner": self._owner, "mark": MARK},
        ).fetchone()
        opened = int(str(row[0] or 0)) if row is not None else 0
        if opened > self._opened:
            raise self._locked()
        if row is None or opened < self._opened or not row[1]:
            raise StoreBehindError(self._place)

    def disconnect(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def read_state(self) -> bytes | None:
        rows = self._rows(
            "SELECT value FROM gossipsync_heads WHERE owner = %s AND name = %s", self._owner, MARK
        )
        if not rows:
            return None
        return b"" if rows[0][0] == self._owner else rows[0][0]

    def count_pieces(self, log: Log, indexes: list[int]) -> int:
        found = self._one(
            "SELECT count(*) FROM gossipsync_pieces WHERE log = "
            "(SELECT id FROM gossipsync_logs WHERE owner = %s AND bucket = %s AND origin = %s) AND number = ANY(%s)",
            *self._name(log),
            indexes,
        )
        return int(str(found))

    def read_logs(self) -> dict[Log, StoredLine]:
        rows = self._rows(
            "SELECT bucket, origin, line FROM gossipsync_logs WHERE owner = %s AND bucket <> %s",
            self._owner,
            MARK,
        )
        return {
            (bucket.decode(), Origin(origin)): unseal_line(line, self._place, bucket, origin)
            for bucket, origin, line in rows
        }

    def read_indexes(self, log: Log) -> list[int]:
        rows = self._rows(
            "SELECT number::text::bytea FROM gossipsync_pieces WHERE log = "
            "(SELECT id FROM gossipsync_logs WHERE owner = %s AND bucket = %s AND origin = %s) ORDER BY gossipsync_pieces.number",
            *self._name(log),
        )
        return [int(number) for (number,) in rows]

    def read_pieces(self, log: Log, indexes: list[int]) -> list[bytes]:
        rows = self._rows(
            "SELECT number::text::bytea, piece FROM gossipsync_pieces WHERE log = "
            "(SELECT id FROM gossipsync_logs WHERE owner = %s AND bucket = %s AND origin = %s) AND number = ANY(%s)",
            *self._name(log),
            indexes,
        )
        found = {int(number): piece for number, piece in rows}
        return [
            unseal(found.get(index, b""), self._place, log[0].encode(), log[1], b"%d" % index)
            for index in indexes
        ]

    def _name(self, log: Log) -> tuple[bytes, bytes, bytes]:
        return self._owner, log[0].encode(), log[1]

    def read_heads(self) -> dict[str, bytes]:
        rows = self._rows(
            "SELECT name, value FROM gossipsync_heads WHERE owner = %s AND name <> %s",
            self._owner,
            MARK,
        )
        return {name.decode(): unseal(value, self._place, b"heads", name) for name, value in rows}

    def write(self, batch: Batch, before: bytes | None, after: bytes) -> None:
        connection = self._connected()
        with connection.transaction(), connection.cursor() as cursor:
            self._check(connection)
            self._replace_state(cursor, before, after)
            for log, change in batch.logs.items():
                self._write_log(cursor, log, change)
            gone = [
                (self._owner, name.encode()) for name, value in batch.heads.items() if value is None
            ]
            kept = [
                (self._owner, name.encode(), seal(value, b"heads", name.encode()))
                for name, value in batch.heads.items()
                if value is not None
            ]
            if gone:
                cursor.executemany(
                    "DELETE FROM gossipsync_heads WHERE owner = %s AND name = %s", gone
                )
            if kept:
                cursor.executemany(
                    "INSERT INTO gossipsync_heads VALUES (%s, %s, %s) "
                    "ON CONFLICT (owner, name) DO UPDATE SET value = EXCLUDED.value",
                    kept,
                )

    def _replace_state(
        self, cursor: psycopg.Cursor[tuple[object, ...]], before: bytes | None, after: bytes
    ) -> None:
        if before is None:
            cursor.execute(
                "INSERT INTO gossipsync_heads VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (self._owner, MARK, after),
            )
        else:
            cursor.execute(
                "UPDATE gossipsync_heads SET value = %s WHERE owner = %s AND name = %s AND value = %s",
                (after, self._owner, MARK, before or self._owner),
            )
        if cursor.rowcount != 1:
            raise StoreBehindError(self._place)

    def _write_log(
        self, cursor: psycopg.Cursor[tuple[object, ...]], log: Log, change: LogChange
    ) -> None:
        bucket, origin = log[0].encode(), log[1]
        if change.is_dropped:
            cursor.execute(
                "WITH gone AS (DELETE FROM gossipsync_logs WHERE owner = %s AND bucket = %s AND origin = %s RETURNING id) "
                "DELETE FROM gossipsync_pieces WHERE log IN (SELECT id FROM gone)",
                (self._owner, bucket, origin),
            )
        if change.line is None:
            return
        cursor.execute(
            "INSERT INTO gossipsync_logs (owner, bucket, origin, line) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (owner, bucket, origin) DO UPDATE SET line = EXCLUDED.line RETURNING id",
            (
                self._owner, bucket, origin,
                seal_line(StoredLine(change.line, change.top, change.count), bucket, origin),
            ),
        )  # fmt: skip
        ((log_id,),) = cursor.fetchall()
        gone = list(change.gone - change.pieces.keys())
        if gone:
            cursor.execute(
                "DELETE FROM gossipsync_pieces WHERE log = %s AND number = ANY(%s)", (log_id, gone)
            )
        if change.pieces:
            sealed = [
                (log_id, index, seal(piece, bucket, origin, b"%d" % index))
                for index, piece in change.pieces.items()
            ]
            cursor.executemany(
                "INSERT INTO gossipsync_pieces VALUES (%s, %s, %s) "
                "ON CONFLICT (log, number) DO UPDATE SET piece = EXCLUDED.piece",
                sealed,
            )

    def _connected(self) -> psycopg.Connection[tuple[object, ...]]:
        if self._connection is None:
            raise StoreError(f"{self._place} is not connected")
        return self._connection

    def _rows(self, question: str, *values: object) -> list[tuple[bytes, ...]]:
        return [
            tuple(_as_bytes(part) for part in row)
            for row in self._connected().execute(question.encode(), values).fetchall()
        ]

    def _one(self, question: str, *values: object) -> object:
        row = self._connected().execute(question.encode(), values).fetchone()
        return row[0] if row is not None else None

    def _locked(self) -> StoreLockedError:
        return StoreLockedError(
            f"this peer's data at {self._place} is in use by another process, or was since: stop one of them, or give each "
            "process a peer of its own"
        )

    @contextmanager
    def guard(self, place: str) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise _mapped(place, error) from None
        except (ValueError, TypeError) as error:
            raise corrupt(place, f"{type(error).__name__} while it was read") from error


def _as_bytes(part: object) -> bytes:
    if not isinstance(part, bytes):
        raise TypeError(type(part).__name__)
    return part


def _mapped(place: str, error: psycopg.Error) -> StoreError:
    state = error.sqlstate or ""
    words = (str(error).splitlines() or ["no answer"])[0]
    kind: type[StoreError] = StoreError
    if state in _DAMAGED:
        kind = StoreCorruptError
    elif state.startswith("53"):
        kind = StoreFullError
    return kind(
        f"{place} cannot be reached or used ({words}): check the server, its room and the address in store; a peer that runs "
        "tries again every second"
    )
