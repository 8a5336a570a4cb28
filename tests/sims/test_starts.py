"""Starts, meetings, faulty sources and stores that return to an older copy: each option does what it says."""

from typing import Any

import pytest

from gossipsync.errors import StoreBehindError
from gossipsync.sim import Options, run
from gossipsync.sim.simulation import Simulation
from gossipsync.sim.stores import SimulatedStore
from gossipsync.sim.swarm import started

ORIGIN: Any = bytes(40)
COLD = {
    "peers": 4,
    "writers": 2,
    "updates": 40,
    "workload": "poisson",
    "membership": "on",
    "start": "cold",
    "push": True,
    "quiet": 12.0,
}


def _watched(**changes: Any) -> tuple[Simulation, list[str]]:
    """The world of these options at its end, and the lines of its trace as words: time, peer, input."""
    worlds: list[Simulation] = []

    def make(options: Options, *, keeps_trace: bool = False) -> Simulation:
        simulation = Simulation(options, keeps_trace=True)
        worlds.append(simulation)
        simulation.trace._lines = []  # type: ignore[assignment]  # all of them, not only the newest
        return simulation

    run(make=make, **{**COLD, **changes})
    return worlds[0], worlds[0].trace.lines()


def _inputs(lines: list[str], *kinds: str) -> list[tuple[float, int]]:
    """When which peer got an input of these kinds."""
    words = (line.split() for line in lines)
    return [(int(word[1]) / 1e6, int(word[2])) for word in words if word[3] in kinds]


def test_peers_that_live_apart_are_not_linked_before_they_meet() -> None:
    simulation, lines = _watched(apart=6.0, warmup=1.0)
    linked = [at_s for at_s, _ in _inputs(lines, "link")]
    assert linked
    assert min(linked) > 7.0
    before = [peer for at_s, peer in _inputs(lines, "write") if at_s < 7.0]
    assert {0, 1} <= set(before), "they write while they are apart"
    assert simulation.is_settled


def test_some_peers_learn_of_the_seeds_and_some_restart_with_them() -> None:
    worlds = [_watched(seed=seed, apart=3.0)[1] for seed in range(6)]
    assert any(_inputs(lines, "seeds") for lines in worlds)
    assert any(_inputs(lines, "close") for lines in worlds)
    assert any(_inputs(lines, "crash") for lines in worlds)


def test_every_run_ends_within_ten_seconds_of_its_first_link_until_the_faults_are_over() -> None:
    simulation, lines = _watched(restart_after_meeting=1.0, warmup=0.0)
    ends = _inputs(lines, "crash")
    assert len({peer for _, peer in ends}) >= 3
    assert max(at_s for at_s, _ in ends) < 12.5
    assert simulation.is_settled


def test_newcomers_start_at_once_and_empty() -> None:
    simulation, lines = _watched(joiners=(5, 4.0), warmup=1.0)
    starts = [(at_s, peer) for at_s, peer in _inputs(lines, "start") if peer >= 4]
    assert [peer for _, peer in sorted(starts, key=lambda start: start[1])] == [4, 5, 6, 7, 8]
    assert all(5.0 <= at_s <= 5.06 for at_s, _ in starts)
    assert simulation.is_settled
    assert len({driver.peer.digest for driver in simulation.honest() if driver.peer}) == 1


@pytest.mark.parametrize("habit", ["silent", "endless"])
def test_a_faulty_source_is_a_rogue_with_that_habit(habit: str) -> None:
    simulation, _ = _watched(joiners=(1, 6.0), **{habit: 0.5})
    habits = [driver.rogue.habit for driver in simulation.drivers if driver.rogue is not None]
    assert habits == [habit, habit]


def test_the_clocks_of_clones_are_off_and_others_are_right() -> None:
    simulation, _ = _watched(clones=30.0, clone_skew=5000.0)
    offsets = [copy.clock.offset_ms for copy in simulation.copies]
    assert offsets
    assert all(offset and abs(offset) <= 5000 for offset in offsets)
    originals = [driver for driver in simulation.drivers if driver not in simulation.copies]
    assert not any(driver.clock.offset_ms for driver in originals)


def test_a_store_that_returned_to_an_older_copy_takes_no_commit_until_the_next_start() -> None:
    store = SimulatedStore()
    store.append("data", ORIGIN, 1, b"one")
    store.commit()
    store.keep_copy()
    store.append("data", ORIGIN, 2, b"two")
    store.commit()
    assert store.roll_back()
    store.append("data", ORIGIN, 3, b"three")
    with pytest.raises(StoreBehindError, match="older copy"):
        store.commit()
    assert (store.stored("data", ORIGIN), store.was_stored("data", ORIGIN)) == (1, 2)
    assert store.roll_back(), "again, in the same run"
    assert store.was_stored("data", ORIGIN) == 2
    store.crash()
    assert store.was_stored("data", ORIGIN) == 1
    store.append("data", ORIGIN, 2, b"another")
    store.commit()
    assert store.piece("data", ORIGIN, 2) == b"another"


def test_a_peer_whose_store_returned_to_an_older_copy_is_restarted() -> None:
    simulation, lines = _watched(rollbacks=20.0)
    rolled_back = {driver.number for driver in simulation.drivers if driver.was_restored}
    assert rolled_back
    assert rolled_back <= {peer for _, peer in _inputs(lines, "crash")}
    assert simulation.faults.are_over


def test_a_world_without_starts_is_the_same_with_their_stream() -> None:
    """Options that are off draw nothing: the trace of such a world is the one that it always had."""
    options = Options(peers=5, seed=3, crashes=10.0, quiet=6.0, membership="on", start="cold")
    plain = run(options)
    spread = run(options.replaced(restart_after_meeting=0.0, joiners=None, silent=0.0, endless=0.0))
    assert plain.trace_hash == spread.trace_hash


def test_the_swarm_of_starts_draws_every_dimension_and_all_at_once() -> None:
    worlds = [started(seed) for seed in range(80)]
    names = (
        *("apart", "restart_after_meeting", "joiners", "silent", "endless", "rollbacks"),
        *("restores", "clones", "clone_skew", "crashes", "churn", "cuts", "disk_failures", "skew"),
    )
    for name in names:
        assert any(getattr(world, name) for world in worlds), name
        assert not all(getattr(world, name) for world in worlds), name
    sources = ("silent", "endless")
    whole = [name for name in names if name not in sources]
    at_once = [world for world in worlds if all(getattr(world, name) for name in whole)]
    assert len(at_once) >= 8
    assert {world.peers for world in worlds} == set(range(2, 9))
    assert {world.joiners[0] for world in worlds if world.joiners} == set(range(2, 9))
    for world in worlds:
        faulty = sum(round(getattr(world, name) * world.peers) for name in sources)
        assert world.writers <= world.peers - faulty, "an honest peer writes"
        assert 2 * max(world.skew, world.clone_skew) <= 1000 * world.max_skew
    assert any(0 < world.trim_after < world.apart for world in worlds), "apart beyond trimming"
    assert any(world.horizon < world.apart for world in worlds), "apart beyond the horizon"
