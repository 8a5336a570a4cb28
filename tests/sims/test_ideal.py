"""The ideal epidemic is what it says, and the core keeps within one round of it."""

import runpy

import numpy as np
import pytest

from gossipsync.sim.scenarios import load
from tests.tidy._rules import ROOT

IDEAL = runpy.run_path(str(ROOT / "sims" / "ideal_epidemic.py"))


@pytest.mark.parametrize("fanout", [1, 3, 9])
def test_partners_are_different_others(fanout: int) -> None:
    chosen = IDEAL["partners"](np.random.default_rng(1), 10, fanout)
    for peer, row in enumerate(chosen):
        assert len(set(row)) == fanout
        assert peer not in row
        assert all(0 <= other < 10 for other in row)


def test_two_peers_need_one_round() -> None:
    assert IDEAL["spread"](np.random.default_rng(1), 2, 1, 0.0) == [1, 2]


def test_a_share_growing_as_the_analysis_says() -> None:
    # In the middle of an epidemic every peer that lacks it pulls from one that has it with probability x, and misses every
    # push with probability about exp(-x): what lacks it shrinks to (1-x)·exp(-x).
    peers = 20_000
    counts = IDEAL["spread"](np.random.default_rng(2), peers, 1, 0.0)
    before = next(count for count in counts if count > peers * 0.3)
    after = counts[counts.index(before) + 1]
    has = before / peers
    assert 1 - after / peers == pytest.approx((1 - has) ** 2 * np.exp(-has), abs=0.01)


@pytest.mark.parametrize(("fanout", "loss"), [(1, 0.0), (2, 0.1), (3, 0.25)])
def test_the_core_is_within_one_round_of_the_ideal(fanout: int, loss: float) -> None:
    scenario = load("one-update")
    reached = [
        scenario.run(scenario.options(peers=100, fanout=fanout, loss=loss, seed=seed)).rounds_to
        for seed in range(6)
    ]
    ideal = IDEAL["mean_rounds"](100, fanout, loss, 200, 1)
    for share, expected in zip(("50", "99"), ideal, strict=False):
        counts = [rounds[share] for rounds in reached]
        assert None not in counts
        assert float(np.mean([count or 0 for count in counts])) == pytest.approx(expected, abs=1.0)
