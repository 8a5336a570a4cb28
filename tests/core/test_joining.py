"""Joining: everything arrives, however much it is and however large what must come first."""

import pytest

from gossipsync.core.model.limits import Limits
from gossipsync.core.wire.messages import Credentials, Delta, Push, Want, encode_message
from tests.core._world import START_MS, Author, Stage, World, state_faults


def test_a_joiner_fetches_everything_while_writes_go_on() -> None:
    world = World(3)
    world.run(3)
    for number in range(300):
        world.nodes[number % 3].put(f"old {number}", "x" * 200)
        if number % 10 == 0:
            world.run(0.01)
    world.run(1)
    joiner = world.add()
    world.start(joiner)
    for number in range(50):
        world.nodes[number % 3].put(f"new {number}", number)
        world.run(0.01)
    assert world.run_until(lambda: joiner.up.state == "ready", 10.0)
    world.run(3)
    assert len(joiner.pairs()) == 350
    assert state_faults(joiner.up, joiner.now.wall_ms) == []
    assert len({node.up.digest for node in world.nodes}) == 1


def test_a_joiner_shares_its_requests_among_members() -> None:
    world = World(4)
    world.run(3)
    writer = world.nodes[0]
    for number in range(600):
        writer.put(f"k{number}", "x" * 300)
        world.run(0.02)
    joiner = world.add()
    world.start(joiner)
    assert world.run_until(lambda: len(joiner.pairs()) == 600, 20.0)
    senders = {
        joiner.up.replicas["b"].provenance(f"k{number}", joiner.now.wall_ms).sender
        for number in range(600)
    }
    assert len(senders) >= 2


def test_any_budget_brings_everything() -> None:
    world = World(2, limits=Limits(delta_bytes=1))
    world.run(3)
    world.split([world.nodes[0]], [world.nodes[1]])
    for number in range(40):
        world.nodes[0].put(f"k{number}", "x" * 100)
        world.run(0.02)
    world.heal()
    assert world.run_until(lambda: len(world.nodes[1].pairs()) == 40, 60.0)


def test_nobody_is_ready_after_a_comparison_that_was_cut() -> None:
    world = World(1, limits=Limits(digest_lines=20))
    writer = world.nodes[0]
    for number in range(90):
        writer.put("k", number, bucket=f"bucket {number}")
    world.run(1)
    joiner = world.add()
    world.start(joiner)
    assert world.run_until(lambda: joiner.up.state == "ready", 30.0)
    assert joiner.up.is_synced()
    assert len(joiner.up.vector()) == 90
    assert joiner.up.digest == writer.up.digest


def test_certificates_that_come_before_a_delta_fit_their_frames() -> None:
    """Three hundred origins with large certificates in one delta."""
    stage = Stage()
    links = []
    for number in range(300):
        author = Author(f"author {number}", wall_ms=START_MS)
        der = stage.authority.issue(author.identity.peer, padding=4000)
        link = stage.link(f"author {number}", credential=der)
        link.says(Push((author.put(f"k{number}", number),)))
        links.append((author, link))
        link.leaves()
    joiner = stage.link("joiner")
    spans = tuple(("b", author.origin, 1, 1) for author, _ in links)
    joiner.says(Want(1, 1 << 20, spans))
    heard = joiner.hears()
    assert max(len(encode_message(message)) for message in heard) <= 1 << 20
    certificates = [der for m in heard if isinstance(m, Credentials) for der in m.certificates]
    deltas = [message for message in heard if isinstance(message, Delta)]
    assert len(set(certificates)) == len(certificates) == 300
    assert [len(delta.bundles) for delta in deltas] == [300]
    assert heard[-1] is deltas[0]


def test_equal_entries_of_two_peers_are_two() -> None:
    """Both wrote one value to one key in one moment: each has a name of its own, and a joiner keeps the one that wins."""
    world = World(2, limits=Limits(trim_after_s=0.2, log_waste_bytes=1))
    world.split(*[[node] for node in world.nodes])
    for number in range(20):
        for node in world.nodes:
            node.put("same", number)
        world.run(0.3)
    world.heal()
    assert world.run_until(lambda: len({node.up.digest for node in world.nodes}) == 1, 30.0)
    joiner = world.add()
    world.start(joiner)
    assert world.run_until(lambda: joiner.up.state == "ready", 30.0)
    world.run(2)
    senders = {node.up.replicas["b"].provenance("same", 0).origin for node in world.nodes}
    assert len(senders) == 1
    assert [node.pairs() for node in world.nodes] == [{"same": 19}] * 3


@pytest.mark.parametrize("peers", [2, 3, 4])
def test_peers_that_were_never_ready_join_though_none_has_whole_logs_any_more(peers: int) -> None:
    """Each wrote alone for so long that its logs were trimmed: somebody has to begin."""
    world = World(peers, seed=peers, limits=Limits(trim_after_s=0.2, log_waste_bytes=1))
    world.split(*[[node] for node in world.nodes])
    for number in range(20):
        for node in world.nodes:
            node.put("noise", number)
            node.put(node.name, number)
        world.run(0.3)
    assert all(log.whole_from > 1 for node in world.nodes for log in node.up._ctx.logs.logs())
    assert not any(node.up._parts.standing.is_established for node in world.nodes)
    world.heal()
    assert world.run_until(
        lambda: (
            len({node.up.digest for node in world.nodes}) == 1
            and all(node.up.state == "ready" for node in world.nodes)
        ),
        60.0,
    )
    assert all(len(node.pairs()) == peers + 1 for node in world.nodes)
    assert len({str(sorted(node.pairs().items())) for node in world.nodes}) == 1
