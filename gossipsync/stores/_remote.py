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
from itertools import count, takewhile
from pathlib import Path
from struct import Struct
from threading import Event, Lock
from typing import Final, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit
from zlib import crc32

from attrs import evolve

from gossipsync.core.model.ids import NetworkId, Origin, PeerId
from gossipsync.core.ports import StoredLog
from gossipsync.errors import StoreBehindError, StoreCorruptError, StoreError, StoreLockedError
from gossipsync.stores._buffer import (
    Batch,
    BufferedStore,
    Log,
    LogChange,
    LogState,
    WriteBuffer,
)
from gossipsync.stores._chain import Commit, new_run
from gossipsync.stores._faults import UNFINISHED, behind
from gossipsync.stores._formats import newer
from gossipsync.stores._witness import Witness

TIMEOUT_S: Final = 10
"""How long an answer is waited for: a commit of 1,000 bundles takes 0.1 s, a flush of a busy disk a few."""
LOCK_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0)
"""Between the attempts to open what another process holds, 5 s in all. A server learns only by and by, after its last commit,
that a process was killed: without patience the one that is started again at once would be refused for its own past."""
FORMAT: Final = 3
READ: Final = (2, 3)
"""Formats that this build reads; 2, which has no state and no counts, becomes 3 with the first commit."""

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

    def read_state(self) -> bytes | None:
        """What the last `write` was given as `after`; None where there is nothing, b"" in a store of format 2."""
        ...

    def read_logs(self) -> dict[Log, StoredLine]:
        """Every log, as `unseal_line` gives it."""
        ...

    def count_pieces(self, log: Log, indexes: list[int]) -> int:
        """The number of these pieces that are there."""
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

    def write(self, batch: Batch, before: bytes | None, after: bytes) -> None:
        """One transaction, durable when it returns, which replaces the state `before` by `after`.

        Raises StoreBehindError, and writes nothing, where another state is there.
        """
        ...

    def guard(self, place: str) -> AbstractContextManager[None]:
        """Map the server's errors."""
        ...


class StoredLine(NamedTuple):
    """A log's line as a server has it."""

    line: StoredLog
    top: int
    """The highest index that a piece of it may have."""
    pieces: int | None
    """How many it has; None where a store of format 2 does not say."""


class _State(NamedTuple):
    """What a commit leaves beside its data."""

    commit: Commit
    logs: int
    heads: int
    is_whole: bool


class _Plan(NamedTuple):
    """A commit, and what is known once it has happened."""

    batch: Batch
    after: bytes
    commit: Commit
    heads: set[str]


class RemoteStore(BufferedStore):
    """`ports.Store` on a server. Every method may be called from any thread; in a forked child only `close`."""

    def __init__(
        self, place: str, backend: Backend, data_dir: str | os.PathLike[str] | None = None
    ) -> None:
        """Connect and load what is small. Raises StoreLockedError after some patience; StoreError and its other kinds.

        `data_dir`: an existing folder of this machine for a note of the newest commit, which tells an older copy of the store.
        """
        self.place = place
        self._witness = None if data_dir is None else Witness(Path(data_dir), place)
        self._backend = backend
        self._pid = os.getpid()
        self._io_lock = Lock()
        self._is_closed = False
        self._is_connected = False
        self._damage: StoreCorruptError | None = None
        """Once something was found damaged, nothing is written over it."""
        self._changes = 0
        self.doubt = None
        self._run = new_run()
        self._state: bytes | None = None
        """As the last commit left it, or as it was found at the start."""
        self._commit_number = 0
        self._is_opened = False
        self._limbo: _Plan | None = None
        """A commit of which it is not known whether it happened."""
        self._logs: dict[Log, StoredLine] = {}
        self._heads: set[str] = set()
        self._indexes: dict[Log, list[int]] = {}
        """Of the pieces of each log, from the start to the first load."""
        self._buffer = WriteBuffer({})
        try:
            self._open()
        except BaseException:
            backend.disconnect()
            raise
        self._is_opened = True
        self._buffer = WriteBuffer(
            {log: LogState(*line, top) for log, (line, top, _) in self._logs.items()}
        )

    def _open(self) -> None:
        for pause_s in LOCK_PAUSES_S:
            try:
                return self._ask(self._count)
            except StoreLockedError:
                Event().wait(pause_s)
        return self._ask(self._count)

    def _count(self) -> None:
        """Compare what is there with what the last commit left. Where pieces are missing a line goes back to before the first gap."""
        state = _unpack_state(self._state, self.place)
        self._indexes = {log: self._backend.read_indexes(log) for log in self._logs}
        holes = 0
        for log, (_, top, pieces) in self._logs.items():
            indexes = self._indexes[log]
            if pieces is not None and len(indexes) != pieces:
                holes += 1
                last = sum(
                    1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(indexes, count(1)))
                )
                self._logs[log] = StoredLine(StoredLog(last, None), top, len(indexes))
        if state is None:
            is_empty = self._state is None and self._witness is not None
            self.doubt = self._witness.doubt(None) if is_empty and self._witness else None
        elif not state.is_whole:
            self.doubt = UNFINISHED
        elif holes or state.logs != len(self._logs) or state.heads != len(self._heads):
            self.doubt = (
                f"it has {len(self._logs)} of {state.logs} logs and {len(self._heads)} of {state.heads} heads, and {holes} logs "
                "have fewer pieces than were committed"
            )
        elif self._witness is not None:
            self.doubt = self._witness.doubt(state.commit)

    def load_logs(self) -> dict[Log, StoredLog]:
        """Every committed log."""
        self._check_usable()
        with self._io_lock:
            return {log: found.line for log, found in self._logs.items()}

    def load_pieces(self) -> Iterator[tuple[str, Origin, int, bytes]]:
        """What is committed by now, log by log. Raises StoreCorruptError; StoreError where a commit overtakes it."""
        self._check_usable()
        with self._io_lock:
            return self._pieces(list(self._logs), self._changes)

    def _pieces(self, logs: list[Log], changes: int) -> Iterator[tuple[str, Origin, int, bytes]]:
        counted, self._indexes = self._indexes, {}
        for log in logs:
            indexes = counted.pop(log, None) if not changes else None
            if indexes is None:
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
        if self._buffer.is_behind:
            raise StoreBehindError(behind(self.place))
        batch = self._buffer.take()
        if not batch:
            return
        try:
            plan = self._plan(batch.with_removals(self._logs, self._heads))
        except BaseException:
            self._buffer.give_back(batch)
            raise
        self._limbo = plan._replace(batch=batch)
        try:
            self._backend.write(plan.batch, self._state, plan.after)
        except StoreBehindError:
            self._limbo = None
            self._buffer.give_back(batch)
            self._buffer.is_behind, self._is_connected = True, False
            self._backend.disconnect()
            self._connect()
            raise StoreBehindError(behind(self.place)) from None
        self._limbo = None
        self._done(plan)

    def _plan(self, batch: Batch) -> _Plan:
        if self._state == _OF_FORMAT_2:
            # All lines at once, so that a build of format 2 can open none of it any more and writes nothing in between.
            lines = {
                log: LogChange(line=line, top=top) for log, (line, top, _) in self._logs.items()
            }
            batch = evolve(batch, logs=lines | batch.logs)
        logs = set(self._logs)
        for log, change in batch.logs.items():
            known = self._logs.get(log)
            pieces = 0 if known is None or change.is_dropped else known.pieces
            if pieces is None:
                pieces = len(self._backend.read_indexes(log))
            if pieces and change.gone:
                pieces -= self._backend.count_pieces(log, list(change.gone))
            change.count = pieces + len(change.pieces)
            (logs.discard if change.line is None else logs.add)(log)
        heads = set(self._heads)
        for name, value in batch.heads.items():
            (heads.discard if value is None else heads.add)(name)
        commit = Commit(self._run, self._commit_number + 1)
        after = _pack_state(_State(commit, len(logs), len(heads), batch.is_whole))
        return _Plan(batch, after, commit, heads)

    def _done(self, plan: _Plan) -> None:
        self._state, self._commit_number = plan.after, plan.commit.number
        self._heads = plan.heads
        if self._witness is not None:
            self._witness.note(plan.commit)
        self._changes += bool(plan.batch.logs)
        for log, change in plan.batch.logs.items():
            self._logs.pop(log, None)
            if change.line is not None:
                self._logs[log] = StoredLine(change.line, change.top, change.count)

    def _connect(self) -> None:
        """Take the lock, and see which commit is the last there. Sets aside nothing: a store that is behind is written again."""
        self._backend.connect()
        found = self._backend.read_state()
        # Before anything else is read: in a newer format all of it may have another form.
        state = _unpack_state(found, self.place)
        limbo, self._limbo = self._limbo, None
        if limbo is not None and found == limbo.after:
            # Its answer was lost. With removals: what went is not in `limbo.batch`, and is seen by reading again.
            self._done(limbo)
            if limbo.batch.only is not None:
                self._logs, self._heads = self._backend.read_logs(), set(self._backend.read_heads())
        elif limbo is not None:
            self._buffer.give_back(limbo.batch)
        self._is_connected = True
        if self._is_opened and found == self._state and not self._buffer.is_behind:
            return
        self._buffer.is_behind = self._is_opened
        self._state = found
        self._logs, self._heads = self._backend.read_logs(), set(self._backend.read_heads())
        if state is not None:
            self._commit_number = max(self._commit_number, state.commit.number)

    def close(self) -> None:
        """Give up connection and lock, without committing. Idempotent; waits for a commit that runs."""
        if os.getpid() != self._pid:
            return
        with self._io_lock:
            self._is_closed = True
            if self._witness is not None:
                self._witness.close()
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
                        self._connect()
                    return question()
            except StoreCorruptError as error:
                self._damage = error
                if not self._is_connected:
                    self._backend.disconnect()
                raise
            except StoreBehindError:
                raise
            except BaseException:
                # The state of the connection is unknown. A new one costs one handshake.
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
        f"{place} holds damaged data of this peer: {what}. Nothing was changed. Make a copy or a dump of the server's data first: it "
        "may hold writes that no other peer has. Then restore a backup there, or name another database in store, and start "
        "again; the mesh gives back all that any peer still holds"
    )


def _sum(value: bytes, name: tuple[bytes, ...]) -> int:
    checksum = 0
    for part in name:
        checksum = crc32(len(part).to_bytes(4, "big") + part, checksum)
    return crc32(value, checksum)


_OF_FORMAT_2: Final = b""
"""What `Backend.read_state` gives for a store of format 2, and for an empty one."""
_LINE: Final = Struct(">QQB")
_COUNT: Final = Struct(">Q")
_HAS_NOTE: Final = 1
_HAS_COUNT: Final = 2
"""Flags of a line; format 2 has no counts."""
_NAME: Final = b"3"
"""Part of the names that lines of this format are sealed with."""
_STATE: Final = Struct(">B16sQQQ?")


def seal_line(stored: StoredLine, *name: bytes) -> bytes:
    """A log's line as one value, which a build that knows only format 2 refuses."""
    (last, note), top, pieces = stored
    flags = _HAS_COUNT | (_HAS_NOTE if note is not None else 0)
    packed = _LINE.pack(last, top, flags) + _COUNT.pack(pieces or 0) + (note or b"")
    return seal(packed, _NAME, *name)


def unseal_line(sealed: bytes, place: str, *name: bytes) -> StoredLine:
    """A line of this format or of format 2. Raises StoreCorruptError."""
    try:
        packed = unseal(sealed, place, _NAME, *name)
    except StoreCorruptError:
        packed = unseal(sealed, place, *name)
    last, top, flags = _LINE.unpack_from(packed)
    pieces, start = None, _LINE.size
    if flags & _HAS_COUNT:
        (pieces,) = _COUNT.unpack_from(packed, start)
        start += _COUNT.size
    return StoredLine(StoredLog(last, packed[start:] if flags & _HAS_NOTE else None), top, pieces)


def _pack_state(state: _State) -> bytes:
    packed = _STATE.pack(FORMAT, *state.commit, state.logs, state.heads, state.is_whole)
    return seal(packed, b"state")


def _unpack_state(sealed: bytes | None, place: str) -> _State | None:
    """None where there is nothing, and in a store of format 2. Raises StoreCorruptError, and StoreError for a newer format."""
    if not sealed:
        return None
    packed = unseal(sealed, place, b"state")
    if packed[:1] > bytes([FORMAT]):
        raise newer(place, packed[0], READ)
    if len(packed) != _STATE.size:
        raise corrupt(place, "its state makes no sense")
    _, run, number, logs, heads, is_whole = _STATE.unpack(packed)
    return _State(Commit(run, number), logs, heads, is_whole)


def pack_log(log: Log) -> bytes:
    """A log's name as one value."""
    return log[1] + log[0].encode()


def unpack_log(packed: bytes) -> Log:
    """Its reverse."""
    return packed[40:].decode(), Origin(packed[:40])
