"""Chains: gaps, doubles, other predecessors, numbers near the end, and two branches of one log."""

import pytest

from gossipsync.core.model import strict
from gossipsync.core.model.bundle import FROZEN, MAX_INDEX, parse_bundle
from gossipsync.core.model.events import Forked
from gossipsync.core.model.ids import PeerId
from gossipsync.core.model.reasons import Reason
from gossipsync.core.wire.evidence import Contest, Evidence
from gossipsync.core.wire.messages import Compare, Delta, Digest, Push, Want
from tests.attacks._marks import Victim, one_entry
from tests.core._world import START_MS, Author, World, entry, identity


def rogue_author() -> Author:
    return Author("rogue", wall_ms=START_MS)


def header_of(bundle: bytes) -> bytes:
    """The excerpt that shows a bundle's header and nothing else."""
    header, signature, _ = strict.decode(bundle, 2)  # type: ignore[misc]
    return strict.encode((header, signature, b"", b"", (), b""))


def test_bundles_that_come_in_any_order_are_applied_in_theirs() -> None:
    author = rogue_author()
    bundles = [author.put("k", number) for number in range(5)]
    for order in ((4, 3, 2, 1, 0), (1, 0, 3, 2, 4), (2, 4, 0, 1, 3)):
        victim = Victim()
        sender = victim.link("rogue")
        for position in order:
            sender.says(Push((bundles[position],)))
        assert victim.pairs()["k"] == 4
        assert victim.counted == {}
        assert sender.hung_up is None


def test_a_gap_moves_nothing_and_its_missing_part_is_asked_for() -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    first = author.put("k", 1)
    rogue.says(Push((author.put("k", 2),)))
    assert victim.is_unmoved()
    (want,) = rogue.hears(Want)
    assert [span[1:] for span in want.spans] == [(author.origin, 1, 1)]
    rogue.says(Delta(want.request, (first,)))
    assert victim.pairs()["k"] == 2


def test_a_duplicate_is_held_and_no_fault() -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    bundle = author.put("k", 1)
    rogue.says(Push((bundle, bundle)), Push((bundle,)))
    assert victim.counted == {Reason.HELD: 2}
    assert rogue.hung_up is None
    assert len(victim.disk.rows) == 3


def test_a_held_bundle_is_known_by_its_header_whoever_signed_it_again() -> None:
    """Nothing is verified for what is held, so nothing may be learnt from it either."""
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    data = entry("k", 1, at=author.tick())
    forged = author.wrong([data], signature=bytes(64))
    rogue.says(Push((author.bundle([data]),)))
    kept = list(victim.disk.rows)
    rogue.says(Push((forged,)))
    assert victim.counted == {Reason.HELD: 1}
    assert victim.disk.rows == kept


def test_another_predecessor() -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    rogue.says(Push((author.put("k", 1),)))
    kept = victim.peer.digest
    rogue.says(Push((author.wrong(one_entry(author), previous=bytes(32)),)))
    assert victim.counted == {Reason.CHAIN: 1}
    assert victim.peer.digest == kept
    assert victim.pairs()["own"] == 1
    assert rogue.hung_up is None
    assert victim.serves_the_honest()


def test_a_first_bundle_that_names_a_predecessor() -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    rogue.says(Push((author.wrong(one_entry(author), previous=b"p" * 32),)))
    victim.withstood(rogue, Reason.CHAIN)


def test_numbers_near_the_end_are_a_gap_like_any_other() -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    rogue.says(Push((author.wrong(one_entry(author), index=MAX_INDEX - 2),)))
    rogue.says(Push((author.wrong(one_entry(author), index=MAX_INDEX - 1),)))
    assert victim.counted[Reason.GAP] >= 1
    assert victim.is_unmoved()
    for want in rogue.hears(Want):
        assert all(span[3] < 1 << 20 for span in want.spans)
        rogue.says(Delta(want.request, ()))
    assert victim.serves_the_honest()


def test_numbers_beyond_the_end_are_malformed() -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    rogue.says(Push((author.wrong(one_entry(author), index=MAX_INDEX),)))
    assert rogue.hung_up
    assert victim.is_unmoved()
    assert victim.serves_the_honest()


def test_a_second_first_bundle_is_a_fork_and_freezes_the_line() -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    other = author.wrong(one_entry(author))
    rogue.says(Push((author.put("k", 1),)))
    rogue.says(Push((other,)))
    frozen = victim.peer.digest
    rogue.says(Push((author.put("k", 2),)))
    assert victim.counted == {Reason.FORK: 2}
    assert victim.peer.digest == frozen
    assert victim.peer.vector()["b", author.origin] == FROZEN
    assert (victim.pairs()["own"], victim.pairs()["k"]) == (1, 1)
    forks = [event for event in victim.events if isinstance(event, Forked)]
    assert [(fork.peer, fork.index) for fork in forks] == [(identity("rogue").peer, 1)]
    assert rogue.hung_up is None  # a relay may have been fed either branch
    assert victim.serves_the_honest()


def test_a_fork_shows_in_a_digest_and_the_other_header_is_asked_for_once() -> None:
    victim, author = Victim(), rogue_author()
    feeder, relay = victim.link("rogue"), victim.link("relay")
    other = author.wrong(one_entry(author))
    feeder.says(Push((author.put("k", 1),)))
    line = ("b", author.origin, 1, b"otherhed", START_MS << 16)
    for exchange in (1, 3):
        relay.says(Digest(exchange, bytes(16), b"", START_MS))
        relay.says(Compare(exchange, (), False, (), (line,), ()))
    (contest,) = relay.hears(Contest)
    assert contest.places == (("b", author.origin, 1),)
    relay.says(Evidence((header_of(other),)))
    assert victim.counted == {Reason.FORK: 1}
    assert relay.hung_up is None
    assert [type(event) for event in victim.events].count(Forked) == 1


def test_slander_with_one_forged_side_proves_nothing() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    forged = Author("honest", wall_ms=START_MS)
    rogue.says(Push((forged.wrong(one_entry(forged), signer=identity("rogue")),)))
    victim.withstood(rogue, Reason.SIGNATURE)
    assert not [event for event in victim.events if isinstance(event, Forked)]


def test_a_thousand_branches_of_one_origin_are_one_fork() -> None:
    victim, author = Victim(), rogue_author()
    rogue = victim.link("rogue")
    rogue.says(Push((author.put("k", 1),)))
    branches = [
        author.wrong([entry("own", n, at=author.tick())], index=1, previous=bytes(32))
        for n in range(1000)
    ]
    rogue.says(Push(tuple(branches)))
    assert victim.counted == {Reason.FORK: 1000}
    assert [type(event) for event in victim.events].count(Forked) == 1
    assert len(victim.disk.rows) == 3
    assert len([name for name in victim.disk.heads if name.startswith("fork/")]) == 1
    assert victim.pairs()["own"] == 1
    assert victim.serves_the_honest()


def _feed(world: World, number: int, bundle: bytes, author: Author) -> None:
    """The rogue hands a bundle to one node of the world, over no link of its own."""
    node = world.nodes[number]
    ctx = node.up._ctx
    der = world.authority.issue(PeerId(author.identity.peer))
    for other in world.nodes:
        other.up._introductions.keep_credential(der)
    link = next(iter(ctx.by_peer.values()))
    node.up._parts.ingest.accept(link, bundle, is_fresh=True)
    world.touched(node)


def test_two_branches_fed_to_two_halves_harm_nobody_else() -> None:
    """Whoever forks its own log loses that log; all others agree as ever."""
    author = rogue_author()
    branch = author.wrong([entry("k", "right", at=author.tick())])
    trunk = author.put("k", "left")
    world = World(4)
    world.run(5)
    world.split(world.nodes[:2], world.nodes[2:])
    for number in (0, 1):
        _feed(world, number, trunk, author)
    for number in (2, 3):
        _feed(world, number, branch, author)
    world.run(2)
    world.heal()
    world.nodes[0].put("honest", 1)
    world.nodes[3].put("upright", 2)
    world.run(30)
    for node in world.nodes:
        assert {key: node.pairs()[key] for key in ("honest", "upright")} == {
            "honest": 1,
            "upright": 2,
        }
        assert [event.peer for event in node.events if isinstance(event, Forked)] == [
            author.identity.peer
        ]
        assert len(node.up._ctx.by_peer) == 3


@pytest.mark.parametrize("held", [1, 3])
def test_a_fork_shows_whichever_branch_is_longer(held: int) -> None:
    """Two bundles of another branch, told of by a relay, against one or three held: the proof is fetched either way."""
    victim, author = Victim(), rogue_author()
    feeder, relay = victim.link("rogue"), victim.link("relay")
    first = author.wrong(one_entry(author))
    other = parse_bundle(first).header.hash
    second = author.wrong(one_entry(author), index=2, previous=other)
    feeder.says(Push(tuple(author.put("k", number) for number in range(held))))
    line = ("b", author.origin, 2, parse_bundle(second).header.hash[:8], author.tick())
    for exchange in (1, 3):
        relay.says(Digest(exchange, bytes(16), b"", START_MS))
        relay.says(Compare(exchange, (), False, (), (line,), ()))
    # Who holds less is handed what follows another bundle, and asks for the header of that one; who holds more asks at once.
    asked = []
    while heard := relay.hears():
        for message in heard:
            if isinstance(message, Want):
                asked += [("bundle", span[2]) for span in message.spans]
                relay.says(Delta(message.request, (second,)))
            elif isinstance(message, Contest):
                asked += [("header", place[2]) for place in message.places]
                relay.says(Evidence((header_of((first, second)[message.places[0][2] - 1]),)))
    assert asked == ([("bundle", 2), ("header", 1)] if held == 1 else [("header", 2)])
    assert [type(event) for event in victim.events].count(Forked) == 1
    frozen = victim.peer.digest
    assert victim.peer.vector()["b", author.origin] == FROZEN
    feeder.says(Push((author.put("k", "more"),)))
    assert victim.peer.digest == frozen
    assert relay.hung_up is None
