"""Every habit of rogues bites, and harms nobody but the rogue: what a run says of each, and what forks come to."""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations

import pytest

from gossipsync.core import Peer
from gossipsync.core.model.reasons import Reason
from gossipsync.core.replication.logs import Log
from gossipsync.sim import Options, rogues, run
from gossipsync.sim.driver import Driver
from gossipsync.sim.simulation import Simulation
from gossipsync.sim.swarm import drawn

WORLD = {"peers": 6, "updates": 20, "writers": 3, "workload": "poisson", "rate": 10.0}
LEAVES_A_MARK = {
    "tamper": {Reason.SIGNATURE, Reason.MALFORMED, Reason.MERKLE},
    "replay": {Reason.UNSOLICITED},
    "garble": {Reason.MALFORMED},
    "fork": {Reason.FORK},
    "ahead": {Reason.SKEW},
    "flaw": {Reason.CHAIN, Reason.MERKLE, Reason.NETWORK, Reason.SIGNATURE},
    "boast": {Reason.UNSOLICITED},
    "pose": {Reason.MALFORMED},
    "babble": {Reason.MALFORMED, Reason.UNSOLICITED},
}
"""What honest peers must have refused at least one of. To withhold, or to send again what all hold, is refused by no name."""


SEEDS = {"boast": 4}
"""The world of a habit, where the usual one gives it no occasion."""


def _world(habit: str, monkeypatch: pytest.MonkeyPatch, **changes: object) -> Simulation:
    monkeypatch.setattr("gossipsync.sim.simulation.HABITS", (habit,))
    simulation = Simulation(Options(seed=SEEDS.get(habit, 2), rogues=0.4, **{**WORLD, **changes}))  # type: ignore[arg-type]
    simulation.start()
    return simulation


@pytest.mark.parametrize("habit", rogues.HABITS)
def test_a_habit_bites_and_harms_nobody(habit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = _world(habit, monkeypatch, membership="on" if habit == "pose" else "off")
    simulation.world.run_until(8.0)
    refused: Counter[str] = Counter()
    for driver in simulation.honest():
        assert driver.peer is not None
        refused.update(driver.peer.status(driver.now()).rejected)
    assert bool(refused.keys() & LEAVES_A_MARK.get(habit, set())) == (habit in LEAVES_A_MARK)
    result = run(simulation.options.replaced(quiet=4.0))
    assert result.is_fine, (result.violations, result.options.command())


ONCE_FAILED: dict[tuple[str, int], str] = {
    ("fork", 7): "honest lines lagged at three of eleven, who were busy with what had forked",
    (
        "ahead",
        64067,
    ): "a write after a token, by a clock behind the others: the checker went by that clock alone",
    (
        "pose",
        62181,
    ): "a newer delete came with cells, before its line, and was forgotten: the checker expected what it beat",
}
"""Worlds of the swarm whose rogues have but one habit."""
SLOW: dict[tuple[str, int], float] = {("fork", 7): 30.0}
"""Seconds more than the swarm gives, where a round trip may take ten: then it converges by a margin."""


@pytest.mark.parametrize(("habit", "seed"), sorted(ONCE_FAILED))
def test_world_of_one_habit(habit: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipsync.sim.simulation.HABITS", (habit,))
    options = drawn(seed)
    if more_s := SLOW.get((habit, seed)):
        assert options.until is not None
        options = options.replaced(until=options.until + more_s)
    result = run(options)
    assert result.is_fine, (result.violations, result.options.command())


def _honest(simulation: Simulation) -> Iterator[tuple[Driver, Peer]]:
    for driver in simulation.honest():
        assert driver.peer is not None
        yield driver, driver.peer


def _conflict(one: Log, other: Log) -> bool:
    """Is neither the beginning of the other?"""
    common = min(one.index, other.index)
    return common > 0 and one.head_at(common) != other.head_at(common)


@pytest.mark.parametrize("push", [True, False], ids=["links kept", "a link an exchange"])
def test_whoever_heard_of_two_branches_has_frozen_the_line_by_one_proof(
    push: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the branches are of different lengths, and each only heard of the other from third peers."""
    simulation = _world("fork", monkeypatch, peers=8, push=push)
    simulation.world.run_until(40.0)
    logs: dict[object, list[Log]] = {}
    for _, peer in _honest(simulation):
        for log in peer._ctx.logs.logs():
            logs.setdefault(log.key, []).append(log)
    forked = [held for held in logs.values() if any(log.fork for log in held)]
    assert forked
    for held in forked:
        assert len(held) == len(simulation.honest())
        assert len({log.fork.proof.hash if log.fork else None for log in held}) == 1
    assert not any(
        _conflict(one, other) for held in logs.values() for one, other in combinations(held, 2)
    )
    assert not simulation.observer.forks_differ(with_entries=True)
    assert {held[0].origin[:32] for held in forked} <= simulation.observer.rogues
