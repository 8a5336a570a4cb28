"""Write concern and causality between peers: acks by zone, tokens that are sought, writes that come after a token."""

from __future__ import annotations

import pytest

from gossipsync.core import Deletes, Kind, Written
from gossipsync.core.wire.messages import Stored
from gossipsync.errors import EndedKeyError, LocalError, TokenError
from tests.core._world import Node, Stage, World

SELDOM_S = 1000.0
MAX_SKEW_MS = 60_000


def zoned(*zones: str, **settings: object) -> list[Node]:
    """One peer in each zone named, known to all."""
    world = World(**({"gossip_interval_s": 0.2} | settings))  # type: ignore[arg-type]
    nodes = [world.add(zone=zone) for zone in zones]
    for node in nodes:
        world.start(node)
    assert world.run_until(lambda: all(len(n.up.members(n.now)) == len(nodes) for n in nodes), 60)
    world.run(5)
    return nodes


def wait_acks(node: Node, written: Written, ack: int | str, seconds: float = 3.0) -> bool:
    def is_met() -> bool:
        found = node.up.seek_acks(written, ack, node.now)
        node.world.touched(node)
        return found

    return node.world.run_until(is_met, seconds)


def seek(node: Node, text: str, seconds: float) -> bool:
    token = node.up.parse_token(text, node.now)

    def is_met() -> bool:
        found = node.up.seek_token(token, node.now)
        node.world.touched(node)
        return found

    return node.world.run_until(is_met, seconds)


# -- zones -----------------------------------------------------------------------------------------------------


def test_zones_are_those_of_the_others_and_each_needs_one() -> None:
    a, *others = zoned("north", "north", "south", "south", "", "")
    assert a.up.needed_acks("zones") == 3
    written = a.put("k", 1)
    assert not a.up.seek_acks(written, "zones", a.now)
    assert wait_acks(a, written, "zones")
    # Only the second of "north" is cut off: the own zone is not served by the own store.
    a.world.split([a, *others[1:]], [others[0]])
    written = a.put("k", 2)
    assert not wait_acks(a, written, "zones")
    told = "2 of 3 zones have stored it, not 'north'; it stays and goes on spreading"
    assert a.up.shortfall(written, "zones") == told
    assert wait_acks(a, written, 4)
    a.world.heal()
    assert wait_acks(a, written, "zones")


def test_one_of_a_zone_is_enough_and_who_has_left_counts_no_more() -> None:
    a, b, c, d = zoned("north", "south", "south", "east")
    a.world.split([a, b, d], [c])
    written = a.put("k", 1)
    assert wait_acks(a, written, "zones")
    d.up.leave(d.now)
    a.world.touched(d)
    a.world.run(1)
    assert a.up.needed_acks("zones") == 1
    written = a.put("k", 2)
    assert wait_acks(a, written, "zones")
    assert a.up.acked_by(written) == (b.up.peer_id,)


def test_a_zone_that_is_down_still_counts_and_none_at_all_needs_nobody() -> None:
    a, b, c = zoned("", "south", "")
    b.world.crash(b)
    a.world.run(30)
    assert [member.state for member in a.up.members(a.now)].count("down") == 1
    written = a.put("k", 1)
    assert not wait_acks(a, written, "zones")
    assert a.up.shortfall(written, "zones").startswith("1 of 2 zones have stored it, not 'south';")
    assert a.up.shortfall(written, 2).startswith("1 of 2 members have stored it;")
    told = f"1 of 2 members have stored it, not {b.name!r} (down);"
    assert a.up.shortfall(written, "all").startswith(told)
    lone = World(1, zone="north").nodes[0]
    written = lone.put("k", 1)
    assert lone.up.shortfall(written, "zones").startswith("this peer has not stored it: a commit")
    assert wait_acks(lone, written, "zones")
    assert lone.up.needed_acks("zones") == 0
    assert c.up.needed_acks("zones") == 2


def test_a_zone_that_nobody_is_linked_with_is_dialled() -> None:
    zones = ["north"] * 9 + ["south", "east", "west"]
    nodes = zoned(*zones, full_mesh=3, view=2, gossip_interval_s=2.0)
    a = nodes[4]
    linked = {link["name"] for link in a.up.gossip_info(a.now)["links"]}  # type: ignore[attr-defined]
    assert not {node.name for node in nodes[9:]} <= linked
    written = a.put("k", 1)
    assert wait_acks(a, written, "zones", 0.5)


@pytest.mark.parametrize("ack", [-1, "zone", "", None, 1.0, True, [1]])
def test_what_is_no_ack(ack: object) -> None:
    with pytest.raises(LocalError, match="majority"):
        Stage().peer.needed_acks(ack)  # type: ignore[arg-type]


# -- tokens that are sought ------------------------------------------------------------------------------------


def test_a_token_is_fetched_from_its_maker_without_waiting_for_a_round() -> None:
    world = World(3, gossip_interval_s=SELDOM_S, push=False)
    a, b, _ = world.nodes
    world.run(1)
    own = a.up.token_of(a.put("k", 1))
    b.up.parse_token(own, b.now)
    world.run(50)
    assert b.pairs() == {}
    assert seek(b, own, 0.1)
    assert b.pairs() == {"k": 1}
    assert b.up.traffic["token_exchanges"] == 1
    a.put("l", 2)
    world.run(0.05)
    assert seek(b, a.up.token(a.now), 0.1)
    assert b.pairs() == {"k": 1, "l": 2}


def test_where_the_maker_has_gone_those_are_asked_who_have_it() -> None:
    world = World(3, gossip_interval_s=SELDOM_S, push=False)
    a, b, c = world.nodes
    world.run(1)
    own = a.up.token_of(a.put("k", 1))
    world.run(0.01)  # until its commit: before that a says that it has nothing
    assert seek(c, own, 0.1)
    world.crash(a)
    world.run(1)
    assert seek(b, own, 0.1)
    assert b.pairs() == {"k": 1}


def test_a_maker_that_is_not_linked_is_dialled() -> None:
    world = World(8, gossip_interval_s=0.5, push=False, full_mesh=2, view=1)
    world.run(10)
    a = world.nodes[7]
    linked = {link["name"] for link in a.up.gossip_info(a.now)["links"]}  # type: ignore[attr-defined]
    b = next(node for node in world.nodes if node is not a and node.name not in linked)
    # Nobody else has it, and nobody passes it on: what b gets it has from a.
    others = [node for node in world.nodes if node not in (a, b)]
    own = a.up.token_of(a.put("k", 1))
    for node in others:
        world.break_link(a, node)
    world.split([a, b], others)
    assert seek(b, own, 0.4)


def test_waiting_for_what_is_not_to_be_had_is_bounded() -> None:
    world = World(6, gossip_interval_s=SELDOM_S)
    a, b = world.nodes[:2]
    world.run(1)
    written = a.put("k", 1)
    world.run(1)
    ahead = Written(written.bucket, written.origin, written.index + 5, written.hlc)
    before = b.up.traffic["exchanges"]
    token = b.up.parse_token(a.up.token_of(ahead), b.now)
    for _ in range(1000):
        assert not b.up.seek_token(token, b.now)
        world.touched(b)
        world.run(0.001)
    asked = b.up.traffic["token_exchanges"]
    assert b.up.traffic["exchanges"] - before == asked
    assert 10 < asked <= 1 + 1.0 / b.up.config.limits.token_ask_s


def test_a_token_of_all_is_met_by_whoever_has_all() -> None:
    world = World(4, gossip_interval_s=0.2)
    world.run(2)
    for node in world.nodes:
        node.put(f"of {node.name}", 1)
        node.write("c", lambda draft: draft.put("k", 1))
    a, b = world.nodes[:2]
    text = a.up.token(a.now)
    assert a.up.is_satisfied(a.up.parse_token(text, a.now))  # also before it is sealed
    assert not b.up.is_satisfied(b.up.parse_token(text, b.now))
    assert seek(b, text, 1)
    for node in world.nodes:
        assert seek(node, b.up.token(b.now), 1)


# -- writes after a token --------------------------------------------------------------------------------------


def test_a_write_after_a_token_wins_though_its_writers_clock_is_behind() -> None:
    world = World(2, gossip_interval_s=0.2, max_skew_ms=MAX_SKEW_MS)
    a, b = world.nodes
    b.skew_ms = -50_000
    world.run(1)
    world.split([a], [b])
    own = a.up.token_of(a.put("k", "modified"))
    for after, shown in ((None, "modified"), (own, "after")):
        token = None if after is None else b.up.parse_token(after, b.now)
        b.up.open_bucket("b", b.now)
        draft = b.up.draft("b", b.now, token)
        draft.put("k", "after")
        written = b.up.commit_draft(draft, b.now)
        world.touched(b)
        world.heal()
        assert seek(a, b.up.token_of(written), 3)
        assert a.pairs() == {"k": shown}
        world.split([a], [b])
    assert written.hlc > a.up.parse_token(own, a.now).hlc


def test_a_token_at_the_bound_is_refused_and_moves_no_clock() -> None:
    fast, stage = Stage("fast", skew_ms=MAX_SKEW_MS), Stage(max_skew_ms=MAX_SKEW_MS)
    fast.put("k", 1)
    text = fast.peer.token(fast.now)
    with pytest.raises(TokenError, match="max_skew"):
        stage.peer.parse_token(text, stage.now)
    stage.wait(1)
    token = stage.peer.parse_token(text, stage.now)
    stage.peer.open_bucket("b", stage.now)
    draft = stage.peer.draft("b", stage.now, token)
    draft.put("k", 2)
    stage.skew_ms = -1000  # set back while the batch was open
    with pytest.raises(TokenError, match="max_skew"):
        stage.peer.commit_draft(draft, stage.now)
    assert not stage.peer.replicas["b"].has("k", stage.now.wall_ms)
    stage.skew_ms = 0
    written = stage.peer.commit_draft(draft, stage.now)
    assert written.hlc == token.hlc + 1


def test_a_draft_done_again_still_comes_after_its_token() -> None:
    fast, stage = Stage("fast", skew_ms=30_000), Stage(max_skew_ms=MAX_SKEW_MS)
    fast.put("k", 1)
    token = stage.peer.parse_token(fast.peer.token(fast.now), stage.now)
    stage.put("k", 1)
    draft = stage.peer.draft("b", stage.now, token)
    draft.put("k", 2)
    stage.put("k", 3)
    written = stage.peer.commit_draft(draft, stage.now)
    assert written.hlc == token.hlc + 1
    assert stage.peer.replicas["b"].read("k", stage.now.wall_ms) == 2


def test_what_comes_after_the_unseen_leaves_nothing_out_for_being_so_already() -> None:
    world = World(2, gossip_interval_s=0.2)
    a, b = world.nodes
    world.run(1)
    for node in (a, b):
        node.up.open_bucket("maps", node.now, kind=Kind.MAP)
        node.up.open_bucket("sets", node.now, kind=Kind.SET)
    a.write("maps", lambda draft: draft.put("m", {"x": 1, "y": 1}))
    assert seek(b, a.up.token(a.now), 3)
    world.split([a], [b])
    a.write("maps", lambda draft: draft.put("m", {"x": 2, "y": 1}))
    a.write("sets", lambda draft: draft.add_element("s", "e"))
    token = b.up.parse_token(a.up.token(a.now), b.now)
    for bucket, change in (
        ("maps", lambda draft: draft.put("m", {"x": 1, "y": 1})),
        ("sets", lambda draft: draft.discard_element("s", "e")),
    ):
        draft = b.up.draft(bucket, b.now, token)
        change(draft)
        b.up.commit_draft(draft, b.now)
        world.touched(b)
    world.heal()
    assert seek(a, b.up.token(b.now), 3)
    assert a.pairs("maps") == b.pairs("maps") == {"m": {"x": 1, "y": 1}}
    assert not a.pairs("sets").get("s")


def test_a_final_delete_after_a_token_ends_what_was_written_before_it() -> None:
    world = World(2, gossip_interval_s=0.2, max_skew_ms=MAX_SKEW_MS)
    a, b = world.nodes
    b.skew_ms = -50_000
    world.run(1)
    for node in (a, b):
        node.up.open_bucket("s", node.now, deletes=Deletes.FINAL, ttl_ms=30_000)
    world.split([a], [b])
    text = a.up.token_of(a.write("s", lambda draft: draft.put("k", "modified")))
    draft = b.up.draft("s", b.now, b.up.parse_token(text, b.now))
    draft.delete("k")
    b.up.commit_draft(draft, b.now)
    world.touched(b)
    world.heal()
    assert seek(a, b.up.token(b.now), 3)
    assert a.pairs("s") == b.pairs("s") == {}
    with pytest.raises(EndedKeyError):
        a.write("s", lambda draft: draft.put("k", "again"))


def test_a_member_whose_presence_has_not_come_yet_is_in_no_zone_that_another_could_serve() -> None:
    stage = Stage(zone="north")
    b, c = stage.link("b"), stage.link("c")
    stage.peer.open_bucket("b", stage.now)
    draft = stage.peer.draft("b", stage.now)
    draft.put("k", 1)
    written = stage.peer.commit_draft(draft, stage.now)
    stage.settle()
    assert stage.peer.needed_acks("zones") == 2
    line = ("b", bytes(written.origin), written.index)
    b.says(Stored((line,)))
    assert not stage.peer.seek_acks(written, "zones", stage.now)
    assert "one whose zone is not known yet" in stage.peer.shortfall(written, "zones")
    c.says(Stored((line,)))
    assert stage.peer.seek_acks(written, "zones", stage.now)
