"""Joins, repairs and looks beside members that claim data and deliver none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from gossipsync.core.model.limits import Limits
from gossipsync.core.wire.framing import frame
from gossipsync.core.wire.messages import Delta, Message, encode_message
from gossipsync.core.wire.reconciling import Dump, Fetch, Findings, Heads, Parts, Survey
from gossipsync.sim.sources import SOURCE_HABITS
from tests.core._world import Author, Node, World, identity, state_faults
from tests.core._world.false_source import ask_lies, habit_of, tell_lies

TRIMMED_SOON = Limits(trim_after_s=0.2, log_waste_bytes=1)
KEYS = 150
JOINED_S = 60.0
"""How long a join may take beside one or two false sources: each may cost the patience of a few questions, once."""


def fill(world: World, nodes: list[Node]) -> None:
    """Every key written twice, in turns, so that no log is whole."""
    for version in range(2):
        for number in range(KEYS):
            nodes[number % len(nodes)].put(f"k{number}", f"{version} " + "x" * 60)
            if number % 20 == 0:
                world.run(0.01)
        world.run(1)
    world.run(4)
    assert all(log.whole_from > 1 for log in nodes[0].up._ctx.logs.logs())


def counted(node: Node, name: str) -> int:
    return node.up._ctx.counters[name]


class _Switch:
    """Lies that begin when a test says so."""

    def __init__(self, lie: Callable[[Message], Any]) -> None:
        self.lie, self.is_on = lie, False

    def __call__(self, message: Message) -> Any:
        return self.lie(message) if self.is_on else [message]


def settled_world(false: int, habit: str, **settings: Any) -> tuple[World, list[Node]]:
    """Three members with the same data, of which the first so many are false sources from now on."""
    world = World(3, limits=TRIMMED_SOON, **settings)
    switches = [_Switch(habit_of(habit, number)) for number in range(false)]
    for node, switch in zip(world.nodes, switches, strict=False):
        tell_lies(world, node, switch)
    world.run(3)
    fill(world, world.nodes[2:])  # one line: the member asked for it first decides
    for switch in switches:
        switch.is_on = True
    return world, world.nodes[false:]


def join(world: World, honest: list[Node], within_s: float = JOINED_S) -> Node:
    """A new member becomes ready and gets all data of the honest ones, and goes on from there.

    Two false members that agree are believed when they say that there is nothing: then the data comes after readiness.
    """
    joiner = world.add()
    world.start(joiner)
    told = joiner.up._ctx.counters
    assert world.run_until(lambda: joiner.up.state == "ready", within_s), dict(told)
    if len(honest) == 1:
        assert world.run_until(lambda: joiner.pairs() == honest[0].pairs(), within_s), dict(told)
    assert joiner.pairs() == honest[0].pairs()
    assert state_faults(joiner.up, joiner.now.wall_ms) == []
    honest[0].put("after", "the join")
    assert world.run_until(lambda: "after" in joiner.pairs(), 5.0)
    return joiner


@pytest.mark.parametrize("false", [1, 2], ids=["one of three", "two of three"])
@pytest.mark.parametrize("habit", SOURCE_HABITS)
def test_a_join_ends_beside_false_sources(habit: str, false: int) -> None:
    world, honest = settled_world(false, habit)
    join(world, honest)


@pytest.mark.parametrize("habit", SOURCE_HABITS)
def test_a_member_that_was_away_catches_up_beside_a_false_source(habit: str) -> None:
    world, honest = settled_world(1, habit)
    late = honest[1]
    world.split([world.nodes[0], honest[0]], [late])
    for end in (world.nodes[0], honest[0]):
        world.break_link(late, end)
    world.run(1)
    for version in range(2):
        for number in range(0, KEYS, 7):
            honest[0].put(f"k{number}", f"later {version}")
        world.run(1)
    world.run(2)
    world.heal()
    assert world.run_until(lambda: late.pairs() == honest[0].pairs(), JOINED_S), dict(
        late.up._ctx.counters
    )


# -- false members that act on what they are asked ---------------------------------------------------------------------


class _Asked:
    """A false source that sees each question of a reconciliation before the node does."""

    def __init__(self, world: World, node: Node) -> None:
        self.world, self.node = world, node
        self.is_on = False
        self.asked = 0
        ask_lies(world, node, self._take)

    def _take(self, end: Any, message: Message) -> bool:
        if not self.is_on or not isinstance(message, Heads | Survey | Fetch | Dump):
            return False
        self.asked += 1
        return self.answer(end, message)

    def answer(self, end: Any, message: Heads | Survey | Fetch | Dump) -> bool:
        raise NotImplementedError

    def say(self, end: Any, message: Message, delay_s: float = 0.0) -> None:
        """Send a message to the asker over the link on which it asked, if that is still there."""
        data = frame(encode_message(message))
        self.world.at(delay_s, lambda: end.other.is_open and self.world._send(end.other, data))


class _HangsUp(_Asked):
    """It ends the link when it is asked for data."""

    def answer(self, end: Any, message: Message) -> bool:
        self.world.at(0.0, lambda: self.world.break_link(end.node, end.other.node))
        return True


class _Writes(_Asked):
    """It answers every question with a new bundle of its own, and there is always more to come."""

    def __init__(self, world: World, node: Node) -> None:
        super().__init__(world, node)
        self.author = Author(node.name, wall_ms=node.now.wall_ms)

    def answer(self, end: Any, message: Message) -> bool:
        if isinstance(message, Survey):
            return False
        piece = self.author.put(f"own {self.asked}", self.asked)
        self.say(end, Parts(message.run, True, (piece,)), 0.05)
        return True


class _Drips(_Asked):
    """It gives true answers, one piece at a time, each just in time."""

    def answer(self, end: Any, message: Message) -> bool:
        if isinstance(message, Heads | Fetch):
            return False
        if isinstance(message, Survey):
            self.say(end, Findings(message.run, end.node.now.wall_ms, True, (), ()), 9.0)
        else:
            pieces = (data for _, data in self.node.up._parts.answers.pieces_after(message.after))
            first = next(iter(pieces), None)
            self.say(end, Parts(message.run, True, (first,) if first else ()), 9.0)
        return True


@pytest.mark.parametrize("false", [1, 2], ids=["one of three", "two of three"])
@pytest.mark.parametrize("kind", [_HangsUp, _Writes, _Drips])
def test_a_join_ends_beside_members_that_waste_time(kind: type[_Asked], false: int) -> None:
    world = World(3, limits=TRIMMED_SOON)
    wasters = [kind(world, node) for node in world.nodes[:false]]
    trims = [_Switch(habit_of("repeat")) for _ in wasters]
    for waster, trim in zip(wasters, trims, strict=True):
        tell_lies(world, waster.node, lambda message, trim=trim: _trimmed(message, trim.is_on))
    world.run(3)
    fill(world, world.nodes[2:])
    for waster, trim in zip(wasters, trims, strict=True):
        waster.is_on = trim.is_on = True
    honest = world.nodes[false:]
    joiner = world.add()
    world.start(joiner)

    def has_all() -> bool:
        shown = joiner.pairs()
        return joiner.up.state == "ready" and honest[0].pairs().items() <= shown.items()

    assert world.run_until(has_all, 2 * JOINED_S * false), dict(joiner.up._ctx.counters)
    assert all(waster.asked for waster in wasters) or kind is not _HangsUp


def _trimmed(message: Message, is_on: bool) -> list[Message]:
    """Nothing but a reconciliation gives anything."""
    if is_on and isinstance(message, Delta):
        return [Delta(message.request, (), True)]
    return [message]


class _Slow(_Asked):
    """An honest source that gets every question late."""

    delay_s = 7.0

    def answer(self, end: Any, message: Message) -> bool:
        self.world.at(self.delay_s, lambda: end.is_open and self._pass_on(end, message))
        return True

    def _pass_on(self, end: Any, message: Message) -> None:
        self.is_on = False
        self.world._send(end, frame(encode_message(message)))
        self.is_on = True


@pytest.mark.parametrize("delay_s", [7.0, 15.0])
def test_an_honest_source_that_is_slow_serves_where_it_is_the_only_one(delay_s: float) -> None:
    world = World(1, limits=TRIMMED_SOON)
    slow = _Slow(world, world.nodes[0])
    world.run(1)
    fill(world, world.nodes)
    slow.is_on, slow.delay_s = True, delay_s
    joiner = world.add()
    world.start(joiner)
    assert world.run_until(lambda: joiner.pairs() == slow.node.pairs(), 20 * delay_s)
    assert world.run_until(lambda: joiner.up.state == "ready", 10 * delay_s)


# -- repair ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("habit", ["stall", "repeat", "cut", "invent", "differ", "conceal"])
def test_a_lost_cell_is_repaired_beside_a_false_source(habit: str) -> None:
    world = World(3, gossip_interval_s=0.2)
    switch = _Switch(habit_of(habit))
    tell_lies(world, world.nodes[0], switch)
    world.run(3)
    for number in range(50):
        world.nodes[1].put(f"k{number}", number)
    world.run(3)
    honest, broken = world.nodes[1:]  # the word of the writer is enough
    switch.is_on = True
    cell = broken.up.replicas["b"].group("k7")
    broken.up.replicas["b"].drop("k7", cell)  # type: ignore[arg-type]
    assert "k7" not in broken.pairs()
    assert world.run_until(lambda: "k7" in broken.pairs(), 300.0), dict(broken.up._ctx.counters)
    assert broken.pairs() == honest.pairs()


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_a_source_is_asked_less_and_less_while_it_gives_nothing() -> None:
    """The only member, in ten minutes: before, it was asked every ten seconds for ever."""
    world, _ = settled_world(1, "trim")
    for node in world.nodes[1:]:
        world.crash(node)
    joiner = world.add()
    world.start(joiner)
    world.run(600.0)
    assert 5 <= counted(joiner, "sources-failed") <= 40
    assert joiner.up._ctx.sources.is_failing(identity(world.nodes[0].name).peer)


def test_honest_members_share_a_join() -> None:
    """Each gives a part of the cells that the joiner takes over, and none comes twice."""
    world = World(3, limits=Limits(trim_after_s=0.2, log_waste_bytes=1, delta_bytes=4 << 10))
    world.run(3)
    for number in range(600):
        world.nodes[number % 3].put(f"k{number}", "x" * 80)
        world.run(0.011)
    for node in world.nodes:
        node.put("hot", 1)
        node.put("hot", 2)
    world.run(4)
    given: Counter[str] = Counter()
    for node in world.nodes:
        tell_lies(world, node, lambda message, node=node: _count(given, node, message))
    joiner = world.add()
    world.start(joiner)
    assert world.run_until(lambda: joiner.up.state == "ready", 20.0)
    assert joiner.pairs() == world.nodes[0].pairs()
    total = sum(given.values())
    assert len(given) >= 2, given
    assert max(given.values()) < 0.7 * total, given
    stored = sum(len(log.pieces) for log in joiner.up._ctx.logs.logs())
    assert total <= 1.3 * stored, (given, stored)


def _count(given: Counter[str], node: Node, message: Message) -> list[Message]:
    if isinstance(message, Delta):
        return [Delta(message.request, (), True)]
    if isinstance(message, Parts):
        given[node.name] += len(message.pieces)
    return [message]
