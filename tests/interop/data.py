"""Data of the second implementation, from docs/protocol.md: CBOR rules, Entries, Bundles, Excerpts, Merging, Reconciliation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import cbor2

from tests.interop.trust import Identity, is_signed

SET, DELETE, FINAL, TOUCH, MARK = range(5)
NO_PREVIOUS = bytes(32)
MASK = (1 << 64) - 1


class MalformedError(Exception):
    """Not canonical CBOR of the promised shape."""


def cbor(value: object) -> bytes:
    return cbor2.dumps(value, canonical=True)


def parsed(data: bytes) -> object:
    """Decode, then encode again and compare: the page's simplest correct check."""
    value = cbor2.loads(data)
    if cbor(value) != data:
        raise MalformedError(data[:20].hex())
    return value


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


class Cell(NamedTuple):
    """An entry in the state, with the place of its proof."""

    key: str
    field: object
    op: int
    stamp: int
    expires: int | None
    value: bytes | None
    origin: bytes
    stub: bytes
    place: tuple[str, bytes, int]

    @property
    def slot(self) -> object:
        if self.op == SET or (self.op == DELETE and self.field is not None):
            return ("field", self.field)
        return {DELETE: "tombstone", FINAL: "tombstone", TOUCH: "touch", MARK: "mark"}[self.op]

    @property
    def leaf_hash(self) -> bytes:
        return sha(b"\0" + self.stub)

    @property
    def rank(self) -> int:
        if self.op == DELETE:
            return self.stamp
        assert self.expires is not None
        return (self.expires << 16) - 1

    @property
    def weight(self) -> tuple[object, ...]:
        tie = (self.stamp, self.origin[:32], self.leaf_hash)
        return (self.rank, self.op == FINAL, *tie) if self.slot == "tombstone" else tie


def stub_of(entry: bytes, value: bytes | None) -> bytes:
    if value is None or len(value) <= 32:
        return entry
    return entry[: -len(value)] + sha(value)


def read_stub(stub: bytes) -> list[object]:
    """The parts of an entry whose value is not there: its head tells the length, 32 bytes of hash stand in its place."""
    for first, width in ((0x58, 2), (0x59, 3), (0x5A, 5)):
        head = stub[-32 - width : -32]
        if head[:1] == bytes((first,)):
            size = int.from_bytes(head[1:], "big")
            entry = stub[:-32] + bytes(size)
            try:
                decoded = parsed(entry)
            except (MalformedError, ValueError, EOFError):
                continue
            assert isinstance(decoded, list)
            return decoded
    raise MalformedError("stub")


def merge(cells: dict[object, Cell], cell: Cell) -> dict[object, Cell]:
    """The cells of one key with one more; the same where it has lost."""
    tombstone = cells.get("tombstone")
    if cell.slot != "tombstone" and tombstone and cell.stamp <= tombstone.rank:
        return cells
    held = cells.get(cell.slot)
    if held and held.weight >= cell.weight:
        return cells
    cells = {**cells, cell.slot: cell}
    if cell.slot == "tombstone":
        cells = {
            slot: each
            for slot, each in cells.items()
            if slot == "tombstone" or each.stamp > cell.rank
        }
    return cells


# ---------------------------------------------------------------- Merkle trees


def merkle_levels(leaves: Sequence[bytes]) -> list[list[bytes]]:
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        level = levels[-1]
        above = [sha(b"\1" + a + b) for a, b in zip(level[::2], level[1::2], strict=False)]
        levels.append(above + ([level[-1]] if len(level) % 2 else []))
    return levels


def needed(known: Iterable[int], width: int) -> Iterator[list[int]]:
    """Positions whose hashes a proof gives, level by level."""
    known = sorted(known)
    while width > 1:
        yield [at ^ 1 for at in known if at ^ 1 < width and at ^ 1 not in known]
        known, width = sorted({at >> 1 for at in known}), (width + 1) >> 1


def proof_of(leaves: Sequence[bytes], positions: Sequence[int]) -> bytes:
    levels = merkle_levels(leaves)
    return b"".join(
        level[at]
        for level, places in zip(levels, needed(positions, len(leaves)), strict=False)
        for at in places
    )


def proven_root(leaves: dict[int, bytes], width: int, proof: bytes) -> bytes:
    """The root to which these leaves and the proof lead."""
    level = dict(leaves)
    for places in needed(leaves, width):
        for at in places:
            level[at], proof = proof[:32], proof[32:]
        above = {}
        for at in {at >> 1 for at in level}:
            left, right = level[2 * at], level.get(2 * at + 1)
            above[at] = left if right is None else sha(b"\1" + left + right)
        level, width = above, (width + 1) >> 1
    if proof:
        raise MalformedError("a proof with something behind it")
    return level[0]


# ---------------------------------------------------------------- bundles and excerpts


class Header(NamedTuple):
    data: bytes
    bucket: str
    origin: bytes
    index: int
    previous: bytes
    count: int
    root: bytes
    log_hlc: int


def read_header(data: bytes, network: bytes) -> Header:
    parts = parsed(data)
    assert isinstance(parts, list)
    (form, of, bucket, _announced, peer, epoch, index, previous, count, root, log_hlc, *rest) = (
        parts
    )
    if form != 1 or of != network or rest != [0, 0] or count < 1:
        raise MalformedError("header")
    origin = peer + epoch.to_bytes(8, "big")
    return Header(data, bucket, origin, index, previous, count, root, log_hlc)


class Piece(NamedTuple):
    """A bundle, or an excerpt: the rows that it has at their positions."""

    data: bytes
    header: Header
    rows: dict[int, Cell]
    is_whole: bool


def cell_of(row: list[object], data: bytes, header: Header, *, is_stub: bool = False) -> Cell:
    key, field, op, stamp, expires, value = row
    place = (header.bucket, header.origin, header.index)
    if is_stub:
        return Cell(key, field, op, stamp, expires, None, header.origin, data, place)  # type: ignore[arg-type]
    stub = stub_of(data, value)  # type: ignore[arg-type]
    return Cell(key, field, op, stamp, expires, value, header.origin, stub, place)  # type: ignore[arg-type]


def read_piece(data: bytes, network: bytes) -> Piece:
    """A bundle or an excerpt, verified by itself: signature, shapes, root."""
    parts = parsed(data)
    assert isinstance(parts, list)
    header = read_header(parts[0], network)
    message = b"gossipsync bundle v1" + len(parts[0]).to_bytes(8, "big") + parts[0]
    if not is_signed(header.origin[:32], parts[1], message):
        raise MalformedError("signature")
    if len(parts) == 3:
        rows = parsed(parts[2])
        assert isinstance(rows, list)
        cells = {at: cell_of(row, cbor(row), header) for at, row in enumerate(rows)}
        root = merkle_levels([cell.leaf_hash for cell in cells.values()])[-1][0]
        if len(rows) != header.count or root != header.root:
            raise MalformedError("body")
        return Piece(data, header, cells, True)
    _, _, positions, stubs, rows, proof = parts
    places, hollow = _unpacked(positions), set(_unpacked(stubs))
    cells = {}
    for at, row in zip(places, rows, strict=True):
        is_stub = at in hollow
        decoded = read_stub(row) if is_stub else parsed(row)
        cells[at] = cell_of(decoded, row, header, is_stub=is_stub)
    if cells:
        leaves = {at: cell.leaf_hash for at, cell in cells.items()}
        if proven_root(leaves, header.count, proof) != header.root:
            raise MalformedError("proof")
    return Piece(data, header, cells, False)


def _packed(places: Iterable[int]) -> bytes:
    return b"".join(at.to_bytes(2, "big") for at in places)


def _unpacked(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


def make_bundle(
    who: Identity,
    bucket: str,
    announcement: list[object],
    index: int,
    previous: bytes,
    rows: list[list[object]],
    log_hlc: int,
) -> bytes:
    leaves = [sha(b"\0" + stub_of(cbor(row), row[5])) for row in rows]  # type: ignore[arg-type]
    root = merkle_levels(leaves)[-1][0]
    header = cbor(
        [
            *(1, who.network.id, bucket, announcement, who.peer, who.epoch, index, previous),
            *(len(rows), root, log_hlc, 0, 0),
        ]
    )
    signature = who.key.sign(b"gossipsync bundle v1" + len(header).to_bytes(8, "big") + header)
    return cbor([header, signature, cbor(rows)])


def excerpt_of(bundle: bytes, positions: Sequence[int]) -> bytes:
    """The rows of a bundle at these positions, with their proof; with none, its header alone."""
    header, signature, body = cbor2.loads(bundle)
    rows = cbor2.loads(body)
    leaves = [sha(b"\0" + stub_of(cbor(row), row[5])) for row in rows]
    proof = proof_of(leaves, positions) if positions else b""
    chosen = [cbor(rows[at]) for at in positions]
    return cbor([header, signature, _packed(positions), b"", chosen, proof])


# ---------------------------------------------------------------- names and sums


def cell_name(bucket: str, cell: Cell) -> bytes:
    return sha(b"gossipsync cells v1" + bucket.encode() + b"\0" + cell.origin + cell.stub)[:8]


def leaf_range(bucket: str, key: str) -> bytes:
    first, second = sha(b"gossipsync cells v1" + bucket.encode() + b"\0" + key.encode())[:2]
    return bytes((first >> 4, first & 15, second >> 4, second & 15))


def sum_of(names: Iterable[bytes]) -> bytes:
    return (sum(int.from_bytes(name, "big") for name in names) & MASK).to_bytes(8, "big")


def prefixes_below(prefix: bytes, count: int) -> list[bytes]:
    """The ranges whose sums a row of so many holds."""
    lowers = [prefix]
    while len(lowers) < count:
        lowers = [upper + bytes((nibble,)) for upper in lowers for nibble in range(16)]
    return lowers
