"""Tables that have had many more keys than they have: a dict keeps the room that its keys once took."""

from __future__ import annotations

from sys import getsizeof
from typing import Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")

_SMALL_BYTES: Final = 8 << 10
_KEY_BYTES: Final = 96
"""What a key may take beside itself: a table that has just grown has up to 60, one made anew some 35."""


def fitted(table: dict[K, V]) -> dict[K, V]:
    """The table itself, or an equal one where it takes much more room than it needs; costs nothing unless it does.

    For whoever has taken keys out: then the cost of copying what is left was paid for by those that left.
    """
    if getsizeof(table) <= _SMALL_BYTES + _KEY_BYTES * len(table):
        return table
    return table.copy()
