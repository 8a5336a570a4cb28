"""Two histories under one number: the proof spreads, and peers that were fed different branches end equal."""

from __future__ import annotations

import random

import pytest

from gossipsync.core import Kind
from gossipsync.core.model import strict
from gossipsync.core.model.bucket import Announcement, BucketRules
from gossipsync.core.model.bundle import FROZEN, parse_bundle
from gossipsync.core.model.events import EpochOpened, Forked
from gossipsync.core.model.hlc import hlc_at
from gossipsync.core.model.ids import NetworkId, PeerId, new_epoch
from gossipsync.core.model.limits import Limits
from gossipsync.core.model.reasons import Reason, WarningCode
from gossipsync.core.replication.forks import ForkProof, make_fork_proof
from gossipsync.core.wire.evidence import Contest, Evidence
from gossipsync.core.wire.messages import Compare, Digest, Push
from tests.attacks._marks import Victim
from tests.core._world import (
    START_MS,
    Author,
    Node,
    Remote,
    Stage,
    World,
    entry,
    identity,
    state_faults,
)

MAX_SKEW_MS = 10_000
SETTINGS = {"max_skew_ms": MAX_SKEW_MS, "horizon_ms": 600_000}


def proof_of(one: bytes, other: bytes) -> ForkProof:
    """Of two bundles."""
    a, b = parse_bundle(one), parse_bundle(other)
    return make_fork_proof((a.header, a.signature), (b.header, b.signature))


def branches(
    author: Author, lengths: tuple[int, ...], *, gap_ms: int = 0, name: str = ""
) -> list[list[bytes]]:
    """Logs of one epoch, of so many bundles each; the keys tell the branch and the number."""
    found = []
    start = author._clock
    for branch, length in enumerate(lengths):
        author._heads, author._clock = {}, start
        log = []
        for number in range(1, length + 1):
            log.append(author.put(f"{name}{branch}-{number}", number))
            author.pass_time(gap_ms)
        found.append(log)
    return found


def feed(world: World, node: Node, bundles: list[bytes], author: Author) -> None:
    """The rogue hands bundles to one node, over no link of its own; everybody knows its certificate."""
    der = world.authority.issue(PeerId(author.identity.peer))
    for other in world.running:
        other.up._introductions.keep_credential(der)
    link = next(iter(node.up._ctx.by_peer.values()))
    for data in bundles:
        node.up._parts.ingest.accept(link, data, is_fresh=True)
    world.touched(node)


def proofs(node: Node) -> list[ForkProof]:
    return node.up._parts.forks.proofs


def are_equal(world: World) -> bool:
    """Digests, states and proofs of all."""
    states = {
        (node.up.digest, str(sorted(node.pairs().items())), str(proofs(node)))
        for node in world.running
    }
    return len(states) == 1


def keys_of_branches(node: Node) -> set[str]:
    return {key for key in node.pairs() if "-" in key}


@pytest.mark.parametrize(
    ("lengths", "peers"), [((1, 1), 4), ((2, 2), 2), ((1, 3), 4), ((4, 1, 2), 6)]
)
def test_peers_that_were_fed_different_branches_end_equal(
    lengths: tuple[int, ...], peers: int
) -> None:
    world, author = World(peers, **SETTINGS), Author("rogue", wall_ms=START_MS)
    world.run(5)
    sides = [world.nodes[at :: len(lengths)] for at in range(len(lengths))]
    world.split(*sides)
    made = branches(author, lengths)
    for side, bundles in zip(sides, made, strict=True):
        feed(world, side[0], bundles, author)
    world.run(3)
    world.heal()
    world.nodes[0].put("honest", 1)
    assert world.run_until(lambda: are_equal(world) and bool(proofs(world.nodes[0])), 60)
    world.run(30)
    assert are_equal(world)
    expected = {
        f"{branch}-{number}"
        for branch, length in enumerate(lengths)
        for number in range(1, length + 1)
    }
    for node in world.nodes:
        assert keys_of_branches(node) == expected
        assert node.pairs()["honest"] == 1
        assert [event.peer for event in node.events if isinstance(event, Forked)] == [
            author.identity.peer
        ]
        assert len(node.up._ctx.by_peer) == peers - 1, "nobody was blamed"
    before = world.sent_bytes
    world.run(60)
    assert world.sent_bytes - before < 60 * peers * peers * 600, "nothing is sent again and again"


def test_what_is_later_than_the_proof_allows_is_valid_nowhere() -> None:
    world, author = World(4, **SETTINGS), Author("rogue", wall_ms=START_MS - 60_000)
    world.run(5)
    world.split(world.nodes[:2], world.nodes[2:])
    trunk, branch = branches(author, (6, 1), gap_ms=4_000)
    feed(world, world.nodes[0], trunk, author)
    feed(world, world.nodes[2], branch, author)
    world.run(3)
    assert keys_of_branches(world.nodes[1]) == {f"0-{number}" for number in range(1, 7)}
    world.heal()
    assert world.run_until(lambda: are_equal(world) and bool(proofs(world.nodes[0])), 90)
    for node in world.nodes:
        # The first bundles were written at 0 s: what came up to 10 s later stays.
        assert keys_of_branches(node) == {"0-1", "0-2", "0-3", "1-1"}


def test_the_proof_outlives_a_restart_and_reaches_newcomers() -> None:
    world, author = World(3, **SETTINGS), Author("rogue", wall_ms=START_MS)
    world.run(5)
    world.split(world.nodes[:1], world.nodes[1:])
    trunk, branch = branches(author, (2, 3))
    feed(world, world.nodes[0], trunk, author)
    feed(world, world.nodes[1], branch, author)
    world.run(3)
    world.heal()
    assert world.run_until(lambda: are_equal(world) and bool(proofs(world.nodes[0])), 60)
    expected = keys_of_branches(world.nodes[0])
    assert len(expected) == 5
    world.run(1)
    for node in world.nodes:
        world.crash(node)
        node.events.clear()
        world.start(node)
        assert keys_of_branches(node) == expected
        assert len(proofs(node)) == 1
        world.run(3)
        assert not [event for event in node.events if isinstance(event, Forked)], "it is no news"
    world.start(newcomer := world.add())
    assert world.run_until(lambda: are_equal(world) and bool(proofs(newcomer)), 60)
    assert keys_of_branches(newcomer) == expected
    world.run(1)  # its store commits what has just come
    world.crash(newcomer)
    world.start(newcomer)
    assert keys_of_branches(newcomer) == expected


@pytest.mark.parametrize("seed", range(40))
def test_any_branches_at_any_peers_end_equal(seed: int) -> None:
    """Partitions, crashes and restarts while branches of several logs are handed about; then all are equal."""
    rng = random.Random(seed)
    world = World(rng.randrange(3, 6), seed=seed, **SETTINGS)
    world.run(3)
    logs: list[tuple[Author, list[list[bytes]]]] = []
    for number in range(3):
        epoch = new_epoch(START_MS, number + 1)
        author = Author("rogue", wall_ms=START_MS - rng.randrange(30_000), epoch=epoch)
        lengths = tuple(rng.randrange(1, 5) for _ in range(rng.randrange(2, 4)))
        gap_ms = rng.choice((0, 0, 4_000))
        logs.append((author, branches(author, lengths, gap_ms=gap_ms, name="abc"[number])))
    for _ in range(30):
        action = rng.randrange(7)
        running = [node for node in world.running if node.up._ctx.by_peer]
        if action == 0:
            half = rng.randrange(1, len(world.nodes))
            nodes = rng.sample(world.nodes, len(world.nodes))
            world.split(nodes[:half], nodes[half:])
        elif action == 1:
            world.heal()
        elif action == 2 and len(running) > 2:
            world.crash(rng.choice(running))
        elif action == 3:
            for node in [node for node in world.nodes if node.peer is None][:1]:
                world.start(node)
        elif running:
            author, made = rng.choice(logs)
            feed(world, rng.choice(running), rng.choice(made), author)
        world.run(rng.choice((0.0, 0.1, 2.0)))
    world.heal()
    for node in world.nodes:
        if node.peer is None:
            world.start(node)
    assert world.run_until(lambda: are_equal(world), 300), [
        (node.up.digest.hex()[:8], sorted(keys_of_branches(node)), proofs(node)[:1])
        for node in world.nodes
    ]
    for node in world.nodes:
        assert state_faults(node.up, node.now.wall_ms) == []
        world.crash(node)
        world.start(node)
    assert world.run_until(lambda: are_equal(world), 60)
    for node in world.nodes:
        assert state_faults(node.up, node.now.wall_ms) == []


# -- one peer, attacked ------------------------------------------------------------------------------------------


def test_a_proof_alone_freezes_a_log_that_nobody_has() -> None:
    victim, author = Victim(), Author("rogue", wall_ms=START_MS)
    rogue = victim.link("rogue")
    (one,), (other,) = branches(author, (1, 1))
    rogue.says(Evidence((proof_of(one, other).data,)))
    assert victim.counted == {}
    rogue.says(Push((one,)), Push((other,)))
    assert victim.counted == {Reason.FORK: 2}
    assert victim.peer.vector()["b", author.origin] == FROZEN
    assert "0-1" not in victim.pairs()
    (told,) = victim.honest.hears(Evidence)
    assert told.data == (proof_of(one, other).data,)
    info = victim.peer.gossip_info(victim.now)
    assert [fork["index"] for fork in info["forks"]] == [1]  # type: ignore[index,attr-defined]
    assert victim.serves_the_honest()


def test_slander_is_refused_and_its_teller_hung_up_on() -> None:
    author, slanderer = Author("honest", wall_ms=START_MS), identity("rogue")
    for wrong, reason in (
        ({"signer": slanderer}, Reason.SIGNATURE),
        ({"network": NetworkId(bytes(32))}, Reason.MALFORMED),
        ({"epoch": author.epoch + 1}, Reason.MALFORMED),
        ({"index": 2}, Reason.MALFORMED),
    ):
        victim = Victim()
        rogue = victim.link("rogue")
        genuine = author.wrong([entry("k", 1, at=author.tick())])
        forged = author.wrong([entry("k", 2, at=author.tick())], **wrong)  # type: ignore[arg-type]
        rogue.says(Evidence((proof_of(genuine, forged).data,)))
        victim.withstood(rogue, reason)


def test_a_proof_from_another_network_is_refused() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    elsewhere = Author("honest", wall_ms=START_MS, network=NetworkId(b"e" * 32))
    (one,), (other,) = branches(elsewhere, (1, 1))
    rogue.says(Evidence((proof_of(one, other).data,)))
    victim.withstood(rogue, Reason.NETWORK)


def test_the_same_header_twice_or_in_the_wrong_order_proves_nothing() -> None:
    author = Author("rogue", wall_ms=START_MS)
    (one,), (other,) = branches(author, (1, 1))
    first, second, third, fourth = strict.decode(proof_of(one, other).data)  # type: ignore[misc]
    for parts in (
        (first, second, first, second),
        (third, fourth, first, second),
        (first, second, third),
        (first, second, third, fourth[:-1]),
    ):
        victim = Victim()
        rogue = victim.link("rogue")
        rogue.says(Evidence((strict.encode(parts),)))
        victim.withstood(rogue, Reason.MALFORMED)


def test_of_several_proofs_the_lowest_counts_in_any_order() -> None:
    author = Author("rogue", wall_ms=START_MS)
    made = branches(author, (2, 2, 2), gap_ms=1_000)
    found = [
        proof_of(made[a][at], made[b][at]) for at in (0, 1) for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    lowest = min(found, key=lambda proof: proof.rank)
    assert lowest.index == 1
    digests = set()
    for order in (found, found[::-1]):
        victim = Victim()
        rogue = victim.link("rogue")
        for proof in order:
            rogue.says(Evidence((proof.data,)))
        assert victim.counted == {}
        assert victim.peer._parts.forks.proofs == [lowest]
        digests.add(victim.peer.digest)
        # Who shows a higher one is shown the lowest.
        rogue.hears()
        rogue.says(Evidence((max(found, key=lambda proof: proof.rank).data,)))
        assert rogue.hears(Evidence) == [Evidence((lowest.data,))]
        assert [type(event) for event in victim.events].count(Forked) == 1
    assert len(digests) == 1


def test_one_rogue_fills_its_own_share_of_the_room_and_no_more() -> None:
    victim = Victim(limits=Limits(proofs_per_peer=3))
    rogue = victim.link("rogue")
    for number in range(10):
        author = Author("rogue", wall_ms=START_MS, epoch=new_epoch(START_MS, number + 1))
        (one,), (other,) = branches(author, (1, 1))
        rogue.says(Evidence((proof_of(one, other).data,)))
    assert victim.counted == {Reason.LIMIT: 7}
    assert len(victim.peer._parts.forks.proofs) == 3
    assert rogue.hung_up is None
    honest = Author("other", wall_ms=START_MS)
    victim.link("other")
    (one,), (other,) = branches(honest, (1, 1))
    rogue.says(Evidence((proof_of(one, other).data,)))
    assert len(victim.peer._parts.forks.proofs) == 4


def flood(rogue: Remote, names: list[str]) -> None:
    """Proofs of keys that nobody has seen do anything, as a holder of the cluster key can mint them."""
    for name in names:
        (one,), (other,) = branches(Author(name, wall_ms=START_MS), (1, 1))
        rogue.says(Evidence((proof_of(one, other).data,)))


def test_a_flood_of_proofs_keeps_no_log_from_being_frozen_and_thaws_none() -> None:
    victim = Victim(limits=Limits(proofs=3))
    rogue = victim.link("rogue")
    minted = [f"minted {number}" for number in range(6)]
    for name in ["frozen before", "frozen after", *minted]:
        victim.link(name).leaves()
    before, after = (Author(name, wall_ms=START_MS) for name in ("frozen before", "frozen after"))
    (one,), (other,) = branches(before, (1, 1), name="b")
    rogue.says(Evidence((proof_of(one, other).data,)))
    (held,), (branch,) = branches(after, (1, 1), name="a")
    rogue.says(Push((held,)))
    flood(rogue, minted)
    assert victim.counted == {Reason.LIMIT: 4}
    rogue.says(Evidence((proof_of(held, branch).data,)))
    assert victim.counted == {Reason.LIMIT: 4}
    frozen = {key[1] for key, index in victim.peer.vector().items() if index == FROZEN}
    assert {before.origin, after.origin} <= frozen
    assert len(frozen) == 4
    rogue.says(Push((one,)), Push((branch,)))
    assert set(victim.pairs()) & {"b0-1", "b1-1", "a1-1"} == set()
    assert "a0-1" in victim.pairs()
    disk, authority = victim.disk.after_crash(), victim.authority
    again = Victim(disk=disk, authority=authority, limits=Limits(proofs=4))
    assert {key[1] for key, index in again.peer.vector().items() if index == FROZEN} == frozen
    rogue = again.link("rogue")
    for name in minted:
        again.link(name).leaves()
    flood(rogue, minted[3:])  # room for one more: what was held when it was frozen takes none
    assert again.counted == {Reason.LIMIT: 2}
    assert again.serves_the_honest()


def test_who_has_no_room_for_a_proof_does_not_ask_for_it_time_and_again() -> None:
    victim = Victim(limits=Limits(proofs=1))
    rogue = victim.link("rogue")
    for name in ("minted 0", "minted 1"):
        victim.link(name).leaves()
    flood(rogue, ["minted 0"])
    rogue.hears()
    line = ("b", Author("minted 1", wall_ms=START_MS).origin, FROZEN, b"no proof", START_MS << 16)
    for number in (1, 3, 5):
        rogue.says(Digest(number, bytes(16), b"", START_MS))
        rogue.says(Compare(number, (), False, (), (line,), ()))
    assert rogue.hears(Contest) == []
    assert victim.peer._ctx.counters["forks-dropped"] == 3


@pytest.mark.parametrize("is_asked", [True, False])
def test_evidence_that_was_asked_for_is_no_flood(*, is_asked: bool) -> None:
    many = 60
    victim = Victim(limits=Limits(messages_per_s=40.0))
    rogue = victim.link("rogue")
    authors = [
        Author("rogue", wall_ms=START_MS, epoch=new_epoch(START_MS, number + 1))
        for number in range(many)
    ]
    shown = [branches(author, (1, 1)) for author in authors]
    if is_asked:
        lines = tuple(
            ("b", author.origin, FROZEN, b"no proof", START_MS << 16) for author in authors
        )
        rogue.says(Digest(1, bytes(16), b"", START_MS))
        rogue.says(Compare(1, (), False, (), lines, ()))
        assert rogue.hears(Contest)
    rogue.says(Evidence(tuple(proof_of(one, other).data for ((one,), (other,)) in shown)))
    rogue.says(Push(()))
    assert (rogue.hung_up == Reason.RATE) is not is_asked
    assert len(victim.peer._parts.forks.proofs) == many


def test_a_line_that_is_said_to_be_frozen_is_believed_by_its_proof_alone() -> None:
    victim, author = Victim(), Author("rogue", wall_ms=START_MS)
    rogue = victim.link("rogue")
    rogue.says(Push((author.put("k", 1),)))
    line = ("b", author.origin, FROZEN, b"no proof", START_MS << 16)
    rogue.hears()
    rogue.says(Digest(1, bytes(16), b"", START_MS))
    rogue.says(Compare(1, (), False, (), (line,), ()))
    assert rogue.hears(Contest) == [Contest((("b", author.origin, FROZEN),))]
    assert victim.peer.vector()["b", author.origin] == 1
    rogue.says(Push((author.put("k", 2),)))
    assert victim.pairs()["k"] == 2


def test_whose_key_was_stolen_goes_on_in_a_new_epoch_and_says_so() -> None:
    """Somebody else signs another history of our present epoch: the proof freezes that, and our writes go on."""
    victim = Victim()
    rogue = victim.link("rogue")
    victim.put("mine", 1)
    thief = Author("self", wall_ms=START_MS, epoch=victim.peer.epoch)
    rogue.says(Push((thief.put("k", "not by us"),)))
    frozen = victim.peer.vector()
    assert FROZEN in frozen.values()
    assert victim.pairs()["mine"] == 1
    assert WarningCode.FORKED in victim.peer.status(victim.now).warnings
    assert [type(event) for event in victim.events].count(EpochOpened) == 1
    victim.put("later", 2)
    assert victim.peer.vector()["b", victim.peer.origin] == 1
    assert victim.serves_the_honest()


def test_who_comes_again_and_again_is_not_shown_the_same_each_time() -> None:
    """Each greeting has it compare its state with ours: over a link that comes and goes that is never done."""
    victim, author = Victim(gossip_interval_s=1.0), Author("rogue", wall_ms=START_MS)
    rogue = victim.link("rogue")
    (one,), (other,) = branches(author, (1, 1))
    rogue.says(Evidence((proof_of(one, other).data,)))

    def is_greeted() -> bool:
        before = victim.peer._ctx.traffic["sent_evidence_bytes"]
        victim.link("newcomer").leaves()
        return victim.peer._ctx.traffic["sent_evidence_bytes"] > before

    assert [is_greeted() for _ in range(4)] == [True, False, False, False]
    again = Author("rogue", wall_ms=START_MS, epoch=new_epoch(START_MS, 7))
    (one,), (other,) = branches(again, (1, 1))
    rogue.says(Evidence((proof_of(one, other).data,)))
    assert [is_greeted() for _ in range(2)] == [True, False]
    victim.wait(31)
    assert [is_greeted() for _ in range(2)] == [True, False]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_branches_that_announce_different_rules_leave_one_rule(order: tuple[int, int]) -> None:
    """Each half of a mesh saw one branch, with the same entry in it, and kept its kind for ever (fuzz seed 5002)."""
    rogue = Author("rogue", wall_ms=START_MS)
    data = [entry("k", 1, at=rogue.tick())]
    announcements = [
        Announcement(BucketRules(kind=kind), hlc_at(START_MS)) for kind in (Kind.COUNTER, Kind.SET)
    ]
    branches = [rogue.wrong(data, "n", announcement=each.parts()) for each in announcements]
    signed = [parse_bundle(branch) for branch in branches]
    proof = make_fork_proof(*((each.header, each.signature) for each in signed))
    halves = [Stage(name=f"half {number}") for number in order]
    for stage, branch in zip(halves, (branches[at] for at in order), strict=True):
        link = stage.link("rogue")
        link.says(Push((branch,)))
        link.says(Evidence((proof.data,)))
    late = Stage(name="late")  # it hears of the fork before the bucket
    late.link("rogue").says(Evidence((proof.data,)), Push((branches[order[0]],)))
    honest = Author("honest", wall_ms=START_MS)
    honest.announcement = Announcement(BucketRules(kind=Kind.MAP), hlc_at(START_MS + 1))
    late.link("honest").says(Push((honest.put("k", 1, "n"),)))
    earliest = announcements[0] if announcements[0].precedes(announcements[1]) else announcements[1]
    for stage in (*halves, late):
        assert stage.peer.replicas["n"].announcement == earliest
