"""Early writes: own writes that lose to a forgotten past of this peer's own, and are written again.

A store that is an older copy, or a memory store, has forgotten stamps that earlier runs gave. If the clock is behind as well, writes
of the new run may be stamped below them and lose to writes that the same peer made before. Such writes get new stamps.

Another life of the same key is not always a past: the machine may have been copied, and both copies may run. Stamps alone do not
tell the two apart. So a write W of this run is written again over a write P of another epoch of this key only if all of these hold:

1. P was made without knowledge of W: our store had P at the start, we have taken it back (`Setback`), or members had P's line that far before any data of
   this run left it (`Context.claims`);
2. P was made before W, by the members' clocks instead of ours, where the third case of 1 holds;
3. the life that wrote P is not known to go on beside this one, and had a few intervals to show itself (`Lives`);
4. P is no final delete.

The new stamp is the least that beats P, not one of now: W takes P's place in the order, and loses to all writes that beat P.
Bundles of other lives that arrive later, or writes that earlier runs of this store made, are ordered by their stamps like any
other peer's (`sims/own_past_model.py`).

State holds early writes until a past arrives, so nothing is kept while none does, however long a peer is alone. While it is not
known whether stamps of our own are ahead of the members' clocks, new writes lose at once and are kept here.

Invariant: an entry that is written again says the same about the same cell, beats nothing but this peer's own past, and never a
write that was made knowing it.
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
from gossipsync.core.model.hlc import Hlc, hlc_ms
from gossipsync.core.model.ids import Origin, epoch_of, peer_of
from gossipsync.core.replication.cells import (
    DATA,
    EXPIRES,
    INDEX,
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

_PATIENCE: Final = 3.0
"""Gossip intervals for which another life is given time to show itself, from the first comparison with a member."""

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
    _met_s: float | None = None
    """When this peer, with early writes that have lost, first had all that members had."""
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
        """Cells of another epoch of this peer are about to be merged: keep early writes of this run that lose to them."""
        ctx, epoch = self._ctx, epoch_of(origin)
        is_withdrawn = epoch in ctx.withdrawn
        if self._is_over and not is_withdrawn:
            return
        early = ctx.epochs - ctx.withdrawn
        replica = ctx.replicas.get(bucket)
        for key, cell in cells:
            group = None if replica is None else replica.group(key)
            for own in cells_in(group) if group is not None else ():
                since = epoch_of(own[ORIGIN])
                is_later = since in early or (is_withdrawn and since > epoch)
                is_ours = peer_of(own[ORIGIN]) == ctx.peer_id
                if (
                    not (is_ours and is_later)
                    or own[SIZE] == SHADOW_SIZE
                    or isinstance(own[SLOT], bytes)
                ):
                    continue
                if _is_final(own) or _is_final(cell) or not _loses(own, cell):
                    continue
                (entry,) = decode_entries((own[DATA],))
                self._keep((bucket, key), own[SLOT], entry)

    def round(self) -> None:
        """Write again the writes that have lost to our own past; once all that members have is here, no more of it will come."""
        standing = self._standing
        is_met = standing.is_up and standing.state == "ready" and standing.is_synced()
        if is_met:
            self._is_over = True
        if not self._kept or not standing.is_up:
            return
        if self._met_s is None and is_met:
            self._met_s = self._ctx.now.mono_s
        is_ripe = self._is_ripe
        if is_ripe or self._lives.arrived != self._looked_at:
            for name, slots in list(self._kept.items()):
                if not self._write_again(*name, dict(slots)):
                    return  # there is no room for writes: next round
        self._looked_at = self._lives.arrived
        if is_met and is_ripe:
            self._kept.clear()
            self._bytes = 0

    @property
    def _is_ripe(self) -> bool:
        """Whether another life that goes on beside this one would have shown itself by now."""
        patience_s = _PATIENCE * self._ctx.config.gossip_interval_s
        return self._met_s is not None and self._ctx.now.mono_s - self._met_s >= patience_s

    def _write_again(self, bucket: str, key: str, slots: dict[Slot, Entry]) -> bool:
        """Write the entries of one key that have lost once more; False where there is no room for it."""
        writing, ctx = self._writing, self._ctx
        stamps = {
            slot: stamp
            for slot, said in slots.items()
            if (stamp := self._stamp_over_past(bucket, key, slot, said)) is not None
        }
        lost = {slot: slots[slot] for slot in stamps}
        if TOMBSTONE in lost:
            lost, stamps = self._deleted(bucket, key, slots, stamps)
        draft = writing.draft(bucket)
        for slot, entry in lost.items():
            draft.rewrite(key, slot, entry, stamps[slot])
        if draft.is_empty:
            return True
        try:
            writing.commit(draft)  # which drops it here
        except LocalError:
            return False
        ctx.counters["restamped"] += len(lost)
        return True

    def _deleted(
        self, bucket: str, key: str, slots: dict[Slot, Entry], stamps: dict[Slot, Hlc]
    ) -> tuple[dict[Slot, Entry], dict[Slot, Hlc]]:
        """A delete is among the lost entries: end our past, but no write that was made after the delete."""
        deleted = slots[TOMBSTONE]
        group = self._ctx.replicas[bucket].group(key)
        cells = [] if group is None else cells_in(group)
        past = [cell for cell in cells if self._is_past(bucket, cell, deleted)]
        after = [
            (said.stamp, said.expires) for slot, said in slots.items() if slot != TOMBSTONE
        ] + [
            (Hlc(cell[STAMP]), cell[EXPIRES])
            for cell in cells
            if cell[SLOT] != TOMBSTONE and cell not in past
        ]
        stamp, expires = max(after, key=itemgetter(0), default=(deleted.stamp, None))
        has_life = expires is None or expires > self._ctx.now.wall_ms
        if stamp <= deleted.stamp or not has_life:
            return {TOMBSTONE: deleted}, {TOMBSTONE: stamps[TOMBSTONE]}
        lost = {slot: slots[slot] for slot in stamps if slots[slot].stamp > deleted.stamp}
        for cell in past:
            slot = cell[SLOT]
            if cell[STAMP] > deleted.stamp and isinstance(slot, str) and slot not in lost:
                lost[slot] = deleted._replace(field=slot, op=Op.DELETE, expires=expires)
                stamps[slot] = Hlc(cell[STAMP] + 1)
        return lost, stamps

    def _stamp_over_past(self, bucket: str, key: str, slot: Slot, entry: Entry) -> Hlc | None:
        """The least stamp with which an entry would not lose to our own past; None unless it has lost to that."""
        if entry.expires is not None and entry.expires <= self._ctx.now.wall_ms:
            return None
        group = self._ctx.replicas[bucket].group(key)
        if group is None:
            return None
        if slot == TOMBSTONE:  # it ends all that we wrote before, and covers stamps up to its own
            ended = [
                cell[STAMP]
                for cell in cells_in(group)
                if cell[STAMP] > entry.stamp
                and not _is_final(cell)
                and self._is_past(bucket, cell, entry)
            ]
            return Hlc(max(ended)) if ended else None
        winner = _winner(group, slot, entry.stamp)
        if winner is None or not self._is_past(bucket, winner, entry):
            return None
        return Hlc((rank(winner) if winner[SLOT] == TOMBSTONE else winner[STAMP]) + 1)

    def _is_past(self, bucket: str, cell: Cell, entry: Entry) -> bool:
        """Whether a cell is of our own past, as far as one of our entries is concerned: see the module's docstring."""
        ctx, lives, origin = self._ctx, self._lives, cell[ORIGIN]
        if not ctx.is_past(origin) or lives.is_beside(epoch_of(origin)):
            return False
        key = (bucket, origin)
        if epoch_of(origin) in ctx.withdrawn or lives.had(key, cell[INDEX]):
            return True
        mesh_ms = ctx.mesh_ms(ctx.now)
        if not self._is_ripe or mesh_ms is None or cell[INDEX] > ctx.claimed(key):
            return False
        behind_ms = mesh_ms - ctx.now.wall_ms
        return hlc_ms(Hlc(cell[STAMP])) <= min(mesh_ms, hlc_ms(entry.stamp) + behind_ms)


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
