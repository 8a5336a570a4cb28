"""A store in PostgreSQL, 12 or newer (extra `postgres`).

Four tables in the first schema of the connection's search path, made where they are missing: `gossipsync_owners` (a row for each
network and peer, with a number that every opening raises), `gossipsync_logs`, `gossipsync_pieces` and `gossipsync_heads`. Values
are sealed. Wherever a name could hold what PostgreSQL's text cannot, it is bytes.

What is promised: when `commit` returns, the transaction is on the server's disk (`synchronous_commit` on at least; a server with
`fsync = off` is refused). The lock is an advisory lock of the session: the server gives it up when the connection ends, soon
after SIGKILL (opening waits for it), and a minute after the host vanished, by the TCP keep-alive that we ask for. Commits run in that session, so whoever lost it cannot
write. After a lost connection the number in `gossipsync_owners` tells whether somebody else opened the store since. A pooler
that hands each transaction another session (PgBouncer's transaction mode) breaks the lock: connect past it.

Every table has a mark of each peer, which every commit looks for in its own transaction: where a table was truncated, or the peer's
rows were deleted, nothing is written into what is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import psycopg

from gossipsync.core.model.ids import NetworkId, Origin, PeerId
from gossipsync.core.ports import StoredLog
from gossipsync.errors import (
    ConfigError,
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
    corrupt,
    owner_of,
    pack_line,
    place_of,
    seal,
    unpack_line,
    unseal,
    vanished,
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

    def __init__(self, url: str, *, network: NetworkId, peer: PeerId) -> None:
        """Connect, make the tables where there are none, and take the lock."""
        place = place_of(url)
        super().__init__(place, _Backend(url, place, owner_of(network, peer)))


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
            opened = self._opened or self._open(connection)
            self._check(connection, opened)
        self._opened = opened

    def _open(self, connection: psycopg.Connection[tuple[object, ...]]) -> int:
        found = self._one(
            "INSERT INTO gossipsync_owners VALUES (%s, 1) "
            "ON CONFLICT (owner) DO UPDATE SET opened = gossipsync_owners.opened + 1 RETURNING opened",
            self._owner,
        )
        opened = int(str(found))
        if opened == 1:
            owner = self._owner
            connection.execute(
                "WITH made AS (INSERT INTO gossipsync_logs (owner, bucket, origin, line) VALUES (%s, %s, %s, %s) "
                "ON CONFLICT DO NOTHING RETURNING id) INSERT INTO gossipsync_pieces SELECT id, 0, %s FROM made",
                (owner, MARK, MARK, owner, owner),
            )
            connection.execute(
                "INSERT INTO gossipsync_heads VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (owner, MARK, owner),
            )
        return opened

    def _check(self, connection: psycopg.Connection[tuple[object, ...]], opened: int) -> None:
        """Is all of it still there, and has nobody opened it since?"""
        row = connection.execute(
            "SELECT (SELECT opened FROM gossipsync_owners WHERE owner = %(owner)s), "
            "EXISTS (SELECT FROM gossipsync_heads WHERE owner = %(owner)s AND name = %(mark)s), "
            "EXISTS (SELECT FROM gossipsync_logs JOIN gossipsync_pieces ON log = id "
            "WHERE owner = %(owner)s AND bucket = %(mark)s AND origin = %(mark)s AND number = 0)",
            {"owner": self._owner, "mark": MARK},
        ).fetchone()
        if row is None or row[0] is None or not (row[1] and row[2]):
            raise vanished(self._place)
        if row[0] != opened:
            raise self._locked()

    def disconnect(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def read_logs(self) -> dict[Log, tuple[StoredLog, int]]:
        rows = self._rows(
            "SELECT bucket, origin, line FROM gossipsync_logs WHERE owner = %s AND bucket <> %s",
            self._owner,
            MARK,
        )
        return {
            (bucket.decode(), Origin(origin)): unpack_line(
                unseal(line, self._place, bucket, origin)
            )
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

    def write(self, batch: Batch) -> None:
        connection = self._connected()
        with connection.transaction(), connection.cursor() as cursor:
            self._check(connection, self._opened)
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
            (self._owner, bucket, origin, seal(pack_line(change.line, change.top), bucket, origin)),
        )
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
