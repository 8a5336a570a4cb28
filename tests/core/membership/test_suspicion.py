"""How long doubt takes to become a verdict, what ends it, our own health, and partners across zones."""

import random
from collections import Counter

import pytest

from gossipsync.core.membership.drawing import OTHER_ZONES, Crowd
from gossipsync.core.membership.members import Members
from gossipsync.core.membership.presence import Presence, Stance, make_presence
from gossipsync.core.membership.statements import Claim, Statement, make_statement
from gossipsync.core.membership.suspicion import (
    ENOUGH,
    LONGEST,
    SHORTEST,
    LocalHealth,
    Suspicion,
    patience,
)
from gossipsync.core.model.ids import Epoch
from tests.core._world import NETWORK, identity


def doubt(by: str, bound: int) -> Statement:
    return make_statement(
        Claim.DOUBT,
        network=NETWORK,
        by=identity(by).peer,
        about=identity("p").peer,
        bound=bound,
        sign=identity(by).sign,
    )


def presence(stamp: int) -> Presence:
    me = identity("p")
    return make_presence(
        network=NETWORK, peer=me.peer, stamp=stamp, epoch=Epoch(1), stance=Stance.UP, name="p",
        addresses=("p:1",), zone="", version="0", sign=me.sign,
    )  # fmt: skip


def test_the_more_doubt_the_sooner_and_never_sooner_than_an_answer_needs() -> None:
    spans = [patience(doubters) for doubters in range(1, 10)]
    assert spans == sorted(spans, reverse=True)
    assert spans[0] == LONGEST
    assert spans[ENOUGH - 1 :] == [SHORTEST] * (10 - ENOUGH)


def test_others_need_to_be_several_and_ourselves_to_have_looked() -> None:
    suspicion = Suspicion(0.0)
    for number in range(ENOUGH):
        assert not suspicion.may_conclude(is_linked=False)
        fresh = doubt(f"m{number}", 100)
        assert suspicion.is_news(fresh)
        suspicion.doubts[fresh.by] = fresh
        assert not suspicion.is_news(fresh)
    assert suspicion.may_conclude(is_linked=False)
    assert not suspicion.may_conclude(is_linked=True)
    assert not suspicion.is_news(doubt("one more", 100))
    suspicion.own = doubt("self", 100)
    assert suspicion.may_conclude(is_linked=True)


def test_a_presence_ends_the_doubts_bounded_below_it() -> None:
    suspicion = Suspicion(0.0, own=doubt("self", 100))
    late = doubt("m", 200)
    suspicion.doubts[late.by] = late
    assert not suspicion.end_before(100)
    assert suspicion.own is not None
    assert not suspicion.end_before(101)
    assert suspicion.own is None
    assert suspicion.end_before(201)


def test_no_verdict_while_it_is_postponed() -> None:
    suspicion = Suspicion(10.0, own=doubt("self", 100))
    assert suspicion.due_s(1.0) == 10.0 + LONGEST
    suspicion.not_before_s = 30.0
    assert suspicion.due_s(1.0) == 30.0


def test_health_is_bounded_both_ways() -> None:
    health = LocalHealth()
    health.better()
    assert health.factor == 1
    health.worse(100)
    assert health.factor == 9
    health.better()
    assert health.factor == 8


def test_a_late_presence_brings_nobody_back() -> None:
    """Made before its peer was lost, it comes over others afterwards: newer than what is known, and no sign of life."""
    members = Members(10)
    member = members.take(presence(1_000_000), 0.0)
    assert member is not None
    member.lost_stamp = member.clock_ms(5.0)
    assert member.lost_stamp == 1_005_000
    members.take(presence(1_004_000), 6.0)
    assert member.judge(6.0, 2.0) == "suspect"
    members.take(presence(1_005_001), 6.0)
    assert member.judge(6.0, 2.0) == "alive"


def test_the_dropped_stay_away_until_they_are_newer() -> None:
    members = Members(10)
    members.take(presence(100), 0.0)
    members.drop(identity("p").peer, 150, 60.0)
    assert len(members) == 0
    assert not members.is_news(presence(150))
    assert members.is_news(presence(151))
    members.expire_bounds(59.0)
    assert members.bar(identity("p").peer) == 150
    members.expire_bounds(60.0)
    assert members.is_news(presence(150))


@pytest.mark.parametrize("count", [1, 5])
def test_partners_are_drawn_with_a_share_for_every_other_zone(count: int) -> None:
    crowd, rng = Crowd(), random.Random(1)
    zones = {identity(f"n{n}").peer: "near" for n in range(40)}
    zones |= {identity(f"f{n}").peer: "far" for n in range(2 if count == 1 else 10)}
    zones |= {identity(f"g{n}").peer: "farther" for n in range(20)}
    for peer, zone in zones.items():
        crowd.arrive(peer, "before")
        crowd.arrive(peer, zone)
    draws = 4000
    drawn = Counter(zones[peer] for _ in range(draws) for peer in crowd.draw(rng, count, "near"))
    assert drawn.total() == draws * count
    for zone in ("far", "farther"):
        assert drawn[zone] / drawn.total() == pytest.approx(OTHER_ZONES / 2, rel=0.15)
    for peer in list(zones):
        crowd.depart(peer)
        crowd.depart(peer)
    assert crowd.everybody == []
    assert crowd.draw(rng, 3, "near") == []
