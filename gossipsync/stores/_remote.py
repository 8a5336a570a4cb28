"""A store on a server: the half that is alike whatever the server.

A commit is one transaction of the server's, made again as a whole where it is not known whether it happened: a batch is a net
effect, so that twice is once. Theory of operation: one connection, which is also the lock (no second process gets the same
peer's data while it lives); it is made anew by the next call after it was lost. Invariants: what is buffered stays buffered
until a commit has succeeded; whoever has lost the lock writes nothing; no foreign exception leaves, and no password.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from hashlib import sha256
from struct import Struct
from threading import Event, Lock
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit
from zlib import crc32

from gossipsync.core.model.ids import NetworkId, Origin, PeerId
from gossipsync.core.ports import StoredLog
from gossipsync.errors import StoreCorruptError, StoreError, StoreLockedError
from gossipsync.stores._buffer import Batch, BufferedStore, Log, LogState, WriteBuffer

TIMEOUT_S: Final = 10
"""How long an answer is waited for: a commit of 1,000 bundles takes 0.1 s, a flush of a busy disk a few."""
LOCK_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0)
"""Between the attempts to open what another process holds, 5 s in all. A server learns only by and by, after its last commit,
that a process was killed: without patience the one that is started again at once would be refused for its own past."""

_CHECKSUM: Final = Struct(">I")
_LOAD_PIECES: Final = 64
"""Read at a time: at most 56 MiB at the largest bundle size, and a round trip spread over as many."""
MARK: Final = b"\xff"
"""Names what a store itself puts beside logs and heads, to see that they are still there: no text has this encoding."""
_Answer = TypeVar("_Answer")
_Part = TypeVar("_Part")


class Backend(Protocol):
    """What a kind of server has to do. Only `guard` may let its exceptions through as they are."""

    def connect(self) -> None:
        """Connect and take the lock, or take it again. Raises StoreLockedError; StoreError for a server that loses data."""
        ...

    def disconnect(self) -> None:
        """Give up the connection and with it the lock. Idempotent; raises nothing."""
        ...

    def read_logs(self) -> dict[Log, tuple[StoredLog, int]]:
        """Every log and the highest index that a piece of it may have."""
        ...

    def read_indexes(self, log: Log) -> list[int]:
        """Of all pieces of a log, in order."""
        ...

    def read_pieces(self, log: Log, indexes: list[int]) -> list[bytes]:
        """Some of them, in this order, unsealed."""
        ...

    def read_heads(self) -> dict[str, bytes]:
        """Every head, unsealed."""
        ...

    def write(self, batch: Batch) -> None:
        """One transaction, durable when it returns."""
        ...

    def guard(self, place: str) -> AbstractContextManager[None]:
        """Map the server's errors."""
        ...


class RemoteStore(BufferedStore):
    """`ports.Store` on a server. Every method may be called from any thread; in a forked child only `close`."""

    def __init__(self, place: str, backend: Backend) -> None:
        """Connect and load what is small. Raises StoreLockedError after some patience; StoreError and its other kinds."""
        self.place = place
        self._backend = backend
        self._pid = os.getpid()
        self._io_lock = Lock()
        self._is_closed = False
        self._is_connected = False
        self._damage: StoreCorruptError | None = None
        """Once something was found damaged, nothing is written over it."""
        self._changes = 0
        self._logs: dict[Log, StoredLog] = {}
        try:
            found = self._open()
        except BaseException:
            backend.disconnect()
            raise
        self._logs = {log: line for log, (line, _) in found.items()}
        self._buffer = WriteBuffer(
            {log: LogState(*line, top) for log, (line, top) in found.items()}
        )

    def _open(self) -> dict[Log, tuple[StoredLog, int]]:
        for pause_s in LOCK_PAUSES_S:
            try:
                return self._ask(self._backend.read_logs)
            except StoreLockedError:
                Event().wait(pause_s)
        return self._ask(self._backend.read_logs)

    def load_logs(self) -> dict[Log, StoredLog]:
        """Every committed log."""
        self._check_usable()
        with self._io_lock:
            return dict(self._logs)

    def load_pieces(self) -> Iterator[tuple[str, Origin, int, bytes]]:
        """What is committed by now, log by log. Raises StoreCorruptError; StoreError where a commit overtakes it."""
        self._check_usable()
        with self._io_lock:
            return self._pieces(list(self._logs), self._changes)

    def _pieces(self, logs: list[Log], changes: int) -> Iterator[tuple[str, Origin, int, bytes]]:
        for log in logs:
            indexes = self._unless_overtaken(changes, partial(self._backend.read_indexes, log))
            for start in range(0, len(indexes), _LOAD_PIECES):
                some = indexes[start : start + _LOAD_PIECES]
                pieces = self._unless_overtaken(
                    changes, partial(self._backend.read_pieces, log, some)
                )
                for index, piece in zip(some, pieces, strict=True):
                    yield *log, index, piece

    def _unless_overtaken(self, changes: int, question: Callable[[], list[_Part]]) -> list[_Part]:
        """Raises StoreError once a commit has overtaken the load."""
        found = self._ask(lambda: question() if self._changes == changes else None)
        if found is None:
            raise StoreError(f"{self.place} was written while it was loaded: load it again")
        return found

    def load_heads(self) -> dict[str, bytes]:
        """Every committed head. Raises StoreCorruptError."""
        return self._ask(self._backend.read_heads)

    def commit(self) -> None:
        """One transaction; nothing is lost from the buffer when it raises StoreError."""
        self._check_usable()
        self._check_sound()  # which needs no connection
        self._ask(self._commit)

    def _check_sound(self) -> None:
        if self._damage is not None:
            raise StoreCorruptError(str(self._damage))

    def _commit(self) -> None:
        self._check_sound()
        batch = self._buffer.take()
        if not batch:
            return
        try:
            self._backend.write(batch)
        except BaseException:
            self._buffer.give_back(batch)
            raise
        self._changes += bool(batch.logs)
        for log, change in batch.logs.items():
            self._logs.pop(log, None)
            if change.line is not None:
                self._logs[log] = change.line

    def close(self) -> None:
        """Give up connection and lock, without committing. Idempotent; waits for a commit that runs."""
        if os.getpid() != self._pid:
            return
        with self._io_lock:
            self._is_closed = True
            self._backend.disconnect()

    def _check_usable(self) -> None:
        if os.getpid() != self._pid:
            raise StoreError(
                f"{self.place} belongs to process {self._pid}, and this is its forked child: open a store of its own here"
            )
        if self._is_closed:
            raise StoreError(f"{self.place} is closed: open the store again")

    def _ask(self, question: Callable[[], _Answer]) -> _Answer:
        """The connection to this thread alone, made anew where it was lost, errors mapped."""
        self._check_usable()
        with self._io_lock:
            self._check_usable()
            try:
                with self._backend.guard(self.place):
                    if not self._is_connected:
                        self._backend.connect()
                        self._is_connected = True
                    return question()
            except StoreCorruptError as error:
                self._damage = error
                if not self._is_connected:
                    self._backend.disconnect()
                raise
            except BaseException:
                # In what state the connection is, nobody knows. Losing it costs one handshake.
                self._is_connected = False
                self._backend.disconnect()
                raise


# ---------------------------------------------------------------- what the servers' stores share


def owner_of(network: NetworkId, peer: PeerId) -> bytes:
    """16 bytes that name whose data it is."""
    return sha256(b"gossipsync store v1" + network + peer).digest()[:16]


def place_of(url: str) -> str:
    """The address without user, password and options."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def seal(value: bytes, *name: bytes) -> bytes:
    """The value behind a CRC-32 over itself and its place."""
    return _CHECKSUM.pack(_sum(value, name)) + value


def unseal(sealed: bytes, place: str, *name: bytes) -> bytes:
    """Raises StoreCorruptError."""
    value = sealed[_CHECKSUM.size :]
    if sealed[: _CHECKSUM.size] != _CHECKSUM.pack(_sum(value, name)):
        raise corrupt(place, "a value does not verify")
    return value


def corrupt(place: str, what: str) -> StoreCorruptError:
    """The error for bytes that are not what was written."""
    return StoreCorruptError(
        f"{place} holds damaged data of this peer: {what}. Nothing was changed: remove this peer's data there, or name another "
        "database, and start again; the mesh gives back all that any peer still holds"
    )


def vanished(place: str) -> StoreCorruptError:
    """The error for marks that are not there any more: somebody emptied what this peer relies on, while it ran or between two runs."""
    return corrupt(place, "some of it was removed, truncated or flushed away")


def _sum(value: bytes, name: tuple[bytes, ...]) -> int:
    checksum = 0
    for part in name:
        checksum = crc32(len(part).to_bytes(4, "big") + part, checksum)
    return crc32(value, checksum)


_LINE: Final = Struct(">QQ?")


def pack_line(line: StoredLog, top: int) -> bytes:
    """A log's line as one value."""
    return _LINE.pack(line.last, top, line.note is not None) + (line.note or b"")


def unpack_line(packed: bytes) -> tuple[StoredLog, int]:
    """Of what `unseal` gave."""
    last, top, has_note = _LINE.unpack_from(packed)
    return StoredLog(last, packed[_LINE.size :] if has_note else None), top


def pack_log(log: Log) -> bytes:
    """A log's name as one value."""
    return log[1] + log[0].encode()


def unpack_log(packed: bytes) -> Log:
    """Its reverse."""
    return packed[40:].decode(), Origin(packed[:40])
