"""A clock set back by far, or by less than the bound: the newest write wins everywhere, and nothing that was written is lost."""

from __future__ import annotations

import pytest

from gossipsync.core import Deletes, Kind
from gossipsync.core.model.reasons import WarningCode
from tests.core._world import Node, Stage, World, state_faults

LONG_MS = 150_000
SKEW_MS = 10_000


def joined(peers: int = 3) -> World:
    world = World(peers, gossip_interval_s=0.5, max_skew_ms=SKEW_MS)
    world.run(3)
    return world


def delete(node: Node, key: str) -> None:
    node.write("b", lambda draft: draft.delete(key))


def restart(node: Node) -> None:
    node.world.crash(node)
    node.world.start(node)


def agree(world: World, pairs: dict[str, object], bucket: str = "b") -> None:
    assert [node.pairs(bucket) for node in world.running] == [pairs] * len(world.running)
    assert len({node.up.digest for node in world.running}) == 1
    for node in world.running:
        assert state_faults(node.up, node.now.wall_ms) == []


@pytest.mark.parametrize("span_ms", [LONG_MS, SKEW_MS, SKEW_MS // 2])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_what_is_written_after_the_step_wins_everywhere(
    span_ms: int, *, is_restarted: bool
) -> None:
    world = joined()
    node = world.nodes[2]
    for key in ("again", "deleted", "other", "old"):
        node.put(key, "before")
    world.run(1)
    node.skew_ms = span_ms
    for key in ("again", "deleted", "other", "kept"):
        node.put(key, "ahead")
    delete(node, "old")
    world.run(1)
    if is_restarted:
        world.crash(node)
    node.skew_ms = 0
    if is_restarted:
        world.start(node)
    node.put("again", "after")
    delete(node, "deleted")
    world.run(3)
    world.nodes[0].put("other", "by another")
    world.run(3)
    agree(world, {"again": "after", "other": "by another", "kept": "ahead"})
    world.run(LONG_MS / 1000 + 70)
    agree(world, {"again": "after", "other": "by another", "kept": "ahead"})
    assert [other.up.queues()["lines_behind"] for other in world.nodes] == [0] * 3


def test_it_says_so_for_a_while() -> None:
    world = joined()
    node = world.nodes[2]
    node.skew_ms = LONG_MS
    node.put("k", 1)
    world.run(1)
    node.skew_ms = 0
    node.put("other", 2)
    world.run(2)
    code = WarningCode.CLOCK_SET_BACK
    assert code in node.up.status(node.now).warnings
    assert code not in world.nodes[0].up.status(world.nodes[0].now).warnings
    assert node.up.gossip_info(node.now)["taken_back_entries"] == 1
    world.run(700)
    assert code not in node.up.status(node.now).warnings


def test_what_nobody_writes_again_is_taken_back_without_a_write() -> None:
    world = joined()
    node = world.nodes[2]
    node.skew_ms = LONG_MS
    node.put("k", 1)
    restart(node)
    world.run(2)
    assert world.nodes[0].pairs() == {}
    world.crash(node)
    node.skew_ms = 0
    world.start(node)
    world.run(3)
    agree(world, {"k": 1})


def test_a_clock_set_back_wrongly_goes_on_above_its_own_past() -> None:
    """The others' clocks tell that ours is the wrong one: what we wrote before has been taken, and what we write now beats it."""
    world = joined()
    node = world.nodes[2]
    node.put("k", "before")
    node.put("other", "before")
    world.run(2)
    node.skew_ms = -LONG_MS
    node.put("k", "after")
    epoch = node.up.epoch
    world.run(2)
    agree(world, {"k": "after", "other": "before"})
    restart(node)
    node.put("k", "last")  # before anybody has been met
    world.run(5)
    assert [other.pairs()["k"] for other in world.nodes] == ["last"] * 3
    assert node.up.gossip_info(node.now)["taken_back_entries"] == 0
    assert node.up.epoch > epoch
    node.skew_ms = 0
    world.run(5)
    agree(world, {"k": "last", "other": "before"})


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_member_with_the_same_wrong_clock_gives_back_nothing_that_wins(
    *, is_restarted: bool
) -> None:
    world = joined(4)
    *others, twin, node = world.nodes
    twin.skew_ms = node.skew_ms = LONG_MS
    node.put("k", "ahead")
    world.run(1)
    assert twin.pairs() == {"k": "ahead"}
    twin.skew_ms = node.skew_ms = 0
    node.put("k", "after")
    world.run(5)
    assert [other.pairs() for other in [*others, node]] == [{"k": "after"}] * 3
    if is_restarted:  # the store remembers that it has taken something back
        world.crash(node)
        world.start(node)
    world.run(LONG_MS / 1000 + 70)
    agree(world, {"k": "after"})


def test_alone_it_decides_by_itself() -> None:
    stage = Stage(skew_ms=LONG_MS, max_skew_ms=SKEW_MS)
    stage.put("k", "ahead")
    stage.put("kept", "ahead")
    stage.skew_ms = 0
    stage.put("k", "after")
    assert stage.pairs() == {"k": "after", "kept": "ahead"}
    again = Stage(disk=stage.disk.after_crash(), max_skew_ms=SKEW_MS)
    assert again.pairs() == {"k": "after", "kept": "ahead"}
    assert {row[1] for row in stage.disk.rows} == {stage.peer.origin}


def test_a_write_made_while_cut_off_after_a_restart_is_later_too() -> None:
    """It cannot know yet whether its clock is right: what it stamped ahead holds until it has met somebody."""
    world = joined()
    node = world.nodes[2]
    node.skew_ms = LONG_MS
    node.put("k", "ahead")
    node.put("gone", "ahead")
    world.run(1)
    world.crash(node)
    node.skew_ms = 0
    world.split(world.nodes[:2], [node])
    world.start(node)
    node.put("k", "after")
    delete(node, "gone")
    world.run(100)  # long enough for what lost to be taken out of its log
    assert WarningCode.CLOCK_SET_BACK in node.up.status(node.now).warnings
    restart(node)
    world.run(2)
    world.heal()
    world.run(40)
    agree(world, {"k": "after"})


def test_lives_count_from_when_the_clock_was_right() -> None:
    world = joined()
    node = world.nodes[2]
    node.skew_ms = LONG_MS
    node.up.open_bucket("t", node.now, ttl_ms=30_000)
    node.put("k", 1, "t")
    world.run(1)
    node.skew_ms = 0
    node.put("other", 1, "t")
    world.run(2)
    agree(world, {"k": 1, "other": 1}, "t")
    world.run(40)
    agree(world, {}, "t")


def put_for(node: Node, bucket: str, key: str, value: object, ttl_ms: int) -> None:
    node.write(bucket, lambda draft: draft.put(key, value, ttl_ms))


@pytest.mark.parametrize("is_restarted", [False, True])
def test_what_had_ended_by_the_wrong_clock_uncovers_nothing_older(*, is_restarted: bool) -> None:
    """What it wrote ahead of all is a shadow by the time its clock is right: what that had beaten stays gone, here and elsewhere."""
    world = joined()
    node = world.nodes[2]
    for name, rules in {
        "v": {"ttl_ms": 3_600_000},
        "m": {"kind": Kind.MAP, "ttl_ms": 3_600_000},
        "f": {"deletes": Deletes.FINAL, "ttl_ms": 3_600_000},
    }.items():
        node.up.open_bucket(name, node.now, **rules)  # type: ignore[arg-type]
        for key in ("short", "other", "again"):
            node.put(key, {"a": 1, "b": 1}, name)
    world.run(1)
    node.skew_ms = LONG_MS
    for name in ("v", "m", "f"):
        put_for(node, name, "short", {"a": 1}, 5_000)
        put_for(node, name, "again", {"a": 1}, 5_000)
    world.run(15)
    assert [sorted(node.pairs(name)) for name in ("v", "m", "f")] == [["other"]] * 3
    if is_restarted:
        world.crash(node)
    node.skew_ms = 0
    if is_restarted:
        world.start(node)
    for name in ("v", "m", "f"):
        node.put("again", {"c": 2}, name)
    world.run(
        10
    )  # after a restart its values are there again, and live their five seconds from now
    kept = {"other": {"a": 1, "b": 1}, "again": {"c": 2}}
    for name in ("v", "m", "f"):
        agree(world, kept, name)
    world.run(LONG_MS / 1000 + 70)
    for name in ("v", "m", "f"):
        agree(world, kept, name)


@pytest.mark.parametrize("rules", [{}, {"kind": Kind.MAP}, {"deletes": Deletes.FINAL}])
@pytest.mark.parametrize("ahead_s", [1, 100])
def test_a_delete_of_what_was_written_before_still_wins(
    rules: dict[str, object], ahead_s: float
) -> None:
    world = joined()
    node = world.nodes[2]
    node.up.open_bucket("d", node.now, ttl_ms=3_600_000, **rules)  # type: ignore[arg-type]
    node.put("gone", {"a": 1}, "d")
    node.put("kept", {"a": 1}, "d")
    world.run(1)
    node.skew_ms = LONG_MS
    node.write("d", lambda draft: draft.delete("gone"))
    world.run(ahead_s)
    node.skew_ms = 0
    world.run(4)
    agree(world, {"kept": {"a": 1}}, "d")
    world.run(LONG_MS / 1000 + 70)
    agree(world, {"kept": {"a": 1}}, "d")


def test_maps_sets_batches_and_final_deletes() -> None:
    world = joined()
    node = world.nodes[2]
    for name, rules in {
        "m": {"kind": Kind.MAP},
        "s": {"kind": Kind.SET},
        "f": {"deletes": Deletes.FINAL, "ttl_ms": 3_600_000},
    }.items():
        node.up.open_bucket(name, node.now, **rules)  # type: ignore[arg-type]
    node.put("k", {"a": 1, "b": 1}, "m")
    node.put("ended", 1, "f")
    world.run(1)
    node.skew_ms = LONG_MS
    node.put("k", {"b": 2, "c": 2}, "m")
    node.write("s", lambda draft: draft.add_element("k", "x"), lambda d: d.add_element("k", "y"))
    node.write("f", lambda draft: draft.delete("ended"))
    world.run(1)
    node.skew_ms = 0
    node.write("m", lambda draft: draft.set_field("k", "c", 3))
    node.write("s", lambda draft: draft.discard_element("k", "x"))
    node.put("new", 1, "f")
    world.run(3)
    agree(world, {"k": {"b": 2, "c": 3}}, "m")
    agree(world, {"k": frozenset({"y"})}, "s")
    agree(world, {"new": 1}, "f")


def test_totals_of_counters_are_counted_once() -> None:
    world = joined()
    node = world.nodes[2]
    node.up.open_bucket("c", node.now, kind=Kind.COUNTER)
    for span_ms in (0, LONG_MS, 0):
        node.skew_ms = span_ms
        node.write("c", lambda draft: draft.add("n", 1))
        world.run(1)
    assert node.pairs("c") == {"n": 3}
    world.run(LONG_MS / 1000 + 70)
    agree(world, {"n": 3}, "c")


def test_a_crash_at_any_commit_loses_nothing() -> None:
    for seed in range(12):
        world = World(3, seed=seed, gossip_interval_s=0.5, max_skew_ms=SKEW_MS)
        world.run(3)
        node = world.nodes[2]
        node.skew_ms = LONG_MS
        for number in range(20):
            node.put(f"k{number}", "ahead")
        world.run(1)
        node.skew_ms = 0
        node.put("k0", "after")
        world.run(world.rng.random() * 0.01)
        restart(node)
        world.run(5)
        shown = node.pairs()
        assert shown.keys() == {f"k{number}" for number in range(20)}
        agree(world, shown)
