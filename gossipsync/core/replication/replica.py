"""One bucket's state: its cells, merged from entries, and the application's view of them.

Written under the peer's lock; read from any thread without it, for a key's group is replaced whole and never changed in place.
Invariant: the state is the join of all entries applied so far, in whatever order they came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import frozen

from gossipsync.core.model.bucket import Announcement, BucketRules, Kind
from gossipsync.core.model.entry import Entry
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import Epoch, Origin, PeerId, epoch_of, peer_of
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
    cell_of,
    merge,
    shadow_of,
    shadows_of,
)
from gossipsync.core.replication.changes import ChangeLog
from gossipsync.core.replication.expiry import ExpiryWheel
from gossipsync.core.replication.livesum import LiveSum, Totals

Recover = Callable[[str, Origin, int], Iterable[Entry]]
Who = Callable[[str, Origin, int], PeerId]


@frozen
class Provenance:
    """A visible value and where it comes from."""

    value: object
    origin: PeerId
    epoch: Epoch
    sender: PeerId
    hlc: Hlc
    expires_ms: int | None


class Replica:
    """The state of one bucket. `recover` finds a bundle's entries in its log, `sender` who handed it to us."""

    def __init__(
        self,
        name: str,
        announcement: Announcement,
        *,
        change_limit: int,
        recover: Recover,
        sender: Who,
    ) -> None:
        self.name = name
        self.announcement = announcement
        self.is_announced = False
        """Does a signed bundle, ours or another's, carry the announcement?"""
        self.is_explicit = False
        """Did the application name rules itself?"""
        self.changes = ChangeLog(change_limit)
        self.version = 0
        """Grows with every application of entries, so that a draft notices what came between."""
        self._cells: dict[str, Group] = {}
        self._live = 0
        self._wheel = ExpiryWheel()
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

    def provenance(self, key: str, wall_ms: int) -> Provenance:
        """The value with the origin of its newest content. Raises KeyError."""
        group = self._visible(key, wall_ms)
        kind = self.rules.kind
        cell = max(views.content(group, kind), key=lambda cell: (cell[STAMP], cell[ORIGIN]))
        last = views.newest(group)
        assert last is not None
        origin = cell[ORIGIN]
        return Provenance(
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
        open_key: str | None = (
            None  # neighbours of one key are merged in a group that is ours until it is published
        )
        before: Group | None = None
        work: Group | None = None
        for entry in entries:
            key, field, _op, _stamp, expires, value, data = entry
            if key != open_key:
                if open_key is not None and self._publish(open_key, before, work):
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
            cell = cell_of(entry, origin, index)
            work = merge(work, cell, owned=work is not before)
            if expires is not None and cell[SLOT] != TOMBSTONE:
                self._wheel.add(key, expires)
        if open_key is not None and self._publish(open_key, before, work):
            changed.append(open_key)
        self.version += 1
        self.changes.add(changed)

    def _publish(self, key: str, before: Group | None, after: Group | None) -> bool:
        if after is before or after is None:
            return False
        last = views.newest(after)
        if last is not None and last[SIZE] == SHADOW_SIZE:
            after = shadows_of(
                after
            )  # the key has expired: an older write that comes late changes nothing to see
        elif isinstance(after, dict):
            after = self._revive(after)
        kind = self.announcement.rules.kind
        self._live += views.has_content(after, kind) - views.has_content(before, kind)
        self._cells[key] = after
        return True

    def _revive(self, group: dict[Slot, Cell]) -> dict[Slot, Cell]:
        """A late write gave an expired key a longer life: bring its values back from the logs."""
        if all(cell[SIZE] != SHADOW_SIZE for cell in group.values()):
            return group
        return {
            slot: self._recovered(cell) if cell[SIZE] == SHADOW_SIZE else cell
            for slot, cell in group.items()
        }

    def _recovered(self, shadow: Cell) -> Cell:
        for entry in self._recover(self.name, shadow[ORIGIN], shadow[INDEX]):
            cell = cell_of(entry, shadow[ORIGIN], shadow[INDEX])
            if shadow_of(cell) == shadow:
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
            self._cells[key] = shadows_of(group)
            gone.append(key)
        if gone:
            self.version += 1
            self.changes.add(gone)
        return bool(gone)

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
            self.version += 1
            self.changes.add(list(self._cells))
