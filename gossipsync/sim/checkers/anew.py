"""Writes with new stamps: which of a peer's early writes may beat writes that the ledger calls newer.

A peer writes an early write again where that lost to its own forgotten past (`core/_peer/early.py`). The ledger has only the first
stamp, so what is shown may differ from what it expects. That is right only over writes of the same key by another run that were
made without knowledge of the early write, and not by a copy that lives beside it and could have said so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossipsync.core.model.ids import peer_of
from gossipsync.core.replication.cells import ORIGIN, SLOT, STAMP, TOMBSTONE, Group, cells_in
from gossipsync.sim.ledger import Entry

if TYPE_CHECKING:
    from gossipsync.sim.simulation import Simulation

_TOLD_S: Final = 20.0
"""Seconds with no cut anywhere after which each of two lives must know of the other. It is told at once, but a dial may be lost."""


def was_written_anew(
    simulation: Simulation, group: Group | None, beaten: Entry, value: object
) -> bool:
    """Whether a key shows `value` (a put's; None: nothing) because an early write has rightly taken the place of `beaten`."""
    early = [
        entry
        for entry in simulation.ledger.by_key[beaten.bucket, beaten.key]
        if peer_of(entry.written.origin) == peer_of(beaten.written.origin)
        and entry.written.origin != beaten.written.origin
        and (entry.op == "delete" if value is None else entry.op == "put" and entry.value == value)
        and _is_restated(group, entry, beaten)
    ]
    return any(_may_take_place(simulation, entry, beaten) for entry in early)


def _is_restated(group: Group | None, entry: Entry, beaten: Entry) -> bool:
    """Whether a key has a cell that could be this entry under a stamp that beats the other's."""
    slot = TOMBSTONE if entry.op == "delete" else None
    author = peer_of(entry.written.origin)
    return any(
        cell[SLOT] == slot
        and peer_of(cell[ORIGIN]) == author
        and cell[STAMP] > entry.written.hlc
        and cell[STAMP] + (slot == TOMBSTONE) > beaten.written.hlc
        for cell in (() if group is None else cells_in(group))
    )


def _may_take_place(simulation: Simulation, entry: Entry, beaten: Entry) -> bool:
    if beaten.knew.get((entry.bucket, entry.written.origin), 0) >= entry.written.index:
        return False
    other = simulation.drivers[beaten.writer]
    is_live = other.is_up and other.run == beaten.run and beaten.writer != entry.writer
    return not (is_live and simulation.network.whole_s >= _TOLD_S and simulation.roster is None)
