"""Keeping: what of each log stays, in memory and in the store, once its entries have lost.

State is the truth and logs are the fast path: whatever is taken out here can no longer win anywhere, and nothing depends on
bundles being whole but the speed of giving them to whoever lacks them. So a bundle stays whole for a while (`trim_after_s`),
shorter once everybody has it or when `log_waste_bytes` is exceeded; then only what state still holds of it is kept, with its proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from attrs import define

from gossipsync.core.model.bundle import Header, parse_header
from gossipsync.core.model.hlc import Hlc, hlc_at
from gossipsync.core.model.ids import PeerId, peer_of
from gossipsync.core.model.limits import Limits
from gossipsync.core.ports import Store
from gossipsync.core.replication.admission import Admitted
from gossipsync.core.replication.cells import STAMP, Cell
from gossipsync.core.replication.forks import ForkProof
from gossipsync.core.replication.lines import LineKey
from gossipsync.core.replication.logs import Log, LogBook
from gossipsync.core.replication.past import Kept, Name, Past, age_of
from gossipsync.core.replication.pieces import (
    HEADER,
    ROWS,
    Piece,
    as_excerpt,
    cells_in_piece,
    chosen,
    encode_piece,
    header_only,
    joined,
    pruned,
)
from gossipsync.core.replication.replica import Replica
from gossipsync.core.replication.tables import fitted

_AT_ONCE: Final = 4096
"""Pieces looked at in one go: some ten milliseconds."""
_BREATH_S: Final = 0.05
"""Pause before the next go, where there is more."""
_MINOR_SHARE: Final = 4
"""A piece of which less than one in so many rows has lost waits so much longer."""
_MINOR_PATIENCE: Final = 2
_NO_PAST: Final = 1 << 80
"""Above every stamp."""


@define
class _Waste:
    """What a piece need not keep any more."""

    since_s: float
    rows: int = 0
    size_bytes: int = 0


class Keeper:
    """Pieces on their way into logs and store, and out of them. `stored`: how far our own store has each line."""

    def __init__(
        self,
        peer: PeerId,
        logs: LogBook,
        store: Store,
        replicas: Mapping[str, Replica],
        limits: Limits,
        horizon_ms: int,
        stored: Mapping[LineKey, int],
    ) -> None:
        self._peer = peer
        self._logs = logs
        self._store = store
        self._replicas = replicas
        self._limits = limits
        self._horizon_ms = horizon_ms
        # Both delays together stay below half a horizon (see `clear_old`), and leave time for a round.
        self._trim_after_s = min(limits.trim_after_s, horizon_ms / 1000 / 8)
        self._stored = stored
        self._waste: dict[Name, _Waste] = {}
        self._minor: dict[Name, _Waste] = {}
        self._late: dict[Name, None] = {}
        """Pieces with old entries that lost just now and are not committed yet."""
        self._covered: dict[LineKey, int] = {}
        self._covered_total = 0
        self._per_peer: Counter[PeerId] = Counter()
        """Remembered lines of each peer."""
        self.covered_forgotten = 0
        """Lines that were remembered no more since others needed the room."""
        self._waste_bytes = 0
        self._past = Past(limits.history_bytes)
        self._stable_seq = 0
        self._next_s: float | None = None
        self.keeps_ours = False
        """May what we wrote have lost only to what we are about to take back?"""
        self.has_changes = False
        """Has something gone to the store's buffer that no commit has been asked for?"""
        self.has_removed = False
        """Has something been taken out of the store since somebody last cleared this?"""

    def append(self, admitted: Admitted, sender: PeerId) -> Log:
        """Take in the next bundle of a log, verified and applied."""
        header = admitted.bundle.header
        former = self._logs.find((header.bucket, header.origin))
        was_covered = former is not None and former.is_covered
        log = self._logs.append(admitted.bundle, admitted.entries, sender)
        self._forget_sum(log.key)
        self._store.append(header.bucket, header.origin, header.index, admitted.data)
        if was_covered:
            # The store's note names the head that it had.
            self._store.put_line(log.bucket, log.origin, log.index, None)
        self._drop_bare(log, header.index - 1)
        return log

    def put(self, header: Header, piece: Piece, place: int) -> None:
        """Take in a piece that came by itself, verified and applied; more of its bundle may be here already."""
        log = self._logs.open((header.bucket, header.origin))
        held = log.pieces.get(place)
        whole = piece if held is None else joined(held, piece, header.origin, place)
        if whole is not held:
            log.put(place, whole)
            self._write(log, place)

    def freeze(self, log: Log, proof: ForkProof, cut: Hlc) -> list[tuple[str, Cell]]:
        """Its origin has signed two histories: what it wrote after the cut is gone from the log, and has to leave the state."""
        before = log.index
        self._forget_sum(log.key)
        self._logs.freeze(log, proof, cut)
        self._drop_bare(log, before)
        late: list[tuple[str, Cell]] = []
        for place, piece in list(log.pieces.items()):
            if parse_header(piece[HEADER]).log_hlc <= cut:
                continue
            cells = cells_in_piece(piece, log.origin, place)
            late += [named for named in cells if named[1][STAMP] > cut]
            left = chosen(piece, log.origin, place, lambda _key, cell: cell[STAMP] <= cut)
            if left is not piece:
                log.put(place, left)
                self._write(log, place)
        return late

    def raise_to(self, header: Header, signature: bytes, sender: PeerId) -> Log:
        """Move a line to a proven header, whose entries and all before are in our state."""
        log = self._logs.open((header.bucket, header.origin))
        before = log.index
        log = self._logs.raise_to(header)
        self._forget_sum(log.key)
        if header.index not in log.pieces:
            log.put(header.index, header_only((header.data, signature, sender, ())))
            self._write(log, header.index)
        self._store.put_line(log.bucket, log.origin, log.index, None)
        if before != header.index:
            self._drop_bare(log, before)
        return log

    def cover(self, log: Log) -> None:
        """The epoch of a log has ended: its line is only remembered from now on, and the oldest of such not even that.

        Its last header stays, as the proof of it: nobody need believe how far a log went.
        """
        self._logs.cover(log)
        self._remember(log)

    def reopen(self, log: Log) -> None:
        """The epoch of a remembered line turns out to go on."""
        self._forget_sum(log.key)
        self._logs.reopen(log)
        self._store.put_line(log.bucket, log.origin, log.index, None)
        self.has_changes = True

    def lower(self, log: Log, last: int) -> None:
        """Take a log of our own back to its bundle `last`, 0 for none; nobody else has taken more of it."""
        self._forget_sum(log.key)
        self._store.drop_log(log.bucket, log.origin)
        self.has_removed = True
        if last:
            self._logs.lower(log, last)
            for index in log.indexes_from(1):
                self._write(log, index)
            self._store.put_line(log.bucket, log.origin, last, None)
        else:
            self._logs.drop(log)
        self.has_changes = True

    def covered_sum(self) -> bytes:
        """What stands for all remembered lines, 8 bytes: with the vector's sum the same, whichever lines have left that."""
        return (self._covered_total % (1 << 64)).to_bytes(8, "big")

    def _note_covered(self, log: Log) -> None:
        self._forget_sum(log.key)
        self._per_peer[peer_of(log.origin)] += 1
        self._covered[log.key] = value = self._logs.lines.hash_of(log.line())
        self._covered_total += value

    def _forget_sum(self, key: LineKey) -> None:
        value = self._covered.pop(key, None)
        if value is not None:
            self._covered_total -= value
            peer = peer_of(key[1])
            self._per_peer[peer] -= 1
            if not self._per_peer[peer]:
                del self._per_peer[peer]

    def covered(self) -> list[Log]:
        """The logs whose lines are remembered."""
        return [log for key in self._covered if (log := self._logs.find(key)) is not None]

    def load_covered(self, log: Log, index: int, note: bytes) -> None:
        """A remembered line from the store."""
        self._logs.load_covered(log, index, note)
        self._note_covered(log)

    def _remember(self, log: Log) -> None:
        self._store.put_line(log.bucket, log.origin, log.index, log.note())
        self.has_changes = True
        self._note_covered(log)
        while len(self._covered) > self._limits.covered_lines:
            self._forget_covered()

    def _forget_covered(self) -> None:
        """The oldest of whoever has most, but for those of which something is still held: who opens many epochs displaces his own."""
        self.covered_forgotten += 1
        most = max(self._per_peer.values())
        for key in self._covered:
            if self._per_peer[peer_of(key[1])] < most:
                continue
            log = self._logs.find(key)
            if log is None or not log.is_covered or _is_bare(log):
                break
        else:
            key = next(iter(self._covered))
            log = None
        self._forget_sum(key)
        if log is not None and log.is_covered:
            self._logs.drop(log)
            self._store.drop_log(*key)
            self.has_removed = True

    def _drop_bare(self, log: Log, index: int) -> None:
        """A header that was only kept as proof of its line's end."""
        piece = log.pieces.get(index)
        if piece is not None and not piece[ROWS]:
            log.put(index, None)
            self._write(log, index)

    def _write(self, log: Log, index: int) -> None:
        piece = log.pieces.get(index)
        data = None if piece is None else encode_piece(piece)
        self._store.put_piece(log.bucket, log.origin, index, data)
        self.has_removed = True  # a piece that was there is replaced, by a smaller one as a rule
        self.has_changes = True

    def settle(self, name: Name) -> None:
        """Take out of a piece what has lost, before it is given to somebody who may never hear of what it lost to."""
        waste = self._waste.pop(name, None) or self._minor.pop(name, None)
        if waste is not None and self._may_trim(name):
            self._prune(name, waste)
        elif waste is not None:
            self._waste[name] = waste

    # -- trimming --------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When to go on trimming; None where a round is soon enough."""
        return self._next_s

    def trim(self, now_s: float, stable_seq: int) -> None:
        """Take out what has lost and is due. Lines unchanged since `stable_seq` are known to everybody present."""
        for replica in self._replicas.values():
            self._note_losses(replica, now_s)
        is_more = self._trim_old(now_s)
        if stable_seq > self._stable_seq:
            is_more = self._trim_stable(stable_seq) or is_more
            if not is_more:
                self._stable_seq = stable_seq
        self._next_s = now_s + _BREATH_S if is_more else None
        self._waste = fitted(self._waste)
        self._minor = fitted(self._minor)
        self._late = fitted(self._late)

    def end_past(self, wall_ms: int) -> None:
        """Take out what is too old for its bucket's history."""
        for bucket, replica in self._replicas.items():
            history_ms = replica.rules.history_ms
            if history_ms is not None or bucket in self._past.floors:
                for name in self._past.raise_floor(bucket, history_ms or 0, wall_ms):
                    self._prune(name, _Waste(0.0))

    def _note_losses(self, replica: Replica, now_s: float) -> None:
        losses, replica.losses = replica.losses, []
        for origin, index, _, size in losses:
            name = (replica.name, origin, index)
            waste = self._waste.get(name)
            if waste is None:
                self._waste[name] = waste = self._minor.pop(name, None) or _Waste(now_s)
            waste.rows += size > 0
            waste.size_bytes += size
            self._waste_bytes += size

    def clear_old(self, replica: Replica, now_s: float, wall_ms: int) -> bool:
        """Take out at once what lost to something that may be forgotten soon; False where that cannot be done yet.

        Whatever beat an entry was stamped after it, and is kept for more than a horizon from its own stamp on; entries younger than
        half of one are taken out in time by themselves. Only old ones that lost just now, as those that come late do, are urgent.
        """
        oldest = hlc_at(wall_ms - self._horizon_ms // 2)
        urgent = [
            (replica.name, origin, index)
            for origin, index, stamp, _ in replica.losses
            if stamp < oldest
        ]
        self._note_losses(replica, now_s)
        self._late |= dict.fromkeys(urgent)
        for name in [name for name in self._late if self._may_trim(name)]:
            del self._late[name]
            waste = self._waste.pop(name, None) or self._minor.pop(name, None)
            if waste is not None:
                self._prune(name, waste)
        return not any(name[0] == replica.name for name in self._late)

    def clear_ended(self, replica: Replica, now_s: float) -> None:
        """Take out at once, and so in one commit, what ended together: the newest cell alone says that the others have expired."""
        ended, replica.ended_together = replica.ended_together, []
        self._note_losses(replica, now_s)
        for origin, index in ended:
            self.settle((replica.name, origin, index))

    def _trim_old(self, now_s: float) -> bool:
        """The oldest waste, while it is due; True where there is more."""
        seen = 0
        while self._waste and seen < _AT_ONCE:
            name, waste = next(iter(self._waste.items()))
            is_late = waste.since_s + self._trim_after_s <= now_s
            if not is_late and self._waste_bytes <= self._limits.log_waste_bytes:
                break
            seen += 1
            del self._waste[name]
            if not self._may_trim(name):
                waste.since_s = now_s
                self._waste[name] = waste
            elif self._is_minor(name, waste):
                waste.since_s = now_s
                self._minor[name] = waste
            else:
                self._prune(name, waste)
        while self._minor and seen < _AT_ONCE:
            name, waste = next(iter(self._minor.items()))
            if waste.since_s + self._trim_after_s * _MINOR_PATIENCE > now_s:
                break
            seen += 1
            del self._minor[name]
            self._prune(name, waste)
        return seen == _AT_ONCE

    def _trim_stable(self, stable_seq: int) -> bool:
        lines = self._logs.lines
        due = [
            name
            for name in self._waste
            if lines.seq_of(name[:2]) <= stable_seq and self._may_trim(name)
        ]
        for name in due[:_AT_ONCE]:
            self._prune(name, self._waste.pop(name))
        return len(due) > _AT_ONCE

    def _may_trim(self, name: Name) -> bool:
        """What is ours and not committed, or not even sealed, has yet to be sent."""
        if peer_of(name[1]) != self._peer:
            return True
        return not self.keeps_ours and name[2] <= self._stored.get(name[:2], 0)

    def _is_minor(self, name: Name, waste: _Waste) -> bool:
        piece = self._piece(name)
        return piece is not None and waste.rows * _MINOR_SHARE < len(piece[ROWS])

    def _piece(self, name: Name) -> Piece | None:
        log = self._logs.find(name[:2])
        return None if log is None else log.pieces.get(name[2])

    def _prune(self, name: Name, waste: _Waste) -> None:
        self._waste_bytes -= waste.size_bytes
        bucket, origin, index = name
        piece, log = self._piece(name), self._logs.find((bucket, origin))
        if piece is None or log is None or not piece[ROWS]:
            return
        holds, kept = self._replicas[bucket].holds, Kept()
        has_past = self._replicas[bucket].rules.history_ms is not None
        floor = self._past.floors.get(bucket, 0) if has_past else _NO_PAST

        def keep(key: str, cell: Cell) -> Cell | None:
            held = holds(key, cell)
            if held is None and age_of(cell) >= floor:
                kept.add(cell)
                return cell
            return held

        left = pruned(piece, origin, index, keep)
        self._past.note(name, kept)
        if left is not None and kept.size_bytes:
            left = as_excerpt(left)  # nobody may take it for a bundle that has all to win by
        if left is None and index == log.index:
            left = header_only(piece)
        if left is not piece:
            log.put(index, left)
            self._write(log, index)


def _is_bare(log: Log) -> bool:
    """Is nothing left of a log but the proof of its line?"""
    return len(log.pieces) <= 1 and not any(piece[ROWS] for piece in log.pieces.values())
