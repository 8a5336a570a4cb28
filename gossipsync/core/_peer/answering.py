"""Answering reconciliations: what another peer asks of our state. Each question is answered by itself; nothing is kept in between.

A peer that has not joined yet gives nothing away, and what is ours leaves only after its commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Final

from attrs import define

from gossipsync.core._peer.commits import Commits
from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.standing import Standing
from gossipsync.core.model.bundle import MAX_INDEX
from gossipsync.core.model.entry import INLINE_VALUE_BYTES
from gossipsync.core.model.ids import Origin, peer_of
from gossipsync.core.model.reasons import Reason
from gossipsync.core.replication.cells import INDEX, ORIGIN, SIZE, SLOT, Cell, Slot, shadow_of
from gossipsync.core.replication.celltree import CellTree, Found
from gossipsync.core.replication.keeping import Keeper
from gossipsync.core.replication.logs import Log
from gossipsync.core.replication.pieces import ROWS, encode_piece, header_only, pruned
from gossipsync.core.replication.replica import Replica
from gossipsync.core.wire.reconciling import (
    Covered,
    Doubt,
    Dump,
    Fetch,
    Findings,
    Heads,
    Parts,
    Survey,
    Verdict,
    WireNames,
    WireSums,
    doubt_rows,
    hashes_in,
)

_FEW: Final = 32
"""Cells of a range that are named one by one instead of summed up further."""
_MANY: Final = 4096
_VERY_MANY: Final = 1 << 18
"""Cells of a bucket, one of few asked about, from which on its first answer goes two levels down, or three: each saves a round trip."""
_NEWEST: Final = 64
"""Lines of ended epochs told to whoever is not new: what he lacks has ended lately."""
_COST_SHARE: Final = 8
"""Ranges, or rows, that cost us as much as one message."""
_HASHED_SHARE: Final = 64
"""Cells hashed that cost us as much as one message."""
_HASHED_AT_ONCE: Final = 1 << 16
"""Cells hashed for one question: a third of a second. Those beyond are not answered, and asked for again."""
_GROWN: Final = 4
"""How many times over a range whose cells were named may have grown until it is asked about again."""

Place = tuple[str, Origin, int]


@define(eq=False)
class Answers:
    """The answering side of all reconciliations."""

    _ctx: Context
    _standing: Standing
    _commits: Commits
    _keeper: Keeper

    def on_heads(self, link: Link, message: Heads) -> None:
        """Proofs of how far lines go, and what is covered."""
        ctx = self._ctx
        if not self._may_ask(link, len(message.lines)):
            return
        pieces = []
        for bucket, origin in message.lines:
            log = ctx.logs.find((bucket, Origin(origin)))
            if log is not None and (head := self.head_of(log)) is not None:
                pieces.append((log.origin, head))
        if message.covered and message.covered != self._keeper.covered_sum():
            covered = self._keeper.covered()
            covered = covered if message.wants_all else covered[-_NEWEST:]
            lines = ((log.bucket, log.origin, log.index) for log in covered)
            ctx.send(link, Covered(message.run, tuple(lines)))
        self._send_parts(link, message.run, pieces)

    def on_survey(self, link: Link, message: Survey) -> None:
        """What is in some ranges."""
        ctx = self._ctx
        if not self._may_ask(link, len(message.areas)):
            return
        ready = self._standing.is_established
        sums: list[WireSums] = []
        names: list[WireNames] = []
        areas = list(message.areas) if ready else []
        if message.is_first and ready:
            # Buckets that the asker may not know come first and are never cut: nobody could ask for them again.
            named = {bucket for bucket, _ in areas}
            unknown = [(bucket, b"") for bucket in ctx.replicas if bucket not in named]
            areas = unknown + areas
        else:
            unknown = []
        trees = {
            bucket: ctx.replicas[bucket].tree(ctx.now.wall_ms, 0)
            for bucket, _ in areas
            if bucket in ctx.replicas
        }
        room = ctx.config.limits.delta_bytes
        for place, (bucket, prefix) in enumerate(areas):
            if room < 0 and place >= max(1, len(unknown)):
                break
            tree = trees.get(bucket)
            if tree is None or tree.count_at(prefix) <= _FEW or len(prefix) >= tree.depth:
                found = [] if tree is None else ctx.replicas[bucket].found_in(prefix)
                needed = (
                    one.hash
                    for one in found
                    if one.ends_ms is None or one.ends_ms > message.wall_ms
                )
                names.append((bucket, prefix, b"".join(needed)))
                room -= len(names[-1][2]) + 16
            else:
                is_large = len(areas) <= _FEW and tree.count_at(prefix) > _MANY
                sums.append((bucket, prefix, _sums_below(tree, prefix, is_large=is_large)))
                room -= len(sums[-1][2]) + 16
        wall_ms = ctx.now.wall_ms
        ctx.send(link, Findings(message.run, wall_ms, ready, tuple(sums), tuple(names)))

    def on_fetch(self, link: Link, message: Fetch) -> None:
        """Cells by their hashes, with proofs."""
        if not self._may_ask(
            link, sum(1 + len(packed) // 8 for _, _, packed in message.names) // 2
        ):
            return
        wanted: dict[Place, set[tuple[str, Slot]]] = {}
        asked: dict[tuple[str, bytes], set[bytes]] = {}
        for bucket, prefix, packed in message.names:
            asked.setdefault((bucket, prefix), set()).update(hashes_in(packed))
        room = _HASHED_AT_ONCE
        for (bucket, prefix), names in asked.items():
            found = self._named(link, bucket, prefix, room)
            room -= len(found)
            for one in found:
                if one.hash in names:
                    place = (bucket, one.cell[ORIGIN], one.cell[INDEX])
                    wanted.setdefault(place, set()).add((one.key, one.cell[SLOT]))
        pieces = []
        for place, slots in wanted.items():
            data = self.part(place, slots) if self._is_sendable(place) else None
            if data is not None:
                pieces.append((place[1], data))
        self._send_parts(link, message.run, pieces)

    def on_dump(self, link: Link, message: Dump) -> None:
        """All pieces between two places."""
        if self._may_ask(link, _COST_SHARE):
            found = self.pieces_after(message.after) if self._standing.is_established else ()
            until = message.until
            if until is not None:
                found = takewhile(lambda piece: piece[0] <= until, found)
            self._send_parts(link, message.run, ((place[1], data) for place, data in found))

    def on_doubt(self, link: Link, message: Doubt) -> None:
        """Which of another's cells we have had and have no more."""
        rows = sum(1 + len(packed) // 56 for _, _, packed in message.rows)
        if not self._may_ask(link, rows // 2):
            return
        verdicts: list[bool] = []
        logs, ours = self._ctx.logs, self._ctx.origin
        room, oldest = _HASHED_AT_ONCE, self._ctx.oldest_open()
        for bucket, prefix, packed in message.rows:
            if not self._is_named(bucket, prefix):
                verdicts += [False] * len(doubt_rows(packed))
                continue
            found = self._named(link, bucket, prefix, room)
            room -= len(found)
            if room < 0:
                break
            held = {one.hash for one in found}
            stored = self._commits.stored((bucket, ours))
            # What beat it here may still be lost with us.
            is_safe = self._standing.is_established and all(
                one.cell[ORIGIN] != ours or one.cell[INDEX] <= stored for one in found
            )
            for origin, index, name in doubt_rows(packed):
                log = logs.find((bucket, Origin(origin)))
                is_covered = log is not None and log.is_covered_at(index, oldest)
                verdicts.append(is_safe and is_covered and name not in held)
        self._ctx.send(link, Verdict(message.run, bytes(verdicts)))

    # -- parts -----------------------------------------------------------------------------------------------

    def _may_ask(self, link: Link, rows: int) -> bool:
        """Questions cost by their size."""
        if rows > _COST_SHARE * self._ctx.config.limits.survey_rows:
            self._ctx.refuse(link, Reason.LIMIT, "asks for too much at once")
            return False
        link.allowance -= rows / _COST_SHARE
        return True

    def _is_ours(self, origin: Origin) -> bool:
        return peer_of(origin) == self._ctx.peer_id

    def _is_sendable(self, place: Place) -> bool:
        bucket, origin, index = place
        return not self._is_ours(origin) or index <= self._commits.stored((bucket, origin))

    def _found(self, bucket: str, prefix: bytes) -> list[Found]:
        replica: Replica | None = self._ctx.replicas.get(bucket)
        if replica is None:
            return []
        replica.tree(self._ctx.now.wall_ms, 0)
        return replica.found_in(prefix)

    def _is_named(self, bucket: str, prefix: bytes) -> bool:
        """Would a survey of this range name its cells one by one? Else only who wants to make us work asks for them."""
        replica = self._ctx.replicas.get(bucket)
        if replica is None:
            return True
        tree = replica.tree(self._ctx.now.wall_ms, 0)
        return len(prefix) >= tree.depth or tree.count_at(prefix) <= _GROWN * _FEW

    def _named(self, link: Link, bucket: str, prefix: bytes, room: int) -> list[Found]:
        """The cells of a range, at the asker's cost; none where there is no room for more."""
        if room < 0 or not self._is_named(bucket, prefix):
            return []
        found = self._found(bucket, prefix)
        link.allowance -= len(found) / _HASHED_SHARE
        return found

    def head_of(self, log: Log) -> bytes | None:
        """The proof of how far a line goes, as far as that may be given away."""
        index = log.index
        if self._is_ours(log.origin):
            index = min(index, self._commits.stored(log.key))  # it may have been taken back since
        piece = log.pieces.get(index)
        return None if piece is None else encode_piece(header_only(piece))

    def part(
        self, place: Place, slots: set[tuple[str, Slot]], *, is_outline: bool = False
    ) -> bytes | None:
        """Single cells of a bundle with their proof; `is_outline`: with hashes in the places of long values. None where nothing is kept."""
        bucket, origin, index = place
        log = self._ctx.logs.find((bucket, origin))
        piece = None if log is None else log.pieces.get(index)
        if piece is None:
            return None
        holds = self._ctx.replicas[bucket].holds

        def keep(key: str, cell: Cell) -> Cell | None:
            held = holds(key, cell) if (key, cell[SLOT]) in slots else None
            is_long = held is not None and held[SIZE] > INLINE_VALUE_BYTES
            return shadow_of(held) if held is not None and is_outline and is_long else held

        left = pruned(piece, origin, index, keep)
        return None if left is None else encode_piece(left)

    def pieces_after(
        self, after: Place | tuple[str, bytes, int] | None, bucket: str | None = None
    ) -> Iterator[tuple[Place, bytes]]:
        """All that is kept and may be given away, of one bucket or of all, in the order of their places."""
        logs = self._ctx.logs
        start = ("", b"", 0) if after is None else after
        for log in sorted(logs.logs(), key=lambda log: log.key):
            if log.key < start[:2] or bucket not in {None, log.bucket}:
                continue
            first = start[2] + 1 if log.key == start[:2] else 1
            for index in log.indexes_from(first):
                if index >= MAX_INDEX and bucket is None:
                    break  # who is told all places takes their order from the numbers; the survey finds other branches
                place = (log.bucket, log.origin, index)
                self._keeper.settle(place)
                piece = log.pieces.get(index)
                if piece is None or not self._is_sendable(place):
                    continue
                replica = self._ctx.replicas.get(log.bucket)
                if piece[ROWS] and replica is not None and replica.rules.history_ms is not None:
                    # The past is for those who saw it: it might win where nobody remembers what it lost to.
                    piece = pruned(piece, log.origin, index, replica.holds)
                if piece is not None:
                    yield place, encode_piece(piece)

    def _send_parts(self, link: Link, run: int, pieces: Iterable[tuple[Origin, bytes]]) -> None:
        """As many as fit, at least one."""
        chosen: list[bytes] = []
        origins = set()
        room, is_cut = self._ctx.config.limits.delta_bytes, False
        for origin, data in pieces:
            room -= len(data)
            if chosen and room < 0:
                is_cut = True
                break
            chosen.append(data)
            origins.add(peer_of(origin))
        self._ctx.tell_credentials(link, origins)
        self._ctx.send(link, Parts(run, is_cut, tuple(chosen)))


def _sums_below(tree: CellTree, prefix: bytes, *, is_large: bool) -> bytes:
    levels = 1
    if not prefix and is_large:
        levels = 3 if tree.count_at(prefix) > _VERY_MANY else 2
    prefixes = [prefix]
    for _ in range(levels):
        prefixes = [upper + bytes((nibble,)) for upper in prefixes for nibble in range(16)]
    return b"".join(tree.sum_at(lower).to_bytes(8, "big") for lower in prefixes)
