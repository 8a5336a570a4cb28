"""Laws of pieces: what was pruned still proves what is left, joined pieces prove both, and nothing false passes for proven."""

from __future__ import annotations

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core.model import strict
from gossipsync.core.model.bundle import Bundle, parse_bundle
from gossipsync.core.model.entry import (
    INLINE_VALUE_BYTES,
    Op,
    decode_entries,
    encode_entry,
    entry_like,
    stub_of,
)
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.model.limits import Limits
from gossipsync.core.replication.admission import Admission, AdmittedPiece
from gossipsync.core.replication.cells import DATA, SHADOW_SIZE, SIZE, Cell, shadow_of
from gossipsync.core.replication.logs import LogBook
from gossipsync.core.replication.pieces import (
    NOBODY,
    ROWS,
    Excerpt,
    Piece,
    cells_in_piece,
    cells_of,
    chosen,
    encode_piece,
    header_only,
    is_proven,
    is_whole,
    joined,
    parse_piece,
    pruned,
    whole_piece,
)
from tests.core._world import EVERYTHING, NETWORK, START_MS, Author, Authority, entry

WHOLE, SHADOW, LOST = "whole", "shadow", "lost"
_fates = st.sampled_from([WHOLE, SHADOW, LOST])
_sizes = st.sampled_from([0, 1, 29, 30, 31, 40, 300])
"""Of texts; their CBOR is up to 32 bytes long, where a stub holds the value itself, or longer."""


@frozen
class Sealed:
    """A signed bundle with a key of its own for every entry."""

    bundle: Bundle
    data: bytes

    @property
    def piece(self) -> Piece:
        return whole_piece(self.bundle, self.bundle.entries(), NOBODY)

    def pruned(self, fates: dict[str, str], piece: Piece | None = None) -> Piece | None:
        header = self.bundle.header
        return pruned(piece or self.piece, header.origin, header.index, _keep(fates))

    def rows(self, fates: dict[str, str]) -> list[bytes]:
        """What must be left."""
        entries = self.bundle.entries()
        return [
            e.data if fates[e.key] == WHOLE else stub_of(e.data, len(e.value or b""))
            for e in entries
            if fates[e.key] != LOST
        ]


def _keep(fates: dict[str, str]):  # type: ignore[no-untyped-def]
    def keep(key: str, cell: Cell) -> Cell | None:
        return {WHOLE: cell, SHADOW: shadow_of(cell), LOST: None}[fates[key]]

    return keep


def _sealed(sizes: list[int]) -> Sealed:
    author = Author(wall_ms=START_MS)
    rows = [
        entry(f"k{number}", "x" * size, at=author.tick())
        if size
        else entry(f"k{number}", at=author.tick(), op=Op.DELETE)
        for number, size in enumerate(sizes)
    ]
    data = author.bundle(rows)
    return Sealed(parse_bundle(data), data)


@st.composite
def _pruned(draw: st.DrawFn, ways: int = 1) -> tuple[Sealed, list[dict[str, str]]]:
    sealed = _sealed(draw(st.lists(_sizes, min_size=1, max_size=13)))
    keys = [f"k{number}" for number in range(sealed.bundle.header.count)]
    return sealed, [{key: draw(_fates) for key in keys} for _ in range(ways)]


def _gate() -> Admission:
    return Admission(NETWORK, Limits(), Authority(), LogBook(NETWORK), lambda _: EVERYTHING, 60_000)


def _excerpt(piece: Piece) -> Excerpt:
    parsed = parse_piece(encode_piece(piece))
    assert isinstance(parsed, Excerpt)
    return parsed


@given(st.lists(_sizes, min_size=1, max_size=13))
def test_a_bundle_goes_and_comes_as_it_was_received(sizes: list[int]) -> None:
    sealed = _sealed(sizes)
    assert encode_piece(sealed.piece) == sealed.data
    assert parse_piece(sealed.data) == sealed.bundle


@given(_pruned())
def test_pruning_keeps_exactly_what_is_to_be_kept_and_proves_it(
    case: tuple[Sealed, list[dict[str, str]]],
) -> None:
    sealed, (fates,) = case
    left = sealed.pruned(fates)
    rows = sealed.rows(fates)
    if not rows:
        assert left is None
        return
    assert left is not None
    assert list(left[ROWS]) == rows
    if len(left) == 4:
        assert left == sealed.piece  # nothing was lost
        return
    excerpt = _excerpt(left)
    assert excerpt.piece(NOBODY) == left
    cells = cells_of(excerpt)
    assert is_proven(excerpt, cells)
    assert isinstance(_gate().admit_piece(encode_piece(left), START_MS, NOBODY), AdmittedPiece)
    longs = {e.key for e in sealed.bundle.entries() if len(e.value or b"") > 32}
    for key, cell in cells:
        assert (cell[SIZE] == SHADOW_SIZE) == (fates[key] == SHADOW and key in longs)
    assert len(encode_piece(left)) <= len(sealed.data) + 32 * 13  # proofs are no larger than a tree


@given(_pruned(2))
def test_pruning_twice_is_pruning_by_both(case: tuple[Sealed, list[dict[str, str]]]) -> None:
    sealed, (first, second) = case
    order = (WHOLE, SHADOW, LOST)
    both = {key: max(first[key], second[key], key=order.index) for key in first}
    once = sealed.pruned(first)
    twice = None if once is None else sealed.pruned(second, once)
    expected = sealed.pruned(both)
    if expected is None or twice is None:
        assert twice is expected
    else:
        assert twice[ROWS] == expected[ROWS]
        assert is_whole(twice) or twice == expected


@given(_pruned(2))
def test_two_pieces_joined_prove_what_either_held(
    case: tuple[Sealed, list[dict[str, str]]],
) -> None:
    sealed, (first, second) = case
    header = sealed.bundle.header
    a, b = sealed.pruned(first), sealed.pruned(second)
    if a is None or b is None:
        return
    order = (WHOLE, SHADOW, LOST)
    both = {key: min(first[key], second[key], key=order.index) for key in first}
    found = joined(a, b, header.origin, header.index)
    assert list(found[ROWS]) == sealed.rows(both)
    if not is_whole(found):
        excerpt = _excerpt(found)
        assert is_proven(excerpt, cells_of(excerpt))
        assert [cell for _, cell in cells_of(excerpt)] == [
            cell for _, cell in cells_in_piece(found, header.origin, header.index)
        ]


def test_a_header_alone_joins_with_anything() -> None:
    sealed = _sealed([1, 300, 40])
    header = sealed.bundle.header
    bare = header_only(sealed.piece)
    some = sealed.pruned({"k0": WHOLE, "k1": SHADOW, "k2": LOST})
    assert some is not None
    for other in (some, sealed.piece, bare):
        assert joined(bare, other, header.origin, header.index) == other
        assert joined(other, bare, header.origin, header.index) == other
    assert is_proven(_excerpt(bare), [])
    assert isinstance(_gate().admit_piece(encode_piece(bare), START_MS, NOBODY), AdmittedPiece)


def test_chosen_rows_leave_the_rest_out() -> None:
    sealed = _sealed([1, 300, 40, 1])
    header = sealed.bundle.header
    some = chosen(sealed.piece, header.origin, header.index, lambda key, _: key in ("k1", "k3"))
    assert some is not None
    assert [key for key, _ in cells_of(_excerpt(some))] == ["k1", "k3"]


@pytest.mark.parametrize(
    "fates", [(WHOLE, SHADOW, LOST), (LOST, LOST, SHADOW), (LOST, WHOLE, LOST), (LOST,) * 3]
)
def test_no_byte_of_an_excerpt_can_be_changed(fates: tuple[str, ...]) -> None:
    sealed = _sealed([40, 300, 40])
    named = {f"k{number}": fate for number, fate in enumerate(fates)}
    left = sealed.pruned(named) or header_only(sealed.piece)
    data, gate = encode_piece(left), _gate()
    assert isinstance(gate.admit_piece(data, START_MS, NOBODY), AdmittedPiece)
    for at in range(len(data)):
        for flip in (1, 0x80):
            wrong = data[:at] + bytes((data[at] ^ flip,)) + data[at + 1 :]
            assert not isinstance(gate.admit_piece(wrong, START_MS, NOBODY), AdmittedPiece), at
    for wrong in (data[:-1], data + b"\0", b""):
        assert not isinstance(gate.admit_piece(wrong, START_MS, NOBODY), AdmittedPiece)


@given(_pruned(), st.data())
def test_rows_that_belong_elsewhere_are_not_proven(
    case: tuple[Sealed, list[dict[str, str]]], data: st.DataObject
) -> None:
    """Left out, twice, in another place, or with the bytes of another row: none of it leads to the signed root."""
    sealed, (fates,) = case
    left = sealed.pruned(fates)
    if left is None or len(left) == 4:
        return
    parts = list(strict.decode(encode_piece(left), 2))  # type: ignore[call-overload]
    header, signature, positions, stubs, rows, proof = parts
    at = data.draw(st.integers(0, len(rows) - 1))
    gone = positions[2 * at : 2 * at + 2]
    kept = b"".join(stubs[n : n + 2] for n in range(0, len(stubs), 2) if stubs[n : n + 2] != gone)
    other = (int.from_bytes(gone, "big") + 1).to_bytes(2, "big")
    false = [
        (header, signature, positions, stubs, (*rows[:at], *rows[at + 1 :]), proof),
        (header, signature, positions, stubs, rows, proof + bytes(32)),
        (header, signature, positions, stubs, rows, proof[:-32] if proof else bytes(32)),
        (
            header,
            signature,
            positions[: 2 * at] + other + positions[2 * at + 2 :],
            kept,
            rows,
            proof,
        ),
        (header, signature, positions + gone, stubs, (*rows, rows[at]), proof),
    ]
    if len(rows) > 1:
        false.append((header, signature, positions, stubs, rows[1:] + rows[:1], proof))
    for wrong in false:
        admitted = _gate().admit_piece(strict.encode(wrong), START_MS, NOBODY)
        assert not isinstance(admitted, AdmittedPiece)


# -- stubs -------------------------------------------------------------------------------------------------------------


def _entry_bytes(size: int, field: str | None = None, expires: int | None = None) -> bytes:
    stamp = Hlc(START_MS << 16)
    return encode_entry("key", field, Op.SET, stamp, expires, bytes(size))


@given(
    st.integers(1, 70_000) | st.sampled_from([31, 32, 33, 255, 256, 65535, 65536]),
    st.sampled_from([None, "", "f", "é" * 20]),
    st.sampled_from([None, START_MS]),
)
def test_entry_like_takes_exactly_the_stubs_of_long_values(
    size: int, field: str | None, expires: int | None
) -> None:
    data = _entry_bytes(size, field, expires)
    stub = stub_of(data, size)
    if size <= INLINE_VALUE_BYTES:
        assert stub == data
        with pytest.raises(strict.MalformedError):
            entry_like(stub)
        return
    (read,) = decode_entries((entry_like(stub),))
    assert read[:5] == decode_entries((data,))[0][:5]
    assert read.value == stub[-32:]
    with pytest.raises(strict.MalformedError):
        entry_like(data)  # an entry is no stub
    with pytest.raises(strict.MalformedError):
        decode_entries((stub,))  # and a stub no entry
    for wrong in (stub[:-1], stub + b"\0"):
        with pytest.raises(strict.MalformedError):
            entry_like(wrong)


@given(st.binary(max_size=80))
def test_entry_like_raises_nothing_else(noise: bytes) -> None:
    try:
        found = entry_like(noise)
    except strict.MalformedError:
        return
    assert found[-34:-32] == b"\x58\x20"


@pytest.mark.parametrize("size", [33, 40, 256, 65536])
def test_a_length_in_a_longer_form_is_no_stub(size: int) -> None:
    stub = stub_of(_entry_bytes(size), size)
    head = 2 if size < 256 else 3 if size < 65536 else 5
    longer = {2: b"\x59", 3: b"\x5a", 5: b"\x5b"}[head]
    width = {2: 2, 3: 4, 5: 8}[head]
    wrong = stub[: -32 - head] + longer + size.to_bytes(width, "big") + stub[-32:]
    with pytest.raises(strict.MalformedError):
        entry_like(wrong)


def test_a_stub_passes_neither_for_an_entry_nor_the_reverse_in_an_excerpt() -> None:
    sealed = _sealed([300, 40])
    left = sealed.pruned({"k0": SHADOW, "k1": WHOLE})
    assert left is not None
    header, signature, positions, stubs, rows, proof = strict.decode(encode_piece(left), 2)  # type: ignore[misc]
    assert stubs == b"\0\0"
    for wrong in (b"", b"\0\1", b"\0\0\0\1"):
        false = strict.encode((header, signature, positions, wrong, rows, proof))
        assert not isinstance(_gate().admit_piece(false, START_MS, NOBODY), AdmittedPiece)


@pytest.mark.parametrize(
    "parts",
    {
        "no positions": lambda h, s: (h, s, b"", b"", (b"row",), b""),
        "no rows": lambda h, s: (h, s, b"\0\0", b"", (), b""),
        "half a position": lambda h, s: (h, s, b"\0", b"", (), b""),
        "descending": lambda h, s: (h, s, b"\0\1\0\0", b"", (b"", b""), b""),
        "one place twice": lambda h, s: (h, s, b"\0\1\0\1", b"", (b"", b""), b""),
        "outside": lambda h, s: (h, s, b"\0\x09", b"", (b"",), b""),
        "a stub of no row": lambda h, s: (h, s, b"", b"\0\0", (), b""),
        "a proof of nothing": lambda h, s: (h, s, b"", b"", (), bytes(32)),
        "a row that is a number": lambda h, s: (h, s, b"\0\0", b"", (1,), b""),
        "a signature of 63 bytes": lambda h, s: (h, s[:-1], b"", b"", (), b""),
        "five parts": lambda h, s: (h, s, b"", b"", ()),
        "no header": lambda h, s: (b"", s, b"", b"", (), b""),
    }.values(),
)
def test_shapes_that_are_no_excerpt(parts) -> None:  # type: ignore[no-untyped-def]
    header = _sealed([1, 2, 3]).bundle
    data = strict.encode(parts(header.header.data, header.signature))
    with pytest.raises(strict.MalformedError):
        parse_piece(data)


def test_what_an_excerpt_costs_beside_its_row() -> None:
    """One of 256: eight hashes, its place, header and signature."""
    sealed = _sealed([40] * 256)
    left = sealed.pruned({f"k{n}": WHOLE if n == 77 else LOST for n in range(256)})
    assert left is not None
    beside = len(encode_piece(left)) - len(left[ROWS][0]) - len(sealed.bundle.header.data)
    assert beside <= 64 + 8 * 32 + 2 + 16
    (_, cell) = cells_in_piece(left, sealed.bundle.header.origin, 1)[0]
    assert cell[DATA] == sealed.bundle.entries()[77].data
