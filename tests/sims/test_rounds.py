"""One update against the ideal push-pull epidemic, which this file computes by itself: within one round of it."""

from random import Random
from statistics import median

import pytest

from gossipsync.sim import run


def ideal_rounds(peers: int, fanout: int, loss: float, seed: int) -> int:
    """Rounds until all are infected, where every peer meets `fanout` others a round and each meeting fails by chance."""
    random = Random(seed)
    infected = {0}
    rounds = 0
    while len(infected) < peers:
        rounds += 1
        fresh = set()
        for one in range(peers):
            for _ in range(fanout):
                other = random.randrange(peers)
                if random.random() >= loss and (one in infected) != (other in infected):
                    fresh |= {one, other}
        infected |= fresh
    return rounds


@pytest.mark.parametrize(
    ("peers", "fanout", "loss"),
    [(100, 1, 0.0), (100, 2, 0.1), (100, 3, 0.0), (100, 3, 0.25), (200, 1, 0.25), (200, 3, 0.1)],
)
def test_within_one_round_of_the_ideal(peers: int, fanout: int, loss: float) -> None:
    expected = median(ideal_rounds(peers, fanout, loss, seed) for seed in range(25))
    results = [run(peers=peers, fanout=fanout, loss=loss, seed=seed) for seed in range(3)]
    rounds = [result.rounds_to["100"] for result in results]
    assert all(result.is_fine for result in results)
    assert abs(median(count for count in rounds if count is not None) - expected) <= 1


def test_rounds_are_whole_intervals_from_the_first_write() -> None:
    slow, fast = run(peers=50, seed=3, interval=10.0), run(peers=50, seed=3, interval=1.0)
    assert slow.rounds_to == fast.rounds_to
    assert slow.virtual_s > 9 * fast.virtual_s


def test_a_lone_peer_has_everything_at_once() -> None:
    result = run(peers=1)
    assert result.is_fine
    assert result.rounds_to == {"50": 0, "99": 0, "100": 0}


def test_what_is_not_reached_is_null() -> None:
    result = run(peers=20, loss=1.0, until=3.0)
    assert not result.converged
    assert result.rounds_to["100"] is None
    assert result.bytes_total == 0


def test_a_partition_delays_the_far_side_until_it_heals() -> None:
    result = run(peers=30, seed=2, fanout=2, partition=(0.0, 20.0, 0.5))
    assert result.is_fine
    assert result.rounds_to["100"] is not None
    assert result.rounds_to["100"] > 20
