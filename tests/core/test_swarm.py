"""Whatever is written and whatever goes wrong: when faults end, all peers show the same, and nothing acknowledged is lost."""

import pytest

from tests.core._swarm import Swarm

SEEDS = range(24)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_swarm_agrees_when_its_faults_end(seed: int) -> None:
    swarm = Swarm(seed)
    assert swarm.play() == []
    assert swarm.did["write"] > 20
