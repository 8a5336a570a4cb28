"""Structural mutation of CBOR data, and signatures that fit again afterwards.

A message is a tree of tuples, numbers, texts and byte strings; byte strings that hold CBOR themselves (presence data, bundles,
excerpts, proofs) are trees within it. A mutation changes one node of such a tree. Where the node lies within a signed datum, the
datum is signed again with the hostile member's key, so that what is wrong in it is met by the code behind the signature.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import cbor2

from gossipsync.core.membership import presence, statements
from gossipsync.core.model import strict
from gossipsync.core.model.bundle import signed_bytes
from gossipsync.core.model.entry import leaf_hash
from gossipsync.core.replication.merkle import merkle_root
from tests.core._world import Identity
from tests.core._world.author import stub

INTS = (
    *(
        -1,
        0,
        1,
        2,
        23,
        24,
        255,
        256,
        65535,
        65536,
        (1 << 31) - 1,
        1 << 31,
        1 << 32,
        (1 << 39) - 1,
        1 << 39,
    ),
    *(
        (1 << 40) - 1,
        1 << 40,
        (1 << 40) + 1,
        (1 << 47) - 1,
        1 << 47,
        1 << 48,
        1 << 53,
        1 << 62,
        (1 << 63) - 1,
    ),
    *(1 << 63, (1 << 64) - 1, -(1 << 63), -(1 << 64)),
)
TEXTS = (
    *(
        "",
        "b",
        "\0",
        "\x1b[2J",
        "a\nb",
        "\u202ex",
        "é" * 64,
        "é" * 65,
        "n" * 128,
        "n" * 129,
        "k" * 512,
        "k" * 513,
    ),
    *(
        "host:1",
        "host:notaport",
        "[::1",
        "a:99999",
        ":",
        "\ue000",
        "１２",
        "x=1 y=2",
        '"',
        "\U0001f600",
    ),
)
BLOBS = (
    b"",
    b"\0",
    b"\x80",
    b"\xa0",
    bytes(8),
    bytes(16),
    bytes(32),
    bytes(40),
    b"\xff" * 40,
    b"\xff" * 64,
    bytes(1000),
)
OTHERS = (
    None,
    True,
    False,
    0.0,
    1.5,
    float("inf"),
    float("nan"),
    1e308,
    (),
    ((),),
    {},
    {"a": 1},
    [(), ((),)],
)
_MANY = 3000
_PARTS_OF_PRESENCE, _PARTS_OF_STATEMENT, _PARTS_OF_HEADER = 11, 6, 13


class Mutator:
    """Mutates trees with one seeded source of choices."""

    def __init__(self, rng: random.Random, signer: Identity, gentleness: float = 0.6) -> None:
        self._rng = rng
        self._gentleness = gentleness
        self._signer = signer

    def tree(self, tree: object) -> object:
        """The tree with one node changed."""
        rng = self._rng
        if isinstance(tree, tuple) and tree and rng.random() < 0.93:
            at = rng.randrange(len(tree))
            return (*tree[:at], self.tree(tree[at]), *tree[at + 1 :])
        if isinstance(tree, bytes) and rng.random() < 0.95:
            inner = decoded(tree)
            if inner is not None:
                return self._within(inner)
        return self._changed(tree)

    def _within(self, inner: tuple[object, ...]) -> bytes:
        changed = self.tree(inner)
        if self._rng.random() < 0.95:
            changed = self._signed(changed)
        return encoded(changed)

    def _changed(self, node: object) -> object:
        return self._gently(node) if self._rng.random() < self._gentleness else self._roughly(node)

    def _gently(self, node: object) -> object:
        """Another value of the same type, so that what is behind the check of types is met."""
        rng = self._rng
        match node:
            case bool():
                return not node
            case int():
                near = (node + 1, max(0, node - 1), node * 2, rng.randrange(1 << 62))
                return rng.choice((*(number for number in INTS if 0 <= number < 1 << 63), *near))
            case str():
                return rng.choice((*(text for text in TEXTS if text.isprintable()), node + "x"))
            case bytes():
                size = len(node)
                at = rng.randrange(size) if size else 0
                flipped = node[:at] + rng.randbytes(1) + node[at + 1 :]
                return rng.choice(
                    (rng.randbytes(size), bytes(size), b"\xff" * size, flipped, flipped)
                )
            case tuple() if node:
                at = rng.randrange(len(node))
                return rng.choice(
                    ((*node[:at], *node[at + 1 :]), (*node, node[at]), node[::-1], node * 2, ())
                )
            case _:
                return node

    def _roughly(self, node: object) -> object:
        rng = self._rng
        if rng.random() < 0.25:
            return rng.choice(rng.choice((INTS, TEXTS, BLOBS, OTHERS)))
        match node:
            case bool():
                return rng.choice((not node, int(node), None))
            case int():
                return rng.choice((*INTS, node + 1, node - 1, float(node % 1000), str(node % 1000)))
            case str():
                return rng.choice((*TEXTS, node * 2, node[:-1], node.encode(), f"{node}\0"))
            case bytes():
                return self._bytes(node)
            case tuple():
                return self._tuple(node)
            case _:
                return rng.choice(rng.choice((INTS, TEXTS, BLOBS, OTHERS)))

    def _bytes(self, node: bytes) -> object:
        rng = self._rng
        flipped = bytearray(node or b"\0")
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        cut = node[: rng.randrange(len(node) + 1)]
        return rng.choice((*BLOBS, bytes(flipped), bytes(flipped), cut, node + node, node + b"\0"))

    def _tuple(self, node: tuple[object, ...]) -> object:
        rng = self._rng
        if not node:
            return rng.choice((((),), (0,), ("",), (b"",)))
        at, other = rng.randrange(len(node)), rng.randrange(len(node))
        swapped = list(node)
        swapped[at], swapped[other] = swapped[other], swapped[at]
        choices: tuple[Callable[[], object], ...] = (
            lambda: (*node[:at], *node[at + 1 :]),
            lambda: (*node, node[at]),
            lambda: (*node, *node),
            lambda: node[:at],
            lambda: (node,),
            lambda: node[at],
            lambda: node[::-1],
            lambda: tuple(swapped),
            lambda: (node[at],) * rng.choice((2, 70, _MANY)),
        )
        return rng.choice(choices)()

    # -- signatures ------------------------------------------------------------------------------------------

    def _signed(self, datum: object) -> object:
        """The same datum with signatures of the hostile member that fit, where it has the shape of one."""
        match datum:
            case (bytes(body), bytes(), *rest):
                parts = decoded(body)
                if parts is None:
                    return datum
                if len(parts) == _PARTS_OF_HEADER and len(rest) == 1 and self._rng.random() < 0.7:
                    body = rooted(parts, rest[0])
                return (body, self._signature(body, len(parts)), *map(self._resigned, rest))
            case _:
                return datum

    def _resigned(self, part: object) -> object:
        return part

    def _signature(self, body: bytes, parts: int) -> bytes:
        if parts == _PARTS_OF_PRESENCE:
            return self._signer.sign(presence._signed(body))
        if parts == _PARTS_OF_STATEMENT:
            return self._signer.sign(statements._signed(body))
        return self._signer.sign(signed_bytes(body))

    def raw(self, data: bytes) -> bytes:
        """Bytes of a stream: a bit, a length, a piece missing, doubled or made up."""
        rng = self._rng
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0:
                flipped = bytearray(data)
                flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
                return bytes(flipped)
            case 1:
                return data[:at]
            case 2:
                return data[at:]
            case 3:
                return data + data
            case 4:
                return (
                    rng.choice((0, 1, len(data), 1 << 20, (1 << 20) + 1, (1 << 32) - 1)).to_bytes(
                        4, "big"
                    )
                    + data[4:]
                )
            case _:
                return rng.randbytes(rng.randrange(1, 200))


def decoded(data: bytes) -> tuple[object, ...] | None:
    """The array in a byte string; None for anything else."""
    if len(data) < 8 or data[0] >> 5 != 4:
        return None
    try:
        tree = strict.decode(data, 12)
    except strict.MalformedError:
        return None
    return tree if isinstance(tree, tuple) else None


def encoded(tree: object) -> bytes:
    """Canonical CBOR of whatever a mutation has made, bignums and floats included; empty where CBOR has none."""
    try:
        return cbor2.dumps(tree, canonical=True)
    except (cbor2.CBORError, ValueError, OverflowError, TypeError):
        return b""


def rooted(header: tuple[object, ...], body: object) -> bytes:
    """A header that counts and covers the rows of a body, if that holds any."""
    rows = decoded(body) if isinstance(body, bytes) else None
    if not rows:
        return encoded(header)
    leaves = []
    for row in rows:
        data = encoded(row)
        try:
            leaves.append(leaf_hash(stub(data)))
        except (strict.MalformedError, IndexError, TypeError, KeyError):
            leaves.append(leaf_hash(data))
    return encoded((*header[:8], len(rows), merkle_root(leaves), *header[10:]))
