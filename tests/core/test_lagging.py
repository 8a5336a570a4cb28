"""Peers that talk all the time and yet lack a line for longer than a horizon: they know as little of what was deleted as who was away."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from gossipsync.core.wire.framing import FrameReader, frame
from gossipsync.core.wire.messages import Delta, Push, decode_message
from tests.core._world import Node, World, state_faults
from tests.core.test_reconciling import HORIZON_S, SHORT, TRIMMED_SOON, delete, fill, settle


class Starved:
    """Bundles, and answers in their place, that do not reach one node while all else does."""

    def __init__(self, world: World, node: Node) -> None:
        self.is_over = False
        self.kept_back = 0
        send = world._send
        readers: dict[int, FrameReader] = {}

        def sieved(end: Any, data: bytes) -> None:
            reader = readers.setdefault(id(end), FrameReader(1 << 20))
            reader.feed(data)
            for payload in reader:
                is_bundles = isinstance(decode_message(payload), Delta | Push)
                if end.other.node is node and is_bundles and not self.is_over:
                    self.kept_back += 1
                else:
                    send(end, frame(payload))

        world._send = sieved  # type: ignore[method-assign]


def _lagging(peers: int) -> tuple[World, Node]:
    """All have ten keys, and have forgotten that k3 was deleted; but the last one, which heard of the line and never of the delete."""
    world = World(peers, limits=TRIMMED_SOON, gossip_interval_s=0.5, **SHORT)
    lagging = world.nodes[-1]
    world.run(3)
    fill(world.nodes[0], range(10))
    settle(world)
    starved = Starved(world, lagging)
    delete(world.nodes[0], "k3")
    for _ in range(int(HORIZON_S) + 8):
        world.run(1)
        assert "k3" in lagging.pairs()
    assert all(node.up.replicas["b"].group("k3") is None for node in world.nodes[:-1])
    assert starved.kept_back
    assert not lagging.up._upkeep._disputes.is_back, "it talks all the time"
    starved.is_over = True
    return world, lagging


def test_a_lag_that_lasts_is_told() -> None:
    """Eighty bundles are few, and a peer that lacks them for seconds is behind all the same."""
    world = World(2, gossip_interval_s=0.5)
    world.run(3)
    writer, lagging = world.nodes
    starved = Starved(world, lagging)
    for number in range(80):
        writer.put(f"k{number}", number)
        world.run(0.02)
    assert 0 < lagging.up.queues()["bundles_behind"] <= 80
    assert "behind" not in lagging.up.warnings(), "it may be on its way"
    world.run(6)
    assert lagging.up.state == "ready"
    assert "behind" in lagging.up.warnings()
    assert "behind" not in writer.up.warnings()
    starved.is_over = True
    world.break_link(writer, lagging)
    assert world.run_until(lambda: len(lagging.pairs()) == 80, 30.0)
    world.run(1)
    assert "behind" not in lagging.up.warnings()


def test_writes_that_go_on_are_no_lag() -> None:
    world = World(3, gossip_interval_s=0.2, latency_s=0.05)
    world.run(3)
    for number in range(400):
        world.nodes[number % 3].put("k", number)
        world.run(0.03)
        assert not any("behind" in node.up.warnings() for node in world.nodes)


@pytest.mark.parametrize(("skew_ms", "is_told"), [(60_000, False), (-60_000, True)])
def test_lines_ahead_of_the_clock_are_a_lag_of_whose_clock_is_wrong(
    skew_ms: int, *, is_told: bool
) -> None:
    """One clock of three is off: if it is ahead the others only wait for it, if it is behind its peer lacks what all have."""
    world = World(3, gossip_interval_s=0.5, max_skew_ms=10_000)
    world.run(3)
    wrong = world.nodes[2]
    wrong.skew_ms = skew_ms
    world.run(3)
    for number in range(80):
        for node in world.nodes:
            node.put(f"{node.name} {number}", number)
        world.run(0.02)
    world.run(7)
    assert ("behind" in wrong.up.warnings()) is is_told
    assert not any("behind" in node.up.warnings() for node in world.nodes[:2])


@pytest.mark.parametrize("peers", [2, 3, 5])
def test_who_lacked_a_delete_until_it_was_forgotten_yields_to_it(peers: int) -> None:
    world, lagging = _lagging(peers)
    line = (world.nodes[0].up.replicas["b"].name, world.nodes[0].up.origin)
    index = world.nodes[0].up._ctx.logs.index(line)

    def is_wrong() -> bool:
        return lagging.up._ctx.logs.index(line) >= index and "k3" in lagging.pairs()

    assert not world.run_until(is_wrong, 60.0), "its line moves with the cell, not before"
    settle(world)
    world.run(60)
    for node in world.nodes:
        assert sorted(node.pairs()) == [f"k{number}" for number in range(10) if number != 3]
        assert state_faults(node.up, node.now.wall_ms) == []


def test_one_voice_does_not_end_what_another_still_has() -> None:
    """A member that lost a live cell by a fault says that it has had it; the next one asked has it."""
    world, lagging = _lagging(4)
    broken = world.nodes[1]
    cell = broken.up.replicas["b"].group("k7")
    assert isinstance(cell, tuple)
    broken.up.replicas["b"].drop("k7", cell)
    shown = True

    def is_lost() -> bool:
        return "k7" not in lagging.pairs()

    shown = not world.run_until(is_lost, 60.0)
    assert shown
    settle(world)
    assert all("k7" in node.pairs() and "k3" not in node.pairs() for node in world.nodes)


def test_the_only_voice_is_that_of_one_who_may_write() -> None:
    """Who may only read cannot take away what it could not delete; all that it proves counts."""
    world, lagging = _lagging(3)
    writer, reader = world.nodes[:2]
    line = ("b", writer.up.origin)
    index = writer.up._ctx.logs.index(line)
    world.crash(writer)
    rights = lagging.up._ctx.credentials
    certificate, capability = rights[reader.up.peer_id]
    rights[reader.up.peer_id] = (certificate, evolve(capability, may_write=False))
    assert world.run_until(lambda: lagging.up._ctx.logs.index(line) >= index, 120.0)
    assert sorted(lagging.pairs()) == [f"k{number}" for number in range(10)]
