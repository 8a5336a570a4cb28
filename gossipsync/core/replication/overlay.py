"""Overlays: one bucket as it would be with a draft's writes in it, before any of them has happened.

An overlay holds at most one write a cell. Its view merges those writes, provisionally stamped after everything else, into the
replica's cells, by the same join that will merge them for good.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from gossipsync.core.model.bucket import Deletes, Kind
from gossipsync.core.model.entry import Entry, Field, Op, encode_entry
from gossipsync.core.model.hlc import Hlc, hlc_ms
from gossipsync.core.model.ids import Origin
from gossipsync.core.replication import views
from gossipsync.core.replication.cells import (
    EXPIRES,
    NO_VALUE,
    SLOT,
    STAMP,
    TOMBSTONE,
    Cell,
    Group,
    Slot,
    cells_in,
    merge,
)
from gossipsync.core.replication.replica import Replica

NO_EXPIRY: Final = -1
"""A ttl that means: live until deleted."""
_PROVISIONAL: Final = Hlc((1 << 63) - 1)


@frozen
class Write:
    """What a draft does to one cell. `stamp` is None where it gets the stamp of the commit."""

    op: Op
    field: Field
    expires: int | None
    value: bytes | None
    stamp: Hlc | None = None


class Overlay:
    """A replica with writes laid over it. `next_stamp` is the earliest stamp that the commit can get."""

    def __init__(
        self, replica: Replica, *, origin: Origin, wall_ms: int, next_stamp: Hlc, horizon_ms: int
    ) -> None:
        self.replica = replica
        self.origin = origin
        self.wall_ms = wall_ms
        self.next_stamp = next_stamp
        self.writes: dict[str, dict[Slot, Write]] = {}
        self._lives: dict[str, int | None] = {}
        self._horizon_ms = horizon_ms
        self._version = replica.version

    @property
    def is_current(self) -> bool:
        """Has the replica stayed as it was when the overlay was laid?"""
        return self._version == self.replica.version

    @property
    def kind(self) -> Kind:
        """The bucket's kind."""
        return self.replica.rules.kind

    # -- the view --------------------------------------------------------------------------------------------

    def group(self, key: str) -> Group | None:
        """The key's cells with the writes merged in."""
        group = self.replica.group(key)
        writes = self.writes.get(key)
        if writes is None:
            return group
        for slot, write in sorted(writes.items(), key=lambda pair: pair[0] != TOMBSTONE):
            group = merge(group, self._provisional(key, slot, write))
        return group

    def _provisional(self, key: str, slot: Slot, write: Write) -> Cell:
        stamp = write.stamp
        if stamp is None:
            stamp = Hlc(
                _PROVISIONAL - (slot == TOMBSTONE)
            )  # what is written after a delete is not covered by it
        expires = self._life(key, slot, write)
        data = write.value or encode_entry(key, write.field, write.op, stamp, expires, None)
        size = NO_VALUE if write.value is None else len(write.value)
        return (stamp, slot, expires, size, self.origin, 0, data)

    def is_visible(self, group: Group | None) -> bool:
        """Would the application see this group?"""
        return (
            group is not None
            and views.has_content(group, self.kind)
            and not views.is_expired(group, self.wall_ms)
        )

    def final_tombstone(self, key: str) -> Cell | None:
        """The final delete that holds for a key, pending or merged."""
        pending = self.writes.get(key, {}).get(TOMBSTONE)
        if pending is not None and pending.op is Op.FINAL:
            return (self.next_stamp, TOMBSTONE, pending.expires, NO_VALUE, self.origin, 0, b"")
        group = self.replica.group(key)
        for cell in cells_in(group) if group is not None else ():
            if cell[SLOT] == TOMBSTONE and cell[EXPIRES] is not None:
                return cell
        return None

    # -- writes ----------------------------------------------------------------------------------------------

    def write(self, key: str, slot: Slot, write: Write) -> None:
        """Lay one write over a cell. The last one of a key says how long it lives, as it would in bundles of their own."""
        self.writes.setdefault(key, {})[slot] = write
        if slot != TOMBSTONE:
            self._lives[key] = write.expires

    def _life(self, key: str, slot: Slot, write: Write) -> int | None:
        return write.expires if slot == TOMBSTONE else self._lives[key]

    def begin(self, key: str) -> None:
        """Where the key has ended (expired, or deleted in this draft), cover its old cells so that they do not come back.

        The covering tombstone is stamped as the newest of them: it hides what we saw end and nothing that others write.
        """
        if self.kind is Kind.VALUE:
            return
        group = self.replica.group(key)
        pending = self.writes.get(key, {})
        was_deleted = TOMBSTONE in pending and pending[TOMBSTONE].stamp is None
        has_expired = not pending and group is not None and views.is_expired(group, self.wall_ms)
        if not was_deleted and not has_expired:
            return
        self.writes.pop(key, None)
        last = None if group is None else views.newest(group)
        if last is not None:
            # No entry may be stamped after its bundle; cells of our own past may be, once our clock was set back.
            covered = Hlc(min(last[STAMP], self.next_stamp - 1))
            self.write(key, TOMBSTONE, Write(Op.DELETE, None, None, None, covered))

    def end(self, key: str) -> None:
        """Delete a key, the way the bucket deletes."""
        rules = self.replica.rules
        if rules.deletes is Deletes.FINAL and rules.ttl_ms is not None:
            # From the stamp on, where others' clocks have taken ours ahead: a tombstone covers at least what came before it.
            now_ms = max(self.wall_ms, hlc_ms(self.next_stamp))
            until = now_ms + max(rules.ttl_ms, self._horizon_ms)
            self.writes[key] = {TOMBSTONE: Write(Op.FINAL, None, until, None)}
        else:
            self.writes[key] = {TOMBSTONE: Write(Op.DELETE, None, None, None)}

    def expires(self, ttl_ms: int | None) -> int | None:
        """When a write with this ttl expires, in wall ms; None: the bucket's ttl, NO_EXPIRY: never."""
        rules = self.replica.rules
        ttl = rules.ttl_ms if ttl_ms is None else None if ttl_ms == NO_EXPIRY else ttl_ms
        if rules.deletes is Deletes.FINAL and rules.ttl_ms is not None:
            ttl = rules.ttl_ms if ttl is None else min(ttl, rules.ttl_ms)
        return None if ttl is None else self.wall_ms + ttl

    def entries(self, stamp: Hlc) -> list[Entry]:
        """The writes as entries."""
        made = []
        for key, writes in self.writes.items():
            for slot, write in writes.items():
                at = stamp if write.stamp is None else write.stamp
                expires = self._life(key, slot, write)
                data = encode_entry(key, write.field, write.op, at, expires, write.value)
                made.append(Entry(key, write.field, write.op, at, expires, write.value, data))
        return made
