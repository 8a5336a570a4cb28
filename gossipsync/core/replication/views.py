"""Kinds as views over a key's cells: what a group of cells means to the application.

Pure functions of (group, kind, wall clock): replicas with equal cells and clocks show equal data.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from gossipsync.core.model import strict
from gossipsync.core.model.bucket import Kind
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.ids import PEER_BYTES, Epoch, PeerId
from gossipsync.core.model.values import decode_value
from gossipsync.core.replication.cells import (
    DATA,
    EXPIRES,
    MARK,
    NO_VALUE,
    ORIGIN,
    SHADOW_SIZE,
    SIZE,
    SLOT,
    STAMP,
    TOMBSTONE,
    Cell,
    Group,
    cell_hash,
    cells_in,
)

MAX_TOTAL: Final = 1 << 63
"""Running totals lie within ± this, and so does what a counter shows."""
BASE_BYTES: Final = 16
"""How much of a tombstone's leaf hash a running total names it by."""


@frozen
class Provenance:
    """A visible value and where it comes from."""

    value: object
    origin: PeerId
    epoch: Epoch
    sender: PeerId
    hlc: Hlc
    expires_ms: int | None


def value_bytes(cell: Cell) -> bytes:
    """The CBOR of a cell's value."""
    return cell[DATA][-cell[SIZE] :]


def newest(group: Group) -> Cell | None:
    """The newest cell that is not a tombstone: it decides the expiry of the key."""
    if isinstance(group, tuple):
        return None if group[SLOT] == TOMBSTONE else group
    cells = [cell for slot, cell in group.items() if slot != TOMBSTONE]
    if not cells:
        return None
    top = max(cell[STAMP] for cell in cells)
    rivals = [cell for cell in cells if cell[STAMP] == top]
    if len(rivals) == 1:
        return rivals[0]
    return max(
        rivals, key=lambda cell: (cell[ORIGIN][:PEER_BYTES], cell[EXPIRES] or 0, cell_hash(cell))
    )


def is_shadow(group: Group | None) -> bool:
    """Has the life of the key been found to have run out, so that its values are gone?"""
    last = None if group is None else newest(group)
    return last is not None and last[SIZE] == SHADOW_SIZE


def lacks_values(group: Group | None) -> bool:
    """Has any cell of the key lost its value?"""
    return group is not None and any(cell[SIZE] == SHADOW_SIZE for cell in cells_in(group))


def is_expired(group: Group, wall_ms: int) -> bool:
    """Has the life of the key run out?"""
    cell = newest(group)
    return cell is not None and cell[EXPIRES] is not None and cell[EXPIRES] <= wall_ms


def content(group: Group, kind: Kind) -> list[Cell]:
    """The cells that make the key visible under a kind, whatever the clock says; a shadow makes nothing visible."""
    return [cell for cell in cells_in(group) if _is_content(cell, kind)]


def _is_content(cell: Cell, kind: Kind) -> bool:
    slot, size = cell[SLOT], cell[SIZE]
    match kind:
        case Kind.VALUE:
            return slot is None and size > 0
        case Kind.MAP:
            return size > 0 if type(slot) is str else slot == MARK and size == NO_VALUE
        case Kind.SET:
            return type(slot) is str and size > 0
        case Kind.COUNTER:
            return type(slot) is bytes and size > 0


def has_content(group: Group | None, kind: Kind) -> bool:
    """Would the key be visible if it had not expired?"""
    if group is None:
        return False
    if isinstance(group, tuple):
        return _is_content(group, kind)
    return any(_is_content(cell, kind) for cell in group.values())


def tombstone_name(group: Group | None) -> bytes | None:
    """How a running total names the tombstone it counts from; None where there is none."""
    if group is None:
        return None
    tombstone = (
        (group if group[SLOT] == TOMBSTONE else None)
        if isinstance(group, tuple)
        else group.get(TOMBSTONE)
    )
    return None if tombstone is None else cell_hash(tombstone)[:BASE_BYTES]


def encode_total(total: int, base: bytes | None) -> bytes:
    """The value of a counter's cell: `[running total, name of the tombstone it counts from]`."""
    return strict.encode((total, base))


def total_in(cell: Cell, base: bytes | None) -> int:
    """The running total of a counter's cell, 0 where it counts from another tombstone or is malformed."""
    total, named = _signed_total(cell)
    return total if total is not None and named == base else 0


def signed_total(cell: Cell) -> int | None:
    """The running total that a counter's cell names, from whatever tombstone; None where it is malformed."""
    return _signed_total(cell)[0]


def _signed_total(cell: Cell) -> tuple[int | None, object]:
    try:
        match strict.decode(value_bytes(cell), 2):
            case (int(total), named) if type(total) is int and -MAX_TOTAL <= total < MAX_TOTAL:
                return total, named
    except strict.MalformedError:
        pass
    return None, None


def show(group: Group, kind: Kind) -> object:
    """The application's view of a visible group: a fresh plain value."""
    match kind:
        case Kind.VALUE:
            return decode_value(value_bytes(content(group, kind)[0]))
        case Kind.MAP:
            return {
                str(cell[SLOT]): decode_value(value_bytes(cell))
                for cell in content(group, kind)
                if cell[SLOT] != MARK
            }
        case Kind.SET:
            return frozenset(str(cell[SLOT]) for cell in content(group, kind))
        case Kind.COUNTER:
            base = tombstone_name(group)
            total = sum(total_in(cell, base) for cell in content(group, kind))
            return max(-MAX_TOTAL, min(total, MAX_TOTAL - 1))
