"""What a replica must show, from logs alone and in the plainest way: no groups, no shadows, no order of arrival."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

import cbor2

from gossipsync.core import Kind, Peer
from gossipsync.core.model import strict
from gossipsync.core.model.bundle import parse_bundle
from gossipsync.core.model.entry import entry_like
from gossipsync.core.model.ids import Origin
from gossipsync.core.replication.cells import DATA, SHADOW_SIZE, SIZE, Cell, cell_of
from gossipsync.core.replication.logs import Log
from gossipsync.core.replication.pieces import cells_in_piece

LOST = b"\xf7"
"""CBOR undefined, which no application writes: shown only where a value is lacking that should be there."""


class Fact(NamedTuple):
    """One entry of a log, taken apart."""

    key: str
    field: str | bytes | None
    op: int
    stamp: int
    expires: int | None
    value: bytes | None
    peer: bytes
    leaf: bytes


def logs_of(peer: Peer) -> dict[tuple[str, Origin], Log]:
    """Every log that a peer holds."""
    return {(log.bucket, log.origin): log for log in peer._ctx.logs.logs()}


def facts_of(logs: Iterable[Log], bucket: str) -> list[Fact]:
    """All entries of all logs of one bucket, as far as they are kept."""
    return [
        fact_of(cell, log.origin)
        for log in logs
        if log.bucket == bucket
        for index, piece in log.pieces.items()
        for _, cell in cells_in_piece(piece, log.origin, index)
    ]


def fact_of(cell: Cell, origin: Origin) -> Fact:
    """A stub has lost its value, and stands for a key that has expired."""
    data, size = cell[DATA], cell[SIZE]
    is_stub = size == SHADOW_SIZE
    stub = data if is_stub or size <= 32 else data[:-size] + sha256(data[-size:]).digest()
    leaf = sha256(b"\0" + stub).digest()
    key, field, op, stamp, expires, value = cbor2.loads(entry_like(data) if is_stub else data)
    return Fact(key, field, op, stamp, expires, LOST if is_stub else value, origin[:32], leaf)


def facts_in(bundle: bytes) -> list[Fact]:
    """All entries of a bundle."""
    parsed = parse_bundle(bundle)
    origin, index = parsed.header.origin, parsed.header.index
    return [fact_of(cell_of(entry, origin, index), origin) for entry in parsed.entries()]


def _covers(fact: Fact) -> int:
    return fact.stamp if fact.op == 1 else (fact.expires or 0) * 65536 - 1


def expected_pairs(facts: Iterable[Fact], kind: Kind, wall_ms: int) -> dict[str, object]:
    """Key → value of everything visible."""
    by_key: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_key[fact.key].append(fact)
    found = {}
    for key, group in by_key.items():
        tombstones = [
            fact for fact in group if fact.op == 2 or (fact.op == 1 and fact.field is None)
        ]
        tombstone = max(
            tombstones,
            key=lambda fact: (_covers(fact), fact.op == 2, fact.stamp, fact.peer, fact.leaf),
            default=None,
        )
        covered = -1 if tombstone is None else _covers(tombstone)
        alive = [fact for fact in group if fact not in tombstones and fact.stamp > covered]
        winners: dict[object, Fact] = {}
        for fact in alive:
            slot = ("op", fact.op) if fact.op in (3, 4) else fact.field
            rival = winners.get(slot)
            if rival is None or (fact.stamp, fact.peer, fact.leaf) > (
                rival.stamp,
                rival.peer,
                rival.leaf,
            ):
                winners[slot] = fact
        shown = _shown(list(winners.values()), tombstone, kind)
        if shown is None:
            continue
        newest = max(
            winners.values(),
            key=lambda fact: (fact.stamp, fact.peer, fact.expires or 0, fact.leaf),
        )
        if newest.expires is None or newest.expires > wall_ms:
            found[key] = shown[0]
    return found


def _total(data: bytes, base: bytes | None) -> int:
    """0 for what no application writes."""
    try:
        match strict.decode(data, 2):
            case (total, name) if type(total) is int and name == base and abs(total) <= 1 << 63:
                return total if total < 1 << 63 else 0
    except strict.MalformedError:
        pass
    return 0


def _shown(winners: list[Fact], tombstone: Fact | None, kind: Kind) -> tuple[object] | None:
    values = {fact.field: fact.value for fact in winners if fact.op == 0 and fact.value}
    if kind is Kind.VALUE:
        return (cbor2.loads(values[None]),) if None in values else None
    if kind is Kind.COUNTER:
        totals = [value for field, value in values.items() if type(field) is bytes]
        base = None if tombstone is None else tombstone.leaf[:16]
        total = sum(_total(total, base) for total in totals if total is not None)
        return (max(-(1 << 63), min(total, (1 << 63) - 1)),) if totals else None
    texts = {field: value for field, value in values.items() if type(field) is str}
    if kind is Kind.SET:
        return (frozenset(texts),) if texts else None
    has_mark = any(fact.op == 4 for fact in winners)
    shown = {field: cbor2.loads(value) for field, value in texts.items() if value is not None}
    return (shown,) if texts or has_mark else None


def state_faults(peer: Peer, wall_ms: int) -> list[str]:
    """Where a peer's replicas differ from what its own logs say; all its writes must be sealed."""
    logs = list(logs_of(peer).values())
    faults = []
    for name, replica in peer.replicas.items():
        replica.sweep(wall_ms)
        expected = expected_pairs(facts_of(logs, name), replica.rules.kind, wall_ms)
        shown = dict(replica.pairs(wall_ms))
        if shown != expected:
            keys = [
                key for key in {*shown, *expected} if shown.get(key, ...) != expected.get(key, ...)
            ]
            faults.append(f"{name}: {[(k, shown.get(k), expected.get(k)) for k in keys[:3]]}")
        if len(replica) != len(expected):
            faults.append(f"{name}: len {len(replica)} instead of {len(expected)}")
    return faults
