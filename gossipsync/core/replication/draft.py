"""Drafts: writes on their way to becoming one bundle.

A draft collects operations over a replica, reads its own writes, and is turned into entries with one stamp when it is
committed. If the replica moved on meanwhile (a batch may stay open for long), its operations are done again on what is there
then, so a counter never loses what another thread added. Each cell gets one op; nothing is applied before the commit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from gossipsync.core.model.bucket import Deletes, Kind
from gossipsync.core.model.entry import MAX_KEY_BYTES, Entry, Field, Op, encode_entry
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import Origin
from gossipsync.core.model.limits import Limits
from gossipsync.core.model.values import encode_value
from gossipsync.core.replication import views
from gossipsync.core.replication.cells import (
    EXPIRES,
    MARK,
    NO_VALUE,
    SLOT,
    STAMP,
    TOMBSTONE,
    TOUCH,
    Cell,
    Group,
    Slot,
    cells_in,
    merge,
    rank,
)
from gossipsync.core.replication.replica import Replica
from gossipsync.errors import (
    BucketKindError,
    EndedKeyError,
    KeyTooLongError,
    LocalError,
    ValueTooLargeError,
    ValueTypeError,
)

NO_EXPIRY: Final = -1
"""A ttl that means: live until deleted."""
TOUCH_SHARE: Final = 0.05
"""A touch that extends a life by less than this share of the ttl sends nothing."""
_PROVISIONAL: Final = Hlc((1 << 63) - 1)
_EMPTY_VALUE: Final = b"\xf6"
"""CBOR null: the value of a set's element."""


@frozen
class Write:
    """What a draft does to one cell. `stamp` is None where it gets the stamp of the commit."""

    op: Op
    field: Field
    expires: int | None
    value: bytes | None
    stamp: Hlc | None = None


class Draft:
    """Writes to one bucket at one moment. Methods raise LocalError at the call and then have done nothing."""

    def __init__(
        self,
        replica: Replica,
        *,
        origin: Origin,
        wall_ms: int,
        next_stamp: Hlc,
        horizon_ms: int,
        limits: Limits,
    ):
        self.replica = replica
        self._origin = origin
        self._wall_ms = wall_ms
        self._next_stamp = next_stamp
        self._horizon_ms = horizon_ms
        self._limits = limits
        self._version = replica.version
        self._again: list[Callable[[Draft], object]] = []
        self._writes: dict[str, dict[Slot, Write]] = {}

    @property
    def is_empty(self) -> bool:
        """Would a commit write nothing?"""
        return not self._writes

    @property
    def is_current(self) -> bool:
        """Has the replica stayed as it was when the draft began?"""
        return self._version == self.replica.version

    # -- reads -----------------------------------------------------------------------------------------------

    def read(self, key: str) -> object:
        """A fresh plain value, own writes included. Raises KeyError."""
        group = self._group(key)
        if group is None or not self._is_visible(group):
            raise KeyError(key)
        return views.show(group, self._kind)

    def has(self, key: str) -> bool:
        """Would the key be visible after the commit?"""
        return self._is_visible(self._group(key))

    @property
    def _kind(self) -> Kind:
        return self.replica.rules.kind

    def _is_visible(self, group: Group | None) -> bool:
        return (
            group is not None
            and views.has_content(group, self._kind)
            and not views.is_expired(group, self._wall_ms)
        )

    def _group(self, key: str) -> Group | None:
        """The key's cells with this draft's writes merged in."""
        group = self.replica.group(key)
        writes = self._writes.get(key)
        if writes is None:
            return group
        for slot, write in sorted(writes.items(), key=lambda pair: pair[0] != TOMBSTONE):
            stamp = _PROVISIONAL if write.stamp is None else write.stamp
            if slot == TOMBSTONE and write.stamp is None:
                stamp = Hlc(_PROVISIONAL - 1)
            data = write.value or encode_entry(
                key, write.field, write.op, stamp, write.expires, None
            )
            size = NO_VALUE if write.value is None else len(write.value)
            group = merge(group, (stamp, slot, write.expires, size, self._origin, 0, data))
        return group

    # -- writes ----------------------------------------------------------------------------------------------

    def put(self, key: str, value: object, ttl_ms: int | None = None) -> None:
        """Assign a value, or a dict of fields where the bucket's kind is map."""
        match self._kind:
            case Kind.VALUE:
                data = self._encoded(value)
                self._check_writable(key)
                self._begin(key)
                self._writes[key] = {None: Write(Op.SET, None, self._expires(ttl_ms), data)}
            case Kind.MAP:
                self._put_map(key, value, ttl_ms)
            case Kind.COUNTER | Kind.SET:
                raise BucketKindError(
                    f"bucket {self.replica.name!r} holds {self._kind.name.lower()}s: use counter(key).add(n) "
                    "or elements(key).add(element) instead of assigning"
                )
        self._again.append(lambda draft: draft.put(key, value, ttl_ms))

    def delete(self, key: str) -> None:
        """Write a delete, whether the key is here or not."""
        _check_text(key, "key")
        rules = self.replica.rules
        if rules.deletes is Deletes.FINAL and rules.ttl_ms is not None:
            until = self._wall_ms + max(rules.ttl_ms, self._horizon_ms)
            write = Write(Op.FINAL, None, until, None)
        else:
            write = Write(Op.DELETE, None, None, None)
        self._writes[key] = {TOMBSTONE: write}
        self._again.append(lambda draft: draft.delete(key))

    def touch(self, key: str, ttl_ms: int | None = None) -> bool:
        """Extend a life; False where the key is absent. Sends nothing when that would extend it by less than 5 % of the ttl."""
        group = self._group(key)
        if group is None or not self._is_visible(group):
            return False
        last = views.newest(group)
        assert last is not None
        expires, now = last[EXPIRES], self._expires(ttl_ms)
        if expires is None or (
            now is not None and now - expires < TOUCH_SHARE * (now - self._wall_ms)
        ):
            return True
        self._write(key, TOUCH, Write(Op.TOUCH, None, now, None))
        self._again.append(lambda draft: draft.touch(key, ttl_ms))
        return True

    def set_field(self, key: str, field: str, value: object) -> None:
        """Set one field of a map. Raises KeyError where the key is absent."""
        self._check_kind(Kind.MAP)
        data = self._encoded(value)
        _check_text(field, "field", least=0)
        if not self.has(key):
            raise KeyError(key)
        self._check_writable(key)
        self._write(key, field, Write(Op.SET, field, self._expires(None), data))
        self._again.append(lambda draft: draft.set_field(key, field, value))

    def delete_field(self, key: str, field: str) -> None:
        """Remove one field of a map. Raises KeyError where key or field is absent."""
        self._check_kind(Kind.MAP)
        shown = self.read(key)
        assert isinstance(shown, dict)
        if field not in shown:
            raise KeyError(field)
        expires = self._expires(None)
        if len(shown) == 1:
            self._write(
                key, MARK, Write(Op.MARK, None, expires, None)
            )  # a map may be empty and still be there
        self._write(key, field, Write(Op.DELETE, field, expires, None))
        self._again.append(lambda draft: draft.delete_field(key, field))

    def add(self, key: str, n: int) -> None:
        """Add to a counter, which begins at 0."""
        self._check_kind(Kind.COUNTER)
        if type(n) is not int:
            raise ValueTypeError("a counter takes an int")
        self._check_writable(key)
        self._begin(key)
        group = self._group(key)
        base = views.tombstone_name(group)
        mine = (
            next(
                (cell for cell in views.content(group, Kind.COUNTER) if cell[SLOT] == self._origin),
                None,
            )
            if group
            else None
        )
        total = (0 if mine is None else views.total_in(mine, base)) + n
        if not -(1 << 63) <= total < 1 << 63:
            raise ValueTypeError("a counter's running total must lie within -2**63 and 2**63 - 1")
        self._write(
            key,
            self._origin,
            Write(Op.SET, self._origin, self._expires(None), views.encode_total(total, base)),
        )
        self._again.append(lambda draft: draft.add(key, n))

    def add_element(self, key: str, element: str) -> None:
        """Add to a set."""
        self._check_kind(Kind.SET)
        _check_text(element, "element", least=0)
        self._check_writable(key)
        self._begin(key)
        self._write(key, element, Write(Op.SET, element, self._expires(None), _EMPTY_VALUE))
        self._again.append(lambda draft: draft.add_element(key, element))

    def discard_element(self, key: str, element: str) -> None:
        """Remove from a set; nothing happens where the element is not in it."""
        self._check_kind(Kind.SET)
        _check_text(element, "element", least=0)
        shown = self.read(key) if self.has(key) else frozenset()
        assert isinstance(shown, frozenset)
        if element in shown:
            self._write(key, element, Write(Op.DELETE, element, self._expires(None), None))
        self._again.append(lambda draft: draft.discard_element(key, element))

    def _put_map(self, key: str, value: object, ttl_ms: int | None) -> None:
        """Write only what differs from the map as it is seen here, and remove what is gone."""
        if not isinstance(value, dict):
            raise ValueTypeError(
                f"bucket {self.replica.name!r} holds maps: assign a dict with str keys"
            )
        new = {
            _check_text(field, "field", least=0): self._encoded(part)
            for field, part in value.items()
        }
        self._check_writable(key)
        self._begin(key)
        group = self._group(key)
        old = (
            {cell[SLOT]: views.value_bytes(cell) for cell in _fields_of(group)}
            if self._is_visible(group)
            else {}
        )
        expires = self._expires(ttl_ms)
        writes: dict[Slot, Write] = {
            field: Write(Op.SET, field, expires, data)
            for field, data in new.items()
            if old.get(field) != data
        }
        writes |= {
            field: Write(Op.DELETE, str(field), expires, None) for field in old if field not in new
        }
        if not new:
            writes[MARK] = Write(Op.MARK, None, expires, None)
        elif not writes:
            writes[TOUCH] = Write(Op.TOUCH, None, expires, None)
        for slot, write in writes.items():
            self._write(key, slot, write)

    # -- what writes share -----------------------------------------------------------------------------------

    def _write(self, key: str, slot: Slot, write: Write) -> None:
        self._writes.setdefault(key, {})[slot] = write

    def _begin(self, key: str) -> None:
        """Where the key has ended (expired, or deleted in this draft), cover its old cells so that they do not come back.

        The covering tombstone is stamped as the newest of them: it hides what we saw end and nothing that others write.
        """
        if self._kind is Kind.VALUE:
            return
        group = self.replica.group(key)
        pending = self._writes.get(key, {})
        deleted = TOMBSTONE in pending and pending[TOMBSTONE].stamp is None
        if not deleted and not (
            group is not None and not pending and views.is_expired(group, self._wall_ms)
        ):
            return
        last = views.newest(group) if group is not None else None
        self._writes.pop(key, None)
        if last is not None:
            self._write(key, TOMBSTONE, Write(Op.DELETE, None, None, None, Hlc(last[STAMP])))

    def _check_kind(self, kind: Kind) -> None:
        if self._kind is not kind:
            raise BucketKindError(
                f"bucket {self.replica.name!r} holds {self._kind.name.lower()}s, not {kind.name.lower()}s; "
                "open another bucket for the other kind"
            )

    def _check_writable(self, key: str) -> None:
        _check_text(key, "key")
        tombstone = self._final_tombstone(key)
        if tombstone is not None and self._next_stamp <= rank(tombstone):
            raise EndedKeyError(
                f"key {key!r} has ended and cannot be written again: choose a new key, as for a new session"
            )

    def _final_tombstone(self, key: str) -> Cell | None:
        pending = self._writes.get(key, {}).get(TOMBSTONE)
        if pending is not None and pending.op is Op.FINAL:
            return (self._next_stamp, TOMBSTONE, pending.expires, NO_VALUE, self._origin, 0, b"")
        group = self.replica.group(key)
        for cell in cells_in(group) if group is not None else ():
            if cell[SLOT] == TOMBSTONE and cell[EXPIRES] is not None:
                return cell
        return None

    def _encoded(self, value: object) -> bytes:
        data = encode_value(value)
        if len(data) > self._limits.value_bytes:
            raise ValueTooLargeError(
                f"this value takes {len(data):,} bytes and the limit is {self._limits.value_bytes:,}: "
                "split it, or keep it elsewhere and store where it is"
            )
        return data

    def _expires(self, ttl_ms: int | None) -> int | None:
        rules = self.replica.rules
        ttl = rules.ttl_ms if ttl_ms is None else None if ttl_ms == NO_EXPIRY else ttl_ms
        if rules.deletes is Deletes.FINAL and rules.ttl_ms is not None:
            ttl = rules.ttl_ms if ttl is None else min(ttl, rules.ttl_ms)
        return None if ttl is None else self._wall_ms + ttl

    # -- commit ----------------------------------------------------------------------------------------------

    def redone(self, fresh: Draft) -> Draft:
        """Do the same operations on a fresh draft. One that has lost its ground (KeyError) raises LocalError."""
        for operation in self._again:
            try:
                operation(fresh)
            except KeyError as error:
                raise LocalError(
                    f"key {error} was deleted while the batch was open; nothing was written"
                ) from error
        return fresh

    def entries(self, stamp: Hlc) -> list[Entry]:
        """The entries, in an order that merges to what the draft shows."""
        made = []
        for key, writes in self._writes.items():
            for write in writes.values():
                at = stamp if write.stamp is None else write.stamp
                data = encode_entry(key, write.field, write.op, at, write.expires, write.value)
                made.append(Entry(key, write.field, write.op, at, write.expires, write.value, data))
        return made


def _fields_of(group: Group | None) -> list[Cell]:
    return (
        []
        if group is None
        else [cell for cell in views.content(group, Kind.MAP) if cell[SLOT] != MARK]
    )


def _check_text(text: object, what: str, least: int = 1) -> str:
    """Keys, fields and elements: str of at most 512 bytes of UTF-8."""
    if type(text) is not str:
        raise ValueTypeError(f"a {what} is a str, not {type(text).__name__}")
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueTypeError(f"this {what} is not valid Unicode: {error}") from error
    if not least <= size <= MAX_KEY_BYTES:
        raise KeyTooLongError(
            f"a {what} takes {least} to {MAX_KEY_BYTES} bytes of UTF-8, this one {size}: hash or shorten it"
        )
    return text
