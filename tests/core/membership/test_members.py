"""Members' states, presence that only moves on, and dialling that backs off and never gives up."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from gossipsync.core.membership.dialling import LAST_RETRY_S, Dialler, view_size
from gossipsync.core.membership.members import DOWN_AFTER, SUSPECT_AFTER, Members, refresh_s
from gossipsync.core.membership.presence import Presence, Stance, make_presence
from gossipsync.core.model.ids import Epoch, PeerId
from tests.core._world import NETWORK, World, identity


def presence(name: str = "p", stamp: int = 1, stance: Stance = Stance.UP) -> Presence:
    me = identity(name)
    return make_presence(
        network=NETWORK, peer=me.peer, stamp=stamp, epoch=Epoch(1), stance=stance, name=name,
        addresses=(f"{name}:1",), zone="", version="0", sign=me.sign,
    )  # fmt: skip


def test_a_member_goes_from_alive_to_suspect_to_down_and_back() -> None:
    members = Members(10)
    member = members.take(presence(), 0.0)
    assert member is not None
    refresh = 2.0
    assert member.judge(SUSPECT_AFTER * refresh, refresh) == "alive"
    assert member.judge(SUSPECT_AFTER * refresh + 0.1, refresh) == "suspect"
    assert member.judge(DOWN_AFTER * refresh + 0.1, refresh) == "down"
    members.take(presence(stamp=2), 20.0)
    assert member.judge(20.0, refresh) == "alive"
    member.lost_stamp = 2
    assert member.judge(20.0, refresh) == "suspect"
    member.is_linked = True
    assert member.judge(1000.0, refresh) == "alive"


def test_what_a_member_says_of_itself_goes_before_what_it_seems() -> None:
    members = Members(10)
    member = members.take(presence(stance=Stance.AWAY), 0.0)
    assert member is not None
    assert member.judge(1e6, 1.0) == "away"
    member.is_linked = True
    assert member.judge(0.0, 1.0) == "alive"
    members.take(presence(stamp=2, stance=Stance.LEFT), 0.0)
    assert member.judge(0.0, 1.0) == "left"


@given(st.lists(st.integers(1, 6), max_size=10))
def test_of_one_peers_presence_the_newest_stays(stamps: list[int]) -> None:
    members = Members(10)
    newest = 0
    for stamp in stamps:
        fresh = presence(stamp=stamp)
        assert members.is_news(fresh) == (stamp > newest)
        if members.is_news(fresh):
            members.take(fresh, 0.0)
            newest = stamp
    told = [item.stamp for _, item in members.changed_since(0)]
    assert told == ([newest] if newest else [])


def test_changes_are_told_once_newest_first() -> None:
    members = Members(10)
    for name in "abc":
        members.take(presence(name), 0.0)
    seq = members.seq
    members.take(presence("a", 2), 0.0)
    assert [item.name for _, item in members.changed_since(seq)] == ["a"]
    assert [item.name for _, item in members.changed_since(0)] == ["a", "c", "b"]
    assert list(members.changed_since(members.seq)) == []


def test_two_keys_that_begin_alike_are_two_members() -> None:
    """Their presence may be barred and allowed again in any order; a KeyError came of it."""
    members = Members(10)
    one, other = (PeerId(b"12345678" + bytes((last,)) * 24) for last in (1, 2))
    for peer in (one, other):
        members.heard(peer, 0.0)
    members.drop(one, 5, 100.0)
    assert members.by_short(b"12345678") == other
    members.drop(other, 7, 100.0)
    members.heard(one, 1.0)
    members.heard(other, 1.0)
    members.expire_bounds(200.0)
    assert {member.peer for member in members} == {one, other}


def test_room_for_members_is_bounded() -> None:
    members = Members(2)
    for name in "abc":
        members.take(presence(name), 0.0)
    assert len(members) == 2
    assert not members.is_news(presence("c"))
    assert members.heard(identity("c").peer, 0.0) is None
    assert members.is_news(presence("a", 2))


@given(st.integers(2, 5000), st.integers(2, 20))
def test_a_view_is_everybody_in_a_small_mesh_and_logarithmic_in_a_large_one(
    members: int, full_mesh: int
) -> None:
    size = view_size(members, full_mesh)
    if members <= full_mesh:
        assert size == members - 1
    else:
        assert 3 <= min(size + 1, members) <= members
        assert size <= 16


def test_presence_traffic_stays_level() -> None:
    rates = [members / refresh_s(members, 1.0) for members in (100, 1000, 10_000)]
    assert rates == [rates[0]] * 3


def test_dialling_backs_off_and_never_gives_up() -> None:
    dialler = Dialler(random.Random(1))
    now_s, pauses = 0.0, []
    for _ in range(12):
        assert dialler.may_dial("a", now_s)
        dialler.started("a", None, is_wanted=True)
        assert not dialler.may_dial("a", now_s)
        assert dialler.dialling == 1
        dialler.failed("a", now_s)
        start_s = now_s
        while not dialler.may_dial("a", now_s):
            now_s += 0.01
        pauses.append(now_s - start_s)
    assert dialler.dialling == 0
    assert pauses[0] < 0.5
    assert max(pauses) <= LAST_RETRY_S * 1.5 + 0.01
    assert min(pauses[-3:]) >= LAST_RETRY_S * 0.5
    dialler.started("a", None, is_wanted=True)
    dialler.succeeded("a", identity("p").peer, now_s)
    assert dialler.who("a") == identity("p").peer
    assert dialler.may_dial("a", now_s + 0.3)


def test_our_own_address_is_not_dialled_again() -> None:
    dialler = Dialler(random.Random(1))
    dialler.started("a", None, is_wanted=True)
    dialler.failed("a", 0.0, is_self=True)
    assert not dialler.may_dial("a", 1e9)


def states(world: World) -> list[list[str]]:
    return [sorted(member.state for member in node.up.members(node.now)) for node in world.running]


def test_a_mesh_sees_a_member_crash_and_return() -> None:
    world = World(4)
    world.run(5)
    assert states(world) == [["alive"] * 4] * 4
    world.crash(world.nodes[3])
    suspected = [["alive"] * 3 + ["suspect"]] * 3
    assert world.run_until(lambda: states(world) == suspected, 20.0)
    assert world.run_until(lambda: states(world) == [["alive"] * 3 + ["down"]] * 3, 20.0)
    world.start(world.nodes[3])
    world.run(20)
    assert states(world) == [["alive"] * 4] * 4


def test_closing_is_being_away_and_leaving_is_being_gone() -> None:
    world = World(4)
    world.run(5)
    for node, call in ((world.nodes[2], "close"), (world.nodes[3], "leave")):
        getattr(node.up, call)(node.now)
        world.touched(node)
        world.run(1)
        world.crash(node)
    world.run(60)
    assert states(world) == [["alive", "alive", "away"]] * 2
    assert [node.up.needed_acks("all") for node in world.running] == [2, 2]
    assert world.nodes[0].up.status(world.nodes[0].now).members["away"] == 1


def test_who_goes_suspects_nobody_whose_link_ends() -> None:
    world = World(3)
    world.run(5)
    going = world.nodes[2]
    going.up.close(going.now)
    world.touched(going)
    world.run(1)
    going.events.clear()
    for link in list(going.up._ctx.links):
        going.up.handle_link_down(link, "closing", going.now)
    world.touched(going)
    assert [type(event).__name__ for event in going.events] == ["LinkClosed", "LinkClosed"]


def test_who_is_linked_was_seen_when_its_link_was_last_heard() -> None:
    """Also where nothing is to be said but pings and digests that are equal."""
    world = World(3, gossip_interval_s=1.0)
    for _ in range(40):
        world.run(1)
        for node in world.nodes:
            seen = {member.name: member.last_seen_s for member in node.up.members(node.now)}
            for link in node.up._ctx.by_peer.values():
                assert 0 <= seen[link.name] <= node.now.mono_s - link.heard_s


def test_a_split_heals_with_no_operator_whatever_its_length() -> None:
    for seconds in (3, 60, 1000):
        world = World(5)
        world.run(5)
        world.split(world.nodes[:2], world.nodes[2:])
        world.run(seconds)
        world.heal()
        world.run(40)
        assert states(world) == [["alive"] * 5] * 5
