"""Sums of cells: equal states, equal sums, whatever came before; a difference shows, and descending finds it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core import Kind
from gossipsync.core.model.entry import Op, decode_entries, encode_entry
from gossipsync.core.model.hlc import Hlc
from gossipsync.core.replication.cells import SHADOW_SIZE, SIZE, Cell, cells_in, shadow_of
from gossipsync.core.replication.celltree import TREE_DEPTH, CellTree
from tests.core.replication._entries import BASE_MS, GRACE_MS, ORIGINS, Shelf, Write, writes

_LATER_MS = BASE_MS + 100
"""When everything that these strategies let expire has expired."""
_SECOND_MS = 1000
"""What ends is looked at in full seconds."""


def _write(
    key: str,
    value: str | None = "v" * 40,
    *,
    at_ms: int = 0,
    op: Op = Op.SET,
    expires: int | None = None,
    origin: int = 0,
) -> Write:
    body = None if value is None or op is not Op.SET else b"\x78\x28" + value.encode()
    data = encode_entry(key, None, op, Hlc((BASE_MS + at_ms) << 16), expires, body)
    return ORIGINS[origin], decode_entries((data,))[0]


def _field(name: str, *, at_ms: int, op: Op = Op.SET) -> Write:
    body = b"\x01" if op is Op.SET else None
    data = encode_entry("k", name, op, Hlc((BASE_MS + at_ms) << 16), None, body)
    return ORIGINS[0], decode_entries((data,))[0]


def _sums(tree: CellTree) -> dict[bytes, tuple[int, int]]:
    """Every range that is not empty."""
    found = {}
    todo = [b""]
    while todo:
        prefix = todo.pop()
        if tree.count_at(prefix):
            found[prefix] = (tree.sum_at(prefix), tree.count_at(prefix))
            if len(prefix) < TREE_DEPTH:
                todo += [prefix + bytes((nibble,)) for nibble in range(16)]
    return found


@given(st.lists(writes(), max_size=12), st.randoms(use_true_random=False), st.data())
def test_equal_states_have_equal_sums_whatever_order_and_history(
    found: list[Write], rng: random.Random, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(list(Kind)))
    a, b = Shelf(kind), Shelf(kind)
    now_ms = data.draw(st.sampled_from([BASE_MS, BASE_MS + 4, _LATER_MS]))
    for one in found:
        a.apply(one)
        if rng.random() < 0.4:  # sums that were asked for in between are brought up to date
            a.replica.tree(BASE_MS, 0)
    shuffled = found[:]
    rng.shuffle(shuffled)
    b.apply(*shuffled, *found[: len(found) // 2])
    first, second = a.replica.tree(now_ms, now_ms), b.replica.tree(now_ms, now_ms)
    assert _sums(first) == _sums(second)
    assert first.count_at(b"") == len(a.replica.found_in(b""))
    assert {one.hash for one in a.replica.found_in(b"")} == {
        one.hash for one in b.replica.found_in(b"")
    }


@given(st.lists(writes("kqrs"), max_size=12), st.data())
def test_sums_kept_up_are_those_made_anew(found: list[Write], data: st.DataObject) -> None:
    """Through applying, expiring, forgetting and giving up, with any moments at which somebody asked."""
    shelf = Shelf(data.draw(st.sampled_from([Kind.VALUE, Kind.MAP])))
    replica = shelf.replica
    now_ms = BASE_MS
    for one in found:
        shelf.apply(one)
        now_ms += data.draw(st.sampled_from([0, 3, GRACE_MS // 2, GRACE_MS]))
        step = data.draw(st.sampled_from(["ask", "sweep", "forget", "drop", "nothing"]))
        if step == "ask":
            replica.tree(now_ms, now_ms)
        elif step == "sweep":
            replica.sweep(now_ms)
        elif step == "forget":
            replica.forget(now_ms)
        elif step == "drop" and (group := replica.group(one[1].key)) is not None:
            replica.drop(one[1].key, cells_in(group)[0])
    kept = replica.tree(now_ms, now_ms)
    anew = CellTree("b", GRACE_MS)
    anew.refresh(replica._cells, replica.rules.kind, list(replica._cells), kept.cut_ms)
    assert _sums(kept) == _sums(anew)
    assert kept.lasting_sum == anew.lasting_sum


def test_one_difference_among_thousands_is_found_by_descending() -> None:
    a, b = Shelf(Kind.VALUE), Shelf(Kind.VALUE)
    same = [_write(f"k{number}") for number in range(5000)]
    a.apply(*same)
    b.apply(*same)
    b.apply(_write("k77", at_ms=5, origin=1))
    first, second = a.replica.tree(_LATER_MS, 0), b.replica.tree(_LATER_MS, 0)
    prefix = b""
    while len(prefix) < first.depth:
        lower = [prefix + bytes((nibble,)) for nibble in range(16)]
        differing = [at for at in lower if first.sum_at(at) != second.sum_at(at)]
        assert len(differing) == 1
        prefix = differing[0]
    assert first.leaf_of("k77").startswith(prefix)
    mine, theirs = (shelf.replica.found_in(prefix) for shelf in (a, b))
    (lonely,) = {one.hash for one in mine} - {one.hash for one in theirs}
    assert next(one.key for one in mine if one.hash == lonely) == "k77"
    assert sum(first.count_at(bytes((nibble,))) for nibble in range(16)) == 5000


def test_what_one_of_two_has_forgotten_lies_before_the_cut() -> None:
    a, b = Shelf(Kind.VALUE), Shelf(Kind.VALUE)
    for shelf in (a, b):
        shelf.apply(
            _write("stays"),
            _write("deleted", op=Op.DELETE),
            _write("expires", expires=BASE_MS + 5),
            _write("final", op=Op.FINAL, expires=BASE_MS + 7),
            _write("deleted later", op=Op.DELETE, at_ms=5000),
        )
    end_ms = BASE_MS + GRACE_MS + _SECOND_MS
    a.replica.sweep(end_ms)
    a.replica.forget(end_ms)
    assert [key for key in ("deleted", "expires", "final") if a.replica.group(key)] == []
    assert b.replica.group("deleted") is not None
    one, other = (shelf.replica.tree(end_ms, end_ms) for shelf in (a, b))
    assert one.lasting_sum == other.lasting_sum == one.sum_at(b"")
    # Whoever takes over a state gets them all the same: what they beat may still be on its way.
    assert one.sum_at(b"") != other.sum_at(b"")
    assert {one.key for one in b.replica.found_in(b"")} == {
        *("stays", "deleted", "expires", "final", "deleted later")
    }


def test_a_cut_never_goes_back() -> None:
    shelf = Shelf(Kind.VALUE)
    shelf.apply(_write("deleted", op=Op.DELETE))
    cut_ms = BASE_MS + GRACE_MS + 1
    assert shelf.replica.tree(BASE_MS, cut_ms).lasting_sum == 0
    tree = shelf.replica.tree(BASE_MS, 0)
    assert tree.cut_ms == cut_ms
    assert tree.lasting_sum == 0 != tree.sum_at(b"")


def test_a_cut_that_passes_one_end_after_another_takes_each_along() -> None:
    """Though nothing is forgotten in between, as where what it beat is still in a log."""
    kept, anew = Shelf(Kind.MAP), Shelf(Kind.MAP)
    for shelf in (kept, anew):
        shelf.apply(*(_field(name, op=Op.DELETE, at_ms=at) for name, at in (("x", 0), ("y", 5000))))
        shelf.apply(_field("z", at_ms=9000))
    kept.replica.tree(BASE_MS, 0)
    for at_ms in (1000, 3000, 6000):
        kept.replica.tree(BASE_MS, BASE_MS + GRACE_MS + at_ms)
    last = kept.replica.tree(BASE_MS, 0)
    assert last.lasting_sum == anew.replica.tree(BASE_MS, last.cut_ms).lasting_sum
    (live,) = (one for one in kept.replica.found_in(b"") if one.ends_ms is None)
    assert last.lasting_sum == int.from_bytes(live.hash, "big")


def test_a_removed_field_is_forgotten_though_it_was_the_newest_cell_for_long() -> None:
    """It decided over the key's life then, and had no end of its own."""
    shelf = Shelf(Kind.MAP)
    shelf.apply(_field("x", at_ms=0), _field("y", op=Op.DELETE, at_ms=1))
    later_ms = 3 * GRACE_MS
    shelf.replica.forget(BASE_MS + later_ms)
    shelf.apply(_field("x", at_ms=later_ms))
    shelf.replica.forget(BASE_MS + later_ms + _SECOND_MS)
    group = shelf.replica.group("k")
    assert group is not None
    assert [cell[SIZE] for cell in cells_in(group)] == [1]


def test_nothing_is_left_of_a_tree_whose_cells_are_gone() -> None:
    shelf = Shelf(Kind.VALUE)
    shelf.apply(*[_write(f"k{number}") for number in range(100)])
    tree = shelf.replica.tree(BASE_MS, 0)
    assert tree.count_at(b"") == 100
    shelf.apply(*[_write(f"k{number}", op=Op.DELETE, at_ms=1) for number in range(100)])
    end_ms = BASE_MS + GRACE_MS + _SECOND_MS
    shelf.replica.forget(end_ms)
    tree = shelf.replica.tree(end_ms, 0)
    assert (tree.sum_at(b""), tree.count_at(b"")) == (0, 0)
    assert (tree._sums, tree._leaves) == ({}, {})


def _lone(shelf: Shelf, key: str) -> Cell:
    group = shelf.replica.group(key)
    assert isinstance(group, tuple)
    return group


def test_an_expired_cell_has_the_name_that_it_had_with_its_value() -> None:
    shelf, other = Shelf(Kind.VALUE), Shelf(Kind.VALUE)
    for one in (shelf, other):
        one.apply(_write("k", expires=BASE_MS + 5))
    before = shelf.replica.tree(BASE_MS, 0).sum_at(b"")
    assert other.replica.tree(BASE_MS + _SECOND_MS, 0).sum_at(b"") == before
    assert _lone(other, "k")[SIZE] == SHADOW_SIZE != _lone(shelf, "k")[SIZE]


def test_a_living_cell_whose_value_is_lacking_has_another_name() -> None:
    """A hollow one: its value must still be asked for."""
    whole, hollow = Shelf(Kind.MAP), Shelf(Kind.MAP)
    stamp = Hlc(BASE_MS << 16)
    field = encode_entry("k", "x", Op.SET, stamp, None, b"\x78\x28" + b"v" * 40)
    touch = encode_entry("k", None, Op.TOUCH, Hlc(stamp + 1), None, None)
    for shelf in (whole, hollow):
        shelf.apply(*((ORIGINS[0], one) for one in decode_entries((field, touch))))
    cell = next(c for c in cells_in(hollow.replica._cells["k"]) if c[SIZE] > 0)
    hollow.replica.drop("k", cell)
    hollow._bundles.clear()  # or it would find the value there
    assert hollow.replica.join("k", shadow_of(cell))
    first, second = whole.replica.tree(BASE_MS, 0), hollow.replica.tree(BASE_MS, 0)
    assert first.count_at(b"") == second.count_at(b"") == 2
    assert first.sum_at(b"") != second.sum_at(b"")
    (named,) = {f.hash for f in hollow.replica.found_in(b"")} - {
        f.hash for f in whole.replica.found_in(b"")
    }
    assert named == first.names_of(cell)[1] == first.names_of(shadow_of(cell))[1]
    assert hollow.replica.join("k", cell)  # the value comes
    assert hollow.replica.tree(BASE_MS, 0).sum_at(b"") == first.sum_at(b"")


@pytest.mark.parametrize("bucket", ["b", "c"])
def test_names_are_salted_by_the_bucket(bucket: str) -> None:
    cell = (Hlc(BASE_MS << 16), None, None, 1, ORIGINS[0], 1, b"data")
    assert (CellTree(bucket, 0).names_of(cell) == CellTree("b", 0).names_of(cell)) == (
        bucket == "b"
    )
