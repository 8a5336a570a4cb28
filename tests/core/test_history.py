"""What a bucket with history keeps of what has lost, for how long, and who gets to see it."""

from __future__ import annotations

import pytest

from gossipsync.core import Deletes, Kind, Limits
from tests.core._world import Stage, World
from tests.core._world.world import Node

HORIZON_MS = 20_000


def world_of(peers: int = 2, *, history_ms: int | None = 600_000, **settings: object) -> World:
    world = World(peers, horizon_ms=HORIZON_MS, max_skew_ms=1000, **({"full_mesh": 12} | settings))
    world.run(3)
    for node in world.nodes:
        node.up.open_bucket("b", node.now, history_ms=history_ms)
    return world


def told(node: Node, key: str = "k", bucket: str = "b") -> list[tuple[object, ...]]:
    found = node.up.history(bucket, key, node.now)() if bucket in node.up.replicas else []
    return [(version.kind, version.field, version.value) for version in found]


def rows_of(node: Node) -> int:
    return sum(len(piece[3]) for log in node.up._ctx.logs.logs() for piece in log.pieces.values())


def test_every_write_is_there_with_who_wrote_it_and_who_sent_it() -> None:
    world = world_of(3)
    a, b, c = world.nodes
    a.put("k", 1)
    world.run(2)
    b.write("b", lambda draft: draft.delete("k"))
    world.run(2)
    a.put("k", "x" * 100)
    a.put("other", 5)
    world.run(120)  # trimmed since
    for node in world.nodes:
        found = node.up.history("b", "k", node.now)()
        assert [(one.kind, one.value, one.origin) for one in found] == [
            ("put", 1, a.up.peer_id),
            ("delete", None, b.up.peer_id),
            ("put", "x" * 100, a.up.peer_id),
        ]
        assert [one.hlc for one in found] == sorted(one.hlc for one in found)
        assert found[0].epoch == a.up.epoch
        assert told(node, "nothing") == []
    assert {one.sender for one in c.up.history("b", "k", c.now)()} <= {a.up.peer_id, b.up.peer_id}
    assert [one.sender for one in a.up.history("b", "k", a.now)()][::2] == [a.up.peer_id] * 2


def test_a_look_at_the_past_is_of_its_moment_and_may_take_its_time() -> None:
    """Whatever is written, trimmed or forgotten before the answer is looked for."""
    world = world_of()
    a, b = world.nodes
    a.put("k", 1)
    world.run(2)
    look, look_there = (node.up.history("b", "k", node.now) for node in world.nodes)
    b.put("k", 2)
    b.write("b", lambda draft: draft.delete("k"))
    world.run(1000)  # its history is over
    for found in (look(), look_there()):
        assert [(one.kind, one.value) for one in found] == [("put", 1)]


def test_without_history_only_what_holds_is_told() -> None:
    world = world_of(history_ms=None)
    for value in range(5):
        world.nodes[0].put("k", value)
    world.run(1)
    assert [told(node) for node in world.nodes] == [[("put", None, 4)]] * 2


def test_fields_elements_totals_and_touches() -> None:
    world = world_of(1)
    node = world.nodes[0]
    for name, kind in (("m", Kind.MAP), ("s", Kind.SET), ("c", Kind.COUNTER)):
        node.up.open_bucket(name, node.now, kind=kind, ttl_ms=100_000, history_ms=600_000)
    node.write("m", lambda draft: draft.put("k", {"f": 1}))
    node.write("m", lambda draft: draft.put("k", {"g": 2}))
    world.run(50)
    node.write("m", lambda draft: draft.touch("k"))
    node.write("s", lambda draft: draft.add_element("k", "e"))
    node.write("s", lambda draft: draft.discard_element("k", "e"))
    node.write("c", lambda draft: draft.add("k", 5))
    node.write("c", lambda draft: draft.add("k", 2))
    world.run(80)
    of_map = told(node, bucket="m")
    assert ("put", "f", 1) in of_map
    assert ("delete", "f", None) in of_map
    assert of_map[-1] == ("touch", None, None)
    of_set = told(node, bucket="s")
    assert of_set[0] == ("put", "e", None)
    assert of_set[-1] == ("delete", "e", None)
    assert told(node, bucket="c") == [("put", None, 5), ("put", None, 7)]


@pytest.mark.parametrize("deletes", list(Deletes))
def test_the_past_outlives_shadows_and_restarts_and_comes_back_to_nobody(deletes: Deletes) -> None:
    """Of what lost and its tombstone both are kept, whoever forgot the tombstone in between, and both go together."""
    world = World(2, horizon_ms=HORIZON_MS, max_skew_ms=1000)
    world.run(3)
    for node in world.nodes:
        node.up.open_bucket("b", node.now, deletes=deletes, ttl_ms=10_000, history_ms=200_000)
    a, b = world.nodes
    a.put("k", 1)
    world.run(2)
    b.write("b", lambda draft: draft.delete("k"))
    written = [("put", None, 1), ("delete", None, None)]
    for _ in range(2):
        world.run(50)
        for node in world.nodes:
            assert node.up.replicas["b"].group("k") is None, "the tombstone is still there"
            assert told(node) == written
            world.crash(node)
            world.start(node)
        world.run(3)
        assert [told(node) for node in world.nodes] == [written] * 2
        assert [node.pairs() for node in world.nodes] == [{}] * 2
    late = world.add()
    world.start(late)
    world.run(5)
    assert late.up.state == "ready"
    assert (late.pairs(), told(late)) == ({}, [])
    world.run(150)
    assert [told(node) for node in world.nodes] == [[]] * 3
    assert [rows_of(node) for node in world.nodes] == [0] * 3
    for node in world.nodes:
        world.crash(node)
        world.start(node)
    world.run(5)
    assert [node.pairs() for node in world.nodes] == [{}] * 3


def test_history_has_a_limit_of_bytes() -> None:
    world = world_of(1, limits=Limits(history_bytes=20_000, trim_after_s=1.0))
    node = world.nodes[0]
    for number in range(400):
        node.put("k", bytes([number % 256]) * 500)
        world.run(0.05)
    world.run(100)
    found = told(node)
    assert 5 < len(found) < 60
    assert found[-1][2] == bytes([399 % 256]) * 500
    assert node.up._keeper._past.size_bytes <= 20_000


def test_rules_travel_and_must_agree() -> None:
    world = World(2, horizon_ms=HORIZON_MS)
    world.run(3)
    a, b = world.nodes
    a.up.open_bucket("b", a.now, history_ms=60_000)
    a.put("k", 1)
    world.run(2)
    assert b.up.replicas["b"].rules.history_ms == 60_000
    stage = Stage()
    stage.peer.open_bucket("h", stage.now, history_ms=1000)
    with pytest.raises(Exception, match="history_ms=1000, not 2000"):
        stage.peer.open_bucket("h", stage.now, history_ms=2000)
