"""Logs: an origin's bundles in one bucket, as received, or what is left of them.

A log's **line** says how far its entries are in our state. Bundles are appended in order, chained by hash and verified before
they come in here; where entries have lost since, or came alone in a reconciliation, the log holds pieces, with gaps.
Invariant: from `whole_from` to `index` every bundle is there whole, so that any of these can be given to whoever lacks them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from typing import Final

from attrs import define, field

from gossipsync.core.model.bundle import (
    FROZEN,
    MAX_INDEX,
    NO_PREVIOUS,
    Bundle,
    Header,
    parse_header,
)
from gossipsync.core.model.entry import Entry
from gossipsync.core.model.hlc import ZERO, Hlc
from gossipsync.core.model.ids import Epoch, NetworkId, Origin, PeerId, epoch_of
from gossipsync.core.replication.forks import Fork, ForkProof
from gossipsync.core.replication.lines import HEAD_BYTES, Line, LineKey, LineTree
from gossipsync.core.replication.pieces import (
    HEADER,
    NOBODY,
    ROWS,
    Piece,
    encode_piece,
    is_whole,
    whole_piece,
)
from gossipsync.core.replication.tables import fitted

_SMALL_BYTES: Final = 2 << 10
_REMEMBERED: Final = 1024
"""Bundles of one small entry whose encoding is remembered, for while they are fresh several members ask for each."""
_DENSE: Final = 8
"""Gaps to a piece up to which going through all numbers is cheaper than sorting."""


@define
class Log:
    """One origin's log in one bucket."""

    bucket: str
    origin: Origin
    pieces: dict[int, Piece] = field(factory=dict)
    """By place, which is a bundle's number but where another branch of a frozen log has that; of the last bundle at least the
    header is kept, as the line's proof, unless the log is frozen."""
    index: int = 0
    """The line: number of the last bundle whose entries are in our state; 0 before the first."""
    whole_from: int = 1
    head: bytes = NO_PREVIOUS
    """Hash of the last header."""
    hlc: Hlc = ZERO
    """Log HLC of the last header."""
    fork: Fork | None = None
    """Two headers with one number were found: nothing is appended any more, and the line is the proof of that."""
    is_covered: bool = False
    """Has its epoch ended, so that the line has left the digest?"""

    @property
    def key(self) -> LineKey:
        """What names it."""
        return (self.bucket, self.origin)

    def note(self) -> bytes:
        """What a store keeps of a covered line, beside its number, so that the log could go on."""
        return self.head + self.hlc.to_bytes(8, "big")

    def line(self) -> Line:
        """The log as a line of the vector."""
        return Line(self.bucket, self.origin, self.index, self.head[:HEAD_BYTES], self.hlc)

    def head_at(self, index: int) -> bytes | None:
        """What the line's head was when the log ended at a number, 1 to `index`; None where that is not kept."""
        if index == self.index:
            return self.head[:HEAD_BYTES]
        piece = self.pieces.get(index)
        return None if piece is None else sha256(piece[HEADER]).digest()[:HEAD_BYTES]

    def hlc_at(self, index: int) -> Hlc:
        """The log's HLC at a bundle of which something is kept. Raises KeyError where nothing is."""
        return parse_header(self.pieces[index][HEADER]).log_hlc

    def last_before(self, bound: Hlc) -> int:
        """The last bundle stamped below a bound of which something is kept; 0 for none. A log's stamps never go back."""
        numbers = sorted((at for at in self.pieces if at <= self.index), reverse=True)
        return next((at for at in numbers if self.hlc_at(at) < bound), 0)

    def encoded(self, index: int) -> bytes:
        """What is kept of a bundle, as it goes on the wire. Raises KeyError where nothing is."""
        piece = self.pieces[index]
        if len(piece) == 4 and len(piece[ROWS]) == 1 and len(piece[ROWS][0]) <= _SMALL_BYTES:
            return _encoded_small(piece[0], piece[1], piece[ROWS])
        return encode_piece(piece)

    def header_bytes(self, index: int) -> bytes | None:
        """A header by its number, where it is still kept."""
        piece = self.pieces.get(index)
        return None if piece is None else piece[HEADER]

    def indexes_from(self, first: int) -> Iterator[int]:
        """Numbers of the pieces from one on, in order; lazy, so that the caller may stop early."""
        last = max(self.index, max(self.pieces, default=0))
        if len(self.pieces) * _DENSE < last - first:
            yield from sorted(index for index in self.pieces if index >= first)
        else:
            yield from (index for index in range(first, last + 1) if index in self.pieces)

    def place_of(self, header: Header) -> int:
        """Where what is kept of a bundle belongs: at its number, or elsewhere where another branch has that."""
        if self.fork is None or self.header_bytes(header.index) in (None, header.data):
            return header.index
        return self.fork.places.get(header.hash, self.fork.next_place)

    def is_covered_at(self, index: int, oldest: Hlc) -> bool:
        """Must what this log wrote at a number have lost where it is not in the state?

        Of a frozen log one may not have seen another branch; but what is older than a horizon had time to come.
        """
        return index <= self.index if self.fork is None else self.fork.cut < oldest

    def put(self, index: int, piece: Piece | None) -> None:
        """Keep another piece of a bundle than before, or nothing of it."""
        if self.fork is not None and index >= MAX_INDEX:
            self._put_branch(self.fork, index, piece)
        if piece is None:
            self.pieces.pop(index, None)
            self.pieces = fitted(self.pieces)
        else:
            self.pieces[index] = piece
        if index <= self.index:
            self.whole_from = max(self.whole_from, index + 1)

    def _put_branch(self, fork: Fork, place: int, piece: Piece | None) -> None:
        named = piece or self.pieces.get(place)
        if named is None:
            return
        name = sha256(named[HEADER]).digest()
        if piece is None:
            fork.places.pop(name, None)
        else:
            fork.places[name] = place
            fork.next_place = max(fork.next_place, place + 1)


@lru_cache(maxsize=_REMEMBERED)
def _encoded_small(header: bytes, signature: bytes, rows: tuple[bytes, ...]) -> bytes:
    return encode_piece((header, signature, NOBODY, rows))


class LogBook:
    """All logs with their version vector."""

    def __init__(self, network: NetworkId) -> None:
        self.lines = LineTree(network)
        self._logs: dict[LineKey, Log] = {}
        self._per_peer: dict[PeerId, int] = {}
        self._per_bucket: dict[str, int] = {}
        self._newest: dict[PeerId, Epoch] = {}

    def __len__(self) -> int:
        return len(self._logs)

    def logs(self) -> list[Log]:
        """Every log."""
        return list(self._logs.values())

    def find(self, key: LineKey) -> Log | None:
        """The log of a line, if any of it is known."""
        return self._logs.get(key)

    def has_room_for(self, bucket: str, limit: int) -> bool:
        """Is this bucket known already, or are there fewer than `limit`?"""
        return bucket in self._per_bucket or len(self._per_bucket) < limit

    def index(self, key: LineKey) -> int:
        """The last bundle whose entries are in our state; 0 for an unknown line."""
        log = self._logs.get(key)
        return 0 if log is None else log.index

    def count_of(self, peer: PeerId) -> int:
        """How many logs a peer's epochs have."""
        return self._per_peer.get(peer, 0)

    def open(self, key: LineKey) -> Log:
        """The log of a line, new where there was none; its line is not in the vector before something is appended."""
        log = self._logs.get(key)
        if log is None:
            bucket, origin = key
            log = self._logs[key] = Log(bucket, origin)
            self._per_bucket[bucket] = self._per_bucket.get(bucket, 0) + 1
            peer = PeerId(origin[:32])
            self._per_peer[peer] = self._per_peer.get(peer, 0) + 1
            self._newest[peer] = max(epoch_of(origin), self._newest.get(peer, Epoch(0)))
        return log

    def newest_epoch(self, peer: PeerId) -> Epoch:
        """The newest epoch of a peer that a log is known of; 0 for none."""
        return self._newest.get(peer, Epoch(0))

    def append(self, bundle: Bundle, entries: Iterable[Entry], sender: PeerId) -> Log:
        """Add a verified bundle, the next of its log, with what it holds, and move its line."""
        header = bundle.header
        log = self._logs.get((header.bucket, header.origin))
        if log is None:
            log = self.open((header.bucket, header.origin))
        assert header.index == log.index + 1, "a log grows by one"
        log.pieces[header.index] = whole_piece(bundle, entries, sender)
        self._move(log, header)
        return log

    def raise_to(self, header: Header) -> Log:
        """Move a line to a header whose entries, and all before, are in our state, though not all passed through the log."""
        log = self.open((header.bucket, header.origin))
        assert header.index >= log.index, "a line never goes back"
        if header.index > log.index:
            log.whole_from = header.index + 1
        self._move(log, header)
        return log

    def lower(self, log: Log, last: int) -> None:
        """Take a log back to a bundle of which something is kept: to claim less is always true."""
        log.pieces = {index: piece for index, piece in log.pieces.items() if index <= last}
        self._move(log, parse_header(log.pieces[last][HEADER]))
        self.settle(log)

    def freeze(self, log: Log, proof: ForkProof, cut: Hlc) -> None:
        """Its origin has signed two histories: the line is the proof of that from now on."""
        if log.fork is None:
            log.fork = Fork(proof, cut)
        log.fork.proof, log.fork.cut = proof, cut
        log.index, log.head, log.hlc = FROZEN, proof.hash, cut
        log.whole_from = FROZEN + 1
        log.is_covered = False
        self.lines.update(log.line())

    def cover(self, log: Log) -> None:
        """Its epoch has ended: the line leaves the vector, and its last number is remembered."""
        log.is_covered = True
        self.lines.remove(log.key)

    def load_covered(self, log: Log, index: int, note: bytes) -> None:
        """A covered line from a store: its number and `Log.note()`."""
        if index > log.index:
            log.whole_from = index + 1
        log.index, log.head = index, note[:32]
        log.hlc = Hlc(int.from_bytes(note[32:], "big"))
        self.cover(log)

    def settle(self, log: Log) -> None:
        """Find out how far back from its end a loaded log is whole."""
        whole_from = log.index + 1
        while whole_from > 1 and is_whole(log.pieces.get(whole_from - 1)):
            whole_from -= 1
        log.whole_from = whole_from

    def reopen(self, log: Log) -> None:
        """A covered line goes back into the vector."""
        log.is_covered = False
        self.lines.update(log.line())

    def drop(self, log: Log) -> None:
        """Forget a log wholly."""
        if self._logs.pop(log.key, None) is None:
            return
        self.lines.remove(log.key)
        for counts, name in (
            (self._per_bucket, log.bucket),
            (self._per_peer, PeerId(log.origin[:32])),
        ):
            counts[name] -= 1  # type: ignore[index]
            if not counts[name]:  # type: ignore[index]
                del counts[name]  # type: ignore[arg-type]
        if not self.count_of(PeerId(log.origin[:32])):
            self._newest.pop(PeerId(log.origin[:32]), None)

    def _move(self, log: Log, header: Header) -> None:
        log.index = header.index
        log.head = header.hash
        log.hlc = header.log_hlc
        log.is_covered = False
        self.lines.update(log.line())
