"""Pieces: bundles as received, or what is left of them once some of their entries have lost.

An **excerpt** proves single entries of a bundle by themselves: it is canonical CBOR of

    [header, signature, positions, stubs, rows, proof]

`rows` are the surviving entries in their order, `positions` their places in the bundle (two bytes each, big-endian), `stubs` those
among the places whose row is a stub, and `proof` the Merkle hashes that lead from the rows to the header's root. With no rows
left it is a header with its signature: the proof that its log went so far.

In memory a piece is a plain tuple of (header, signature, sender, rows), with (positions, stubs, proof) behind them in an
excerpt: nothing that the garbage collector has to follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Final

from attrs import frozen

from gossipsync.core.model import strict
from gossipsync.core.model.bundle import Bundle, Header, parse_bundle, parse_header
from gossipsync.core.model.entry import (
    INLINE_VALUE_BYTES,
    Entry,
    decode_entries,
    encode_body,
    entry_like,
    leaves_of,
)
from gossipsync.core.model.ids import Origin, PeerId
from gossipsync.core.replication.cells import DATA, SHADOW_SIZE, SIZE, Cell, cell_hash, cell_of
from gossipsync.core.replication.merkle import Level, all_levels, levels_from, proof_of

Whole = tuple[bytes, bytes, PeerId, tuple[bytes, ...]]
Part = tuple[bytes, bytes, PeerId, tuple[bytes, ...], bytes, bytes, bytes]
Piece = Whole | Part
"""(header, signature, sender, rows), and in an excerpt (positions, stubs, proof)."""

NOBODY: Final = PeerId(bytes(32))
"""The sender of a piece that goes on at once."""
HEADER: Final = 0
SIGNATURE: Final = 1
SENDER: Final = 2
ROWS: Final = 3

Keep = Callable[[str, Cell], Cell | None]
"""What state holds of a key's cell: the cell, its shadow, or None where it has lost."""

_PLACE_BYTES: Final = 2
_ENTRY_HEAD: Final = b"\x86"
"""How an entry begins: an array of six, the key first."""
_MAX_COUNT: Final = 1 << 16


@frozen
class Excerpt:
    """A decoded excerpt, nothing verified."""

    header: Header
    signature: bytes
    positions: tuple[int, ...]
    stubs: frozenset[int]
    rows: tuple[bytes, ...]
    proof: bytes

    def piece(self, sender: PeerId) -> Part:
        """As it is kept, with who handed it to us."""
        stubs = _packed(sorted(self.stubs))
        positions = _packed(self.positions)
        return (self.header.data, self.signature, sender, self.rows, positions, stubs, self.proof)


def whole_piece(bundle: Bundle, entries: Iterable[Entry], sender: PeerId) -> Whole:
    """A bundle as it is kept, with what it holds and who handed it to us."""
    return (
        bundle.header.data,
        bundle.signature,
        sender,
        tuple(entry.data for entry in entries),
    )


def encode_piece(piece: Piece) -> bytes:
    """A bundle or an excerpt, as it goes to stores and links."""
    if len(piece) == 4:
        header, signature, _, rows = piece
        return strict.encode((header, signature, encode_body(rows)))
    header, signature, _, rows, positions, stubs, proof = piece
    return strict.encode((header, signature, positions, stubs, rows, proof))


def parse_piece(data: bytes) -> Bundle | Excerpt:
    """The outer shape of either, and its header; nothing verified. Raises strict.MalformedError."""
    if data[:1] == b"\x83":
        return parse_bundle(data)
    match strict.decode(data, 2):
        case (
            bytes(header),
            bytes(signature),
            bytes(places),
            bytes(of_stubs),
            tuple(rows),
            bytes(proof),
        ) if len(signature) == 64 and all(type(row) is bytes for row in rows):
            pass
        case _:
            raise strict.MalformedError("not an excerpt")
    positions, stubs = _unpacked(places), _unpacked(of_stubs)
    parsed = parse_header(header)
    if len(positions) != len(rows) or not set(stubs) <= set(positions):
        raise strict.MalformedError("an excerpt's places and rows do not match")
    if parsed.count > _MAX_COUNT or (positions and positions[-1] >= parsed.count):
        raise strict.MalformedError("a row lies outside its bundle")
    if not rows and proof:
        raise strict.MalformedError("a proof of nothing")
    return Excerpt(parsed, signature, positions, frozenset(stubs), rows, proof)


def cells_of(excerpt: Excerpt, place: int | None = None) -> list[tuple[str, Cell]]:
    """(key, cell) of every row, as kept at its number or another place; stubs come as shadows. Raises strict.MalformedError."""
    stubs = [at in excerpt.stubs for at in excerpt.positions]
    header = excerpt.header
    return _cells(excerpt.rows, stubs, header.origin, header.index if place is None else place)


def is_proven(excerpt: Excerpt, cells: Sequence[tuple[str, Cell]]) -> bool:
    """Do the rows and the proof lead to the signed root? Raises strict.MalformedError where they do not even match."""
    if not cells:
        return True
    leaves = {at: cell_hash(cell) for at, (_, cell) in zip(excerpt.positions, cells, strict=True)}
    top = levels_from(leaves, excerpt.header.count, excerpt.proof)[-1]
    return top[0] == excerpt.header.root


def pruned(piece: Piece, origin: Origin, index: int, keep: Keep) -> Piece | None:
    """What is left of a piece: the piece itself where all of it is; None where nothing is."""
    rows, positions, stubs = piece[ROWS], *_places(piece)
    cells = _cells(rows, [at in stubs for at in positions], origin, index)
    kept = [
        (at, cell, held)
        for at, (key, cell) in zip(positions, cells, strict=True)
        if (held := keep(key, cell)) is not None
    ]
    if not kept:
        return None
    left = tuple(held[DATA] for _, _, held in kept)
    if left == rows:
        return piece
    now_stubs = [
        at
        for at, cell, held in kept
        if held[SIZE] == SHADOW_SIZE and (at in stubs or cell[SIZE] > INLINE_VALUE_BYTES)
    ]
    where = [at for at, _, _ in kept]
    count = len(rows) if len(piece) == 4 else parse_header(piece[HEADER]).count
    proof = proof_of(_levels(piece, count, cells, positions), count, where)
    return (*_signed(piece), left, _packed(where), _packed(now_stubs), proof)


def as_excerpt(piece: Piece) -> Part:
    """A piece by itself, though it may have all rows of its bundle; the piece itself where it is an excerpt already."""
    if len(piece) != 4:
        return piece
    return (*_signed(piece), piece[ROWS], _packed(range(len(piece[ROWS]))), b"", b"")


def header_only(piece: Piece) -> Part:
    """The proof that a log went so far, and nothing else."""
    return (*_signed(piece), (), b"", b"", b"")


def joined(a: Piece, b: Piece, origin: Origin, index: int) -> Piece:
    """All that two pieces of one bundle hold; the sender is that of `a`."""
    if is_whole(a) or not b[ROWS]:
        return a
    if is_whole(b) or not a[ROWS]:
        return (*_signed(a), b[ROWS]) if len(b) == 4 else (*_signed(a), b[ROWS], *b[4:])
    count = parse_header(a[HEADER]).count
    rows: dict[int, tuple[bytes, bool]] = {}
    levels: list[dict[int, bytes]] = []
    for piece in (b, a):
        positions, stubs = _places(piece)
        cells = cells_in_piece(piece, origin, index)
        for at, row in zip(positions, piece[ROWS], strict=True):
            if at not in rows or rows[at][1]:
                rows[at] = (row, at in stubs)
        for depth, level in enumerate(_levels(piece, count, cells, positions)):
            if depth == len(levels):
                levels.append({})
            levels[depth].update(level)
    where = sorted(rows)
    return (
        *_signed(a),
        tuple(rows[at][0] for at in where),
        _packed(where),
        _packed([at for at in where if rows[at][1]]),
        proof_of(levels, count, where),
    )


def chosen(
    piece: Piece, origin: Origin, index: int, wanted: Callable[[str, Cell], bool]
) -> Piece | None:
    """A piece of a piece: the rows that are wanted, with their proof."""
    return pruned(piece, origin, index, lambda key, cell: cell if wanted(key, cell) else None)


def cells_in_piece(piece: Piece, origin: Origin, index: int) -> list[tuple[str, Cell]]:
    """(key, cell) of every row of a kept piece."""
    positions, stubs = _places(piece)
    return _cells(piece[ROWS], [at in stubs for at in positions], origin, index)


def cells_of_key(piece: Piece, key: str, origin: Origin, index: int) -> list[Cell]:
    """The cells of one key in a kept piece; rows of other keys are not even decoded."""
    head = _ENTRY_HEAD + strict.encode(key)
    positions, stubs = _places(piece)
    rows = [
        (row, at in stubs)
        for at, row in zip(positions, piece[ROWS], strict=True)
        if row.startswith(head)
    ]
    found = _cells([row for row, _ in rows], [is_stub for _, is_stub in rows], origin, index)
    return [cell for _, cell in found]


def is_whole(piece: Piece | None) -> bool:
    """Is it the bundle as received?"""
    return piece is not None and len(piece) == 4


def _signed(piece: Piece) -> tuple[bytes, bytes, PeerId]:
    return (piece[0], piece[1], piece[2])


def _places(piece: Piece) -> tuple[Sequence[int], frozenset[int]]:
    if len(piece) == 4:
        return range(len(piece[ROWS])), frozenset()
    return _unpacked(piece[4]), frozenset(_unpacked(piece[5]))


def _levels(
    piece: Piece, count: int, cells: Sequence[tuple[str, Cell]], positions: Sequence[int]
) -> Sequence[Level]:
    if len(piece) == 4:
        return all_levels(leaves_of(decode_entries(piece[ROWS])))
    leaves = {at: cell_hash(cell) for at, (_, cell) in zip(positions, cells, strict=True)}
    return levels_from(leaves, count, piece[6])


def _cells(
    rows: Sequence[bytes], are_stubs: Sequence[bool], origin: Origin, index: int
) -> list[tuple[str, Cell]]:
    readable = tuple(
        entry_like(row) if is_stub else row for row, is_stub in zip(rows, are_stubs, strict=True)
    )
    found = []
    for entry, row, is_stub in zip(decode_entries(readable), rows, are_stubs, strict=True):
        cell = cell_of(entry, origin, index)
        if is_stub:
            cell = (*cell[:SIZE], SHADOW_SIZE, origin, index, row)
        found.append((entry.key, cell))
    return found


def _packed(places: Sequence[int]) -> bytes:
    return b"".join(at.to_bytes(_PLACE_BYTES, "big") for at in places)


def _unpacked(data: bytes) -> tuple[int, ...]:
    """Strictly ascending places. Raises strict.MalformedError."""
    if len(data) % _PLACE_BYTES:
        raise strict.MalformedError("not places of two bytes each")
    places = tuple(
        int.from_bytes(data[at : at + _PLACE_BYTES], "big")
        for at in range(0, len(data), _PLACE_BYTES)
    )
    if any(a >= b for a, b in pairwise(places)):
        raise strict.MalformedError("places do not ascend")
    return places
