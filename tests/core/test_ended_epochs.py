"""Lines of ended epochs that turn out to go on: what a peer remembers of them, over a restart too; and keys that live on, late."""

from __future__ import annotations

import pytest

from gossipsync.core.model.events import Forked
from gossipsync.core.model.limits import Limits
from tests.core._world import Node, World

_HORIZON_S = 20.0
_TTL_MS = 60_000


def remembered_world() -> tuple[World, Node, Node]:
    """Three peers; the line of the last, which was away for a horizon and comes back, was only remembered meanwhile."""
    world = World(
        3,
        limits=Limits(trim_after_s=0.2),
        horizon_ms=int(_HORIZON_S * 1000),
        max_skew_ms=1000,
    )
    world.run(3)
    other, away = world.nodes[0], world.nodes[2]
    away.put("k", "beaten")
    world.run(1)
    other.put("k", "by another")  # so that nothing is left of the first bundle
    world.run(5)
    log = other.up._ctx.logs.find(("b", away.up.origin))
    assert log is not None
    world.split(world.nodes[:2], [away])
    assert world.run_until(lambda: log.is_covered, 3 * _HORIZON_S)
    world.heal()
    assert world.run_until(lambda: not log.is_covered, 30.0)
    return world, other, away


def restart(world: World, node: Node) -> None:
    world.crash(node)
    world.start(node)


def test_a_restart_while_a_remembered_line_goes_on() -> None:
    world, other, away = remembered_world()
    restart(world, other)
    world.run(5)
    away.put("later", 1)
    assert world.run_until(lambda: other.pairs() == {"k": "by another", "later": 1}, 10.0)


@pytest.mark.parametrize("goes_on", ["reopened", "still remembered"])
def test_a_restart_after_a_remembered_line_went_on(goes_on: str) -> None:
    world, other, away = remembered_world()
    log = other.up._ctx.logs.find(("b", away.up.origin))
    assert log is not None
    if goes_on == "still remembered":
        other.up._keeper.cover(log)
    away.put("second", 2)
    assert world.run_until(lambda: other.pairs().get("second") == 2, 10.0)
    world.run(1)
    restart(world, other)
    world.run(5)
    away.put("third", 3)
    assert world.run_until(lambda: other.pairs().get("third") == 3, 10.0)
    again = other.up._ctx.logs.find(("b", away.up.origin))
    assert again is not None
    assert again.index == 3
    assert not any(isinstance(event, Forked) for node in world.nodes for event in node.events)


def test_a_touch_that_comes_late_brings_the_value_back_at_once() -> None:
    """Two peers have let a session expire and dropped its value when they hear that it was touched behind a cut."""
    world = World(3, limits=Limits(trim_after_s=0.2))
    world.run(3)
    for node in world.nodes:
        node.up.open_bucket("s", node.now, ttl_ms=_TTL_MS)
    first, behind = world.nodes[0], world.nodes[2]
    first.put("session", "x" * 500, "s")
    world.run(1)
    world.split(world.nodes[:2], [behind])
    world.run(50)
    behind.write("s", lambda draft: draft.touch("session"))
    world.run(20)
    assert [node.pairs("s") for node in world.nodes] == [{}, {}, {"session": "x" * 500}]
    world.heal()
    cut_off = world.nodes[:2]
    assert world.run_until(lambda: all(_hollow(node) for node in cut_off), 20.0)
    assert world.run_until(lambda: not any(_hollow(node) for node in cut_off), 10.0)
    assert [node.pairs("s") for node in world.nodes] == [{"session": "x" * 500}] * 3


def _hollow(node: Node) -> bool:
    return bool(node.up.replicas["s"].hollow())
