"""Handing over at the end: a member has all own bundles before the peer goes, or the peer says how many writes are lost.

Before `hand_over` existed, `close` sealed and said goodbye: the first test left its write on no other peer.
"""

from __future__ import annotations

from gossipsync.core.wire.messages import Stored
from tests.core._world import Node, Stage, World

TRY_S = 1.4
"""How long a driver waits for it."""


def hand_over(node: Node, seconds: float = TRY_S, *, is_durable: bool = False) -> bool:
    """What the engine does before it says goodbye; whether it ended before the time was up."""
    node.up.hand_over(node.now, is_durable=is_durable)
    node.world.touched(node)
    return node.world.run_until(node.up.is_handed_over, seconds)


def lost(node: Node) -> int:
    return node.up.lost_writes(is_durable=False)


def goodbye(node: Node) -> None:
    node.up.close(node.now)
    node.world.touched(node)
    node.world.run(0.05)
    node.world.crash(node)


def test_a_write_made_before_any_link_was_up_is_handed_over() -> None:
    world = World(1)
    world.run(3)
    job = world.add()
    world.start(job)
    job.put("k", 1)
    assert hand_over(job)
    assert lost(job) == 0
    goodbye(job)
    assert world.nodes[0].pairs() == {"k": 1}


def test_a_seed_that_comes_up_meanwhile_still_gets_the_writes() -> None:
    world = World()
    keeper, job = world.add(), world.add()
    world.start(job)
    job.put("k", 1)
    world.run(0.5)  # the seed refuses, and rests for longer than the end takes
    world.at(0.8, lambda: world.start(keeper) and None)
    assert hand_over(job)
    assert lost(job) == 0
    goodbye(job)
    assert keeper.pairs() == {"k": 1}


def test_no_member_can_be_reached() -> None:
    world = World()
    _, job = world.add(), world.add()
    world.start(job)
    job.write("b", *(lambda draft, i=i: draft.put(f"k{i}", i) for i in range(3)))
    job.put("k", 1)
    assert not hand_over(job)
    assert lost(job) == job.up.unheld_writes() == 4
    assert job.up.lost_writes(is_durable=True) == 0  # the store has them


def test_a_durable_peer_dials_each_address_once_and_goes() -> None:
    world = World()
    _, job = world.add(), world.add()
    world.start(job)
    job.put("k", 1)
    began_s = world.time_s
    assert hand_over(job, is_durable=True)
    assert world.time_s - began_s < 0.2
    assert job.up.unheld_writes() == 1


def test_alone_and_without_seeds_there_is_nothing_to_wait_for_or_to_report() -> None:
    world = World()
    lone = world.add(seeds=())
    world.start(lone)
    lone.put("k", 1)
    lone.up.hand_over(lone.now, is_durable=False)
    assert lone.up.is_handed_over()
    assert lost(lone) == 0


def test_what_a_dead_member_confirmed_goes_to_another() -> None:
    world = World(2)
    a, b = world.nodes
    job = world.add()
    world.start(job)
    assert world.run_until(lambda: len(job.up._ctx.by_peer) == 2, 10)
    world.split([a, job], [b])
    written = job.put("k", 1)
    assert world.run_until(lambda: bool(job.up.acked_by(written)), 5)
    world.crash(a)
    world.run(0.01)
    assert lost(job) == 1
    world.heal()
    assert hand_over(job)
    goodbye(job)
    assert b.pairs() == {"k": 1}


def test_what_a_member_confirmed_that_then_said_goodbye_is_handed_over() -> None:
    world = World(2)
    a, b = world.nodes
    assert world.run_until(lambda: b.up.state == "ready", 10)
    written = b.put("k", 1)
    assert world.run_until(lambda: bool(b.up.acked_by(written)), 5)
    goodbye(a)
    world.run(0.1)
    began_s = world.time_s
    assert hand_over(b)
    assert lost(b) == 0
    assert world.time_s == began_s
    b.put("late", 1)  # no member has this one
    assert not hand_over(b)
    assert lost(b) == 1


def test_a_member_that_is_joining_itself_can_take_writes() -> None:
    world = World()
    a, b, job = (world.add() for _ in range(3))
    for node in (b, job):
        world.start(node)
    assert a.peer is None
    job.put("k", 1)
    assert hand_over(job)
    goodbye(job)
    assert b.pairs() == {"k": 1}


def test_thousands_of_writes_at_the_last_moment() -> None:
    world = World(1)
    world.run(3)
    job = world.add()
    world.start(job)
    for start in range(0, 5000, 1000):
        job.write(
            "b",
            *(lambda d, i=i: d.put(f"k{i}", "x" * 200) for i in range(start, start + 1000)),
        )
    assert hand_over(job)
    goodbye(job)
    assert len(world.nodes[0].pairs()) == 5000


def test_a_deaf_member_does_not_count_and_nothing_goes_on_after_the_end() -> None:
    stage = Stage(seeds=("seed:1",))
    stage.peer.handle_seeds(("seed:1",), stage.now)
    stage.link("deaf")
    stage.put("k", 1)
    stage.peer.hand_over(stage.now, is_durable=False)
    stage.settle()
    stage.wait(0.35)
    assert stage.dials.count("seed:1") >= 3
    assert not stage.peer.is_handed_over()
    stage.peer.close(stage.now)
    stage.settle()
    dialled = len(stage.dials)
    stage.wait(1)
    assert len(stage.dials) == dialled
    assert stage.peer.lost_writes(is_durable=False) == 1


def test_it_is_over_at_the_moment_of_the_confirmation() -> None:
    stage = Stage(seeds=("seed:1",))
    other = stage.link("other")
    stage.put("k", 1)
    stage.peer.hand_over(stage.now, is_durable=False)
    stage.settle()
    assert not stage.peer.is_handed_over()
    stage.told.clear()
    other.says(Stored((("b", stage.peer.origin, 1),)))
    assert stage.peer.is_handed_over()
    assert stage.peer.lost_writes(is_durable=False) == 0
    dialled = len(stage.dials)
    stage.wait(0.35)
    assert len(stage.dials) == dialled


def test_a_confirmation_that_arrives_while_links_close_counts() -> None:
    """Eight jobs that ended at once on a busy machine: some said that a write was lost, and it had arrived."""
    stage = Stage(seeds=("seed:1",), gossip_interval_s=0.2)
    other = stage.link("other")
    stage.put("k", 1)
    stage.peer.hand_over(stage.now, is_durable=False)
    stage.settle()
    stage.peer.close(stage.now)
    stage.settle()
    other.says(Stored((("b", stage.peer.origin, 1),)))
    other.leaves()
    stage.wait(1)  # rounds go on, and the member whose link has gone seems suspect
    assert stage.peer.lost_writes(is_durable=False) == 0
