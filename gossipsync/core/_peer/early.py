"""Early writes: own writes that our own forgotten past would beat, taken down when that comes back.

A store that is an older copy, or only memory, has forgotten stamps that we gave; if our clock is behind as well, what is written now
may be stamped below them, and would lose against what we ourselves wrote before. Such writes are stamped anew, after it. Not
against what others wrote, nor against a final delete of our own: that is the order of things.

State holds them until then, so nothing is kept for this while nothing comes back, however long a peer is alone; but while it is not
known whether stamps of our own are ahead, what is written loses at once and is kept here.

Invariant: what is written again says the same about the same cell, and lost to nobody but our own forgotten past.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context
from gossipsync.core._peer.lives import Lives
from gossipsync.core._peer.standing import Standing
from gossipsync.core._peer.writing import Said, Writing
from gossipsync.core.model.entry import Entry, Op, decode_entries
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import Epoch, Origin, epoch_of, peer_of
from gossipsync.core.replication.cells import (
    DATA,
    EXPIRES,
    ORIGIN,
    SHADOW_SIZE,
    SIZE,
    SLOT,
    STAMP,
    TOMBSTONE,
    Cell,
    Group,
    Slot,
    cell_in,
    cells_in,
    rank,
    slot_of,
)
from gossipsync.core.replication.keeping import Keeper
from gossipsync.errors import LocalError

_LEFT_OUT: Final = frozenset({Op.FINAL})
"""A final delete holds whatever else is written before its time is over."""

_OVERHEAD: Final = 256
"""Bytes of memory that an entry takes beside its data."""

_Key = tuple[str, str]
"""(bucket, key)."""


@define(eq=False)
class Early:
    """Writes of one run that are to be written again."""

    _ctx: Context
    _standing: Standing
    _lives: Lives
    _writing: Writing
    _keeper: Keeper
    _kept: dict[_Key, dict[Slot, Entry]] = field(factory=dict)
    _bytes: int = 0
    _looked_at: int = 0
    """How much of our past had arrived when we last looked."""
    _is_over: bool = False

    def wrote(self, bucket: str, entries: Iterable[Entry], stamp: Hlc) -> None:
        """Own writes were applied."""
        is_beaten = self._keeper.keeps_ours and not self._is_over
        if not is_beaten and not self._kept:
            return
        for entry in entries:
            name, slot = (bucket, entry.key), slot_of(entry.op, entry.field)
            self._drop(name, slot)
            # A running total belongs to its epoch and competes with none; what is stamped otherwise covers only what was seen.
            is_left_out = entry.op in _LEFT_OUT or isinstance(entry.field, bytes)
            if is_beaten and not is_left_out and entry.stamp == stamp:
                self._keep(name, slot, entry)

    def _keep(self, name: _Key, slot: Slot, entry: Entry) -> None:
        self._drop(name, slot)
        self._kept.setdefault(name, {})[slot] = entry
        self._bytes += len(entry.data) + _OVERHEAD
        while self._bytes > self._ctx.config.limits.early_bytes:
            oldest, slots = next(iter(self._kept.items()))
            self._drop(oldest, next(iter(slots)))

    def _drop(self, name: _Key, slot: Slot) -> None:
        slots = self._kept.get(name, {})
        entry = slots.pop(slot, None)
        if entry is not None:
            self._bytes -= len(entry.data) + _OVERHEAD
            if not slots:
                del self._kept[name]

    def said(self, bucket: str, keys: set[str]) -> list[Said]:
        """What is kept of some keys of a bucket."""
        return [
            (key, slot, entry)
            for (name, key), slots in self._kept.items()
            if name == bucket and key in keys
            for slot, entry in slots.items()
        ]

    def look_again(self) -> None:
        """Something may have lost though nothing has arrived."""
        self._looked_at = -1

    def forgotten(self, bucket: str, origin: Origin, cells: Iterable[tuple[str, Cell]]) -> None:
        """Of our own past this is about to be merged: keep what we wrote later and would lose to it.

        That is what any later epoch wrote, however long ago; and before this run has first met the others, all that it wrote: with a
        clock that is behind its epoch, too, may be below that of its past.
        """
        ctx, epoch = self._ctx, epoch_of(origin)
        early = frozenset[Epoch]() if self._is_over else ctx.epochs - ctx.withdrawn
        replica = ctx.replicas.get(bucket)
        for key, cell in cells:
            group = None if replica is None else replica.group(key)
            for own in cells_in(group) if group is not None else ():
                since = epoch_of(own[ORIGIN])
                is_later = peer_of(own[ORIGIN]) == ctx.peer_id and (since > epoch or since in early)
                if not is_later or own[SIZE] == SHADOW_SIZE or isinstance(own[SLOT], bytes):
                    continue
                if _is_final(own) or _is_final(cell) or not _loses(own, cell):
                    continue
                (entry,) = decode_entries((own[DATA],))
                self._keep((bucket, key), own[SLOT], entry)

    def round(self) -> None:
        """Write again what has lost to our own past; once we have all that others have, there is no more of that to come."""
        if not self._kept or not self._standing.is_up:
            self._is_over |= self._standing.state == "ready" and self._standing.is_synced()
            return
        is_met = self._standing.state == "ready" and self._standing.is_synced()
        arrived = self._lives.arrived
        if arrived != self._looked_at:
            for name, slots in list(self._kept.items()):
                if not self._write_again(*name, dict(slots)):
                    return  # there is no room for writes: next round
        self._looked_at = arrived
        if is_met:
            self._is_over = True
            self._kept.clear()
            self._bytes = 0

    def _write_again(self, bucket: str, key: str, slots: dict[Slot, Entry]) -> bool:
        """Say once more what of one key has lost; False where there is no room for it."""
        writing, ctx = self._writing, self._ctx
        lost = {
            slot: said for slot, said in slots.items() if self._has_lost(bucket, key, slot, said)
        }
        if TOMBSTONE in lost:
            lost = self._deleted(bucket, key, slots, lost)
        draft = writing.draft(bucket)
        for slot, entry in lost.items():
            draft.rewrite(key, slot, entry)
        if draft.is_empty:
            return True
        try:
            writing.commit(draft)  # which drops it here
        except LocalError:
            return False
        ctx.counters["restamped"] += len(lost)
        return True

    def _deleted(
        self, bucket: str, key: str, slots: dict[Slot, Entry], lost: dict[Slot, Entry]
    ) -> dict[Slot, Entry]:
        """A delete is among what has lost: end our past, but nothing that was written after the delete."""
        deleted = lost[TOMBSTONE]
        group = self._ctx.replicas[bucket].group(key)
        cells = [] if group is None else cells_in(group)
        after = [
            (said.stamp, said.expires) for slot, said in slots.items() if slot != TOMBSTONE
        ] + [
            (Hlc(cell[STAMP]), cell[EXPIRES])
            for cell in cells
            if cell[SLOT] != TOMBSTONE and not self._is_past(cell)
        ]
        stamp, expires = max(after, key=itemgetter(0), default=(deleted.stamp, None))
        has_life = expires is None or expires > self._ctx.now.wall_ms
        if stamp <= deleted.stamp or not has_life:
            return {TOMBSTONE: deleted}
        past = {
            slot: deleted._replace(field=slot, op=Op.DELETE, expires=expires)
            for cell in cells
            if self._is_past(cell) and cell[STAMP] > deleted.stamp
            if isinstance(slot := cell[SLOT], str)
        }
        return past | {
            slot: said
            for slot, said in lost.items()
            if slot != TOMBSTONE and said.stamp > deleted.stamp
        }

    def _has_lost(self, bucket: str, key: str, slot: Slot, entry: Entry) -> bool:
        if entry.expires is not None and entry.expires <= self._ctx.now.wall_ms:
            return False
        group = self._ctx.replicas[bucket].group(key)
        if group is None:
            return False
        if slot == TOMBSTONE:  # it is to end all that we wrote before
            return any(
                self._is_past(cell) and cell[STAMP] > entry.stamp and not _is_final(cell)
                for cell in cells_in(group)
            )
        winner = _winner(group, slot, entry.stamp)
        return winner is not None and self._is_past(winner)

    def _is_past(self, cell: Cell) -> bool:
        ctx = self._ctx
        return ctx.is_past(cell[ORIGIN]) and not self._lives.is_beside(epoch_of(cell[ORIGIN]))


def _loses(own: Cell, past: Cell) -> bool:
    """Does a write of ours lose to an older one that comes back? To delete is to end what was written before."""
    if own[SLOT] == TOMBSTONE or past[SLOT] == own[SLOT]:
        return past[STAMP] > own[STAMP]
    return past[SLOT] == TOMBSTONE and rank(past) >= own[STAMP]


def _winner(group: Group, slot: Slot, stamp: Hlc) -> Cell | None:
    """What beats or covers a write to a slot with that stamp, if it can be written again."""
    tombstone = cell_in(group, TOMBSTONE)
    if tombstone is not None and _is_final(tombstone):
        return None
    cell = cell_in(group, slot)
    if cell is not None:
        return cell
    return tombstone if tombstone is not None and rank(tombstone) >= stamp else None


def _is_final(cell: Cell) -> bool:
    return cell[SLOT] == TOMBSTONE and cell[EXPIRES] is not None
