"""Logs: an origin's bundles in one bucket, gap-free from 1, exactly as received.

Invariant: a log's bundles follow each other by number and by hash, and were verified before they came in here.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Final

from attrs import define, field

from gossipsync.core.model import strict
from gossipsync.core.model.bundle import NO_PREVIOUS, Bundle, Header, parse_header
from gossipsync.core.model.hlc import ZERO, Hlc
from gossipsync.core.model.ids import NetworkId, Origin, PeerId
from gossipsync.core.replication.lines import HEAD_BYTES, Line, LineKey, LineTree

_SMALL_BYTES: Final = 2 << 10
_REMEMBERED: Final = 1024
"""Bundles of one small entry whose encoding is remembered, for while they are fresh several members ask for each."""

Parts = tuple[bytes, bytes, tuple[bytes, ...]]
"""Header, signature and entries of a kept bundle: nothing that the garbage collector has to follow."""


@define
class Log:
    """One origin's log in one bucket."""

    bucket: str
    origin: Origin
    bundles: list[Parts] = field(factory=list)
    senders: list[PeerId] = field(factory=list)
    head: bytes = NO_PREVIOUS
    """Hash of the last header."""
    hlc: Hlc = ZERO
    """Log HLC of the last header."""
    forked: tuple[bytes, bytes] | None = None
    """Two headers with one number: nothing is appended any more."""

    @property
    def index(self) -> int:
        """Number of the last bundle; 0 before the first."""
        return len(self.bundles)

    def line(self) -> Line:
        """The log as a line of the vector."""
        return Line(self.bucket, self.origin, self.index, self.head[:HEAD_BYTES], self.hlc)

    def head_at(self, index: int) -> bytes:
        """What the line's head was when the log ended at a number, 1 to `index`."""
        if index == self.index:
            return self.head[:HEAD_BYTES]
        return sha256(self.bundles[index - 1][0]).digest()[:HEAD_BYTES]

    def encoded(self, index: int) -> bytes:
        """A kept bundle by its number, 1 to `index`, as it was received."""
        parts = self.bundles[index - 1]
        is_small = len(parts[2]) == 1 and len(parts[2][0]) <= _SMALL_BYTES
        return _encoded_small(parts) if is_small else _encoded(parts)

    def header(self, index: int) -> Header:
        """A kept header by its number."""
        return parse_header(self.bundles[index - 1][0])


def _encoded(parts: Parts) -> bytes:
    header, signature, entries = parts
    return strict.encode((header, signature, strict.encode(entries)))


@lru_cache(maxsize=_REMEMBERED)
def _encoded_small(parts: Parts) -> bytes:
    return _encoded(parts)


class LogBook:
    """All logs with their version vector."""

    def __init__(self, network: NetworkId) -> None:
        self.lines = LineTree(network)
        self._logs: dict[LineKey, Log] = {}
        self._per_peer: dict[PeerId, int] = {}
        self._buckets: set[str] = set()

    def __len__(self) -> int:
        return len(self._logs)

    def logs(self) -> list[Log]:
        """Every log."""
        return list(self._logs.values())

    def find(self, key: LineKey) -> Log | None:
        """The log of a line, if any of it is held."""
        return self._logs.get(key)

    def has_room_for(self, bucket: str, limit: int) -> bool:
        """Is this bucket known already, or are there fewer than `limit`?"""
        return bucket in self._buckets or len(self._buckets) < limit

    def index(self, key: LineKey) -> int:
        """The last bundle held; 0 for an unknown line."""
        log = self._logs.get(key)
        return 0 if log is None else len(log.bundles)

    def count_of(self, peer: PeerId) -> int:
        """How many logs a peer's epochs have."""
        return self._per_peer.get(peer, 0)

    def append(self, bundle: Bundle, sender: PeerId) -> Log:
        """Add a verified bundle, the next of its log, and move its line."""
        header = bundle.header
        key = (header.bucket, header.origin)
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = Log(header.bucket, header.origin)
            self._buckets.add(header.bucket)
            peer = PeerId(header.origin[:32])
            self._per_peer[peer] = self._per_peer.get(peer, 0) + 1
        assert header.index == log.index + 1, "a log grows by one"
        log.bundles.append((header.data, bundle.signature, bundle.entries))
        log.senders.append(sender)
        log.head = header.hash
        log.hlc = header.log_hlc
        self.lines.update(log.line())
        return log
