"""Joins, repairs and looks beside members that claim data and deliver none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gossipsync.core.model.limits import Limits
from gossipsync.core.wire.messages import Message
from gossipsync.sim.sources import SOURCE_HABITS
from tests.core._world import Node, World, state_faults
from tests.core._world.false_source import habit_of, tell_lies

TRIMMED_SOON = Limits(trim_after_s=0.2, log_waste_bytes=1)
KEYS = 150
JOINED_S = 60.0
"""How long a join may take beside one or two false sources: each may cost the patience of a few questions, once."""


def fill(world: World, nodes: list[Node]) -> None:
    """Every key written twice, in turns, so that no log is whole."""
    for version in range(2):
        for number in range(KEYS):
            nodes[number % len(nodes)].put(f"k{number}", f"{version} " + "x" * 60)
            if number % 20 == 0:
                world.run(0.01)
        world.run(1)
    world.run(4)
    assert all(log.whole_from > 1 for log in nodes[0].up._ctx.logs.logs())


def counted(node: Node, name: str) -> int:
    return node.up._ctx.counters[name]


class _Switch:
    """Lies that begin when a test says so."""

    def __init__(self, lie: Callable[[Message], Any]) -> None:
        self.lie, self.is_on = lie, False

    def __call__(self, message: Message) -> Any:
        return self.lie(message) if self.is_on else [message]


def settled_world(false: int, habit: str, **settings: Any) -> tuple[World, list[Node]]:
    """Three members with the same data, of which the first so many are false sources from now on."""
    world = World(3, limits=TRIMMED_SOON, **settings)
    switches = [_Switch(habit_of(habit, number)) for number in range(false)]
    for node, switch in zip(world.nodes, switches, strict=False):
        tell_lies(world, node, switch)
    world.run(3)
    fill(world, world.nodes[2:])  # one line: the member asked for it first decides
    for switch in switches:
        switch.is_on = True
    return world, world.nodes[false:]


def join(world: World, honest: list[Node], within_s: float = JOINED_S) -> Node:
    """A new member becomes ready and gets all data of the honest ones, and goes on from there.

    Two false members that agree are believed when they say that there is nothing: then the data comes after readiness.
    """
    joiner = world.add()
    world.start(joiner)
    told = joiner.up._ctx.counters
    assert world.run_until(lambda: joiner.up.state == "ready", within_s), dict(told)
    if len(honest) == 1:
        assert world.run_until(lambda: joiner.pairs() == honest[0].pairs(), within_s), dict(told)
    assert joiner.pairs() == honest[0].pairs()
    assert state_faults(joiner.up, joiner.now.wall_ms) == []
    honest[0].put("after", "the join")
    assert world.run_until(lambda: "after" in joiner.pairs(), 5.0)
    return joiner


@pytest.mark.parametrize("false", [1, 2], ids=["one of three", "two of three"])
@pytest.mark.parametrize("habit", SOURCE_HABITS)
def test_a_join_ends_beside_false_sources(habit: str, false: int) -> None:
    world, honest = settled_world(false, habit)
    join(world, honest)


@pytest.mark.parametrize("habit", SOURCE_HABITS)
def test_a_member_that_was_away_catches_up_beside_a_false_source(habit: str) -> None:
    world, honest = settled_world(1, habit)
    late = honest[1]
    world.split([world.nodes[0], honest[0]], [late])
    for end in (world.nodes[0], honest[0]):
        world.break_link(late, end)
    world.run(1)
    for version in range(2):
        for number in range(0, KEYS, 7):
            honest[0].put(f"k{number}", f"later {version}")
        world.run(1)
    world.run(2)
    world.heal()
    assert world.run_until(lambda: late.pairs() == honest[0].pairs(), JOINED_S), dict(
        late.up._ctx.counters
    )
