"""Early writes: own writes made before the first exchange after a start, kept in sight until that.

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
from gossipsync.core._peer.writing import Writing
from gossipsync.core.model.entry import Entry, Op
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import epoch_of
from gossipsync.core.replication.cells import (
    EXPIRES,
    ORIGIN,
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
            name = (bucket, entry.key, slot_of(entry.op, entry.field))
            self._drop(name)
            self._entries[name] = entry
            self._bytes += len(entry.data) + _OVERHEAD
        while self._bytes > self._ctx.config.limits.early_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, name: _Name) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._bytes -= len(entry.data) + _OVERHEAD

    def round(self) -> None:
        """Write again what has lost to our own past; once we have all that others have, there is no more of that to come."""
        if self._is_over or not self._standing.is_up:
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
