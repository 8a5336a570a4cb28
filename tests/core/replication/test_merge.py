"""Merging is a join: whatever the order, the grouping and the moments of sweeping, the same state and the same view."""

from __future__ import annotations

import random

from hypothesis import example, given
from hypothesis import strategies as st

from gossipsync.core import Kind, Replica
from gossipsync.core.model.entry import leaf_hash, leaves_of, stub_of
from gossipsync.core.model.ids import peer_of
from gossipsync.core.replication.cells import (
    Group,
    beats,
    cell_hash,
    cell_of,
    cells_in,
    merge,
    shadow_of,
)
from tests.core._world.oracle import expected_pairs, fact_of
from tests.core.replication._entries import BASE_MS, Shelf, Write, writes

KINDS = st.sampled_from(Kind)
MANY = st.lists(writes(), max_size=14)
END_MS = BASE_MS + 5_000
"""Everything that has a life has lived it."""


def cells_of(replica: Replica) -> dict[str, dict[object, tuple[object, ...]]]:
    """Cells by key and slot, but for where their entries stand in logs."""
    return {
        key: {cell[1]: (*cell[:4], peer_of(cell[4]), cell[6]) for cell in cells_in(group)}
        for key, group in replica._cells.items()
    }


def merged(many: list[Write]) -> Group | None:
    group = None
    for index, (origin, entry) in enumerate(many):
        group = merge(group, cell_of(entry, origin, index))
    return group


def as_set(group: Group | None) -> set[object]:
    return set() if group is None else {(cell[0], cell[1], cell[6]) for cell in cells_in(group)}


@given(st.lists(writes(keys="k"), max_size=8), st.randoms(use_true_random=False))
def test_merging_cells_is_the_same_in_every_order_and_twice(
    many: list[Write], rng: random.Random
) -> None:
    again = many + many
    rng.shuffle(again)
    assert as_set(merged(many)) == as_set(merged(again))


@given(writes(keys="k"), writes(keys="k"))
def test_of_two_cells_of_one_slot_exactly_one_beats_the_other(a: Write, b: Write) -> None:
    first, second = cell_of(a[1], a[0], 1), cell_of(b[1], b[0], 1)
    if first[1] != second[1]:
        return
    same = first[6] == second[6] and peer_of(first[4]) == peer_of(second[4])
    assert beats(first, second) + beats(second, first) == (not same)


@given(writes())
def test_a_shadow_has_the_hash_of_its_cell(write: Write) -> None:
    cell = cell_of(write[1], write[0], 1)
    assert cell_hash(shadow_of(cell)) == cell_hash(cell)
    assert shadow_of(shadow_of(cell)) == shadow_of(cell)
    value = write[1].value
    stub = stub_of(write[1].data, -1 if value is None else len(value))
    assert cell_hash(cell) == leaf_hash(stub) == leaves_of([write[1]])[0]


@given(KINDS, MANY, st.randoms(use_true_random=False))
def test_replicas_agree_whatever_the_order_the_grouping_and_the_sweeps(
    kind: Kind, many: list[Write], rng: random.Random
) -> None:
    plain, other = Shelf(kind), Shelf(kind)
    plain.apply(*many)
    shuffled = many + rng.sample(many, len(many) // 2)
    rng.shuffle(shuffled)
    clock_ms = BASE_MS
    while shuffled:
        size = rng.randrange(1, len(shuffled) + 1)
        part, shuffled = shuffled[:size], shuffled[size:]
        if rng.random() < 0.5:
            part.sort(key=lambda write: write[0])
        other.apply(*part)
        clock_ms += rng.choice((0, 0, 1, 3))
        if rng.random() < 0.5:
            # The slots of the wheel are seconds: swept as if each were due.
            other.replica.sweep(clock_ms)
            _sweep_all(other.replica, clock_ms)
    for wall_ms in (clock_ms, clock_ms + 1, END_MS):
        for replica in (plain.replica, other.replica):
            _sweep_all(replica, wall_ms)
        assert plain.replica.pairs(wall_ms) == _in_order_of(plain.replica, other.replica, wall_ms)
        assert len(plain.replica) == len(other.replica)
        assert plain.replica.totals(wall_ms) == other.replica.totals(wall_ms)
        assert cells_of(plain.replica) == cells_of(other.replica)


def _sweep_all(replica: Replica, wall_ms: int) -> None:
    """Look at every key now, not at the end of its second."""
    replica._wheel._slots = {0: list(replica._cells)}
    replica._wheel._order = [0]
    for key, group in replica._cells.items():
        for cell in cells_in(group):
            if cell[2] is not None and cell[2] > wall_ms:
                replica._wheel.add(key, cell[2])
    replica.sweep(wall_ms)


def _in_order_of(plain: Replica, other: Replica, wall_ms: int) -> list[tuple[str, object]]:
    shown = dict(other.pairs(wall_ms))
    assert len(shown) == len(plain.keys(wall_ms))
    return [(key, shown[key]) for key in plain.keys(wall_ms)]


@given(KINDS, MANY, st.integers(0, 12))
@example(Kind.VALUE, [], 0)
def test_a_replica_shows_what_its_entries_say(kind: Kind, many: list[Write], later_ms: int) -> None:
    """Against a model without groups, shadows or order."""
    shelf = Shelf(kind)
    shelf.apply(*many)
    wall_ms = BASE_MS + later_ms
    facts = [fact_of(cell_of(entry, origin, 1), origin) for origin, entry in many]
    expected = expected_pairs(facts, kind, wall_ms)
    assert dict(shelf.replica.pairs(wall_ms)) == expected
    assert sorted(shelf.replica.keys(wall_ms)) == sorted(expected)
    _sweep_all(shelf.replica, wall_ms)
    assert len(shelf.replica) == len(expected)
    for key in "kq":
        is_shown = key in expected
        assert shelf.replica.has(key, wall_ms) == is_shown
        assert (shelf.replica.state_of(key, wall_ms) == "present") == is_shown
        if is_shown:
            assert shelf.replica.read(key, wall_ms) == expected[key]


@given(KINDS, st.lists(MANY, max_size=4))
def test_totals_kept_up_to_date_equal_totals_from_nothing(
    kind: Kind, parts: list[list[Write]]
) -> None:
    shelf = Shelf(kind)
    for number, part in enumerate(parts):
        shelf.apply(*part)
        wall_ms = BASE_MS + number * 2_000
        kept = shelf.replica.totals(wall_ms)
        shelf.replica._live_sum = type(shelf.replica._live_sum)("b")
        assert shelf.replica.totals(wall_ms) == kept
        held = sum(
            len(cell[6]) for group in shelf.replica._cells.values() for cell in cells_in(group)
        )
        assert kept.bytes == held


@given(KINDS, KINDS, MANY)
def test_going_over_to_another_kind_shows_what_that_kind_would_have_shown(
    kind: Kind, announced: Kind, many: list[Write]
) -> None:
    from attrs import evolve

    shelf, fresh = Shelf(kind), Shelf(announced)
    shelf.apply(*many)
    fresh.apply(*many)
    rules = evolve(shelf.replica.rules, kind=announced)
    shelf.replica.adopt(evolve(shelf.replica.announcement, rules=rules))
    assert shelf.replica.pairs(BASE_MS) == fresh.replica.pairs(BASE_MS)
    assert len(shelf.replica) == len(fresh.replica)
    assert shelf.replica.totals(BASE_MS) == fresh.replica.totals(BASE_MS)
