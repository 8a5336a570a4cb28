"""Parts of one key: a map's fields, a counter, a set's elements; of a bucket or within a batch.

A view holds no data. It reads and writes through whatever it was made from, so that the same class serves
a bucket, where each call is a write of its own, and a batch, where calls gather.

Invariant: a view writes only the part it was told to, so two peers that write different fields of one map,
or add to one counter, both keep what they wrote.
"""

from collections.abc import Callable, Iterator, MutableMapping, MutableSet
from typing import TYPE_CHECKING, Protocol, TypeVar

from gossipsync.errors import BucketKindError

if TYPE_CHECKING:
    from gossipsync.core import Draft

__all__ = ["Counter", "Elements", "Fields", "Source"]

T = TypeVar("T")


class Source(Protocol):
    """What a view reads and writes through."""

    def read(self, key: str) -> object:
        """A fresh plain value. Raises KeyError."""
        ...

    def edit(self, change: Callable[["Draft"], T]) -> T:
        """Draft something; whatever `change` raises is raised, and nothing has happened."""
        ...


class Fields(MutableMapping[str, object]):
    """The fields of one map, as a mapping. Raises KeyError where the map itself is absent."""

    def __init__(self, source: Source, key: str) -> None:
        self._source = source
        self._key = key

    def __getitem__(self, field: str) -> object:
        return self._all()[field]

    def __setitem__(self, field: str, value: object) -> None:
        self._source.edit(lambda draft: draft.set_field(self._key, field, value))

    def __delitem__(self, field: str) -> None:
        self._source.edit(lambda draft: draft.delete_field(self._key, field))

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return f"<Fields of {self._key!r}>"

    def _all(self) -> dict[str, object]:
        fields = self._source.read(self._key)
        if not isinstance(fields, dict):
            raise _kind_changed("map")
        return fields


class Counter:
    """One counter. It begins at 0; what different peers add adds up."""

    def __init__(self, source: Source, key: str) -> None:
        self._source = source
        self._key = key

    @property
    def value(self) -> int:
        """The sum of all additions known here. Raises BucketKindError."""
        try:
            value = self._source.read(self._key)
        except KeyError:
            return 0
        if type(value) is not int:
            raise _kind_changed("counter")
        return value

    def add(self, n: int = 1) -> None:
        """Add, or subtract with a negative number. Raises ValueTypeError, OverloadedError."""
        self._source.edit(lambda draft: draft.add(self._key, n))

    def __repr__(self) -> str:
        return f"<Counter {self._key!r}>"


class Elements(MutableSet[str]):
    """One set of str. It begins empty; what one peer adds while another removes it stays."""

    def __init__(self, source: Source, key: str) -> None:
        self._source = source
        self._key = key

    def add(self, value: str) -> None:
        """Add one element. Raises ValueTypeError, OverloadedError."""
        self._source.edit(lambda draft: draft.add_element(self._key, value))

    def discard(self, value: str) -> None:
        """Remove one element if it is there."""
        self._source.edit(lambda draft: draft.discard_element(self._key, value))

    def __contains__(self, value: object) -> bool:
        return value in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return f"<Elements of {self._key!r}>"

    @classmethod
    def _from_iterable(cls, it: object) -> set[str]:  # type: ignore[override]
        """What `elements & others` gives is a plain set."""
        return set(it)  # type: ignore[call-overload,no-any-return]

    def _all(self) -> frozenset[str]:
        try:
            elements = self._source.read(self._key)
        except KeyError:
            return frozenset()
        if not isinstance(elements, frozenset):
            raise _kind_changed("set")
        return elements


def _kind_changed(kind: str) -> BucketKindError:
    """Another peer's earlier announcement holds, and it came after this view was made."""
    return BucketKindError(
        f"this bucket held {kind}s and does no more, because another peer announced it earlier with another kind; "
        "see the warning bucket-mismatch, and open another bucket"
    )
