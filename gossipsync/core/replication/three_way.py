"""Three-way merge of one key: the changes between two plain copies, applied to the value that is here now.

A slow reader that saves the copy it read would undo every write made meanwhile. So a save names both copies, the one that was read
and the one to be saved, and only the differences between them are drafted. Invariant: a field, or an element, that is the same in
both copies is neither written nor removed.
"""

from __future__ import annotations

from typing import Final

from gossipsync.core.model.bucket import Kind
from gossipsync.core.model.values import encode_value
from gossipsync.core.replication.draft import Draft
from gossipsync.errors import BucketKindError, EndedKeyError, ValueTypeError

_SETS: Final = (set, frozenset)


def merge_changes(
    draft: Draft, key: str, before: object, after: object, ttl_ms: int | None = None
) -> None:
    """Draft the changes from `before` to `after`; nothing if there are none.

    `before` None: the key was absent when it was read, so all of `after` is written and nothing is removed. In a map bucket fields are
    merged, in a set bucket elements, in a value bucket the keys of a dict (the value is still written as a whole). Raises EndedKeyError
    if the key was there when it was read and is not now, BucketKindError for counters, ValueTypeError for the wrong shape.
    """
    kind = draft.replica.rules.kind
    if kind is Kind.COUNTER:
        raise BucketKindError(
            f"bucket {draft.replica.name!r} holds counters: use counter(key).add(n), which never undoes another's addition"
        )
    if before is not None and after is not None and not _differ(kind, before, after):
        return
    if before is not None and not draft.has(key):
        raise EndedKeyError(
            f"key {key!r} was deleted or expired after it was read, and nothing was written: "
            "treat the record as gone, as for a session that was logged out"
        )
    match kind:
        case Kind.MAP:
            _merge_map(draft, key, before, after, ttl_ms)
        case Kind.SET:
            _merge_set(draft, key, before, after)
        case Kind.VALUE:
            present = draft.read(key) if draft.has(key) else None
            draft.put(key, _merged(before, after, present), ttl_ms)


def _differ(kind: Kind, before: object, after: object) -> bool:
    if kind is Kind.SET:
        return _elements(before) != _elements(after)
    return encode_value(before) != encode_value(after)


def _merge_map(draft: Draft, key: str, before: object, after: object, ttl_ms: int | None) -> None:
    old = {} if before is None else _fields(before)
    new = _fields(after)
    if not draft.has(key):
        draft.put(key, new, ttl_ms)
        return
    for field in _changed(old, new):
        draft.set_field(key, field, new[field], ttl_ms)
    present = _fields(draft.read(key))
    for field in old:
        if field not in new and field in present:
            draft.delete_field(key, field, ttl_ms)


def _merge_set(draft: Draft, key: str, before: object, after: object) -> None:
    old = frozenset() if before is None else _elements(before)
    new = _elements(after)
    for element in sorted(new - old):
        draft.add_element(key, element)
    for element in sorted(old - new):
        draft.discard_element(key, element)


def _merged(before: object, after: object, present: object) -> object:
    """The value to write; dicts are merged key by key, any other value is replaced."""
    if not (isinstance(after, dict) and isinstance(present, dict)):
        return after
    old = before if isinstance(before, dict) else {}
    kept = {name: part for name, part in present.items() if name in after or name not in old}
    return kept | {name: after[name] for name in _changed(old, after)}


def _changed(old: dict[str, object], new: dict[str, object]) -> list[str]:
    return [
        name
        for name, part in new.items()
        if name not in old or encode_value(old[name]) != encode_value(part)
    ]


def _fields(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueTypeError(f"a map is a dict with str keys, not {type(value).__name__}")
    return value


def _elements(value: object) -> frozenset[str]:
    if not isinstance(value, _SETS):
        raise ValueTypeError(f"a set is a set of str, not {type(value).__name__}")
    return frozenset(value)
