"""Bodies of former versions become today's, byte by byte, and nothing else is touched."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core.model import strict
from gossipsync.core.model.bundle import parse_bundle
from gossipsync.core.model.former import current_piece
from tests.vectors import generate

GOLDEN = json.loads(generate.PATH.read_text(encoding="utf-8"))
PIECES = [bytes.fromhex(golden["bundle"]) for golden in GOLDEN["bundles"].values()] + [
    bytes.fromhex(golden["excerpt"]) for golden in GOLDEN["excerpts"].values()
]


def as_former(bundle: bytes) -> bytes:
    """The bundle as builds before the change of bodies wrote it."""
    parsed = parse_bundle(bundle)
    rows = [entry.data for entry in parsed.entries()]
    return strict.encode((parsed.header.data, parsed.signature, strict.encode(rows)))


@pytest.mark.parametrize("piece", PIECES)
def test_a_piece_of_today_is_returned_itself(piece: bytes) -> None:
    assert current_piece(piece) is piece


@pytest.mark.parametrize("bundle", [piece for piece in PIECES if piece[:1] == b"\x83"])
def test_a_former_bundle_becomes_the_same_bundle_of_today(bundle: bytes) -> None:
    former = as_former(bundle)
    assert former != bundle
    assert current_piece(former) == bundle


def test_many_entries_are_no_other_case() -> None:
    for count in (1, 23, 24, 255, 256, 300):
        rows = [strict.encode((f"{n}", None, 0, 1 << 33, None, b"\xf5")) for n in range(count)]
        former = strict.encode((b"header", b"s" * 64, strict.encode(rows)))
        header, signature, body = strict.decode(current_piece(former), 2)  # type: ignore[misc]
        assert (header, signature) == (b"header", b"s" * 64)
        assert strict.decode(body, 2) == tuple(strict.decode(row) for row in rows)


@given(st.binary(max_size=80), st.sampled_from(PIECES), st.integers(0, 400))
def test_other_bytes_are_left_alone_or_stay_a_bundle(noise: bytes, piece: bytes, at: int) -> None:
    for data in (noise, b"\x83" + noise, piece[:at], piece[:at] + noise + piece[at:]):
        found = current_piece(data)
        assert found is data or found[:1] == b"\x83"
