"""A store in Redis, 7.0 or newer (extra `redis`).

Keys, all below `gossipsync:{OWNER}:`, where the owner is a hash over network and peer: `holder` (the lock), `logs` (a hash: log
name → line), `heads` (a hash) and for each log `log:` ‖ origin ‖ bucket (a hash: index → piece). Every value is sealed.

What is promised: when `commit` returns, the server has flushed the transaction to its append-only file: with
`appendfsync always` before it answers EXEC, else by WAITAOF (Redis ≥ 7.2). A server with neither is refused at the start, and one
that may evict keys too. What a fail-over to a replica loses is lost.

The lock: `holder` names the holder's connection by Redis's run id and client id, neither ever given again, and its first one. Who
opens the store takes it over only if that connection is gone, which is soon after SIGKILL (opening waits for it); a host that vanishes without a word
keeps it until the server's `tcp-keepalive`. Every commit watches `holder`, so that EXEC fails for whoever was taken over.

`logs` has a mark, so that it never is empty, and `heads` has the state, which every commit compares and replaces. Where another
state, or none, is there, the server was flushed, or came back with an older copy, and nothing is written onto that before the
whole state of the peer is. Watching the three keys makes the comparison part of the commit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from gossipsync.core.model.ids import NetworkId, PeerId
from gossipsync.errors import (
    ConfigError,
    StoreBehindError,
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
    pack_log,
    place_of,
    seal,
    seal_line,
    unpack_log,
    unseal,
    unseal_line,
)

_NEEDED: Final = 'set "appendonly yes" and "appendfsync always" (or run Redis 7.2 or newer) and "maxmemory-policy noeviction"'


class RedisStore(RemoteStore):
    """`ports.Store` at a `redis://`, `rediss://` or `unix://` address."""

    def __init__(
        self,
        url: str,
        *,
        network: NetworkId,
        peer: PeerId,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        """Connect, check that the server keeps what it is given, and take the lock."""
        place = place_of(url)
        super().__init__(place, _Backend(url, place, owner_of(network, peer)), data_dir)


class _Backend:
    def __init__(self, url: str, place: str, owner: bytes) -> None:
        self._place = place
        self._prefix = b"gossipsync:{%s}:" % owner.hex().encode()
        self._connection_id = 0
        self._token = b""
        """Of this store: the number of its opening, and its first connection."""
        self._opening = 0
        self._holder = b""
        self._waits_for_aof = False
        # One, and nothing is tried again behind our back: the connection is the lock.
        options: dict[str, object] = {"max_connections": 1, "retry": Retry(NoBackoff(), 0)}
        if not url.startswith("unix:"):
            options["socket_keepalive"] = True
        try:
            self._redis = redis.Redis.from_url(
                url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, **options
            )
        except ValueError:
            # Its words may hold the password.
            raise ConfigError(f"store = {place} is no address that redis-py can read") from None

    def connect(self) -> None:
        facts = cast("dict[str, object]", self._redis.info())
        self._check_keeps(facts)
        run_id = str(facts["run_id"]).encode()
        with self._watching() as pipe:
            self._connection_id = int(pipe.client_id())
            mine = b"%s:%d" % (run_id, self._connection_id)
            theirs = cast("bytes | None", pipe.get(self._prefix + b"holder"))
            if theirs is not None and self._is_held(pipe, theirs, run_id):
                raise self._locked()
            if not self._token:
                self._opening = _opening_of(theirs or b"") + 1
                self._token = b"%d@%s" % (self._opening, mine)
            holder = mine + b":" + self._token
            is_emptied = bool(self._holder) and not pipe.exists(self._prefix + b"logs")
            pipe.multi()
            if is_emptied:
                # While this store had no connection. Its state must not match what is left.
                pipe.hdel(self._prefix + b"heads", MARK)
            pipe.set(self._prefix + b"holder", holder)
            pipe.hset(self._prefix + b"logs", MARK, b"")
            self._execute(pipe)
            self._holder = holder
        # A commit whose answer was lost may still have to be flushed, and so may this; one wait is for both.
        self._flush()

    def _is_held(self, pipe: redis.client.Pipeline, theirs: bytes, run_id: bytes) -> bool:
        match theirs.split(b":", 2):
            case [their_run, their_connection, token] if their_connection.isdigit():
                pass
            case _:
                raise corrupt(self._place, "its lock makes no sense")
        if token == self._token:
            return False
        if self._token and _opening_of(theirs) >= self._opening:
            return True  # another process took over while we were away, and may have written
        # An earlier opening: of a former process, or of a copy that is older than this one.
        return their_run == run_id and bool(pipe.client_list(client_id=[their_connection.decode()]))

    @contextmanager
    def _watching(self) -> Iterator[redis.client.Pipeline]:
        """What is asked is answered at once, until `multi`; what is done then is done only if the lock stayed as it was."""
        with self._redis.pipeline() as pipe:
            watched = [self._prefix + name for name in (b"holder", b"logs", b"heads")]
            pipe.execute_command("WATCH", *watched)  # type: ignore[no-untyped-call]
            yield pipe

    def _check_keeps(self, facts: dict[str, object]) -> None:
        if facts.get("loading") or facts.get("role") != "master":
            raise StoreError(
                f"{self._place} is loading or a replica: wait, or name the server that takes writes"
            )
        if int(str(facts.get("maxmemory", 0))) and facts.get("maxmemory_policy") != "noeviction":
            raise StoreError(f"{self._place} may evict what it was given: {_NEEDED}")
        version = tuple(int(part) for part in str(facts["redis_version"]).split(".")[:2])
        self._waits_for_aof = version >= (7, 2)
        if not facts.get("aof_enabled"):
            raise StoreError(f"{self._place} keeps no append-only file: {_NEEDED}")
        if not self._waits_for_aof:
            policy = self._redis.config_get("appendfsync")
            if policy.get("appendfsync") != "always":
                raise StoreError(f"{self._place} flushes later than it answers: {_NEEDED}")

    def disconnect(self) -> None:
        self._redis.connection_pool.disconnect()

    def read_state(self) -> bytes | None:
        return cast("bytes | None", self._redis.hget(self._prefix + b"heads", MARK))

    def count_pieces(self, log: Log, indexes: list[int]) -> int:
        name = self._prefix + b"log:" + pack_log(log)
        with self._redis.pipeline(transaction=False) as pipe:
            for index in indexes:
                pipe.hexists(name, b"%d" % index)
            return sum(pipe.execute())

    def read_logs(self) -> dict[Log, StoredLine]:
        return {
            unpack_log(name): unseal_line(value, self._place, b"logs", name)
            for name, value in self._hash(b"logs").items()
            if name != MARK
        }

    def read_indexes(self, log: Log) -> list[int]:
        name = self._prefix + b"log:" + pack_log(log)
        return sorted(int(index) for index in cast("list[bytes]", self._redis.hkeys(name)))

    def read_pieces(self, log: Log, indexes: list[int]) -> list[bytes]:
        name = b"log:" + pack_log(log)
        fields = [b"%d" % index for index in indexes]
        found = cast("list[bytes | None]", self._redis.hmget(self._prefix + name, fields))
        return [
            unseal(value or b"", self._place, name, field)
            for field, value in zip(fields, found, strict=True)
        ]

    def read_heads(self) -> dict[str, bytes]:
        return {
            name.decode(): unseal(value, self._place, b"heads", name)
            for name, value in self._hash(b"heads").items()
            if name != MARK
        }

    def _hash(self, name: bytes) -> dict[bytes, bytes]:
        return cast("dict[bytes, bytes]", self._redis.hgetall(self._prefix + name))

    def write(self, batch: Batch, before: bytes | None, after: bytes) -> None:
        with self._watching() as pipe:
            if int(pipe.client_id()) != self._connection_id:
                raise redis.ConnectionError("the connection was lost")
            holder = cast("bytes | None", pipe.get(self._prefix + b"holder"))
            if _opening_of(holder or b"") >= self._opening and holder != self._holder:
                raise self._locked()
            state = cast("bytes | None", pipe.hget(self._prefix + b"heads", MARK))
            if holder != self._holder or state != before or not pipe.exists(self._prefix + b"logs"):
                raise StoreBehindError(self._place)
            pipe.multi()
            pipe.hset(self._prefix + b"heads", MARK, after)
            for log, change in batch.logs.items():
                self._write_log(pipe, log, change)
            for head, content in batch.heads.items():
                key = head.encode()
                if content is None:
                    pipe.hdel(self._prefix + b"heads", key)
                else:
                    pipe.hset(self._prefix + b"heads", key, seal(content, b"heads", key))
            self._execute(pipe)
        self._flush()

    def _flush(self) -> None:
        if self._waits_for_aof:
            flushed = self._redis.waitaof(1, 0, TIMEOUT_S * 900)
            if not flushed or int(flushed[0]) < 1:
                raise StoreError(
                    f"{self._place} did not flush in {TIMEOUT_S} s: check its disk; a peer that runs tries again every second"
                )

    def _write_log(self, pipe: redis.client.Pipeline, log: Log, change: LogChange) -> None:
        name = pack_log(log)
        pieces = b"log:" + name
        if change.is_dropped:
            pipe.unlink(self._prefix + pieces)
            pipe.hdel(self._prefix + b"logs", name)
        gone = [b"%d" % index for index in change.gone - change.pieces.keys()]
        if gone:
            pipe.hdel(self._prefix + pieces, *gone)
        if change.pieces:
            sealed: dict[str | bytes, bytes] = {
                b"%d" % index: seal(piece, pieces, b"%d" % index)
                for index, piece in change.pieces.items()
            }
            pipe.hset(self._prefix + pieces, mapping=sealed)  # type: ignore[arg-type]
        if change.line is not None:
            value = seal_line(StoredLine(change.line, change.top, change.count), b"logs", name)
            pipe.hset(self._prefix + b"logs", name, value)

    def _execute(self, pipe: redis.client.Pipeline) -> None:
        try:
            pipe.execute()
        except redis.WatchError as error:
            raise self._locked() from error

    def _locked(self) -> StoreLockedError:
        return StoreLockedError(
            f"this peer's data at {self._place} is in use by another process: stop it, or give each process a peer of its own"
        )

    @contextmanager
    def guard(self, place: str) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise _mapped(place, error) from None
        except (ValueError, KeyError, IndexError) as error:
            raise corrupt(place, f"{type(error).__name__} while it was read") from error


def _opening_of(holder: bytes) -> int:
    """The number of the opening that set a holder; 0 where it has none, as in format 2."""
    token = holder.split(b":", 2)[-1]
    number, at, _ = token.partition(b"@")
    return int(number) if at and number.isdigit() else 0


def _mapped(place: str, error: redis.RedisError) -> StoreError:
    words = str(error)
    if isinstance(error, redis.AuthenticationError | redis.exceptions.NoPermissionError):
        return StoreError(
            f"{place} refuses this user or password, or what it may do ({type(error).__name__}): correct the address in store"
        )
    if isinstance(error, redis.OutOfMemoryError) or "OOM" in words or "No space left" in words:
        return StoreFullError(
            f"no room left at {place}: raise its maxmemory or make room on its disk; a peer that runs tries again every second"
        )
    if "WRONGTYPE" in words:
        return corrupt(place, "a key has another type")
    return StoreError(
        f"{place} cannot be reached or used ({type(error).__name__}: {words.splitlines()[0] if words else 'no answer'}): check "
        "the server and the address in store; a peer that runs tries again every second"
    )
