"""Worlds with clones, restored stores, kills, failing disks, cuts, a partition and wrong clocks at once, by their seeds."""

import pytest

from gossipsync.sim import Options, run

ONCE_FAILED: dict[int, str] = {
    550011: "a clone with a slow clock wrote its delete again, over a put of the original that went on",
    550025: "the same",
    550041: "the same",
    550069: "the same",
    550093: "the same",
    550037: "an early write was stamped anew above a newer write of another peer",
    550101: "the same",
    550123: "a clone that ran for a quarter of a second: the checker had not seen it",
    550146: "cells whose bundles no peer was left to have: the checker did not wait until states were compared",
    660046: "a peer became ready before a ready member's first words over a new link had come",
    660066: "the same, by founding",
    660120: "two lives of one key were linked: the checker held that both could be asked",
    660389: "a member became ready behind a cut: the checker held that its peer knew",
    660191: "the same, at the moment when the link opened",
}


def mixed(seed: int) -> Options:
    """The world of a seed."""
    return Options(
        peers=5 + seed % 4,
        seed=seed,
        updates=120,
        writers=4,
        workload=("sessions", "hot", "counters", "poisson")[seed % 4],
        rate=8.0,
        jitter=0.2,
        fanout=2,
        latency=0.005,
        spread="lan",
        loss=0.1,
        crashes=5.0,
        restores=0.6,
        clones=3.0,
        disk_failures=1.5,
        cuts=3.0,
        partition=(4.0, 8.0, 0.45),
        skew=2000.0,
        clock_steps=1.0,
        churn=0.5,
        membership="on",
        push=bool(seed & 1),
        quiet=25.0,
        ack="mixed",
        horizon=3600.0 if seed % 3 else 60.0,
    ).check()


@pytest.mark.parametrize("seed", sorted(ONCE_FAILED))
def test_mixed_world(seed: int) -> None:
    options = mixed(seed)
    result = run(options)
    assert not result.violations, (options.command(), result.violations[0])
    assert result.converged, options.command()


@pytest.mark.parametrize("seed", range(560001, 560007))
def test_sets_in_mixed_worlds(seed: int) -> None:
    """Every second world outlives a short horizon: removals are forgotten, and must not be undone by it."""
    options = mixed(seed).replaced(workload="sets", clones=0.0)
    if seed % 2:
        options = options.replaced(horizon=5.0, until=90.0)
    result = run(options)
    assert not result.violations, (options.command(), result.violations[0])
    assert result.converged, options.command()
