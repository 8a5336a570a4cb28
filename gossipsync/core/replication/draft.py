"""Drafts: writes on their way to becoming one bundle.

A draft collects operations over a replica, reads its own writes, and is turned into entries with one stamp when it is
committed. If the replica moved on meanwhile (a batch may stay open for long), its operations are done again on what is there
then, so a counter never loses what another thread added. Each cell gets one op; nothing is applied before the commit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from gossipsync.core.model.bucket import Kind
from gossipsync.core.model.entry import MAX_KEY_BYTES, Entry, Op
from gossipsync.core.model.hlc import ZERO, Hlc
from gossipsync.core.model.ids import Origin
from gossipsync.core.model.limits import Limits
from gossipsync.core.model.values import decode_value, encode_value
from gossipsync.core.replication import views
from gossipsync.core.replication.cells import EXPIRES, MARK, SLOT, TOUCH, Cell, Group, Slot, rank
from gossipsync.core.replication.overlay import NO_EXPIRY, Overlay, Write
from gossipsync.core.replication.replica import Replica
from gossipsync.errors import (
    BucketKindError,
    EndedKeyError,
    KeyTooLongError,
    LocalError,
    ValueTooLargeError,
    ValueTypeError,
)

__all__ = ["NOTHING", "NO_EXPIRY", "After", "Draft"]

TOUCH_SHARE: Final = 0.05
"""A touch that extends a life by less than this share of the ttl sends nothing."""
_EMPTY_VALUE: Final = b"\xf6"
"""CBOR null: the value of a set's element."""


@frozen
class After:
    """What a draft is ordered after, by the word of a token."""

    hlc: Hlc = ZERO
    """It is stamped above this."""
    is_seen: bool = True
    """Is all of that here? If not, a write may change what it cannot see, and leaves nothing out for being so already."""


NOTHING: Final = After()


class Draft:
    """Writes to one bucket at one moment. Methods raise LocalError at the call and then have done nothing.

    `ttl_ms`: None is the bucket's, NO_EXPIRY is none. Values are taken as they are at the call.
    """

    def __init__(self, overlay: Overlay, limits: Limits, after: After = NOTHING) -> None:
        self.after = after
        self._overlay = overlay
        self._limits = limits
        self._again: list[Callable[[Draft], object]] = []

    @property
    def replica(self) -> Replica:
        """The bucket it writes to."""
        return self._overlay.replica

    @property
    def origin(self) -> Origin:
        """In whose name it writes: a counter's total belongs to one epoch."""
        return self._overlay.origin

    @property
    def is_empty(self) -> bool:
        """Would a commit write nothing?"""
        return not self._overlay.writes

    @property
    def is_current(self) -> bool:
        """Has the replica stayed as it was when the draft began?"""
        return self._overlay.is_current

    def read(self, key: str) -> object:
        """A fresh plain value, own writes included. Raises KeyError."""
        group = self._overlay.group(key)
        if group is None or not self._overlay.is_visible(group):
            raise KeyError(key)
        return views.show(group, self._overlay.kind)

    def has(self, key: str) -> bool:
        """Would the key be visible after the commit?"""
        return self._overlay.is_visible(self._overlay.group(key))

    # -- any kind --------------------------------------------------------------------------------------------

    def put(self, key: str, value: object, ttl_ms: int | None = None) -> None:
        """Assign a value, or a dict of fields where the bucket's kind is map."""
        overlay = self._overlay
        match overlay.kind:
            case Kind.VALUE:
                data = self._encoded(value)
                self._check_writable(key)
                overlay.writes.pop(key, None)
                overlay.write(key, None, Write(Op.SET, None, overlay.expires(ttl_ms), data))
                self._again.append(lambda draft: draft.put(key, decode_value(data), ttl_ms))
            case Kind.MAP:
                self._put_map(key, value, ttl_ms)
            case Kind.COUNTER | Kind.SET:
                raise BucketKindError(
                    f"bucket {self.replica.name!r} holds {overlay.kind.name.lower()}s: use counter(key).add(n) "
                    "or elements(key).add(element) instead of assigning"
                )

    def delete(self, key: str) -> None:
        """Write a delete, whether the key is here or not."""
        check_text(key, "key")
        self._overlay.end(key)
        self._again.append(lambda draft: draft.delete(key))

    def touch(self, key: str, ttl_ms: int | None = None) -> bool:
        """Extend a life; False where the key is absent. Writes nothing where that would extend it by less than 5 % of the ttl."""
        overlay = self._overlay
        group = overlay.group(key)
        if group is None or not overlay.is_visible(group):
            return False
        last = views.newest(group)
        assert last is not None, "a visible key has a newest cell"
        before, after = last[EXPIRES], overlay.expires(ttl_ms)
        if before is None or (
            after is not None and after - before < TOUCH_SHARE * (after - overlay.wall_ms)
        ):
            return True
        overlay.write(key, TOUCH, Write(Op.TOUCH, None, after, None))
        self._again.append(lambda draft: draft.touch(key, ttl_ms))
        return True

    def rewrite(self, key: str, slot: Slot, entry: Entry, stamp: Hlc | None = None) -> None:
        """Say the same about one cell as an entry did, with a stamp of the past or, without one, of now."""
        # No entry may be stamped after its bundle.
        at = None if stamp is None else Hlc(min(stamp, self._overlay.next_stamp))
        self._overlay.write(
            key, slot, Write(Op(entry.op), entry.field, entry.expires, entry.value, at)
        )
        self._again.append(lambda draft: draft.rewrite(key, slot, entry, stamp))

    # -- maps ------------------------------------------------------------------------------------------------

    def set_field(self, key: str, field: str, value: object, ttl_ms: int | None = None) -> None:
        """Set one field of a map. Raises KeyError where the key is absent."""
        self._check_kind(Kind.MAP)
        data = self._encoded(value)
        check_text(field, "field", least=0)
        if not self.has(key):
            raise KeyError(key)
        self._check_writable(key)
        self._overlay.write(key, field, Write(Op.SET, field, self._overlay.expires(ttl_ms), data))
        self._again.append(lambda draft: draft.set_field(key, field, decode_value(data), ttl_ms))

    def delete_field(self, key: str, field: str, ttl_ms: int | None = None) -> None:
        """Remove one field of a map. Raises KeyError where key or field is absent."""
        self._check_kind(Kind.MAP)
        shown = self.read(key)
        assert isinstance(shown, dict)
        if field not in shown:
            raise KeyError(field)
        overlay = self._overlay
        expires = overlay.expires(ttl_ms)
        if len(shown) == 1:
            overlay.write(
                key, MARK, Write(Op.MARK, None, expires, None)
            )  # a map may be empty and still be there
        overlay.write(key, field, Write(Op.DELETE, field, expires, None))
        self._again.append(lambda draft: draft.delete_field(key, field, ttl_ms))

    def _put_map(self, key: str, value: object, ttl_ms: int | None) -> None:
        """Write only what differs from the map as it is seen here, and remove what is gone."""
        if not isinstance(value, dict):
            raise ValueTypeError(
                f"bucket {self.replica.name!r} holds maps: assign a dict with str keys"
            )
        new = {
            check_text(field, "field", least=0): self._encoded(part)
            for field, part in value.items()
        }
        self._check_writable(key)
        overlay = self._overlay
        overlay.begin(key)
        group = overlay.group(key)
        old = (
            {cell[SLOT]: views.value_bytes(cell) for cell in _fields_of(group)}
            if overlay.is_visible(group)
            else {}
        )
        expires = overlay.expires(ttl_ms)
        writes: dict[Slot, Write] = {
            field: Write(Op.SET, field, expires, data)
            for field, data in new.items()
            if old.get(field) != data or not self.after.is_seen
        }
        writes |= {
            field: Write(Op.DELETE, str(field), expires, None) for field in old if field not in new
        }
        if not new:
            writes[MARK] = Write(Op.MARK, None, expires, None)
        elif not writes:
            writes[TOUCH] = Write(Op.TOUCH, None, expires, None)
        for slot, write in writes.items():
            overlay.write(key, slot, write)
        self._again.append(
            lambda draft: draft.put(
                key, {field: decode_value(data) for field, data in new.items()}, ttl_ms
            )
        )

    # -- counters and sets -----------------------------------------------------------------------------------

    def add(self, key: str, n: int) -> None:
        """Add to a counter, which begins at 0."""
        self._check_kind(Kind.COUNTER)
        if type(n) is not int:
            raise ValueTypeError("a counter takes an int")
        _check_total(n)
        self._check_writable(key)
        overlay = self._overlay
        overlay.begin(key)
        group = overlay.group(key)
        base = views.tombstone_name(group)
        total = n + sum(
            views.total_in(cell, base) for cell in _totals_of(group) if cell[SLOT] == overlay.origin
        )
        _check_total(total)
        data = views.encode_total(total, base)
        overlay.write(
            key, overlay.origin, Write(Op.SET, overlay.origin, overlay.expires(None), data)
        )
        self._again.append(lambda draft: draft.add(key, n))

    def add_element(self, key: str, element: str) -> None:
        """Add to a set."""
        self._check_kind(Kind.SET)
        check_text(element, "element", least=0)
        self._check_writable(key)
        overlay = self._overlay
        overlay.begin(key)
        overlay.write(key, element, Write(Op.SET, element, overlay.expires(None), _EMPTY_VALUE))
        self._again.append(lambda draft: draft.add_element(key, element))

    def discard_element(self, key: str, element: str) -> None:
        """Remove from a set; nothing happens where the element is not in it."""
        self._check_kind(Kind.SET)
        check_text(element, "element", least=0)
        shown = self.read(key) if self.has(key) else frozenset()
        assert isinstance(shown, frozenset)
        if element in shown or not self.after.is_seen:
            self._overlay.write(
                key, element, Write(Op.DELETE, element, self._overlay.expires(None), None)
            )
        self._again.append(lambda draft: draft.discard_element(key, element))

    # -- checks ----------------------------------------------------------------------------------------------

    def _check_kind(self, kind: Kind) -> None:
        current = self._overlay.kind
        if current is not kind:
            raise BucketKindError(
                f"bucket {self.replica.name!r} holds {current.name.lower()}s, not {kind.name.lower()}s; "
                "open another bucket for the other kind"
            )

    def _check_writable(self, key: str) -> None:
        check_text(key, "key")
        tombstone = self._overlay.final_tombstone(key)
        if tombstone is not None and self._overlay.next_stamp <= rank(tombstone):
            raise EndedKeyError(
                f"key {key!r} has ended and cannot be written again: choose a new key, as for a new session"
            )

    def _encoded(self, value: object) -> bytes:
        data = encode_value(value)
        if len(data) > self._limits.value_bytes:
            raise ValueTooLargeError(
                f"this value takes {len(data):,} bytes and the limit is {self._limits.value_bytes:,}: "
                "split it, or keep it elsewhere and store where it is"
            )
        return data

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
        """What to sign and apply, all with this stamp."""
        return self._overlay.entries(stamp)


def _fields_of(group: Group | None) -> list[Cell]:
    return (
        []
        if group is None
        else [cell for cell in views.content(group, Kind.MAP) if cell[SLOT] != MARK]
    )


def _totals_of(group: Group | None) -> list[Cell]:
    return [] if group is None else views.content(group, Kind.COUNTER)


def _check_total(total: int) -> None:
    if not -views.MAX_TOTAL <= total < views.MAX_TOTAL:
        raise ValueTypeError("a counter's running total must lie within -2**63 and 2**63 - 1")


def check_text(text: object, what: str, least: int = 1) -> str:
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
