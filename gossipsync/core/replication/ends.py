"""When what is no longer to be seen may be forgotten: shadows and tombstones after one horizon and twice the largest skew.

Until then they beat older entries that are still on their way; afterwards these are refused because their line covers them.
A final tombstone is kept so long beyond its `until`; what never expires stays.
"""

from __future__ import annotations

from gossipsync.core.model.bucket import Kind
from gossipsync.core.model.hlc import Hlc, hlc_ms
from gossipsync.core.replication import views
from gossipsync.core.replication.cells import (
    EXPIRES,
    NO_VALUE,
    SIZE,
    SLOT,
    STAMP,
    TOMBSTONE,
    Cell,
    Group,
    cells_in,
    without,
)


def end_ms(cell: Cell, group: Group, kind: Kind, grace_ms: int) -> int | None:
    """When a cell of a group may be forgotten, in wall ms; None for what lives on.

    A removed field stays while it is the newest cell, since that decides how long its key lives; a counter's tombstone while
    there are totals that name it.
    """
    return _end_ms(cell, views.newest(group), kind, grace_ms)


def _end_ms(cell: Cell, last: Cell | None, kind: Kind, grace_ms: int) -> int | None:
    life = None if last is None or last[EXPIRES] is None else last[EXPIRES]
    ended = ended_ms(cell)
    if ended is None or cell is last:
        end = life
    elif cell[SLOT] == TOMBSTONE and kind is Kind.COUNTER and last is not None:
        end = None if life is None else max(life, ended)
    else:
        end = ended
    return None if end is None else end + grace_ms


def ended_ms(cell: Cell) -> int | None:
    """When a tombstone or a removed field has done its work but for what is on its way."""
    if cell[SLOT] == TOMBSTONE:
        until = cell[EXPIRES]
        return hlc_ms(Hlc(cell[STAMP])) if until is None else until
    is_removed_field = cell[SIZE] == NO_VALUE and isinstance(cell[SLOT], str | bytes)
    return hlc_ms(Hlc(cell[STAMP])) if is_removed_field else None


def next_end_ms(group: Group, kind: Kind, grace_ms: int, after_ms: int | None = None) -> int | None:
    """When something of a group may be forgotten next, or next after a moment."""
    last = views.newest(group)
    ends = (_end_ms(cell, last, kind, grace_ms) for cell in cells_in(group))
    return min(
        (end for end in ends if end is not None and (after_ms is None or end > after_ms)),
        default=None,
    )


def without_ended(
    group: Group, kind: Kind, grace_ms: int, wall_ms: int
) -> tuple[Group | None, list[Cell]]:
    """What is left of a group, and what may be forgotten."""
    gone: list[Cell] = []
    last = views.newest(group)
    for cell in cells_in(group):
        end = _end_ms(cell, last, kind, grace_ms)
        if end is not None and end <= wall_ms:
            gone.append(cell)
    left: Group | None = group
    for cell in gone:
        assert left is not None
        left = without(left, cell)
    return left, gone
