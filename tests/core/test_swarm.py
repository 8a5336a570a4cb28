"""Whatever is written and whatever goes wrong: when faults end, all peers show the same, and nothing acknowledged is lost."""

import pytest

from tests.core._swarm import Swarm

PINNED = (
    226,  # a counter draft outlived its epoch, and its total could be in no bundle
    460,  # what expired on a full second was swept a second late
    50066,  # a line of an ended epoch left one digest and never another's
    51029,  # of a map that had expired the newest field went from the logs first, and by these another lived on
    51040,  # all were joining, with logs that none had whole any more, and each waited for another
    52006,  # what was taken back came again stamped below what it had beaten, which was claimed and nowhere any more
    261,  # a covering tombstone was stamped by a clock since set back, after its own bundle
)
SEEDS = (*range(18), *PINNED)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_swarm_agrees_when_its_faults_end(seed: int) -> None:
    swarm = Swarm(seed)
    assert swarm.play() == []
    assert swarm.did["write"] > 20


PINNED_COOKIES = (
    52020,  # of a log that its writer had taken back, the proof was looked for where it had ended before
    50340,  # a scout whose answers were held up was asked to reach more at once than it takes
)


@pytest.mark.parametrize("seed", [*range(1000, 1012), *PINNED_COOKIES])
def test_a_swarm_of_cookies(seed: int) -> None:
    """Writes that come after tokens of other peers' are stamped above them, and all else holds."""
    swarm = Swarm(seed, has_cookies=True)
    assert swarm.play() == []
    assert swarm.did["cookie"] + swarm.did["cookie refused"] > 10
