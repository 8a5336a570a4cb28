"""Versions: what was written to one key, as far as it is still kept."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from gossipsync.core._peer.context import Context
from gossipsync.core.model.hlc import Hlc, hlc_at
from gossipsync.core.model.ids import Epoch, Origin, PeerId, epoch_of, peer_of
from gossipsync.core.model.values import decode_value
from gossipsync.core.replication.cells import (
    EXPIRES,
    NO_VALUE,
    SHADOW_SIZE,
    SIZE,
    SLOT,
    STAMP,
    TOMBSTONE,
    TOUCH,
    Cell,
    held_in,
)
from gossipsync.core.replication.past import age_of
from gossipsync.core.replication.pieces import SENDER, cells_of_key
from gossipsync.core.replication.views import signed_total, value_bytes


@frozen
class Version:
    """One write to a key. `kind` is "put", "delete" or "touch"; `field` a map's field or a set's element, else None."""

    kind: str
    field: str | None
    value: object
    """None where nothing was put; of a counter, this epoch's total. None, too, where only the value's hash is kept."""
    origin: PeerId
    epoch: Epoch
    sender: PeerId
    hlc: Hlc
    expires_ms: int | None


def versions(ctx: Context, bucket: str, key: str) -> Callable[[], list[Version]]:
    """Every write to a key that still holds, or is within its bucket's history; oldest first.

    What is kept is listed now. The answer looks through it, which may take long, and touches nothing of the peer.
    """
    replica = ctx.replicas[bucket]
    history_ms = replica.rules.history_ms or 0
    floor = hlc_at(max(0, ctx.now.wall_ms - history_ms))
    group = replica.group(key)
    kept = [
        (log.origin, list(log.pieces.items())) for log in ctx.logs.logs() if log.bucket == bucket
    ]

    def counts(cell: Cell) -> bool:
        is_past = bool(history_ms) and age_of(cell) >= floor
        return is_past or held_in(group, cell) is not None

    def look() -> list[Version]:
        found = [
            (cell[STAMP], origin, _version(cell, origin, piece[SENDER]))
            for origin, pieces in kept
            for index, piece in pieces
            for cell in cells_of_key(piece, key, origin, index)
            if counts(cell)
        ]
        found.sort(key=lambda one: one[:2])
        return [version for _, _, version in found]

    return look


def _version(cell: Cell, origin: Origin, sender: PeerId) -> Version:
    slot = cell[SLOT]
    kind = "put"
    if slot == TOMBSTONE or (isinstance(slot, str) and cell[SIZE] == NO_VALUE):
        kind = "delete"
    elif slot == TOUCH:
        kind = "touch"
    return Version(
        kind,
        slot if isinstance(slot, str) else None,
        _value(cell),
        peer_of(origin),
        epoch_of(origin),
        sender,
        Hlc(cell[STAMP]),
        cell[EXPIRES],
    )


def _value(cell: Cell) -> object:
    if cell[SIZE] <= SHADOW_SIZE:
        return None
    if not isinstance(cell[SLOT], bytes):
        return decode_value(value_bytes(cell))
    return signed_total(cell)
