"""Splits that outlast the horizon: removals stay, and both sides say what their majorities are worth."""

from __future__ import annotations

import pytest

from gossipsync.core import Kind
from tests.core._world import Node, World, state_faults

_HORIZON_S = 20


def warnings_of(node: Node) -> set[str]:
    return set(node.up.status(node.now).warnings) & {"majority-shrunk", "split-risk"}


def split_world(peers: int, away: int) -> World:
    world = World(peers, horizon_ms=1000 * _HORIZON_S, max_skew_ms=1_000)
    world.run(3)
    for each in world.nodes:
        each.up.open_bucket("maps", each.now, kind=Kind.MAP)
        each.up.open_bucket("sets", each.now, kind=Kind.SET)
    first = world.nodes[0]
    first.put("kept", 1)
    first.put("deleted", 1)
    first.write("maps", lambda draft: draft.put("k", {"removed": 1, "kept": 1}))
    first.write("sets", lambda draft: draft.add_element("k", "removed"))
    first.write("sets", lambda draft: draft.add_element("k", "kept"))
    world.run(3)
    world.split(world.nodes[: peers - away], world.nodes[peers - away :])
    return world


@pytest.mark.parametrize("has_late_writes", [False, True])
@pytest.mark.parametrize(("peers", "away"), [(3, 1), (4, 1), (4, 2), (5, 2), (6, 3)])
def test_removals_outlive_a_split_longer_than_the_horizon(
    peers: int, away: int, *, has_late_writes: bool
) -> None:
    """Of elements and fields as of keys, also where the side that missed them wrote to the same set or map."""
    world = split_world(peers, away)
    first, last = world.nodes[0], world.nodes[-1]
    world.run(2)
    first.write("b", lambda draft: draft.delete("deleted"))
    first.write("maps", lambda draft: draft.delete_field("k", "removed"))
    first.write("sets", lambda draft: draft.discard_element("k", "removed"))
    world.run(1)
    first.write("maps", lambda draft: draft.set_field("k", "newer", 1))
    first.write("sets", lambda draft: draft.add_element("k", "newer"))
    world.run(3 * _HORIZON_S)
    fields, elements = {"kept": 1, "newer": 1}, {"kept", "newer"}
    if has_late_writes:
        last.write("maps", lambda draft: draft.set_field("k", "late", 1))
        last.write("sets", lambda draft: draft.add_element("k", "late"))
        fields, elements = {**fields, "late": 1}, {*elements, "late"}
    world.heal()
    world.run(200)
    for node in world.nodes:
        assert node.pairs() == {"kept": 1}
        assert node.pairs("maps") == {"k": fields}
        assert node.pairs("sets") == {"k": frozenset(elements)}
        assert state_faults(node.up, node.now.wall_ms) == []


def test_both_halves_say_that_their_majority_is_one_of_half_the_mesh() -> None:
    world = split_world(4, 2)
    assert all(warnings_of(node) == set() for node in world.nodes)
    world.run(3 * _HORIZON_S)
    assert all(warnings_of(node) == {"majority-shrunk"} for node in world.nodes)
    assert {node.up.needed_acks("majority") for node in world.nodes} == {1}
    world.heal()
    world.run(120)
    assert all(warnings_of(node) == {"split-risk"} for node in world.nodes)
    world.run(600)
    assert all(warnings_of(node) == set() for node in world.nodes)


def test_a_majority_of_all_is_none_to_warn_of() -> None:
    """Of five, one is away for long: three of the other four are a majority of five. The one alone is none, and yields."""
    world = split_world(5, 1)
    world.run(3 * _HORIZON_S)
    assert all(warnings_of(node) == set() for node in world.nodes[:4])
    assert warnings_of(world.nodes[4]) == {"majority-shrunk"}
    world.heal()
    world.run(120)
    assert all(warnings_of(node) == set() for node in world.nodes)


def test_members_that_left_shrink_no_majority() -> None:
    world = split_world(3, 1)
    world.heal()
    world.run(5)
    for node in world.nodes[1:]:
        node.up.leave(node.now)
    world.run(3 * _HORIZON_S)
    assert warnings_of(world.nodes[0]) == set()
