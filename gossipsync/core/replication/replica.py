"""One bucket's state: its cells, merged from entries, and the application's view of them.

Written under the peer's lock; read from any thread without it, for a key's group is replaced whole and never changed in place.
Invariant: the state is the join of all entries applied so far, in whatever order they came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from gossipsync.core.model.bucket import Announcement, BucketRules, Kind
from gossipsync.core.model.entry import INLINE_VALUE_BYTES, Entry
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import Origin, PeerId, epoch_of, peer_of
from gossipsync.core.model.values import decode_value
from gossipsync.core.replication import views
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
    cell_of,
    cells_in,
    held_in,
    merge,
    replaced,
    shadow_of,
    shadows_of,
    without,
)
from gossipsync.core.replication.celltree import CellTree, Found, sum_of
from gossipsync.core.replication.changes import ChangeLog
from gossipsync.core.replication.ends import ended_ms, next_end_ms, without_ended
from gossipsync.core.replication.expiry import ExpiryWheel
from gossipsync.core.replication.livesum import LiveSum, Totals
from gossipsync.core.replication.tables import fitted

Recover = Callable[[str, Origin, int], Iterable[tuple[str, Cell]]]
Who = Callable[[str, Origin, int], PeerId]
Loss = tuple[Origin, int, int, int]
"""(origin, index, stamp, bytes): an entry that its bundle need not keep any more; 0 bytes where only the value has gone."""


class Replica:
    """The state of one bucket. `recover` finds what is kept of a bundle in its log, `sender` who handed it to us.

    `grace_ms`: how long shadows and tombstones are kept beyond the moment at which they ended.
    """

    def __init__(
        self,
        name: str,
        announcement: Announcement,
        *,
        change_limit: int,
        grace_ms: int,
        recover: Recover,
        sender: Who,
    ) -> None:
        self.name = name
        self.announcement = announcement
        self.is_announced = False
        """Does a signed bundle, ours or another's, carry the announcement?"""
        self.is_explicit = False
        """Did the application name rules itself?"""
        self.version = 0
        """Grows with every application of entries, so that a draft notices what came between."""
        self._cells: dict[str, Group] = {}
        self.changes = ChangeLog(change_limit, self._cells)
        self.has_dropped = False
        """Has this run given up cells that the store may still have?"""
        self._live = 0
        self.losses: list[Loss] = []
        """Entries that lost since somebody last took them from here, for whoever keeps the logs."""
        self.ended_together: list[tuple[Origin, int]] = []
        """(origin, index) of cells of one key that were forgotten at one time: alone, some would live on."""
        self._wheel = ExpiryWheel()
        self._ends = ExpiryWheel()
        self._grace_ms = grace_ms
        self._tree: CellTree | None = None
        self._touched: dict[str, None] = {}
        self._hollow: dict[str, None] = {}
        self._live_sum = LiveSum(name)
        self._recover = recover
        self._sender = sender

    @property
    def rules(self) -> BucketRules:
        """The rules in force."""
        return self.announcement.rules

    # -- reads: any thread, no lock ------------------------------------------------------------------------------

    def read(self, key: str, wall_ms: int) -> object:
        """A fresh plain value. Raises KeyError where the key is absent, deleted or expired."""
        group = self._cells.get(key)
        kind = self.announcement.rules.kind
        if type(group) is tuple and kind is Kind.VALUE:
            expires = group[EXPIRES]
            if group[SLOT] is None and group[SIZE] > 0 and (expires is None or expires > wall_ms):
                return decode_value(group[DATA][-group[SIZE] :])
            raise KeyError(key)
        if group is None or views.is_expired(group, wall_ms) or not views.has_content(group, kind):
            raise KeyError(key)
        return views.show(group, kind)

    def has(self, key: str, wall_ms: int) -> bool:
        """Is the key visible?"""
        return self._is_visible(self._cells.get(key), wall_ms)

    def group(self, key: str) -> Group | None:
        """The cells of a key, for drafts and checks."""
        return self._cells.get(key)

    def fields(self, key: str, wall_ms: int) -> dict[str, object]:
        """A map's fields. Raises KeyError where the key is not visible."""
        group = self._visible(key, wall_ms)
        shown = views.show(group, Kind.MAP)
        assert isinstance(shown, dict)
        return shown

    def counter(self, key: str, wall_ms: int) -> int:
        """A counter's value; 0 where the key is not visible."""
        value = self.read(key, wall_ms) if self.has(key, wall_ms) else 0
        assert isinstance(value, int)
        return value

    def elements(self, key: str, wall_ms: int) -> frozenset[str]:
        """A set's elements; empty where the key is not visible."""
        value = self.read(key, wall_ms) if self.has(key, wall_ms) else frozenset()
        assert isinstance(value, frozenset)
        return value

    def provenance(self, key: str, wall_ms: int) -> views.Provenance:
        """The value with the origin of its newest content. Raises KeyError."""
        group = self._visible(key, wall_ms)
        kind = self.rules.kind
        cell = max(views.content(group, kind), key=lambda cell: (cell[STAMP], cell[ORIGIN]))
        last = views.newest(group)
        assert last is not None
        origin = cell[ORIGIN]
        return views.Provenance(
            views.show(group, kind),
            peer_of(origin),
            epoch_of(origin),
            self._sender(self.name, origin, cell[INDEX]),
            Hlc(cell[STAMP]),
            last[EXPIRES],
        )

    def state_of(self, key: str, wall_ms: int) -> str:
        """One of "present", "deleted", "expired", "absent"."""
        group = self._cells.get(key)
        if self._is_visible(group, wall_ms):
            return "present"
        if group is None:
            return "absent"
        if views.is_expired(group, wall_ms):
            return "expired"
        return "deleted"

    def __len__(self) -> int:
        return self._live

    # -- snapshots: under the lock -------------------------------------------------------------------------------

    def keys(self, wall_ms: int, prefix: str = "") -> list[str]:
        """Visible keys, in the order of their first write."""
        return [
            key
            for key, group in self._cells.items()
            if key.startswith(prefix) and self._is_visible(group, wall_ms)
        ]

    def pairs(self, wall_ms: int, prefix: str = "") -> list[tuple[str, object]]:
        """Visible keys with fresh values."""
        kind = self.rules.kind
        return [(key, views.show(self._cells[key], kind)) for key in self.keys(wall_ms, prefix)]

    def totals(self, wall_ms: int) -> Totals:
        """Fingerprint, bytes and tombstones; costs what changed since it was last asked for."""
        self.sweep(wall_ms)
        return self._live_sum.totals(self._cells, self.rules.kind, self.changes)

    def key_sums(self, wall_ms: int) -> list[tuple[str, int]]:
        """Visible keys, each with what stands for its value and expiry; these add up to the fingerprint."""
        self.totals(wall_ms)
        return self._live_sum.keys()

    def _is_visible(self, group: Group | None, wall_ms: int) -> bool:
        return (
            group is not None
            and views.has_content(group, self.announcement.rules.kind)
            and not views.is_expired(group, wall_ms)
        )

    def _visible(self, key: str, wall_ms: int) -> Group:
        group = self._cells.get(key)
        if group is None or not self._is_visible(group, wall_ms):
            raise KeyError(key)
        return group

    # -- writes: under the lock ----------------------------------------------------------------------------------

    def apply(self, entries: Iterable[Entry], origin: Origin, index: int) -> None:
        """Join entries into the state. Those that lose leave no trace."""
        cells = self._cells
        is_value = self.announcement.rules.kind is Kind.VALUE
        changed: list[str] = []
        # Neighbours of one key are merged in a group that is ours until it is published.
        open_key: str | None = None
        before: Group | None = None
        work: Group | None = None
        merged: list[Cell] = []
        for entry in entries:
            key, field, _op, _stamp, expires, value, data = entry
            if key != open_key:
                if open_key is not None and self._publish(open_key, before, work, merged):
                    changed.append(open_key)
                if value is not None and field is None and is_value and key not in cells:
                    # The common case of a new key, spelled out for speed.
                    open_key = None
                    cells[key] = (entry[3], None, expires, len(value), origin, index, data)
                    self._live += 1
                    changed.append(key)
                    if expires is not None:
                        self._wheel.add(key, expires)
                    continue
                open_key = key
                before = work = cells.get(key)
                merged = []
            cell = cell_of(entry, origin, index)
            merged.append(cell)
            work = merge(work, cell, owned=work is not before)
        if open_key is not None and self._publish(open_key, before, work, merged):
            changed.append(open_key)
        self._changed(changed)

    def join(self, key: str, cell: Cell) -> bool:
        """Join one cell that came by itself, a shadow perhaps; False where it loses, or is here already."""
        before = self._cells.get(key)
        held = self.holds(key, cell)
        if held is None:
            after: Group | None = merge(before, cell)
        elif held[SIZE] == SHADOW_SIZE != cell[SIZE] and not views.is_shadow(before):
            assert before is not None
            after = replaced(before, cell)  # the value that this shadow had
        else:
            return False
        is_change = self._publish(key, before, after, [cell])
        if is_change:
            self._changed([key])
        return is_change

    def drop(self, key: str, cell: Cell) -> None:
        """Give up a cell that is held: others know that it has lost to something that need not be remembered any more."""
        group = self._cells[key]
        self._replace(key, group, without(group, cell))
        self._note_loss(cell)
        self.has_dropped = True
        self._changed([key])

    def holds(self, key: str, cell: Cell) -> Cell | None:
        """What state holds of an entry: its cell, its shadow, or None where it has lost."""
        return held_in(self._cells.get(key), cell)

    def is_wanting(self, key: str, cell: Cell) -> bool:
        """Whether a cell that our line covers is needed: it beats a cell that is held, or is the value that a shadow lacks.

        A field, element or total with nothing to beat has lost: to a removal that was forgotten since. That its key has other
        cells does not bring it back.
        """
        group = self._cells.get(key)
        if group is None:
            return False
        if self.holds(key, cell) is not None:
            return True
        if isinstance(cell[SLOT], str | bytes) and cell_in(group, cell[SLOT]) is None:
            return False
        return merge(group, cell) is not group

    def _publish(
        self, key: str, before: Group | None, after: Group | None, merged: list[Cell]
    ) -> bool:
        """Make a key's new group the one that is read; `merged` are the cells that were to go into it."""
        if after is before or after is None:
            self._note_losses(merged, before)
            return False
        self._note_losses(merged if before is None else [*merged, *cells_in(before)], after)
        for cell in merged:
            self._note_end(key, cell, after)
        if before is not None and (last := views.newest(before)) is not None and ended_ms(last):
            self._note_next_end(key, after)  # it decided over the key's life until now
        if views.is_shadow(after):
            # The key has expired: an older write that comes late changes nothing to see.
            after = shadows_of(after)
        elif isinstance(after, dict):
            after = self._revive(key, after)
        self._replace(key, before, after)
        return True

    def _changed(self, keys: list[str]) -> None:
        self.version += 1
        self.changes.add(keys)
        self._note_touched(keys)

    def _note_touched(self, keys: list[str]) -> None:
        if self._tree is not None:
            self._touched.update(dict.fromkeys(keys))

    def tree(self, wall_ms: int, cut_ms: int) -> CellTree:
        """What stands for the cells; costs what changed since it was last asked for.

        The cut never goes back: an earlier one than before is taken for that.
        """
        self.sweep(wall_ms)
        tree = self._tree_for(cut_ms)
        tree.refresh(self._cells, self.rules.kind, self._touched, max(cut_ms, tree.cut_ms))
        self._touched = {}
        return tree

    def grow_tree(self, cut_ms: int, keys: int) -> bool:
        """Take up to so many keys into the tree; True where it is nearly up to date, so that to ask for it costs little."""
        tree = self._tree_for(cut_ms)
        if len(self._touched) <= keys:
            return True
        some = dict.fromkeys(islice(self._touched, keys))
        tree.refresh(self._cells, self.rules.kind, some, tree.cut_ms)
        for key in some:
            del self._touched[key]
        self._touched = fitted(self._touched)
        return False

    def _tree_for(self, cut_ms: int) -> CellTree:
        tree = self._tree
        if tree is None:
            tree = self._tree = CellTree(self.name, self._grace_ms)
            self._touched = dict.fromkeys(self._cells)
        elif tree.is_too_shallow(len(self._cells)):
            tree.deepen()
            self._touched = dict.fromkeys(self._cells)
        elif cut_ms > tree.cut_ms:
            for key in self._ends.between(tree.cut_ms, cut_ms):
                self._touched[key] = None
                if (group := self._cells.get(key)) is not None:
                    self._note_next_end(key, group, cut_ms)
        if tree.cut_ms < cut_ms:
            tree.cut_ms = cut_ms
        return tree

    def sum_at(self, prefix: bytes) -> int:
        """What stands for one range of the tree, however narrow."""
        assert self._tree is not None
        if len(prefix) <= self._tree.depth:
            return self._tree.sum_at(prefix)
        return sum_of(self.found_in(prefix))

    def found_in(self, prefix: bytes) -> list[Found]:
        """The cells of one range of the tree."""
        assert self._tree is not None
        return self._tree.found_in(self._cells, self.rules.kind, prefix)

    def keys_after(self, key: str | None) -> Iterator[str]:
        """The keys behind one, in the order of the tree; those that only have tombstones and the like may be left out."""
        assert self._tree is not None
        return self._tree.keys_after(key)

    def _replace(self, key: str, before: Group | None, after: Group | None) -> None:
        kind = self.announcement.rules.kind
        self._live += views.has_content(after, kind) - views.has_content(before, kind)
        if after is None:
            del self._cells[key]
            self._live_sum.forget([key])
        else:
            self._cells[key] = after

    def _note_losses(self, cells: Iterable[Cell], group: Group | None) -> None:
        for cell in cells:
            held = None if group is None else cell_in(group, cell[SLOT])
            if held is None or held[STAMP] != cell[STAMP] or held[ORIGIN] != cell[ORIGIN]:
                self._note_loss(cell)

    def _note_loss(self, cell: Cell) -> None:
        self.losses.append((cell[ORIGIN], cell[INDEX], cell[STAMP], len(cell[DATA])))

    def _note_end(self, key: str, cell: Cell, group: Group) -> None:
        """Look at the key again when this cell expires, or may be forgotten."""
        if cell[SLOT] != TOMBSTONE and cell[EXPIRES] is not None and cell[SIZE] != SHADOW_SIZE:
            self._wheel.add(key, cell[EXPIRES])
        elif cell[SLOT] == TOMBSTONE or cell[SIZE] <= SHADOW_SIZE:
            self._note_next_end(key, group)

    def _note_next_end(self, key: str, group: Group, after_ms: int | None = None) -> None:
        end_ms = next_end_ms(group, self.rules.kind, self._grace_ms, after_ms)
        if end_ms is not None:
            self._ends.add(key, end_ms)

    def _revive(self, key: str, group: dict[Slot, Cell]) -> dict[Slot, Cell]:
        """A late write gave an expired key a longer life: bring its values back from the logs, or remember what is lacking."""
        if not views.lacks_values(group):
            return group
        revived = {
            slot: self._recovered(cell) if cell[SIZE] == SHADOW_SIZE else cell
            for slot, cell in group.items()
        }
        if views.lacks_values(revived):
            self._hollow[key] = None
        return revived

    def hollow(self) -> dict[str, PeerId]:
        """Keys that live on by a late write and whose values have left our logs, each with who wrote last: he had seen them."""
        found = {}
        for key in list(self._hollow):
            group = self._cells.get(key)
            last = None if group is None else views.newest(group)
            if last is None or last[SIZE] == SHADOW_SIZE or not views.lacks_values(group):
                del self._hollow[key]
            else:
                found[key] = peer_of(last[ORIGIN])
        return found

    def _recovered(self, shadow: Cell) -> Cell:
        for _, cell in self._recover(self.name, shadow[ORIGIN], shadow[INDEX]):
            if cell[SIZE] != SHADOW_SIZE and shadow_of(cell) == shadow:
                return cell
        return shadow

    def sweep(self, wall_ms: int) -> bool:
        """Turn what has expired into shadows. True if anything became invisible."""
        gone = []
        kind = self.rules.kind
        for key in self._wheel.due(wall_ms):
            group = self._cells.get(key)
            if group is None or not views.is_expired(group, wall_ms):
                continue
            self._live -= views.has_content(group, kind)
            after = self._cells[key] = shadows_of(group)
            self.losses += [
                (cell[ORIGIN], cell[INDEX], cell[STAMP], 0)
                for cell in cells_in(group)
                if cell[SIZE] > INLINE_VALUE_BYTES
            ]
            self._note_next_end(key, after)
            gone.append(key)
        if gone:
            self._changed(gone)
        return bool(gone)

    def forget(self, wall_ms: int) -> None:
        """Forget shadows and tombstones whose time has come. What they beat must not be in any log any more."""
        for key in self._ends.due(wall_ms):
            group = self._cells.get(key)
            if group is None:
                continue
            left, ended = without_ended(group, self.rules.kind, self._grace_ms, wall_ms)
            if ended:
                self._replace(key, group, left)
                self._note_touched([key])
                for cell in ended:
                    self._note_loss(cell)
                if len(ended) > 1:
                    self.ended_together += [(cell[ORIGIN], cell[INDEX]) for cell in ended]
            if left is not None:
                self._note_next_end(key, left)
        self._fit()

    def _fit(self) -> None:
        """Keep no more room than what is left needs. Whoever reads without a lock has the old table or the new one."""
        self._cells = self.changes.held = fitted(self._cells)
        self._live_sum.fit()
        self.changes.fit()

    def has_ended(self, wall_ms: int) -> bool:
        """Is there something to forget?"""
        due_ms = self._ends.next_ms()
        return due_ms is not None and due_ms <= wall_ms

    def next_sweep_ms(self) -> int | None:
        """When something may expire next, in wall milliseconds."""
        return self._wheel.next_ms()

    def adopt(self, announcement: Announcement) -> None:
        """Go over to an earlier announcement: the same cells, seen as another kind perhaps."""
        changed_kind = announcement.rules.kind is not self.rules.kind
        self.announcement = announcement
        if changed_kind:
            kind = announcement.rules.kind
            self._live = sum(views.has_content(group, kind) for group in self._cells.values())
            self._live_sum = LiveSum(self.name)
            self._changed(list(self._cells))
