"""Merkle trees against the recursive words of RFC 9162 §2.1, and paths against everything near to them."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core.model.strict import MalformedError
from gossipsync.core.replication.merkle import (
    HASH_BYTES,
    all_levels,
    levels_from,
    merkle_root,
    proof_of,
)

_LEAVES = st.integers(1, 70).map(
    lambda n: [sha256(bytes([number])).digest() for number in range(n)]
)


def tree_hash(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162 §2.1.1, word for word: split at the largest power of two below n."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


def path(position: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 9162 §2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if position < k:
        return [*path(position, leaves[:k]), tree_hash(leaves[k:])]
    return [*path(position - k, leaves[k:]), tree_hash(leaves[:k])]


def test_the_vectors_of_certificate_transparency() -> None:
    """The eight inputs and their roots from the reference implementation of RFC 6962."""
    inputs = [
        *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
        "606162636465666768696a6b6c6d6e6f",
    ]
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    leaves = [sha256(b"\x00" + bytes.fromhex(data)).digest() for data in inputs]
    assert [merkle_root(leaves[:n]).hex() for n in range(1, 9)] == roots


def split(proof: bytes) -> list[bytes]:
    return [proof[at : at + HASH_BYTES] for at in range(0, len(proof), HASH_BYTES)]


@given(_LEAVES)
def test_roots_and_paths_are_those_of_the_recursive_definition(leaves: list[bytes]) -> None:
    root = tree_hash(leaves)
    assert merkle_root(leaves) == root
    levels = all_levels(leaves)
    for position, leaf in enumerate(leaves):
        proof = proof_of(levels, len(leaves), [position])
        assert split(proof) == path(position, leaves)
        assert levels_from({position: leaf}, len(leaves), proof)[-1] == {0: root}


@given(_LEAVES, st.data())
def test_a_proof_of_some_leaves_is_what_these_do_not_make_known(
    leaves: list[bytes], data: st.DataObject
) -> None:
    """Also when it is taken from a proof of more leaves; and no leaf's path has more than the logarithm of them."""
    count, levels = len(leaves), all_levels(leaves)
    some = sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1)))
    fewer = sorted(data.draw(st.sets(st.sampled_from(some), min_size=1)))
    proof = proof_of(levels, count, some)
    known = levels_from({at: leaves[at] for at in some}, count, proof)
    assert known[-1] == {0: merkle_root(leaves)}
    assert proof_of(known, count, fewer) == proof_of(levels, count, fewer)
    assert len(split(proof)) <= len(some) * (count - 1).bit_length()
    if len(some) == count:
        assert proof == b""


@given(_LEAVES, st.data())
def test_a_proof_holds_for_its_leaves_at_their_places_and_nothing_near(
    leaves: list[bytes], data: st.DataObject
) -> None:
    root, count = merkle_root(leaves), len(leaves)
    some = sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1)))
    proof = proof_of(all_levels(leaves), count, some)
    given_leaves = {at: leaves[at] for at in some}
    for wrong in (proof[:-1], proof + leaves[0]):
        if wrong != proof:
            with pytest.raises(MalformedError):
                levels_from(given_leaves, count, wrong)
    for place in (-1, count):
        with pytest.raises(MalformedError):
            levels_from({place: leaves[0]}, count, proof)
    with pytest.raises(MalformedError):
        levels_from({}, count, proof)
    node = sha256(b"\x01" + leaves[0] + leaves[-1]).digest()
    assert levels_from({**given_leaves, some[0]: node}, count, proof)[-1] != {0: root}
    for at in range(0, len(proof), 7):
        flipped = proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :]
        assert levels_from(given_leaves, count, flipped)[-1] != {0: root}
