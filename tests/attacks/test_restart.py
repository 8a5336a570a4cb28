"""Restarts: old stores restored, two lives from one copy, clones that live at once, commits cut in the middle."""

from __future__ import annotations

import pytest

from gossipsync.core import Kind, Peer
from gossipsync.core.model.events import Yielded
from gossipsync.core.model.ids import peer_of
from tests.core._world import Disk, Node, World, logs_of, state_faults


def counted(node: Node) -> int:
    return node.up.replicas["n"].counter("n", node.now.wall_ms)


def add(node: Node, amount: int) -> None:
    node.up.open_bucket("n", node.now, kind=Kind.COUNTER)
    node.write("n", lambda draft: draft.add("n", amount))


def assert_even(world: World) -> None:
    assert len({node.up.digest for node in world.running}) == 1
    for node in world.running:
        assert state_faults(node.up, node.now.wall_ms) == []


def restore(world: World, node: Node, disk: Disk) -> Peer:
    world.crash(node)
    node.disk = disk
    return world.start(node)


def test_a_restored_copy_forks_nothing_and_gets_its_own_past_back() -> None:
    world = World(3)
    world.run(3)
    node = world.nodes[0]
    add(node, 1)
    world.run(1)
    copy = node.disk.after_crash()
    add(node, 2)
    world.run(1)
    for amount in (4, 8):  # twice from the same copy
        restore(world, node, copy.after_crash())
        add(node, amount)  # written to at once, before anybody has been met
        world.run(5)
    assert [counted(other) for other in world.nodes] == [15, 15, 15]
    assert_even(world)
    mine = {origin for _, origin in logs_of(node.up) if peer_of(origin) == node.up.peer_id}
    assert len(mine) == 3  # the restored copy held the first epoch, which went on meanwhile
    assert not any(log.fork for log in logs_of(node.up).values())


def test_a_copy_restored_under_a_clock_that_is_behind() -> None:
    world = World(3)
    world.run(3)
    node = world.nodes[0]
    node.put("k", "before")
    world.run(1)
    copy = node.disk.after_crash()
    world.crash(node)
    node.disk = copy
    node.skew_ms = -30_000
    former = max(log.hlc for log in logs_of(world.nodes[1].up).values())
    world.start(node)
    node.put("k", "after")
    world.run(5)
    assert [other.pairs() for other in world.nodes] == [{"k": "after"}] * 3
    assert max(log.hlc for log in logs_of(node.up).values()) > former
    assert_even(world)


def test_two_clones_of_one_key_that_write_at_once_are_two_origins() -> None:
    """What a cloned machine or a fork() after the start comes to, once each has opened its epoch."""
    world = World(3)
    world.run(3)
    original = world.nodes[2]
    clone = world.add()
    clone.name = original.name  # the same key
    clone.disk = original.disk.after_crash()
    clone.settings = clone.settings | {"addresses": ("clone:1",)}
    clone.address = "clone:1"
    world.start(clone)
    for _ in range(20):
        add(original, 1)
        add(clone, 100)
        world.run(0.5)
    assert clone.up.origin != original.up.origin
    world.run(5)
    world.crash(clone)  # while it lives, its newer epoch has the links
    world.run(20)
    assert counted(world.nodes[0]) == counted(world.nodes[1]) == 2020
    assert not any(log.fork for log in logs_of(world.nodes[0].up).values())


@pytest.mark.parametrize("seed", range(8))
def test_sigkill_in_the_middle_of_commits_loses_nothing_that_was_acknowledged(seed: int) -> None:
    world = World(3, seed=seed)
    world.run(3)
    acknowledged = []
    for life in range(6):
        node = world.nodes[0]
        written = [node.put(f"{life}/{n}", n) for n in range(3)]
        world.run(world.rng.random() * 0.02)
        acknowledged += [f"{life}/{n}" for n, one in enumerate(written) if node.up.acked_by(one)]
        world.crash(node)
        world.run(0.5)
        world.start(node)
        world.run(2)
    world.run(5)
    assert acknowledged
    for node in world.nodes:
        assert not set(acknowledged) - set(node.pairs())
    assert_even(world)


def test_nothing_of_ours_leaves_before_its_commit() -> None:
    """So nobody ever holds what a crash here could make us write differently."""
    world = World(2)
    world.run(3)
    node, other = world.nodes
    node.disk.is_failing = True
    node.put("k", 1)
    world.run(5)
    assert node.pairs() == {"k": 1}
    assert other.pairs() == {}
    node.disk.is_failing = False
    world.run(5)
    assert other.pairs() == {"k": 1}


def test_a_member_that_lost_its_disk_gets_all_of_it_back() -> None:
    world = World(3)
    world.run(3)
    for number in range(50):
        world.nodes[number % 3].put(f"k{number}", number)
    world.run(2)
    restore(world, world.nodes[1], Disk())
    assert world.run_until(lambda: len(world.nodes[1].pairs()) == 50, 10.0)
    world.run(3)
    assert_even(world)


def test_a_process_cut_off_for_an_hour_goes_on() -> None:
    world = World(3)
    world.run(3)
    frozen = world.nodes[2]
    world.split(world.nodes[:2], [frozen])
    world.nodes[0].put("meanwhile", 1)
    world.run(3600)
    frozen.put("after", 2)
    world.heal()
    assert world.run_until(lambda: all(len(node.pairs()) == 2 for node in world.nodes), 60.0)
    world.run(5)
    assert_even(world)


@pytest.mark.parametrize("has_stood_still", [False, True])
@pytest.mark.parametrize("pause_s", [8.0, 90.0])
def test_a_machine_paused_within_and_beyond_the_horizon(
    has_stood_still: bool, pause_s: float
) -> None:
    """Its links seem to stand, and its monotonic clock may have stood still with it."""
    world = World(3, horizon_ms=20_000, max_skew_ms=5_000)
    world.run(3)
    paused, other = world.nodes[2], world.nodes[0]
    for key in ("kept", "deleted", "changed"):
        paused.put(key, "before")
    world.run(1)
    world.pause(paused)
    world.run(1)
    other.write("b", lambda draft: draft.delete("deleted"))
    other.put("changed", "meanwhile")
    world.run(pause_s)
    world.resume(paused, stood_still_s=pause_s if has_stood_still else 0.0)
    paused.put("by the one that was paused", 1)
    expected = {"kept": "before", "changed": "meanwhile", "by the one that was paused": 1}
    assert world.run_until(lambda: all(node.pairs() == expected for node in world.nodes), 120.0)
    world.run(60)
    assert [node.pairs() for node in world.nodes] == [expected] * 3
    assert_even(world)
    yielded = sum(isinstance(event, Yielded) for event in paused.events)
    assert yielded == (pause_s > 20)
    for node in world.nodes:
        assert node.up.state == "ready"
        assert node.up.status(node.now).warnings == ()
        assert node.up.status(node.now).members["alive"] == 3
