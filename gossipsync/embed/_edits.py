"""Edits: save only the changes that were made to a copy of a record.

A request that reads a session, works for a second and saves what it read would undo every write made meanwhile. An edit compares
its copy with the record as it was when the block began, and writes the differences alone.

Invariant: a field that the block did not change is not written; a block that changed nothing writes nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING

from gossipsync.errors import ValueTypeError

if TYPE_CHECKING:
    from gossipsync.core import Draft

__all__ = ["editing", "merging"]


@contextmanager
def editing(
    key: str, before: object, save: Callable[[dict[str, object]], object]
) -> Iterator[dict[str, object]]:
    """Give a plain copy of a record; at the end of the block `save` it. An exception in the block saves nothing."""
    if not isinstance(before, dict):
        raise ValueTypeError(
            f"the value at {key!r} is a {type(before).__name__}, and edit() is for dicts: "
            "assign the new value, or use elements(key) or counter(key)"
        )
    copy: dict[str, object] = deepcopy(before)
    yield copy
    save(copy)


def merging(
    key: str, before: object, after: object, ttl_ms: int | None
) -> Callable[["Draft"], None]:
    """Draft the changes between two copies of one value."""
    from gossipsync.core import merge_changes  # loaded with the engine, not with the package

    return lambda draft: merge_changes(draft, key, before, after, ttl_ms)
