"""Messages that members may send and should not: garbage, floods, claims, and what makes others look guilty."""

from time import perf_counter

import pytest

from gossipsync.core.model import strict
from gossipsync.core.model.events import Refused
from gossipsync.core.model.ids import Origin, PeerId, new_epoch, origin_of
from gossipsync.core.model.limits import Limits
from gossipsync.core.model.reasons import Reason
from gossipsync.core.wire.framing import frame
from gossipsync.core.wire.messages import (
    Compare,
    Credentials,
    Delta,
    Digest,
    Equal,
    Presences,
    Prune,
    Push,
    Stored,
    Want,
    encode_message,
)
from tests.attacks._marks import Victim, one_entry
from tests.core._world import START_MS, Author, entry, identity


def rogue_author() -> Author:
    return Author("rogue", wall_ms=START_MS)


def _bomb(size: int) -> bytes:
    """10 ** 1,000,000 times a number of `size` bytes, for who builds decimals."""
    number = b"\xc2\x5a" + size.to_bytes(4, "big") + b"\xff" * size
    return b"\xc4\x82\x1a\x00\x0f\x42\x40" + number


def _map_of(keys: list[bytes]) -> bytes:
    return b"\xba" + len(keys).to_bytes(4, "big") + b"\0".join([*keys, b""])


_COLLIDING_INTS = [b"\x1b" + (number << 46).to_bytes(8, "big") for number in range(1 << 16)]
_COLLIDING_ARRAYS = [b"\x82" + key + key for key in _COLLIDING_INTS]

GARBAGE = {
    "nothing": b"",
    "a number": b"\x01",
    "an empty array": b"\x80",
    "an unknown type": b"\x81\x18\x63",
    "a type that is no int": strict.encode((True, 1, bytes(16), b"", 1)),
    "a type that is a float": strict.encode((2.0, 1, 1)),
    "half a message": encode_message(Equal(1, 1))[:-1],
    "a message and a half": encode_message(Equal(1, 1)) + b"\0",
    "non-minimal": b"\x83\x18\x02\x01\x01",
    "indefinite": b"\x9f\x02\x01\x01\xff",
    "a tag": b"\xd9\xd9\xf7" + encode_message(Equal(1, 1)),
    "deep": b"\x81" * 5000 + b"\0",
    "a decimal bomb": _bomb(1 << 19),
    "a bignum": b"\x83\x02\xc2\x41\x01\x01",
    "a duplicate key": b"\xa2\x61a\x01\x61a\x02",
    "colliding ints": _map_of(_COLLIDING_INTS),
    "colliding arrays": _map_of(_COLLIDING_ARRAYS[: 1 << 15]),
    "broken text": b"\x82\x07\x62\xff\xff",
    "a negative exchange": strict.encode((2, -1, 1)),
    "an exchange of 2**63": strict.encode((2, 1 << 63, 1)),
    "a sum of 15 bytes": strict.encode((1, 1, bytes(15), b"", 1)),
    "a base of 1 byte": strict.encode((1, 1, bytes(16), b"x", 1)),
    "an origin of 39 bytes": strict.encode((7, (bytes(39),))),
    "a span from 0": strict.encode((4, 1, 1, (("b", ((bytes(40), 0, 1),)),))),
    "a span backwards": strict.encode((4, 1, 1, (("b", ((bytes(40), 2, 1),)),))),
    "a span from true": strict.encode((4, 1, 1, (("b", ((bytes(40), True, 1),)),))),
    "stored up to 0": strict.encode((8, (("b", ((bytes(40), 0),)),))),
    "a bucket without a name": strict.encode((8, (("", ((bytes(40), 1),)),))),
    "a prefix too deep": strict.encode((3, 1, (), False, (bytes(4),), (), ())),
    "a prefix of no nibbles": strict.encode((3, 1, (), False, (b"\x10",), (), ())),
    "one range a thousand times": strict.encode(
        (3, 1, ((b"", bytes(16), 1),) * 1000, False, (), (), ())
    ),
    "one ask a thousand times": strict.encode((3, 1, (), False, (b"",) * 1000, (), ())),
    "a line with a long head": strict.encode(
        (3, 1, (), False, (), (("b", ((bytes(40), 1, bytes(9), 1),)),), ())
    ),
    "a bundle that is a number": strict.encode((6, (1,))),
    "a bundle of noise": encode_message(Push((b"\x83\x40\x40\x40",))),
    "a presence of noise": encode_message(Presences((b"noise",))),
}


@pytest.mark.parametrize("payload", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_closes_the_link_and_nothing_else(payload: bytes) -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    start = perf_counter()
    rogue.says_payload(payload)
    assert perf_counter() - start < 1.0  # bombs take from ten seconds to minutes where they go off
    victim.withstood(rogue, Reason.MALFORMED)


def test_a_length_of_4_gib_is_refused_before_a_byte_of_it() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    rogue.says_bytes(b"\xff\xff\xff\xff")
    victim.withstood(rogue, Reason.OVERSIZE)


def test_what_follows_a_refusal_is_not_read() -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    rogue.says_bytes(frame(b"\x80") + frame(encode_message(Push((author.put("late", 1),)))))
    victim.withstood(rogue, Reason.MALFORMED)
    assert "late" not in victim.pairs()


def test_after_one_forged_bundle_the_rest_of_the_message_is_not_verified() -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    forged = tuple(
        author.wrong([entry(f"k{n}", n, at=author.tick())], signature=bytes(64)) for n in range(500)
    )
    checks = victim.authority.checks
    rogue.says(Push(forged))
    assert victim.authority.checks - checks == 1
    victim.withstood(rogue, Reason.SIGNATURE)


def test_a_flood_of_messages() -> None:
    victim = Victim(limits=Limits(messages_per_s=100))
    rogue = victim.link("rogue")
    rogue.says(*[Prune(())] * 101)
    assert rogue.hung_up == "rate"
    assert victim.counted == {Reason.RATE: 1}
    assert victim.serves_the_honest()


def test_an_allowance_grows_back() -> None:
    victim = Victim(limits=Limits(messages_per_s=100))
    talker = victim.link("talker")
    for _ in range(10):
        talker.says(*[Prune(())] * 90)
        victim.wait(1.0)
    assert talker.hung_up is None


def test_answers_that_nobody_asked_for() -> None:
    """Counted, and no reason to hang up: an honest answer may come too late."""
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    rogue.says(Delta(1, (author.put("k", 1),)))
    rogue.says(Equal(99, START_MS))
    rogue.says(Compare(99, (), False, (), (), ()))
    assert victim.counted == {Reason.UNSOLICITED: 3}
    assert rogue.hung_up is None
    assert victim.is_unmoved()
    assert victim.serves_the_honest()


def test_a_credential_of_nobody() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    rogue.says(Credentials((b"not issued",)))
    victim.withstood(rogue, Reason.CREDENTIAL)


def test_a_bundle_by_somebody_without_a_credential() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    stranger = Author("stranger", wall_ms=START_MS)
    rogue.says(Push((stranger.put("k", 1),)))
    victim.withstood(rogue, Reason.NO_CREDENTIAL)


def test_a_bundle_over_the_limit() -> None:
    victim, author = Victim(limits=Limits(bundle_bytes=10_000)), rogue_author()
    rogue = victim.link("rogue")
    rogue.says(Push((author.put("k", "x" * 10_000),)))
    victim.withstood(rogue, Reason.OVERSIZE)


def test_invented_origins_fill_only_the_share_of_their_inventor() -> None:
    victim = Victim(limits=Limits(logs_per_peer=5, logs=20))
    rogue = victim.link("rogue")
    for number in range(10):
        author = Author("rogue", wall_ms=START_MS, epoch=new_epoch(START_MS, number + 2))
        rogue.says(Push((author.put(f"k{number}", 1),)))
    assert victim.counted == {Reason.LIMIT: 5}
    assert rogue.hung_up is None
    assert victim.serves_the_honest()


def test_claims_of_lines_that_do_not_exist_are_bounded() -> None:
    victim = Victim(limits=Limits(lines_per_link=50))
    rogue = victim.link("rogue")
    victim.peer.request_exchange(victim.now)
    victim.settle()
    for round_ in range(3):
        claims = tuple(
            (
                "b",
                origin_of(identity("rogue").peer, new_epoch(START_MS + round_, number)),
                10,
                bytes(8),
                1,
            )
            for number in range(100)
        )
        rogue.says(Digest(2 * round_ + 1, bytes(16), b"", START_MS))
        rogue.says(Compare(2 * round_ + 1, (), False, (), claims, ()))
    queues = victim.peer.gossip_info(victim.now)["queues"]
    assert queues["lines_behind"] <= 50  # type: ignore[index]
    assert victim.is_unmoved()
    assert victim.serves_the_honest()


def test_more_exchanges_than_are_kept() -> None:
    victim = Victim(limits=Limits(exchanges_per_link=4))
    rogue = victim.link("rogue")
    rogue.says(*[Digest(number, bytes(16), b"", START_MS) for number in range(1, 21, 2)])
    assert victim.counted == {Reason.LIMIT: 6}
    assert rogue.hung_up is None
    assert victim.serves_the_honest()


def test_wants_for_invented_origins_leave_nothing_behind() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    link = victim.peer._ctx.links[rogue.link]
    for number in range(20):
        spans = tuple(
            ("b", origin_of(PeerId(bytes([number]) * 32), new_epoch(number, n)), 1, 9)
            for n in range(256)
        )
        rogue.says(Want(number, 1 << 20, spans))
    assert len(link.eager) <= len(victim.peer._ctx.logs)
    assert [delta.bundles for delta in rogue.hears(Delta)] == [()] * 20
    assert victim.is_unmoved()
    assert victim.serves_the_honest()


def test_acks_for_invented_buckets_leave_nothing_behind() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    mine = victim.peer.origin
    rogue.says(Stored(tuple((f"bucket {n}", mine, 1) for n in range(5000))))
    rogue.says(Stored((("b", mine, 99),)))
    assert not victim.peer._commits._acks.get(identity("rogue").peer)
    assert victim.is_unmoved()
    assert victim.serves_the_honest()


def test_acks_for_others_count_nothing() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    written_by_another = Origin(victim.peer.peer_id + bytes(7) + b"\x01")
    rogue.says(Stored((("b", written_by_another, 1),)))
    victim.peer.open_bucket("b", victim.now)
    draft = victim.peer.draft("b", victim.now)
    draft.put("k", 1)
    written = victim.peer.commit_draft(draft, victim.now)
    victim.settle()
    assert victim.peer.acked_by(written) == ()


def test_prunes_beyond_the_bound() -> None:
    victim = Victim(limits=Limits(lines_per_link=100))
    rogue = victim.link("rogue")
    for number in range(3):
        origins = tuple(bytes([number]) * 32 + n.to_bytes(8, "big") for n in range(60))
        rogue.says(Prune(origins))
    assert victim.counted == {Reason.LIMIT: 2}
    assert len(victim.peer._ctx.links[rogue.link].lazy) <= 100
    assert victim.serves_the_honest()


def test_a_bundle_sent_a_thousand_times_makes_no_flood_towards_others() -> None:
    """Whoever brought it first is told once to leave it to its origin; more would count as a flood of ours."""
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    bundle = author.put("k", 1)
    victim.honest.says(Push((bundle,)))  # came by way of the honest member first
    victim.honest.hears()
    rogue.says(Push((bundle,) * 1000))
    assert len(victim.honest.hears(Prune)) <= 1
    rogue.says(Push((bundle,)))
    assert victim.honest.hears(Prune) == []
    assert victim.serves_the_honest()


def test_whoever_sends_a_false_bundle_early_is_blamed_for_it_and_nobody_else() -> None:
    """It waits for its predecessor, which an honest member then brings."""
    victim = Victim()
    rogue = victim.link("rogue")
    first = victim.author.put("first", 1)
    false = victim.author.wrong(
        [entry("own", "stolen", at=victim.author.tick())], signature=bytes(64)
    )
    rogue.says(Push((false,)))
    assert victim.is_unmoved()
    victim.honest.says(Push((first,)))
    assert victim.counted[Reason.SIGNATURE] == 1
    assert rogue.hung_up == Reason.SIGNATURE
    assert victim.pairs()["first"] == 1
    assert victim.pairs()["own"] == 1
    assert victim.serves_the_honest()


def test_the_false_bundle_of_a_member_that_has_left_is_nobodys_fault_here() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    first = victim.author.put("first", 1)
    false = victim.author.wrong(
        [entry("own", "stolen", at=victim.author.tick())], signature=bytes(64)
    )
    rogue.says(Push((false,)))
    rogue.leaves()
    victim.honest.says(Push((first,)))
    assert victim.honest.hung_up is None
    assert victim.pairs()["own"] == 1
    assert victim.serves_the_honest()


def test_early_bundles_are_bounded_in_bytes_and_distance() -> None:
    victim = Victim(limits=Limits(reassembly_bytes=20_000))
    rogue, author = victim.link("rogue"), rogue_author()
    for index in (*range(2, 40), 10_000):
        rogue.says(Push((author.wrong([entry("k", "x" * 1000, at=author.tick())], index=index),)))
    queues = victim.peer.gossip_info(victim.now)["queues"]
    assert queues["early_bytes"] <= 20_000  # type: ignore[index]
    assert victim.counted[Reason.GAP] >= 19
    assert victim.is_unmoved()
    assert victim.serves_the_honest()
    rogue.leaves()
    queues = victim.peer.gossip_info(victim.now)["queues"]
    assert queues["early_bytes"] == 0  # type: ignore[index]


def test_a_member_that_never_answers_is_hung_up_on() -> None:
    victim = Victim(gossip_interval_s=0.5)
    silent = victim.link("silent")
    victim.wait(60.0)
    assert silent.hung_up == "unresponsive"


def test_refusals_are_events_with_the_name_of_the_sender() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    rogue.says_payload(b"\x80")
    told = [event for event in victim.events if isinstance(event, Refused)]
    assert [(event.peer, event.reason) for event in told] == [
        (identity("rogue").peer, Reason.MALFORMED)
    ]


def test_one_entry_wins_when_it_is_honest() -> None:
    """The entries that these tests forge would have had an effect."""
    victim, author = Victim(), rogue_author()
    victim.link("rogue").says(Push((author.bundle(one_entry(author)),)))
    assert victim.pairs()["own"] == "stolen"
