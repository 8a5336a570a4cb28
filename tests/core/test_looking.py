"""Looks: what one named member has, asked for over a link, verified, and merged into nothing."""

from __future__ import annotations

import pytest
from attrs import evolve

from gossipsync.core import Aspect, Kind, Limits, Sight, outline_of
from gossipsync.core.model.ids import peer_text
from gossipsync.errors import (
    GossipsyncError,
    KeyTooLongError,
    LocalError,
    OverloadedError,
    RemoteError,
    TransportError,
    ValueTypeError,
    WaitTimeoutError,
)
from tests.core._swarm import Swarm
from tests.core._world import World
from tests.core._world.world import Node

KINDS = {"m": Kind.MAP, "s": Kind.SET, "c": Kind.COUNTER}


def world_of(peers: int = 3, **settings: object) -> World:
    world = World(
        peers, **({"horizon_ms": 20_000, "max_skew_ms": 1000, "full_mesh": 12} | settings)
    )
    world.run(3)
    return world


def look(node: Node, called: str, bucket: str = "b", **how: object) -> Sight:
    """To its end."""
    sight = node.up.look(called, bucket, node.now, **how)  # type: ignore[arg-type]
    node.world.touched(node)
    assert node.world.run_until(lambda: sight.is_over, 30), "it never ends"
    return sight


def seen(node: Node, called: str, bucket: str = "b", **how: object) -> dict[str, object]:
    sight = look(node, called, bucket, **how)
    assert sight.error is None
    return sight.values(node.now.wall_ms)


def failure(node: Node, called: str, bucket: str = "b", **how: object) -> GossipsyncError:
    error = look(node, called, bucket, **how).error
    assert error is not None
    return error


def mine(node: Node, bucket: str = "b") -> dict[str, bytes]:
    replica = node.up.replicas[bucket]
    groups = {key: replica.group(key) for key in replica.keys(node.now.wall_ms)}
    return {key: outline_of(group) for key, group in groups.items() if group is not None}


def test_every_kind_is_seen_as_its_member_has_it() -> None:
    world = world_of()
    for node in world.nodes:
        for name, kind in KINDS.items():
            node.up.open_bucket(name, node.now, kind=kind)
        node.put(node.name, "v" * 100)
        node.write("m", lambda draft, name=node.name: draft.put("k", {name: "f" * 50}))
        node.write("s", lambda draft, name=node.name: draft.add_element("k", name))
        node.write("c", lambda draft: draft.add("k", 3))
        world.run(1)
    node, other = world.nodes[:2]
    node.write("s", lambda draft: draft.discard_element("k", "p2"))
    node.write("m", lambda draft: draft.set_field("k", "late", 1))
    node.write("c", lambda draft: draft.delete("k"))
    node.write("c", lambda draft: draft.add("k", 1))
    world.run(90)  # logs are trimmed: what is shown are excerpts
    for bucket in ("b", *KINDS):
        for called in ("p1", "p2", peer_text(other.up.peer_id), peer_text(other.up.peer_id)[:20]):
            assert seen(node, called, bucket) == node.pairs(bucket) != {}
    assert seen(node, "p1", "c") == {"k": 1}


def test_keys_and_prefixes() -> None:
    world = world_of(2)
    a, b = world.nodes
    b.write("b", *(lambda draft, n=n: draft.put(f"k{n}", n) for n in range(120)))
    b.write("b", lambda draft: draft.delete("k7"))
    world.run(2)
    assert seen(a, "p1", keys=["k5", "k7", "k5", "nothing"]) == {"k5": 5}
    assert seen(a, "p1", keys=[]) == {}
    assert list(seen(a, "p1", prefix="k11")) == ["k11", *(f"k11{n}" for n in range(10))]
    assert seen(a, "p1", prefix="z") == {}
    for wrong in ("x" * 513, "\ud800"):
        with pytest.raises((KeyTooLongError, ValueTypeError)):
            a.up.look("p1", "b", a.now, prefix=wrong)
    with pytest.raises(KeyTooLongError):
        a.up.look("p1", "b", a.now, keys=[""])


def test_a_look_changes_nothing_even_where_it_sees_more() -> None:
    """What a member holds that has not come here yet, and what has been deleted here and not there, is seen and not taken."""
    world = world_of(2)
    a, b = world.nodes
    b.put("old", 1)
    b.put("kept", 1)
    world.run(2)
    world.split([a], [b])
    a.write("b", lambda draft: draft.delete("old"))
    b.put("new", 2)
    world.run(0.05)
    a.up._exchanges.on_push = a.up._exchanges.on_delta = lambda *_: None  # type: ignore[method-assign]
    a.up._exchanges.on_digest = lambda *_: None  # type: ignore[method-assign]
    sight = a.up.look("p1", "b", a.now)
    world.touched(a)
    before = (a.up.digest, a.up._ctx.clock.last, dict(a.up.vector()), a.pairs())
    world.heal()
    assert world.run_until(lambda: sight.is_over, 5)
    assert sight.error is None
    assert sight.values(a.now.wall_ms) | {"old": 1} == {"old": 1, "kept": 1, "new": 2}
    assert (a.up.digest, a.up._ctx.clock.last, dict(a.up.vector()), a.pairs()) == before
    assert a.pairs() == {"kept": 1}


def test_many_keys_come_in_pages_each_once_while_others_are_written() -> None:
    world = world_of(2, limits=Limits(delta_bytes=4000, look_rows=16))
    a, b = world.nodes
    for start in range(0, 600, 50):
        b.write(
            "b",
            *(lambda draft, n=n: draft.put(f"k{n}", "x" * 40) for n in range(start, start + 50)),
        )
    world.run(5)
    there = b.pairs()
    sight = a.up.look("p1", "b", a.now)
    world.touched(a)
    number = 0
    while not sight.is_over:
        world.run(0.002)
        b.write("b", lambda draft, n=number: draft.put(f"late{n}", n))
        b.write("b", lambda draft, n=number: draft.delete(f"k{n % 100}"))
        number += 1
    assert sight.error is None
    assert sight.pages > 10
    found = sight.values(a.now.wall_ms)
    stayed = {key: value for key, value in there.items() if key in b.pairs()}
    assert found | stayed == found, "a key that was there all the time is missing"
    world.run(2)
    assert seen(a, "p1", keys=list(b.pairs())) == b.pairs()


def test_outlines_are_equal_where_entries_are_whether_values_came_or_not() -> None:
    world = world_of(2)
    a, b = world.nodes
    for n in range(20):
        b.put(f"k{n}", "x" * (n * 10))
    b.up.open_bucket("m", b.now, kind=Kind.MAP)
    b.write("m", lambda draft: draft.put("k", {"f": "y" * 99, "g": 1}))
    b.write("m", lambda draft: draft.delete_field("k", "g"))
    world.run(90)
    for bucket in ("b", "m"):
        sight = look(a, "p1", bucket, aspect=Aspect.OUTLINES)
        assert sight.outlines(a.now.wall_ms) == mine(a, bucket) == mine(b, bucket)
    full = look(a, "p1")
    assert full.outlines(a.now.wall_ms) == mine(a)
    assert look(a, "p1", aspect=Aspect.OUTLINES).size_bytes < full.size_bytes
    world.split([a], [b])
    a.put("k3", "other")
    world.run(0.1)
    assert {key for key, outline in mine(a).items() if mine(b)[key] != outline} == {"k3"}


def test_lines_come_with_their_heads() -> None:
    world = world_of(3, limits=Limits(look_rows=1))
    a = world.nodes[0]
    for node in world.nodes:
        node.put("k", node.name)
        node.put("l", node.name)
    world.run(3)
    sight = look(a, "p1", aspect=Aspect.LINES)
    logs = a.up._ctx.logs
    assert sight.lines == {
        log.origin: (log.index, log.head) for log in logs.logs() if log.bucket == "b"
    }
    assert len(sight.lines) == sight.pages == 3


def test_lines_of_ended_epochs_are_among_them() -> None:
    world = world_of(3)
    a, b = world.nodes[:2]
    b.put("k", 1)
    world.run(1)
    former = b.up.origin
    world.crash(b)
    world.start(b)
    world.run(100)
    assert a.up._ctx.logs.find(("b", former)).is_covered  # type: ignore[union-attr]
    assert look(a, "p2", aspect=Aspect.LINES).lines[former][0] == 1


def test_own_writes_are_shown_once_they_are_stored_and_no_half_of_a_key() -> None:
    world = world_of(2)
    a, b = world.nodes
    b.up.open_bucket("m", b.now, kind=Kind.MAP)
    b.write("m", lambda draft: draft.put("k", {"f": 1, "g": 1}))
    world.run(2)
    b.disk.is_failing = True
    b.write("m", lambda draft: draft.set_field("k", "f", 2))
    sight = a.up.look("p1", "m", a.now)
    world.touched(a)
    world.run(3)
    assert not sight.is_over, "what may be lost yet was shown, or half a key"
    b.disk.is_failing = False
    assert world.run_until(lambda: sight.is_over, 3)
    assert sight.values(a.now.wall_ms) == {"k": {"f": 2, "g": 1}}


def test_a_store_that_keeps_failing_ends_in_a_time_out() -> None:
    world = world_of(2)
    a, b = world.nodes
    b.put("k", 1)
    world.run(1)
    b.disk.is_failing = True
    b.put("k", 2)
    error = failure(a, "p1")
    assert isinstance(error, WaitTimeoutError)
    assert "'p1' does not answer" in str(error)


def test_a_member_without_a_link_is_called() -> None:
    world = world_of(6, full_mesh=2, view=2)
    for node in world.nodes:
        node.put(node.name, node.name)
    world.run(60)
    assert all(len(node.pairs()) == 6 for node in world.nodes)
    node = world.nodes[0]
    for other in world.nodes[1:]:
        world.break_link(node, other)
        assert not node.up._ctx.members.called(other.name).is_linked
        assert len(seen(node, other.name)) == 6
        assert node.up._ctx.members.called(other.name).is_linked


def test_a_link_that_breaks_in_the_middle_is_made_up_for() -> None:
    world = world_of(2, limits=Limits(delta_bytes=4000))
    a, b = world.nodes
    for n in range(150):
        b.put(f"k{n}", "x" * 40)
    world.run(5)
    sight = a.up.look("p1", "b", a.now)
    world.touched(a)
    assert world.run_until(lambda: sight.pages > 2, 5)
    world.break_link(a, b)
    assert not sight.is_over
    assert world.run_until(lambda: sight.is_over, 20)
    assert sight.error is None
    assert sight.values(a.now.wall_ms) == b.pairs()


def test_names_that_lead_to_nobody() -> None:
    world = world_of(3)
    a = world.nodes[0]
    for called in ("nobody", ""):
        with pytest.raises(LocalError, match="no member is called"):
            a.up.look(called, "b", a.now)
    for called in ("p0", peer_text(a.up.peer_id)[:12]):
        with pytest.raises(LocalError, match="this peer itself"):
            a.up.look(called, "b", a.now)
    beginning = peer_text(world.nodes[1].up.peer_id)[:8]
    assert str(failure(a, beginning)) == "'p1' has no bucket 'b'"
    a.up._ctx.config = evolve(a.up.config, name=beginning)
    with pytest.raises(LocalError, match="fits 2 members"):
        a.up.look(beginning, "b", a.now)
    twin = world.add(name="p1")
    world.start(twin)
    world.run(3)
    with pytest.raises(LocalError, match="'p1' fits 2 members"):
        a.up.look("p1", "b", a.now)


def test_members_that_are_not_there() -> None:
    world = world_of(3)
    a, b, c = world.nodes
    a.put("k", 1)
    world.run(1)
    c.up.close(c.now)
    world.touched(c)
    world.run(1)
    world.crash(c)
    world.run(1)
    with pytest.raises(TransportError, match="'p2' is away"):
        a.up.look("p2", "b", a.now)
    world.pause(b)
    sight = a.up.look("p1", "b", a.now)
    world.touched(a)
    began_s = world.time_s
    assert world.run_until(lambda: sight.is_over, 30)
    assert isinstance(sight.error, WaitTimeoutError)
    assert 9 < world.time_s - began_s < 12
    world.run(5)
    with pytest.raises(TransportError, match="'p1' is down"):
        a.up.look("p1", "b", a.now)


def test_what_a_member_does_not_have_or_not_show() -> None:
    world = world_of(2, limits=Limits(look_key_bytes=2000, delta_bytes=1000))
    a, b = world.nodes
    a.up.open_bucket("mine alone", a.now)
    assert str(failure(a, "p1", "mine alone")) == "'p1' has no bucket 'mine alone'"
    b.up.open_bucket("m", b.now, kind=Kind.MAP)
    b.write("m", *(lambda draft, n=n: draft.put(f"k{n}", {"f": n}) for n in range(5)))
    b.write("m", lambda draft: draft.put("large", {str(n): "x" * 90 for n in range(40)}))
    world.run(2)
    error = failure(a, "p1", "m")
    assert isinstance(error, RemoteError)
    assert "large" in str(error)
    assert seen(a, "p1", "m", prefix="k") == {f"k{n}": {"f": n} for n in range(5)}


def test_who_is_still_joining_shows_nothing() -> None:
    world = world_of(2)
    a, b = world.nodes
    a.put("k", 1)
    world.run(1)
    b.up._standing.is_established = False
    assert "has not joined yet" in str(failure(a, "p1"))


@pytest.mark.parametrize(
    "limits", [Limits(look_keys=20), Limits(look_bytes=3000), Limits(look_pages=2, delta_bytes=900)]
)
def test_what_is_too_much_is_said_and_counted(limits: Limits) -> None:
    world = world_of(2, limits=limits)
    a, b = world.nodes
    for n in range(40):
        b.put(f"k{n}", "x" * 50)
    world.run(2)
    error = failure(a, "p1")
    assert isinstance(error, RemoteError)
    assert "name a longer prefix, or keys" in str(error)
    drops = a.up.gossip_info(a.now)["drops"]
    assert isinstance(drops, dict)
    assert (drops["looks_too_large"], drops["looks_failed"], drops["shown_late"]) == (1, 1, 0)
    assert seen(a, "p1", prefix="k39") == {"k39": "x" * 50}


def test_several_looks_at_once_take_turns_and_are_bounded() -> None:
    world = world_of(2, limits=Limits(looks=3, delta_bytes=2000))
    a, b = world.nodes
    for n in range(60):
        b.put(f"k{n}", "x" * 50)
    world.run(2)
    sights = [a.up.look("p1", "b", a.now) for _ in range(3)]
    with pytest.raises(OverloadedError):
        a.up.look("p1", "b", a.now)
    a.up.end_look(sights[0], a.now)
    a.up.end_look(sights[0], a.now)
    sights.append(a.up.look("p1", "b", a.now, keys=["k1"]))
    world.touched(a)
    assert world.run_until(lambda: sights[3].is_over, 5)
    assert not sights[1].is_over, "a short look waits for a long one"
    assert world.run_until(lambda: all(sight.is_over for sight in sights), 5)
    assert [sight.error for sight in sights] == [None] * 4
    assert sights[1].values(a.now.wall_ms) == b.pairs()
    assert a.up._ctx.counters["look-stale"] == 1


@pytest.mark.parametrize("seed", range(40, 46))
def test_after_any_life_each_sees_what_the_other_shows(seed: int) -> None:
    """Kinds, expiry, final deletes, restarts, trimmed logs: whatever a swarm has been through."""
    swarm = Swarm(seed)
    swarm.play()
    for node in swarm.world.running[:3]:
        for other in swarm.world.running[:3]:
            if node is other:
                continue
            for bucket in other.up.replicas:
                sight = look(node, other.name, bucket)
                assert sight.error is None
                assert sight.values(other.now.wall_ms) == other.pairs(bucket)
                outlines = look(node, other.name, bucket, aspect=Aspect.OUTLINES)
                assert outlines.outlines(other.now.wall_ms) == mine(other, bucket)
