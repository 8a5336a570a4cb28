"""Rewriting: the whole state of a peer, put again into a store that came back older or with holes.

The memory image is the truth for reads, so a store that was rolled back loses nothing while its peer runs. What waits is
confirmed only once the rewrite is complete; a part is put with each commit, so that neither memory nor a transaction has to
hold everything twice. Until the last part the store says of itself that it is not whole, which the next start sees.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.logs import Log

PARTIAL: Final = b"partial"
"""Note of a line of which the store does not have all pieces yet."""
_PART_BYTES: Final = 8 << 20
"""Pieces put with one commit: some 50 ms of encoding."""


@define(eq=False)
class Rewriting:
    """What has yet to be put again, and all heads, which nothing else keeps."""

    _ctx: Context
    heads: dict[str, bytes] = field(factory=dict)
    is_under_way: bool = False
    _waiting: list[LineKey] = field(factory=list)
    _after: int = 0
    """Place up to which the last of the waiting logs has been put."""
    _until: int = 0
    """Its last place when it was begun: later pieces go to the store as they come."""

    def note_head(self, name: str, value: bytes | None) -> None:
        """A head was put or removed."""
        if value is None:
            self.heads.pop(name, None)
        else:
            self.heads[name] = value

    def begin(self) -> None:
        """Put everything again, from the start."""
        store = self._ctx.store
        store.begin_rewrite()
        for name, value in self.heads.items():
            store.put_head(name, value)
        self._waiting = [log.key for log in reversed(self._ctx.logs.logs())]
        self._after = 0
        self.is_under_way = True

    def put_part(self) -> None:
        """The next part, to be committed; nothing where no rewrite is under way."""
        size = 0
        while self.is_under_way and size < _PART_BYTES:
            if not self._waiting:
                self._ctx.store.end_rewrite()
                self.is_under_way = False
            elif (log := self._ctx.logs.find(self._waiting[-1])) is None:
                self._next()
            else:
                size += self._put(log, _PART_BYTES - size)

    def _next(self) -> None:
        self._waiting.pop()
        self._after = 0

    def _put(self, log: Log, room: int) -> int:
        """Pieces of one log up to some size; the size of these. Its line comes first, so that the log can grow meanwhile."""
        store, bucket, origin = self._ctx.store, log.bucket, log.origin
        last = log.index if log.fork is None else 0
        if not self._after:
            store.drop_log(bucket, origin)
            self._until = max(log.pieces, default=0)
        store.put_line(bucket, origin, last, PARTIAL)
        size = 0
        for place in log.indexes_from(self._after + 1):
            if place > self._until:
                break
            data = log.encoded(place)
            store.put_piece(bucket, origin, place, data)
            size += len(data)
            self._ctx.counters["rewritten-pieces"] += 1
            if size >= room:
                self._after = place
                return size
        store.put_line(bucket, origin, last, log.note() if log.is_covered else None)
        self._next()
        return size
