"""Merkle trees over a bundle's stubs, as RFC 9162 §2.1 has them: roots, and proofs of several leaves at once.

Leaves and inner nodes are hashed under different first bytes, so neither can be offered as the other. A proof of some leaves
holds, level by level from below and from left to right, the neighbours that cannot be computed from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final

from gossipsync.core.model.strict import MalformedError

HASH_BYTES: Final = 32

Level = Mapping[int, bytes]
"""Known hashes of one level of a tree, by position."""


def _node(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _level_up(level: Sequence[bytes]) -> list[bytes]:
    """Pair neighbours; an odd last hash moves up as it is, which gives RFC 9162's tree."""
    upper = [
        sha256(b"\x01" + a + b).digest() for a, b in zip(level[::2], level[1::2], strict=False)
    ]
    if len(level) & 1:
        upper.append(level[-1])
    return upper


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Root over at least one leaf hash."""
    level = leaves
    while len(level) > 1:
        level = _level_up(level)
    return level[0]


def _neighbours(known: Sequence[int], width: int) -> list[int]:
    """The positions of one level that a proof of `known` (ascending) must give."""
    present = set(known)
    return [at ^ 1 for at in known if at ^ 1 < width and at ^ 1 not in present]


def _parents(known: Sequence[int]) -> list[int]:
    return list(dict.fromkeys(at >> 1 for at in known))


def all_levels(leaves: Sequence[bytes]) -> list[Level]:
    """Every hash of a tree whose leaves are all known, lowest level first."""
    levels: list[Level] = []
    level = list(leaves)
    while True:
        levels.append(dict(enumerate(level)))
        if len(level) == 1:
            return levels
        level = _level_up(level)


def proof_of(levels: Sequence[Level], count: int, positions: Sequence[int]) -> bytes:
    """The hashes, one after another, that prove the leaves at `positions` (ascending); none are needed for no leaf.

    `levels` are those of the whole tree, or of a proof that covers these positions.
    """
    hashes: list[bytes] = []
    known, width = list(positions), count
    for level in levels:
        if width == 1:
            break
        hashes += [level[at] for at in _neighbours(known, width)]
        known, width = _parents(known), (width + 1) >> 1
    return b"".join(hashes)


def levels_from(leaves: Level, count: int, proof: bytes) -> list[Level]:
    """The levels that some leaves and their proof make known; the last holds the root.

    The work grows with what is given, not with `count`. Raises MalformedError where leaves, count and proof do not match.
    """
    known = sorted(leaves)
    if not known or known[0] < 0 or known[-1] >= count:
        raise MalformedError("a leaf's position lies outside its tree")
    levels: list[Level] = []
    hashes, width, at = dict(leaves), count, 0
    while width > 1:
        for position in _neighbours(known, width):
            part = proof[at : at + HASH_BYTES]
            if len(part) != HASH_BYTES:
                raise MalformedError("a Merkle proof is too short")
            hashes[position] = part
            at += HASH_BYTES
        levels.append(hashes)
        known, upper = _parents(known), {}
        for position in known:
            left, right = hashes[2 * position], hashes.get(2 * position + 1)
            upper[position] = left if right is None else _node(left, right)
        hashes, width = upper, (width + 1) >> 1
    if at != len(proof):
        raise MalformedError("a Merkle proof is too long")
    return [*levels, hashes]
