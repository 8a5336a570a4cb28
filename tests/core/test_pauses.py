"""A pause of a peer's own process says nothing about other members: silence that it could not have heard counts for nothing."""

from __future__ import annotations

import pytest

from gossipsync.core.model.events import MemberChanged
from tests.core._world import Node, World


def _meshed(count: int) -> World:
    world = World(count)
    assert world.run_until(lambda: all(_alive(node) == count for node in world.nodes), 30)
    world.run(10)
    return world


def _alive(node: Node) -> int:
    return sum(member.state in {"self", "alive"} for member in node.up.members(node.now))


def _states(node: Node, since: int) -> list[tuple[str, str]]:
    return [
        (event.name, event.state)
        for event in node.events[since:]
        if isinstance(event, MemberChanged) and event.state in {"down", "left"}
    ]


@pytest.mark.parametrize("pause_s", [15, 90])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("timer_first", [False, True])
def test_no_member_is_declared_dead_after_a_pause(
    pause_s: float, seed: int, timer_first: bool
) -> None:
    world = World(10, seed=seed, latency_s=0.1)
    world.run(20 + 0.13 * seed)  # in the middle of an exchange
    sleeper = world.nodes[3]
    seen = len(sleeper.events)
    world.pause(sleeper)
    world.run(pause_s)
    world.resume(sleeper, timer_first=timer_first)
    world.run(30)
    assert _states(sleeper, seen) == []
    assert all(_alive(node) == 10 for node in world.nodes)


def test_a_member_that_died_during_the_pause_is_found_dead() -> None:
    world = _meshed(5)
    sleeper, victim = world.nodes[0], world.nodes[1]
    seen = len(sleeper.events)
    world.pause(sleeper)
    world.run(5)
    world.crash(victim)
    world.run(20)
    world.resume(sleeper)
    assert world.run_until(lambda: (victim.name, "down") in _states(sleeper, seen), 20)
    assert {name for name, _ in _states(sleeper, seen)} == {victim.name}


def test_all_paused_at_once_as_a_suspended_host_does() -> None:
    world = _meshed(6)
    seen = [len(node.events) for node in world.nodes]
    for node in world.nodes:
        world.pause(node)
    world.run(120)
    for node in world.nodes:
        world.resume(node, timer_first=True)
    world.run(30)
    for node, since in zip(world.nodes, seen, strict=True):
        assert _states(node, since) == []
        assert _alive(node) == 6
