"""Replays: all traffic again, traffic of another network, what has been deleted; relays that keep something back."""

from __future__ import annotations

from gossipsync.core import Deletes
from gossipsync.core.model.reasons import Reason
from gossipsync.core.wire.messages import Compare, Delta, Digest, Push, Want
from tests.attacks._marks import Victim
from tests.core._world import OTHER_NETWORK, START_MS, Author, Stage, World, logs_of


def test_a_day_of_traffic_played_again_changes_nothing() -> None:
    """Byte for byte over a fresh link: bundles are held, presence is no news, answers were not asked for."""
    victim = Victim()
    author = Author("writer", wall_ms=START_MS)
    said = []
    writer = victim.link("writer")
    for number in range(50):
        message = Push((author.put(f"k{number % 7}", number),))
        said.append(message)
        writer.says(message)
    victim.put("own", "again")
    before = (
        victim.peer.digest,
        victim.pairs(),
        victim.peer._ctx.clock.last,
        len(victim.disk.rows),
    )

    rogue = victim.link("rogue")
    rogue.says(*said)
    rogue.says(Delta(1, tuple(row[3] for row in victim.disk.rows)))
    rogue.says(Digest(1, bytes(16), b"", START_MS), Compare(1, (), False, (), (), ()))
    assert (
        victim.peer.digest,
        victim.pairs(),
        victim.peer._ctx.clock.last,
        len(victim.disk.rows),
    ) == before
    assert victim.counted == {Reason.HELD: 50, Reason.UNSOLICITED: 1}
    assert rogue.hung_up is None
    assert victim.serves_the_honest()


def test_our_own_bundles_played_back_to_us() -> None:
    victim = Victim()
    rogue = victim.link("rogue")
    rogue.says(Push(tuple(row[3] for row in victim.disk.rows)))
    assert victim.is_unmoved()
    assert victim.counted == {Reason.HELD: 2}
    assert victim.serves_the_honest()


def test_a_deleted_value_played_again_stays_deleted() -> None:
    victim, author = Victim(), Author("writer", wall_ms=START_MS)
    writer = victim.link("writer")
    bundle = author.put("k", 1)
    writer.says(Push((bundle,)))
    draft = victim.peer.draft("b", victim.now)
    draft.delete("k")
    victim.peer.commit_draft(draft, victim.now)
    victim.settle()
    victim.link("rogue").says(Push((bundle,)))
    assert "k" not in victim.pairs()
    fresh = Stage("other")
    fresh.link("writer")
    rows = [row[3] for row in victim.disk.rows]
    fresh.link("self").says(Push(tuple(rows[::-1])))  # the delete first, the value last
    fresh.link("honest").says(Push(tuple(rows)))
    assert "k" not in fresh.pairs()
    assert fresh.pairs()["own"] == 1


def test_a_logout_is_undone_by_no_late_save() -> None:
    """A final delete covers what is stamped after it, too."""
    world = World(3)
    for node in world.nodes:
        node.up.open_bucket("s", node.now, deletes=Deletes.FINAL, ttl_ms=60_000)
    world.run(3)
    world.nodes[0].put("sid", "session", "s")
    world.run(1)
    world.split(world.nodes[:2], world.nodes[2:])
    world.nodes[0].write("s", lambda draft: draft.delete("sid"))
    world.run(1)
    world.nodes[2].put("sid", "saved late", "s")  # stamped after the delete that it has not seen
    world.run(1)
    world.heal()
    world.run(10)
    assert [node.pairs("s") for node in world.nodes] == [{}] * 3
    assert world.nodes[2].up.replicas["s"].state_of("sid", world.nodes[2].now.wall_ms) == "deleted"


def test_bundles_of_another_network() -> None:
    victim = Victim()
    elsewhere = Author("honest", wall_ms=START_MS, network=OTHER_NETWORK)
    rogue = victim.link("rogue")
    rogue.says(Push(tuple(elsewhere.put("own", number) for number in range(20))))
    victim.withstood(rogue, Reason.NETWORK)


def test_a_relay_that_withholds_one_origin_delays_it_only_until_somebody_else_is_asked() -> None:
    world = World(4)
    world.run(3)
    writer, relay, *others = world.nodes
    world.split([writer, relay], others)
    writer.put("withheld", 1)
    world.run(1)
    # From now on the relay answers every request for the writer's log with nothing at all.
    build = relay.up._exchanges.on_want

    def withhold(link: object, message: Want) -> None:
        mine = tuple(span for span in message.spans if span[1] != writer.up.origin)
        build(link, Want(message.request, message.budget_bytes, mine))  # type: ignore[arg-type]

    relay.up._exchanges.on_want = withhold  # type: ignore[method-assign]
    world.split([writer], [relay, *others])
    world.run(10)
    assert [node.pairs() for node in others] == [{}, {}]
    world.heal()
    assert world.run_until(lambda: all("withheld" in node.pairs() for node in others), 20.0)


def test_rogues_around_a_victim_keep_no_honest_data_from_it() -> None:
    """Of ten links three claim what does not exist, answer with nothing, or with what was not asked for."""
    victim = Victim()
    author = Author("writer", wall_ms=START_MS)
    bundles = [author.put(f"k{number}", number) for number in range(30)]
    rogues = [victim.link(f"rogue {number}") for number in range(3)]
    honest = [victim.link(f"honest {number}") for number in range(7)]
    writer = victim.link("writer")
    line = ("b", author.origin, 30, bytes(8), START_MS << 16)
    for remote in (*rogues, *honest):
        remote.says(Digest(1, bytes(16), b"", START_MS), Compare(1, (), False, (), (line,), ()))
    for _ in range(20):
        for remote in rogues:
            for want in remote.hears(Want):
                remote.says(Delta(want.request, ()))
        for remote in honest:
            for want in remote.hears(Want):
                _, _, first, last = want.spans[0]
                remote.says(Delta(want.request, tuple(bundles[first - 1 : last])))
    assert len(victim.pairs()) == 32
    assert len(victim.peer._ctx.fetcher._behind) == 0
    assert writer.hung_up is None
    assert logs_of(victim.peer)["b", author.origin].index == 30
    assert victim.serves_the_honest()
