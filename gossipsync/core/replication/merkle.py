"""Merkle trees over a bundle's stubs, as RFC 9162 §2.1 has them: root, inclusion path, and a root from a path.

Leaves and inner nodes are hashed under different first bytes, so neither can be offered as the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from gossipsync.core.model.strict import MalformedError


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


def inclusion_path(leaves: Sequence[bytes], position: int) -> tuple[bytes, ...]:
    """The hashes that prove the leaf at `position`, lowest first (RFC 9162 §2.1.3.1)."""
    path = []
    level = leaves
    while len(level) > 1:
        neighbour = position ^ 1
        if neighbour < len(level):
            path.append(level[neighbour])
        level = _level_up(level)
        position >>= 1
    return tuple(path)


def root_from_path(leaf: bytes, position: int, count: int, path: Sequence[bytes]) -> bytes:
    """The root that a path leads to (RFC 9162 §2.1.3.2). Raises MalformedError where path and count do not match."""
    if not 0 <= position < count:
        raise MalformedError("a leaf's position lies outside its tree")
    node, width, rest = leaf, count, list(path)
    while width > 1:
        neighbour = position ^ 1
        if neighbour < width:
            if not rest:
                raise MalformedError("an inclusion path is too short")
            other = rest.pop(0)
            node = _node(other, node) if position & 1 else _node(node, other)
        position >>= 1
        width = (width + 1) >> 1
    if rest:
        raise MalformedError("an inclusion path is too long")
    return node
