"""The ideal push-pull epidemic: rounds until half, 99 % and all of N peers have one update. Knows nothing of gossipsync.

In every round each peer opens `fanout` exchanges with different others, chosen uniformly; each opening is lost with probability
`loss`; whoever of the two has the update when the round begins gives it to the other. That is all: no latency, no bytes,
no second hop within a round. Analysis of this process: Karp, Schindelhauer, Shenker, Vöcking, "Randomized Rumor
Spreading" (FOCS 2000): log3 N + O(log log N) rounds at fanout 1.

With `--push-only` nobody pulls: the older kind of rumour mongering, log2 N + ln N rounds at fanout 1 (Pittel, "On Spreading a
Rumor", 1987).

    python sims/ideal_epidemic.py --peers 100,1000,10000 --fanout 1,2,3 --loss 0,0.1,0.25 --trials 20
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product

import numpy as np

SHARES = (0.5, 0.99, 1.0)
MOST_ROUNDS = 10_000


def partners(rng: np.random.Generator, peers: int, fanout: int) -> np.ndarray:
    """For each peer `fanout` different others: rows of a (peers, fanout) array."""
    others = peers - 1
    fanout = min(fanout, others)
    chosen = rng.integers(others, size=(peers, fanout))
    while fanout > 1:
        # Draw again whatever stands twice in a row, until nothing does.
        order = np.sort(chosen, axis=1)
        doubled = (order[:, 1:] == order[:, :-1]).any(axis=1)
        if not doubled.any():
            break
        chosen[doubled] = rng.integers(others, size=(int(doubled.sum()), fanout))
    return chosen + (chosen >= np.arange(peers)[:, None])


def spread(
    rng: np.random.Generator, peers: int, fanout: int, loss: float, *, pulls: bool = True
) -> list[int]:
    """How many peers have the update after each round, from before the first one on."""
    has = np.zeros(peers, dtype=bool)
    has[0] = True
    counts = [1]
    while counts[-1] < peers:
        if len(counts) > MOST_ROUNDS:
            raise ValueError("it does not spread: is everything lost?")
        others = partners(rng, peers, fanout)
        arrives = rng.random(others.shape) >= loss
        gives = arrives & has[:, None]
        now = has | (arrives & has[others]).any(axis=1) if pulls else has.copy()
        now[others[gives]] = True
        has = now
        counts.append(int(has.sum()))
    return counts


def rounds_to(counts: Sequence[int], peers: int) -> list[int]:
    """The rounds in which the shares were reached."""
    return [
        next(number for number, count in enumerate(counts) if count >= -(-peers * share // 1))
        for share in SHARES
    ]


def mean_rounds(
    peers: int, fanout: int, loss: float, trials: int, seed: int, *, pulls: bool = True
) -> list[float]:
    """Means over so many trials, for each of the shares."""
    rng = np.random.default_rng([seed, peers, fanout, round(loss * 1000)])
    reached = [
        rounds_to(spread(rng, peers, fanout, loss, pulls=pulls), peers) for _ in range(trials)
    ]
    return [float(mean) for mean in np.mean(reached, axis=0)]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", default="100,1000")
    parser.add_argument("--fanout", default="1,2,3")
    parser.add_argument("--loss", default="0,0.1,0.25")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--push-only", action="store_true")
    given = parser.parse_args()
    print(f"{'peers':>6} {'fanout':>6} {'loss':>5} {'to 50 %':>8} {'99 %':>6} {'100 %':>6}")
    for peers, fanout, loss in product(
        map(int, given.peers.split(",")),
        map(int, given.fanout.split(",")),
        map(float, given.loss.split(",")),
    ):
        pulls = not given.push_only
        means = mean_rounds(peers, fanout, loss, given.trials, given.seed, pulls=pulls)
        print(
            f"{peers:>6} {fanout:>6} {loss:>5g} {means[0]:>8.2f} {means[1]:>6.2f} {means[2]:>6.2f}"
        )


if __name__ == "__main__":
    main()
