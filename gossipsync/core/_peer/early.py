"""Early writes: own writes made before the first exchange after a start, kept in sight until that, and later ones in sight again
when our forgotten past comes back.

A store that is an older copy, or only memory, has forgotten stamps that we gave; if our clock is behind as well, what is written now
may be stamped below them, and would lose against what we ourselves wrote before. Such writes are stamped anew, after it. Not
against what others wrote, nor against a final delete of our own: that is the order of things.

Invariant: what is written again says the same about the same cell, and lost to nobody but our own forgotten past.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context
from gossipsync.core._peer.lives import Lives
from gossipsync.core._peer.standing import Standing
from gossipsync.core._peer.writing import Said, Writing
from gossipsync.core.model.entry import Entry, Op, decode_entries
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import Origin, epoch_of, peer_of
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
from gossipsync.errors import LocalError

_LEFT_OUT: Final = frozenset({Op.FINAL})
"""A final delete holds whatever else is written before its time is over."""

_OVERHEAD: Final = 256
"""Bytes of memory that an entry takes beside its data."""

_Name = tuple[str, str, Slot]


@define(eq=False)
class Early:
    """The early writes of one run."""

    _ctx: Context
    _standing: Standing
    _lives: Lives
    _writing: Writing
    _entries: dict[_Name, Entry] = field(factory=dict)
    _bytes: int = 0
    _looked_at: int = 0
    """How much of our past had arrived when we last looked."""
    _is_over: bool = False

    def wrote(self, bucket: str, entries: Iterable[Entry], stamp: Hlc) -> None:
        """Own writes were applied."""
        if self._is_over:
            return
        for entry in entries:
            # A running total belongs to its epoch and competes with none; what is stamped otherwise covers only what was seen.
            if entry.op in _LEFT_OUT or isinstance(entry.field, bytes) or entry.stamp != stamp:
                continue
            self._keep((bucket, entry.key, slot_of(entry.op, entry.field)), entry)

    def _keep(self, name: _Name, entry: Entry) -> None:
        self._drop(name)
        self._entries[name] = entry
        self._bytes += len(entry.data) + _OVERHEAD
        while self._bytes > self._ctx.config.limits.early_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, name: _Name) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._bytes -= len(entry.data) + _OVERHEAD

    def said(self, bucket: str, keys: set[str]) -> list[Said]:
        """What is kept of some keys of a bucket."""
        return [
            (key, slot, entry)
            for (name, key, slot), entry in self._entries.items()
            if name == bucket and key in keys
        ]

    def look_again(self) -> None:
        """Something may have lost though nothing has arrived."""
        self._looked_at = -1

    def forgotten(self, bucket: str, origin: Origin, cells: Iterable[tuple[str, Cell]]) -> None:
        """Of our own past this is about to be merged: keep what we wrote later and would lose to it, however long ago we started."""
        ctx, epoch = self._ctx, epoch_of(origin)
        replica = ctx.replicas.get(bucket)
        for key, cell in cells:
            group = None if replica is None else replica.group(key)
            for own in cells_in(group) if group is not None else ():
                is_later = peer_of(own[ORIGIN]) == ctx.peer_id and epoch_of(own[ORIGIN]) > epoch
                if not is_later or own[SIZE] == SHADOW_SIZE or isinstance(own[SLOT], bytes):
                    continue
                if _is_final(own) or _is_final(cell) or not _loses(own, cell):
                    continue
                (entry,) = decode_entries((own[DATA],))
                self._keep((bucket, key, own[SLOT]), entry)

    def round(self) -> None:
        """Write again what has lost to our own past; once we have all that others have, there is no more of that to come."""
        if not self._entries or not self._standing.is_up:
            self._is_over |= self._standing.state == "ready" and self._standing.is_synced()
            return
        is_met = self._standing.state == "ready" and self._standing.is_synced()
        arrived = self._lives.arrived
        if arrived != self._looked_at:
            for name, entry in list(self._entries.items()):
                if self._has_lost(name, entry) and not self._write_again(name, entry):
                    return  # there is no room for writes: next round
        self._looked_at = arrived
        if is_met:
            self._is_over = True
            self._entries.clear()
            self._bytes = 0

    def _write_again(self, name: _Name, entry: Entry) -> bool:
        bucket, key, slot = name
        writing, ctx = self._writing, self._ctx
        draft = writing.draft(bucket)
        draft.rewrite(key, slot, entry)
        try:
            writing.commit(draft)  # which puts it in this one's place
        except LocalError:
            return False
        ctx.counters["restamped"] += 1
        return True

    def _has_lost(self, name: _Name, entry: Entry) -> bool:
        bucket, key, slot = name
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
