"""Drafts: read their own writes, one op a cell, done again where the replica moved, and nothing where a call raises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core import NO_EXPIRY, Deletes, Draft, Kind, Limits, Written
from gossipsync.core.model.bundle import parse_bundle
from gossipsync.errors import (
    BucketKindError,
    ClosedError,
    EndedKeyError,
    KeyTooLongError,
    LocalError,
    OverloadedError,
    ValueTooLargeError,
    ValueTypeError,
)
from tests.core._world import Stage


def opened(kind: Kind = Kind.VALUE, **settings: object) -> Stage:
    stage = Stage(**settings)  # type: ignore[arg-type]
    stage.peer.open_bucket("b", stage.now, kind=kind)
    return stage


def draft(stage: Stage) -> Draft:
    return stage.peer.draft("b", stage.now)


def commit(stage: Stage, one: Draft) -> Written:
    written = stage.peer.commit_draft(one, stage.now)
    stage.settle()
    return written


def do(stage: Stage, *operations: Callable[[Draft], object]) -> Written:
    one = draft(stage)
    for operation in operations:
        operation(one)
    return commit(stage, one)


def last_entries(stage: Stage) -> list[tuple[object, ...]]:
    """(key, field, op) of the newest bundle."""
    entries = parse_bundle(stage.disk.rows[-1][3]).entries()
    return [(entry.key, entry.field, entry.op) for entry in entries]


# -- one batch ---------------------------------------------------------------------------------------------------


def test_a_draft_reads_its_own_writes_and_nobody_else_does() -> None:
    stage = opened()
    stage.put("k", 1)
    one = draft(stage)
    one.put("k", 2)
    one.put("new", 3)
    one.delete("k")
    assert not one.has("k")
    assert one.read("new") == 3
    assert stage.pairs() == {"k": 1}
    commit(stage, one)
    assert stage.pairs() == {"new": 3}


def test_a_batch_is_one_bundle_with_one_op_a_cell_and_one_stamp() -> None:
    stage = opened()
    one = draft(stage)
    for number in range(5):
        one.put("a", number)
        one.put("b", number)
    one.delete("b")
    rows = len(stage.disk.rows)
    commit(stage, one)
    assert len(stage.disk.rows) == rows + 1
    entries = parse_bundle(stage.disk.rows[-1][3]).entries()
    assert [(entry.key, entry.op) for entry in entries] == [("a", 0), ("b", 1)]
    assert len({entry.stamp for entry in entries}) == 1


def test_a_draft_that_writes_nothing_seals_nothing() -> None:
    stage = opened()
    commit(stage, draft(stage))
    assert stage.disk.rows == []


_FIELDS = st.sampled_from("xyz")
_MAP_OPS = st.one_of(
    st.tuples(st.just("put"), st.dictionaries(_FIELDS, st.integers(0, 2))),
    st.tuples(st.just("set"), _FIELDS, st.integers(0, 2)),
    st.tuples(st.just("del"), _FIELDS),
    st.just(("delete",)),
    st.just(("commit",)),
)


@given(st.lists(_MAP_OPS, max_size=12))
def test_maps_behave_as_dicts_of_dicts(operations: list[tuple[object, ...]]) -> None:
    """Inside a batch, at its end, and in the entries that it makes."""
    stage = opened(Kind.MAP)
    model: dict[str, object] | None = None
    one = draft(stage)
    for operation in (*operations, ("commit",)):
        match operation:
            case ("put", dict(value)):
                one.put("k", value)
                model = dict(value)
            case ("set", str(field), value):
                if model is None:
                    with pytest.raises(KeyError):
                        one.set_field("k", field, value)
                else:
                    one.set_field("k", field, value)
                    model[field] = value
            case ("del", str(field)):
                if model is None or field not in model:
                    with pytest.raises(KeyError):
                        one.delete_field("k", field)
                else:
                    one.delete_field("k", field)
                    del model[field]
            case ("delete",):
                one.delete("k")
                model = None
            case _:
                commit(stage, one)
                assert stage.pairs() == ({} if model is None else {"k": model})
                one = draft(stage)
        assert (one.read("k") if one.has("k") else None) == model


_SET_OPS = st.tuples(st.sampled_from(["add", "discard", "delete", "commit"]), _FIELDS)


@given(st.lists(_SET_OPS, max_size=12))
def test_sets_behave_as_sets(operations: list[tuple[str, str]]) -> None:
    stage = opened(Kind.SET)
    model: set[str] = set()
    one = draft(stage)
    for name, element in (*operations, ("commit", "")):
        match name:
            case "add":
                one.add_element("k", element)
                model.add(element)
            case "discard":
                one.discard_element("k", element)
                model.discard(element)
            case "delete":
                one.delete("k")
                model.clear()
            case _:
                commit(stage, one)
                assert stage.peer.replicas["b"].elements("k", stage.wall_ms) == model
                one = draft(stage)
        assert (one.read("k") if one.has("k") else frozenset()) == model


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from(["add", "commit", "delete"]), st.integers(-9, 9)
        ),
        max_size=20,
    )
)
def test_counters_from_interleaved_drafts_add_up(steps: list[tuple[int, str, int]]) -> None:
    """Three batches open at once; each adds what it was told, whatever the others committed meanwhile."""
    stage = opened(Kind.COUNTER)
    open_ones = [draft(stage) for _ in range(3)]
    pending: list[list[int | None]] = [[], [], []]
    total = 0
    for which, name, amount in (*steps, (0, "commit", 0), (1, "commit", 0), (2, "commit", 0)):
        if name == "add":
            open_ones[which].add("k", amount)
            pending[which].append(amount)
        elif name == "delete":
            open_ones[which].delete("k")
            pending[which].append(None)
        else:
            commit(stage, open_ones[which])
            for change in pending[which]:
                total = 0 if change is None else total + change
            assert stage.peer.replicas["b"].counter("k", stage.wall_ms) == total
            open_ones[which], pending[which] = draft(stage), []


def test_a_map_writes_only_what_differs() -> None:
    stage = opened(Kind.MAP)
    do(stage, lambda one: one.put("k", {"a": 1, "b": 2, "c": 3}))
    do(stage, lambda one: one.put("k", {"a": 1, "b": 9}))
    assert last_entries(stage) == [("k", "b", 0), ("k", "c", 1)]
    do(stage, lambda one: one.put("k", {"a": 1, "b": 9}))
    assert last_entries(stage) == [("k", None, 3)]  # the same again: a touch, which renews its life
    do(stage, lambda one: one.put("k", {}))
    assert stage.pairs() == {"k": {}}


# -- done again --------------------------------------------------------------------------------------------------


def test_what_another_wrote_meanwhile_is_kept_where_fields_differ() -> None:
    stage = opened(Kind.MAP)
    do(stage, lambda one: one.put("k", {"a": 1}))
    slow = draft(stage)
    slow.put("k", {"a": 1, "mine": 1})
    do(stage, lambda one: one.set_field("k", "theirs", 2))
    commit(stage, slow)
    assert stage.pairs() == {"k": {"a": 1, "mine": 1}}  # an assignment replaces what it finds
    slow = draft(stage)
    slow.set_field("k", "mine", 2)
    do(stage, lambda one: one.set_field("k", "theirs", 2))
    commit(stage, slow)
    assert stage.pairs() == {"k": {"a": 1, "mine": 2, "theirs": 2}}


def test_a_draft_that_lost_its_ground_writes_nothing() -> None:
    stage = opened(Kind.MAP)
    do(stage, lambda one: one.put("k", {"a": 1}))
    slow = draft(stage)
    slow.put("other", {})
    slow.set_field("k", "a", 2)
    do(stage, lambda one: one.delete("k"))
    rows = len(stage.disk.rows)
    with pytest.raises(LocalError, match="deleted while the batch was open"):
        commit(stage, slow)
    assert stage.pairs() == {}
    assert len(stage.disk.rows) == rows


@pytest.mark.parametrize("moves", [False, True], ids=["undisturbed", "done again"])
def test_a_value_is_taken_as_it_is_at_the_call(moves: bool) -> None:
    """What the caller does to its own object afterwards changes nothing, also where the draft is done again."""
    for kind, operation in (
        (Kind.VALUE, lambda one, value: one.put("k", value)),
        (Kind.MAP, lambda one, value: one.put("k", {"f": value})),
    ):
        stage = opened(kind)
        value: list[object] = [1]
        one = draft(stage)
        operation(one, value)
        value.append("changed later")
        if moves:
            do(stage, lambda other: other.put("elsewhere", {}))
        commit(stage, one)
        assert stage.pairs()["k"] == ([1] if kind is Kind.VALUE else {"f": [1]})


@pytest.mark.parametrize("moves", [False, True], ids=["undisturbed", "done again"])
def test_a_field_is_taken_as_it_is_at_the_call(moves: bool) -> None:
    stage = opened(Kind.MAP)
    do(stage, lambda one: one.put("k", {}))
    value: dict[str, object] = {"n": 1}
    one = draft(stage)
    one.set_field("k", "f", value)
    value["n"] = "changed later"
    if moves:
        do(stage, lambda other: other.put("elsewhere", {}))
    commit(stage, one)
    assert stage.pairs()["k"] == {"f": {"n": 1}}


# -- lives -------------------------------------------------------------------------------------------------------


def test_an_expired_map_does_not_lend_its_fields_to_the_next_one() -> None:
    stage = Stage()
    stage.peer.open_bucket("b", stage.now, kind=Kind.MAP, ttl_ms=1_000)
    for pause_s in (1.5, 5.0):  # before and after what expired is swept
        do(stage, lambda one: one.put("k", {"old": 1}))
        stage.mono_s += pause_s
        do(stage, lambda one: one.put("k", {"new": 2}))
        assert stage.pairs() == {"k": {"new": 2}}


def test_a_counter_begins_at_zero_after_it_has_expired_or_was_deleted() -> None:
    stage = Stage()
    stage.peer.open_bucket("b", stage.now, kind=Kind.COUNTER, ttl_ms=1_000)
    do(stage, lambda one: one.add("k", 5))
    stage.mono_s += 2.0
    do(stage, lambda one: one.add("k", 2))
    assert stage.pairs() == {"k": 2}
    do(stage, lambda one: one.delete("k"))
    do(stage, lambda one: one.add("k", 3))
    assert stage.pairs() == {"k": 3}
    do(stage, lambda one: one.delete("k"), lambda one: one.add("k", 4))
    assert stage.pairs() == {"k": 4}


def test_a_touch_extends_a_life_and_a_small_one_sends_nothing() -> None:
    stage = Stage()
    stage.peer.open_bucket("b", stage.now, ttl_ms=100_000)
    do(stage, lambda one: one.put("k", 1))
    rows = len(stage.disk.rows)
    stage.mono_s += 4.0
    do(stage, lambda one: one.touch("k"))
    assert len(stage.disk.rows) == rows
    stage.mono_s += 2.0
    do(stage, lambda one: one.touch("k"))
    assert len(stage.disk.rows) == rows + 1
    stage.wait(95.0)
    assert stage.pairs() == {"k": 1}
    stage.wait(6.0)
    assert stage.pairs() == {}
    assert not draft(stage).touch("k")


def test_a_touch_can_make_a_life_endless() -> None:
    stage = Stage()
    stage.peer.open_bucket("b", stage.now, ttl_ms=1_000)
    do(stage, lambda one: one.put("k", 1))
    do(stage, lambda one: one.touch("k", NO_EXPIRY))
    stage.wait(10.0)
    assert stage.pairs() == {"k": 1}


def test_the_last_life_named_in_a_batch_holds() -> None:
    """As it would in two bundles."""
    stage = opened()
    do(stage, lambda one: one.put("k", 1, 1_000), lambda one: one.touch("k", NO_EXPIRY))
    stage.wait(10.0)
    assert stage.pairs() == {"k": 1}


def test_final_deletes_end_a_key_for_its_ttl() -> None:
    stage = Stage(horizon_ms=1_000)
    stage.peer.open_bucket("b", stage.now, deletes=Deletes.FINAL, ttl_ms=10_000)
    do(stage, lambda one: one.put("k", 1))
    one = draft(stage)
    one.delete("k")
    with pytest.raises(EndedKeyError):
        one.put("k", 2)
    commit(stage, one)
    with pytest.raises(EndedKeyError):
        draft(stage).put("k", 2)
    stage.wait(9.9)
    with pytest.raises(EndedKeyError):
        draft(stage).put("k", 2)
    stage.wait(0.2)
    do(stage, lambda two: two.put("k", 3))
    assert stage.pairs() == {"k": 3}


def test_a_ttl_in_a_final_bucket_is_capped() -> None:
    stage = Stage()
    stage.peer.open_bucket("b", stage.now, deletes=Deletes.FINAL, ttl_ms=1_000)
    for ttl_ms in (NO_EXPIRY, 50_000):
        do(stage, lambda one, ttl_ms=ttl_ms: one.put(f"k{ttl_ms}", 1, ttl_ms))
    stage.wait(1.1)
    assert stage.pairs() == {}


# -- refusals ----------------------------------------------------------------------------------------------------

_SURROGATE = "\ud800"
_REFUSED: list[tuple[Kind, Callable[[Draft], object], type[Exception]]] = [
    (Kind.VALUE, lambda one: one.put("k", object()), ValueTypeError),
    (Kind.VALUE, lambda one: one.put("k", "x" * (256 << 10)), ValueTooLargeError),
    (Kind.VALUE, lambda one: one.put("", 1), KeyTooLongError),
    (Kind.VALUE, lambda one: one.put("k" * 513, 1), KeyTooLongError),
    (Kind.VALUE, lambda one: one.put("ü" * 257, 1), KeyTooLongError),
    (Kind.VALUE, lambda one: one.put(_SURROGATE, 1), ValueTypeError),
    (Kind.VALUE, lambda one: one.put("k", _SURROGATE), ValueTypeError),
    (Kind.VALUE, lambda one: one.put(7, 1), ValueTypeError),  # type: ignore[arg-type]
    (Kind.VALUE, lambda one: one.delete(""), KeyTooLongError),
    (Kind.VALUE, lambda one: one.add("k", 1), BucketKindError),
    (Kind.VALUE, lambda one: one.set_field("k", "f", 1), BucketKindError),
    (Kind.VALUE, lambda one: one.add_element("k", "e"), BucketKindError),
    (Kind.VALUE, lambda one: one.read("absent"), KeyError),
    (Kind.MAP, lambda one: one.put("k", 1), ValueTypeError),
    (Kind.MAP, lambda one: one.put("k", {1: 1}), ValueTypeError),
    (Kind.MAP, lambda one: one.put("k", {"f" * 513: 1}), KeyTooLongError),
    (Kind.MAP, lambda one: one.set_field("absent", "f", 1), KeyError),
    (Kind.MAP, lambda one: one.delete_field("absent", "f"), KeyError),
    (Kind.COUNTER, lambda one: one.put("k", 1), BucketKindError),
    (Kind.COUNTER, lambda one: one.add("k", 1.5), ValueTypeError),  # type: ignore[arg-type]
    (Kind.COUNTER, lambda one: one.add("k", True), ValueTypeError),
    (Kind.COUNTER, lambda one: one.add("k", 1 << 63), ValueTypeError),
    (Kind.SET, lambda one: one.put("k", {"e"}), BucketKindError),
    (Kind.SET, lambda one: one.add_element("k", 1), ValueTypeError),  # type: ignore[arg-type]
    (Kind.SET, lambda one: one.add_element("k", "e" * 513), KeyTooLongError),
]


@pytest.mark.parametrize(("kind", "operation", "error"), _REFUSED)
def test_a_refused_call_has_done_nothing(
    kind: Kind, operation: Callable[[Draft], object], error: type[Exception]
) -> None:
    stage = opened(kind)
    one = draft(stage)
    with pytest.raises(error):
        operation(one)
    assert one.is_empty
    commit(stage, one)
    assert stage.pairs() == {}
    assert stage.disk.rows == []


def test_a_refused_addition_to_an_expired_counter_has_done_nothing() -> None:
    stage = Stage()
    stage.peer.open_bucket("b", stage.now, kind=Kind.COUNTER, ttl_ms=1_000)
    do(stage, lambda one: one.add("k", 5))
    stage.wait(3.0)
    one = draft(stage)
    with pytest.raises(ValueTypeError):
        one.add("k", 1 << 63)
    assert one.is_empty


def test_a_batch_beyond_the_limits_writes_nothing() -> None:
    stage = opened(limits=Limits(batch_entries=10))
    one = draft(stage)
    for number in range(11):
        one.put(f"k{number}", 1)
    with pytest.raises(ValueTooLargeError):
        commit(stage, one)
    assert stage.pairs() == {}
    stage = opened()
    one = draft(stage)
    for number in range(5):
        one.put(f"k{number}", "x" * 200_000)
    with pytest.raises(ValueTooLargeError):
        commit(stage, one)
    assert stage.pairs() == {}


def test_writers_feel_a_store_that_does_not_keep_up() -> None:
    stage = opened(limits=Limits(pending_bytes=5_000))
    stage.disk.is_failing = True
    for number in range(100):
        if not stage.peer.is_writable():
            break
        stage.put(f"k{number}", "x" * 500)
    assert number < 20
    with pytest.raises(OverloadedError):
        stage.put("one more", 1)
    assert "one more" not in stage.pairs()
    stage.disk.is_failing = False
    stage.wait(2.0)
    stage.put("again", 1)
    assert Counter(row[2] for row in stage.disk.rows).most_common(1)[0][1] == 1


def test_a_closing_peer_takes_no_writes() -> None:
    stage = opened()
    one = draft(stage)
    one.put("k", 1)
    stage.peer.close(stage.now)
    with pytest.raises(ClosedError):
        commit(stage, one)
    assert stage.pairs() == {}
