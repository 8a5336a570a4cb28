"""Readiness: what a peer that says "ready" holds, which peer founds a mesh, and how soon both happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gossipsync.core.model.events import StateChanged
from gossipsync.core.model.limits import Limits
from gossipsync.core.model.stage import Stage as Told
from gossipsync.core.wire.messages import Compare, Digest, Equal
from gossipsync.core.wire.readiness import Readiness
from gossipsync.core.wire.reconciling import Covered, Findings, Heads, Parts, Survey
from tests.core._world import START_MS, Node, Remote, Stage, World

TRIMMED_SOON = Limits(trim_after_s=0.2, log_waste_bytes=1)
SMALL_DELTAS = Limits(delta_bytes=2_000, delta_first_bytes=2_000)


def is_ready(*nodes: Node) -> Callable[[], bool]:
    return lambda: all(node.peer is not None and node.up.state == "ready" for node in nodes)


def are_settled(nodes: list[Node]) -> Callable[[], bool]:
    return lambda: is_ready(*nodes)() and len({node.up.digest for node in nodes}) == 1


def keys_when_ready(world: World, nodes: list[Node], seconds: float) -> dict[str, int]:
    """How many keys each peer held when it first said that it is ready."""
    held: dict[str, int] = {}

    def look() -> bool:
        for node in nodes:
            if node.name not in held and StateChanged("ready") in node.events:
                held[node.name] = len(node.pairs())
        return len(held) == len(nodes)

    assert world.run_until(look, seconds)
    return held


@pytest.mark.parametrize("count", [2, 4, 7])
@pytest.mark.parametrize("limits", [SMALL_DELTAS, TRIMMED_SOON])
def test_ready_means_the_data_of_a_ready_member(count: int, limits: Limits) -> None:
    """Several peers join at once, after another one has joined and gone (case 40)."""
    world = World(1, seed=count, limits=limits, latency_s=0.01, gossip_interval_s=0.02)
    writer = world.nodes[0]
    for number in range(200):
        writer.put(f"k{number}", "x" * 200)
        world.run(0.02)
    gone = world.add()
    world.start(gone)
    assert world.run_until(is_ready(gone), 10.0)
    gone.up.leave(gone.now)
    world.touched(gone)
    world.run(1)
    world.crash(gone)
    joiners = [world.add() for _ in range(count)]
    for node in joiners:
        world.start(node)
    assert keys_when_ready(world, joiners, 20.0) == {node.name: 200 for node in joiners}


@pytest.mark.parametrize("peers", [2, 3])
@pytest.mark.parametrize("met_s", [0.3, 2.0, 8.0, 11.0])
@pytest.mark.parametrize("has_newcomer", [False, True])
def test_peers_that_restart_soon_after_they_met_become_ready(
    peers: int, met_s: float, has_newcomer: bool
) -> None:
    """They lived apart until their logs were trimmed, met, and were killed (case 43)."""
    world = World(peers, seed=peers, limits=TRIMMED_SOON)
    world.split(*[[node] for node in world.nodes])
    for number in range(20):
        for node in world.nodes:
            node.put("noise", number)
            node.put(node.name, number)
        world.run(0.3)
    world.heal()
    world.run(met_s)
    for node in world.nodes:
        world.crash(node)
    if has_newcomer:
        world.add()
    for node in world.nodes:
        world.start(node)
    assert world.run_until(are_settled(world.nodes), 20.0)
    assert all(len(node.pairs()) == peers + 1 for node in world.nodes)


def test_no_peer_founds_while_a_linked_one_is_too_busy_to_speak() -> None:
    """The only ready member answers late; its joiners are linked with each other sooner."""
    world = World(1, gossip_interval_s=0.1)
    keeper = world.nodes[0]
    for number in range(50):
        keeper.put(f"k{number}", number)
    world.run(1)
    send, busy_until_s = world._send, world.time_s + 3.0

    def late(end: Any, data: bytes) -> None:
        wait_s = busy_until_s - world.time_s if end.node is keeper else 0.0
        world.at(max(0.0, wait_s), lambda: send(end, data))

    world._send = late  # type: ignore[method-assign]
    joiners = [world.add() for _ in range(4)]
    for node in joiners:
        world.start(node)
    assert keys_when_ready(world, joiners, 20.0) == {node.name: 50 for node in joiners}


def test_a_joiner_that_stood_still_reads_before_it_founds() -> None:
    world = World(1, gossip_interval_s=0.1)
    keeper = world.nodes[0]
    for number in range(50):
        keeper.put(f"k{number}", number)
    world.run(1)
    world.crash(keeper)
    joiners = [world.add() for _ in range(3)]
    for node in joiners:
        world.start(node)
    world.run(0.3)
    for node in joiners:
        world.pause(node)
    world.run(0.1)
    world.start(keeper)
    world.run(3)
    for node in joiners:
        world.resume(node)
    world.run(0.3)
    held = {node.name: len(node.pairs()) for node in joiners if node.up.state == "ready"}
    assert set(held.values()) <= {50}
    assert world.run_until(are_settled(world.nodes), 20.0)
    assert all(len(node.pairs()) == 50 for node in world.nodes)


def test_a_join_takes_no_gossip_interval() -> None:
    world = World(1, gossip_interval_s=30.0)
    world.nodes[0].put("k", 1)
    world.run(31)
    joiner = world.add()
    world.start(joiner)
    assert world.run_until(is_ready(joiner), 0.2)
    assert joiner.pairs() == {"k": 1}


def test_seeds_that_become_known_later_are_dialled_at_once() -> None:
    world = World(1, gossip_interval_s=30.0)
    world.nodes[0].put("k", 1)
    world.run(31)
    joiner = world.add()
    world.start(joiner, has_seeds=False)
    world.run(3)
    assert joiner.up.state == "alone"
    joiner.up.handle_seeds((world.nodes[0].address,), joiner.now)
    world.touched(joiner)
    assert world.run_until(is_ready(joiner), 0.2)


def founded_alone(name: str = "lone") -> Stage:
    """A peer with data that has never met a member."""
    stage = Stage(name)
    stage.wait(2)
    stage.put("own", 1)
    return stage


def test_no_peer_founds_beside_a_link_that_has_not_told_its_stage() -> None:
    """Both links are up; the ready member's first message takes longer (started seeds 84 and 95 of the swarm)."""
    stage = founded_alone()
    ready, newcomer = stage.link("ready"), stage.link("newcomer")
    newcomer.says(Readiness(Told.EMPTY))
    assert stage.peer.state == "joining"
    ready.says(Readiness(Told.READY))
    stage.wait(5)
    assert stage.peer.state == "joining", "the ready member is compared first"


def test_a_silent_link_does_not_keep_a_peer_from_founding() -> None:
    stage = founded_alone()
    stage.link("silent")
    stage.link("newcomer").says(Readiness(Told.EMPTY))
    stage.wait(3)
    assert stage.peer.state == "ready"


def test_links_that_come_anew_and_stay_silent_do_not_keep_a_peer_from_founding() -> None:
    stage = founded_alone()
    stage.link("newcomer").says(Readiness(Told.EMPTY))
    stage.link("silent")
    for _ in range(40):
        stage.wait(1)
        stage.link("silent")
    assert stage.peer.state == "ready"


def test_a_second_member_that_has_not_told_its_stage_may_be_a_witness() -> None:
    """Started seed 99 of the swarm: one faulty member said that nothing was lacking, and the other link was 1 ms old."""
    stage = Stage("joiner", seeds=("first:1",))
    first, second = stage.link("first", is_dialer=False), stage.link("second", is_dialer=False)
    first.says(Readiness(Told.READY))
    agree(stage, first)
    assert stage.peer.state == "joining"
    second.says(Readiness(Told.READY))
    assert stage.peer.state == "joining"
    agree(stage, second)
    assert stage.peer.state == "ready"


def test_a_second_link_that_stays_silent_is_not_waited_for_long() -> None:
    stage = Stage("joiner", seeds=("first:1",))
    first = stage.link("first", is_dialer=False)
    stage.link("silent", is_dialer=False)
    first.says(Readiness(Told.READY))
    agree(stage, first)
    assert stage.peer.state == "joining"
    stage.wait(3)
    assert stage.peer.state == "ready"


def test_a_line_that_leaves_the_digest_during_a_comparison_is_not_missed() -> None:
    """A member told what it remembers, then a line of an ended epoch left its digest (seed 20 of the swarm)."""
    stage = Stage("joiner", seeds=("member:1",))
    member = stage.link("member", is_dialer=False).says(Readiness(Told.READY))
    member.says(Digest(2, bytes(15) + b"\1", b"", START_MS))
    for number in list(stage.peer._ctx.by_peer[member.peer].exchanges):
        member.says(Compare(number, (), False, (), (), ()))
    asked = [message for message in member.hears() if isinstance(message, Heads)]
    assert stage.peer.state == "joining"
    assert asked, "it asks what the member remembers now"
    member.says(Covered(asked[0].run, (("b", bytes(40), 3),)), Parts(asked[0].run, False, ()))
    assert stage.peer.state == "joining"


def agree(stage: Stage, remote: Remote) -> None:
    """Answer whatever the peer has asked since the link opened, and asks now: nothing is lacking."""
    for number in list(stage.peer._ctx.by_peer[remote.peer].exchanges):
        remote.says(Equal(number, START_MS))
    while heard := remote.hears():
        for message in heard:
            if isinstance(message, Digest):
                remote.says(Equal(message.exchange, START_MS))
            elif isinstance(message, Heads):
                remote.says(Parts(message.run, False, ()))
            elif isinstance(message, Survey):
                remote.says(Findings(message.run, START_MS, True, (), ()))
