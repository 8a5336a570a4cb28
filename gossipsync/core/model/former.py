"""Bundles of former versions: the body of store format 2 and archive format 1, turned into today's.

Early development versions wrote the body of a bundle as an array of byte strings, each of which held one entry. Today it
is the array of the entries. Signature and Merkle root are over the header and over the entries, not over the body, so the
two forms carry the same proof, and one becomes the other by joining the same bytes.

Invariant: a piece of today's form is returned as the same object; nothing is verified here, so the gate follows.
"""

from __future__ import annotations

from typing import Final

from gossipsync.core.model import strict
from gossipsync.core.model.entry import encode_body

_BUNDLE: Final = 0x83
_BYTES, _ARRAY = 2, 4
"""Major types of CBOR (RFC 8949 §3.1)."""


def current_piece(piece: bytes) -> bytes:
    """The piece with its body in today's form; the piece itself if it has that form, or none at all."""
    if piece[:1] != bytes((_BUNDLE,)) or not _has_former_body(piece):
        return piece
    try:
        match strict.decode(piece, 2):
            case (bytes(header), bytes(signature), bytes(body)):
                pass
            case _:
                return piece
        rows = strict.decode(body, 2)
    except strict.MalformedError:
        return piece
    if type(rows) is not tuple or not all(type(row) is bytes for row in rows):
        return piece
    return strict.encode((header, signature, encode_body(rows)))


def _has_former_body(bundle: bytes) -> bool:
    """Whether the first item of the body is a byte string; an entry is an array. Decodes nothing, so that a load stays fast."""
    at = 1
    try:
        for _ in range(2):
            size, at = _head(bundle, at, _BYTES)
            at += size
        _, at = _head(bundle, at, _BYTES)
        _, at = _head(bundle, at, _ARRAY)
        return bundle[at] >> 5 == _BYTES
    except (IndexError, ValueError):
        return False


def _head(data: bytes, at: int, major: int) -> tuple[int, int]:
    """(length, place behind the head) of a byte string or array. Raises ValueError, IndexError."""
    first = data[at]
    short = first & 31
    if first >> 5 != major or short > 27:
        raise ValueError("another type")
    if short < 24:
        return short, at + 1
    width = 1 << (short - 24)
    return int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width
