"""Cells and how they merge: the join that makes all replicas equal.

A **cell** is (key, slot). Slots are: None (the value), text (a field or element), 40 bytes (an origin's running total), and the
ints TOMBSTONE, TOUCH and MARK. Cells are plain tuples that hold nothing the garbage collector has to follow:

    (stamp, slot, expires, value_size, origin, index, data)

`data` is the entry as received; its value is the last `value_size` bytes. `value_size` is -1 where there never was a value (a
delete, touch or mark) and 0 in a shadow, a winner whose key has expired; `data` is then the stub. A **group** is what one
key has: a lone cell, or a dict of cells by slot that is never changed once published, so any thread may read it.

Merging is commutative, associative and idempotent: in a slot the greatest (stamp, peer, leaf hash) wins, and a tombstone
covers all other cells of its key stamped up to its rank (its stamp; a final one's `until`).
"""

from __future__ import annotations

from typing import Final

from gossipsync.core.model.entry import Entry, Op, leaf_hash, stub_of
from gossipsync.core.model.hlc import COUNTER_BITS
from gossipsync.core.model.ids import PEER_BYTES, Origin

TOMBSTONE: Final = 1
TOUCH: Final = 3
MARK: Final = 4

Slot = str | bytes | int | None
Cell = tuple[int, Slot, int | None, int, Origin, int, bytes]
Group = Cell | dict[Slot, Cell]

STAMP: Final = 0
SLOT: Final = 1
EXPIRES: Final = 2
SIZE: Final = 3
ORIGIN: Final = 4
INDEX: Final = 5
DATA: Final = 6

SHADOW_SIZE: Final = 0
NO_VALUE: Final = -1


def slot_of(op: int, field: str | bytes | None) -> Slot:
    """Which cell of its key an entry writes."""
    if op == Op.SET:
        return field
    if op == Op.DELETE:
        return TOMBSTONE if field is None else field
    return TOMBSTONE if op == Op.FINAL else op


def cell_of(entry: Entry, origin: Origin, index: int) -> Cell:
    """The cell that an entry would make."""
    _key, field, op, stamp, expires, value, data = entry
    size = NO_VALUE if value is None else len(value)
    return (stamp, slot_of(op, field), expires, size, origin, index, data)


def rank(tombstone: Cell) -> int:
    """The newest stamp that a tombstone covers."""
    until = tombstone[EXPIRES]
    return tombstone[STAMP] if until is None else (until << COUNTER_BITS) - 1


def cell_hash(cell: Cell) -> bytes:
    """The leaf hash of the cell's entry; the same for a cell and its shadow."""
    return leaf_hash(stub_of(cell[DATA], cell[SIZE]))


def beats(a: Cell, b: Cell) -> bool:
    """Does `a` win over `b` in the one slot that both are of?"""
    if a[SLOT] == TOMBSTONE:
        first = (rank(a), a[EXPIRES] is not None, a[STAMP])
        second = (rank(b), b[EXPIRES] is not None, b[STAMP])
        if first != second:
            return first > second
    elif a[STAMP] != b[STAMP]:
        return a[STAMP] > b[STAMP]
    mine = (a[ORIGIN][:PEER_BYTES], cell_hash(a), a[ORIGIN])
    return mine > (b[ORIGIN][:PEER_BYTES], cell_hash(b), b[ORIGIN])


def merge(group: Group | None, cell: Cell, *, owned: bool = False) -> Group:
    """The join of a group and a cell: the same object when the cell loses.

    `owned`: the caller made this dict and has not published it, so it may be changed in place.
    """
    if group is None:
        return cell
    slot = cell[SLOT]
    if type(group) is tuple:
        if group[SLOT] == slot:
            return cell if beats(cell, group) else group
        cells: dict[Slot, Cell] = {group[SLOT]: group}
        merged = _merge_into(cells, cell)
        return merged if merged is not cells or len(cells) > 1 else group
    assert isinstance(group, dict)
    if not _wins(group, cell):
        return group
    return _merge_into(group if owned else dict(group), cell)


def _wins(cells: dict[Slot, Cell], cell: Cell) -> bool:
    current = cells.get(cell[SLOT])
    if current is not None and not beats(cell, current):
        return False
    tombstone = cells.get(TOMBSTONE)
    return cell[SLOT] == TOMBSTONE or tombstone is None or cell[STAMP] > rank(tombstone)


def _merge_into(cells: dict[Slot, Cell], cell: Cell) -> Group:
    """Put a cell into a dict that may be changed."""
    if not _wins(cells, cell):
        return cells
    cells[cell[SLOT]] = cell
    if cell[SLOT] != TOMBSTONE:
        return cells
    covered = rank(cell)
    for slot in [
        slot for slot, other in cells.items() if slot != TOMBSTONE and other[STAMP] <= covered
    ]:
        del cells[slot]
    return cells if len(cells) > 1 else cell


def cells_in(group: Group) -> list[Cell]:
    """All cells of a group."""
    return [group] if isinstance(group, tuple) else list(group.values())


def cell_in(group: Group, slot: Slot) -> Cell | None:
    """The cell of one slot."""
    if isinstance(group, tuple):
        return group if group[SLOT] == slot else None
    return group.get(slot)


def held_in(group: Group | None, cell: Cell) -> Cell | None:
    """What a group holds of an entry: its cell, its shadow, or None where it has lost."""
    held = None if group is None else cell_in(group, cell[SLOT])
    if held is None or held[STAMP] != cell[STAMP] or held[ORIGIN] != cell[ORIGIN]:
        return None  # two peers may write equal entries in one moment: they are two, with names of their own
    return held if held[DATA] == cell[DATA] or cell_hash(held) == cell_hash(cell) else None


def replaced(group: Group, cell: Cell) -> Group:
    """The group with another cell in a slot that it has."""
    return cell if isinstance(group, tuple) else {**group, cell[SLOT]: cell}


def without(group: Group, cell: Cell) -> Group | None:
    """The group without one of its cells."""
    left = {other[SLOT]: other for other in cells_in(group) if other is not cell}
    return left if len(left) > 1 else next(iter(left.values()), None)


def shadow_of(cell: Cell) -> Cell:
    """The cell without its value: what is left of it once its key has expired. A tombstone stays as it is."""
    if cell[SLOT] == TOMBSTONE or cell[SIZE] == SHADOW_SIZE:
        return cell
    return (*cell[:SIZE], SHADOW_SIZE, cell[ORIGIN], cell[INDEX], stub_of(cell[DATA], cell[SIZE]))


def shadows_of(group: Group) -> Group:
    """All cells of an expired key as shadows."""
    if isinstance(group, tuple):
        return shadow_of(group)
    return {slot: shadow_of(cell) for slot, cell in group.items()}
