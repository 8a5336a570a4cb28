"""Readiness: what a peer that says "ready" holds, which peer founds a mesh, and how soon both happen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gossipsync.core.model.events import StateChanged
from gossipsync.core.model.limits import Limits
from tests.core._world import Node, World

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
