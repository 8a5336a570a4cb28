"""What all buckets share: the mapping, and writes that do not wait.

Reads are dictionary look-ups in this process's replica, from any thread, without a lock. Iteration and
views are snapshots. Each write is one signed entry on its way to every peer as soon as the call returns.

Invariant: whatever raises has written nothing, except that `update` and `clear` of more than one batch may
have written the batches before.
"""

from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    ValuesView,
)
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from gossipsync.embed._binding import Binding
from gossipsync.embed._durations import Ttl, ttl_ms
from gossipsync.embed._sources import DirectSource
from gossipsync.embed._values import Entry, Version, entry_of, versions_of
from gossipsync.embed._views import Counter, Elements, Fields
from gossipsync.errors import OverloadedError, ValueTooLargeError

if TYPE_CHECKING:
    from gossipsync.core import Draft

__all__ = ["BucketBase", "delete_present"]

_BATCH_KEYS: Final = 1024  # bounds how long one batch of `update` or `clear` holds the lock
_ABSENT: Final = object()
T = TypeVar("T")


class BucketBase(MutableMapping[str, object]):
    """One bucket as a mapping from str to plain values. Made by `mesh.bucket`."""

    def __init__(self, binding: Binding, source: DirectSource) -> None:
        self.name = binding.name
        self._binding = binding
        self._source = source
        self._edit = source.edit

    # -- the mapping ---------------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> object:
        binding = self._binding
        return binding.read(key, binding.wall_ms())

    def get(self, key: str, default: object = None) -> object:
        """The value as a fresh plain copy, else `default`."""
        binding = self._binding
        try:
            return binding.read(key, binding.wall_ms())
        except KeyError:
            return default

    def __setitem__(self, key: str, value: object) -> None:
        try:
            self._binding.put(key, value)
        except OverloadedError:
            self._edit(lambda draft: draft.put(key, value))

    def __delitem__(self, key: str) -> None:
        self._edit(lambda draft: delete_present(draft, key))

    def __contains__(self, key: object) -> bool:
        binding = self._binding
        return isinstance(key, str) and binding.replica().has(key, binding.wall_ms())

    def __len__(self) -> int:
        return len(self._binding.replica())

    def __iter__(self) -> Iterator[str]:
        return iter(self._binding.snapshot(lambda replica, wall_ms: replica.keys(wall_ms)))

    def keys(self, prefix: str = "") -> KeysView[str]:
        """The keys that begin with `prefix`, as they are now."""
        keys = self._binding.snapshot(lambda replica, wall_ms: replica.keys(wall_ms, prefix))
        return dict.fromkeys(keys).keys()

    def items(self, prefix: str = "") -> ItemsView[str, object]:
        """Keys that begin with `prefix`, and their values, as they are now."""
        return self._pairs(prefix).items()

    def values(self) -> ValuesView[object]:
        """All values, as they are now."""
        return self._pairs("").values()

    def pop(self, key: str, default: object = _ABSENT) -> object:
        """Delete a key and return its value; where it is absent, `default`, else KeyError."""

        def change(draft: "Draft") -> object:
            value = draft.read(key)
            draft.delete(key)
            return value

        try:
            return self._edit(change)
        except KeyError:
            if default is _ABSENT:
                raise
            return default

    def popitem(self) -> tuple[str, object]:
        """Delete the key that was first written last, and return it with its value. Raises KeyError."""

        def change(draft: "Draft") -> tuple[str, object]:
            keys = draft.replica.keys(self._binding.wall_ms())
            if not keys:
                raise KeyError("popitem(): the bucket is empty")
            value = draft.read(keys[-1])
            draft.delete(keys[-1])
            return keys[-1], value

        return self._edit(change)

    def setdefault(self, key: str, default: object = None) -> object:
        """The value of a key, written as `default` where it was absent here."""

        def change(draft: "Draft") -> object:
            if not draft.has(key):
                draft.put(key, default)
            return draft.read(key)

        return self._edit(change)

    def update(  # type: ignore[override]
        self, other: Mapping[str, object] | Iterable[tuple[str, object]] = (), /, **more: object
    ) -> None:
        """Write many keys, in as few batches as the limits allow."""

        def put(draft: "Draft", pair: tuple[str, object]) -> None:
            draft.put(*pair)

        self._in_batches(dict(other, **more).items(), put)

    def clear(self) -> None:
        """Delete all keys present here, in as few batches as the limits allow."""
        self._in_batches(self.keys(), lambda draft, key: draft.delete(key))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    # -- beyond the mapping --------------------------------------------------------------------------------

    def touch(self, key: str, ttl: Ttl = None) -> bool:
        """Extend a key's life to `ttl` from now (None: the bucket's); False where it is absent.

        Sends nothing where that would extend it by less than 5 % of the ttl.
        """
        milliseconds = ttl_ms(ttl)
        return self._edit(lambda draft: draft.touch(key, milliseconds))

    def entry(self, key: str) -> Entry:
        """The value with its origin, sender, stamp and expiry. Raises KeyError."""
        binding = self._binding
        return entry_of(binding.replica().provenance(key, binding.wall_ms()))

    def history(self, key: str) -> list[Version]:
        """Every write to a key that still holds, or that lost within the bucket's `history=`, oldest first.

        Reaches back as far as this peer has been there; empty for a key that nobody wrote. Looks through all logs of the bucket.
        """
        return versions_of(self._binding.history(key))

    def fields(self, key: str) -> Fields:
        """The fields of one map, each written by itself. Raises BucketKindError."""
        self._binding.check_kind("map")
        return Fields(self._source, key)

    def counter(self, key: str) -> Counter:
        """One counter: `add(n)` and `value`. Raises BucketKindError."""
        self._binding.check_kind("counter")
        return Counter(self._source, key)

    def elements(self, key: str) -> Elements:
        """The elements of one set: `add`, `discard`, iteration. Raises BucketKindError."""
        self._binding.check_kind("set")
        return Elements(self._source, key)

    # -- what they share -----------------------------------------------------------------------------------

    def _pairs(self, prefix: str) -> dict[str, object]:
        pairs = self._binding.snapshot(lambda replica, wall_ms: replica.pairs(wall_ms, prefix))
        return dict(pairs)

    def _in_batches(self, parts: Iterable[T], change: Callable[["Draft", T], None]) -> None:
        rest = iter(parts)
        while batch := list(islice(rest, _BATCH_KEYS)):
            self._in_one_batch(batch, change)

    def _in_one_batch(self, batch: list[T], change: Callable[["Draft", T], None]) -> None:
        """Halved where it is too large for one bundle."""

        def change_all(draft: "Draft") -> None:
            for part in batch:
                change(draft, part)

        try:
            self._edit(change_all)
        except ValueTooLargeError:
            if len(batch) == 1:
                raise
            middle = len(batch) // 2
            self._in_one_batch(batch[:middle], change)
            self._in_one_batch(batch[middle:], change)


def delete_present(draft: "Draft", key: str) -> None:
    """Delete as dict does. Raises KeyError."""
    if not draft.has(key):
        raise KeyError(key)
    draft.delete(key)
