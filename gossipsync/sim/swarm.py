"""The swarm: worlds drawn from seeds, options and all. Faults first (safety), then quiet (liveness), judged by every checker.

After TigerBeetle's VOPR: nobody writes these worlds down, so they contain what nobody thought of. A seed that fails is kept in
`tests/sims/` for ever. Invariant: a world is a function of its seed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from gossipsync.sim.options import Options
from gossipsync.sim.randomness import Randomness
from gossipsync.sim.result import Result
from gossipsync.sim.run import run

_WORKLOADS: Final = ("burst", "poisson", "sessions", "hot", "counters")
_SHORT: Final = 20.0
"""A horizon, in seconds, that many worlds outlive: their deletes are forgotten, and lines of ended epochs leave the digest."""
_AGE_S: Final = 90.0
"""How long some of them go on after all has come to rest."""


def drawn(seed: int) -> Options:
    """The world of a seed: a handful of peers, about half of all kinds of faults, and twenty seconds of them."""
    randomness = Randomness("gossipsync swarm v1", seed)

    def maybe(share: float, low: float, high: float) -> float:
        drawn_value = randomness.between(low, high)
        return round(drawn_value, 3) if randomness.chance(share) else 0.0

    peers = 2 + randomness.below(11)
    quiet = float(randomness.pick((5, 10, 20)))
    partition = None
    if randomness.chance(0.4) and peers > 2:
        begin = round(randomness.between(0, quiet / 2), 3)
        share = round(randomness.between(0.2, 0.8), 3)
        partition = (begin, round(randomness.between(1, quiet / 2), 3), share)
    skew = maybe(0.5, 10, 20_000)
    rogues = maybe(0.25, 0.1, 0.4) if peers > 4 else 0.0
    # What came later is drawn after all that was there before, so that old seeds keep most of their worlds.
    world = Options(
        peers=peers,
        seed=seed,
        updates=1 + randomness.below(120),
        writers=1 + randomness.below(max(1, peers - round(rogues * peers))),
        workload=randomness.pick(_WORKLOADS),
        rate=randomness.pick((1.0, 5.0, 20.0)),
        value_bytes=randomness.pick((10, 100, 3000)),
        fanout=1 + randomness.below(3),
        jitter=maybe(0.7, 0.05, 0.5),
        latency=randomness.pick((0.001, 0.005, 0.05, 0.3)),
        spread=randomness.pick(("constant", "uniform", "lan", "wan")),
        loss=maybe(0.5, 0.01, 0.4),
        drops=maybe(0.3, 0.01, 0.2),
        duplicates=maybe(0.3, 0.01, 0.3),
        reorders=maybe(0.3, 0.01, 0.3),
        bandwidth=randomness.pick((None, None, 20_000, 1_000_000)),
        partition=partition,
        churn=maybe(0.3, 0.5, 4),
        crashes=maybe(0.5, 0.5, 6),
        restores=maybe(0.4, 0.1, 1),
        disk_failures=maybe(0.3, 0.5, 4),
        rogues=rogues,
        skew=skew,
        clock_steps=maybe(0.4, 0.5, 5) if skew else 0.0,
        budget=randomness.pick((None, None, 500, 20_000)),
        ordering=randomness.pick(("mixed", "depth", "breadth")),
        push=randomness.chance(0.5),
        membership="on" if randomness.chance(0.5) else "off",
        start=randomness.pick(("warm", "cold")),
        quiet=quiet,
    )
    world = world.replaced(
        cuts=maybe(0.4, 0.5, 10),
        ack=randomness.pick(("self", "1", "majority", "all", "mixed", "mixed")),
    )
    # Any two clocks stay within `max_skew` of each other, so that none has to wait for the other's stamps to come of age.
    horizon = randomness.pick((_SHORT, 60.0, 3600.0))
    world = world.replaced(
        horizon=horizon,
        trim_after=randomness.pick((60.0, 2.0, 0.2)),
        max_skew=randomness.pick((60.0, 1 + round(2.1 * skew / 1000, 3))),
    )
    if horizon == _SHORT and randomness.chance(0.5):
        # In a slow network all takes longer, as the bound of worlds that end by themselves says, too.
        world = world.replaced(until=quiet + _AGE_S * max(1.0, 8 * world.latency))
    world = world.replaced(clones=maybe(0.25, 0.5, 5))
    return world.check()


def started(seed: int) -> Options:
    """The world of a seed in which peers start, restart, are killed and meet: two to eight of them, in every way there is.

    Each dimension is drawn with even chances; in one world of five all of them come at once.
    """
    randomness = Randomness("gossipsync swarm of starts v1", seed)
    has_all = randomness.chance(0.2)

    def maybe(share: float, low: float, high: float) -> float:
        drawn_value = randomness.between(low, high)
        return round(drawn_value, 3) if randomness.chance(share) or has_all else 0.0

    peers = 2 + randomness.below(7)
    interval = randomness.pick((0.5, 1.0, 1.0))
    horizon, max_skew = randomness.pick(((24.0, 2.0), (60.0, 10.0), (3600.0, 60.0)))
    apart = maybe(0.6, 2, 45)
    faults_s = float(randomness.pick((8, 15, 30)))
    quiet = round(apart + faults_s, 3)
    joiners = (2 + randomness.below(7), round(randomness.between(0, quiet - 1), 3))
    # Any two clocks stay within `max_skew` of each other.
    skew, clone_skew = maybe(0.3, 10, 200 * max_skew), maybe(0.5, 10, 200 * max_skew)
    world = Options(
        peers=peers,
        seed=seed,
        updates=1 + randomness.below(160),
        writers=1 + randomness.below(peers),
        workload=randomness.pick(_WORKLOADS),
        rate=randomness.pick((1.0, 5.0, 20.0)),
        value_bytes=randomness.pick((10, 100, 3000)),
        interval=interval,
        fanout=1 + randomness.below(2),
        jitter=0.2,
        latency=randomness.pick((0.001, 0.005, 0.05)),
        spread=randomness.pick(("constant", "lan", "wan")),
        budget=randomness.pick((None, None, 500, 20_000)),
        push=randomness.chance(0.7),
        membership="on",
        start="cold",
        apart=apart,
        quiet=quiet,
        warmup=randomness.pick((0.0, interval, 5 * interval)),
        horizon=horizon,
        max_skew=max_skew,
        trim_after=randomness.pick((0.2, 2.0, 10.0)),
        skew=skew,
        clone_skew=clone_skew,
    )
    world = world.replaced(
        restart_after_meeting=maybe(0.6, 0.2, 1),
        joiners=joiners if randomness.chance(0.5) or has_all else None,
        crashes=maybe(0.5, 1, 8),
        restores=maybe(0.3, 0.1, 1),
        rollbacks=maybe(0.3, 0.5, 4),
        clones=maybe(0.3, 0.5, 4),
        disk_failures=maybe(0.2, 0.5, 3),
        churn=maybe(0.3, 0.5, 3),
        cuts=maybe(0.2, 0.5, 5),
        loss=maybe(0.3, 0.01, 0.2),
        clock_steps=maybe(0.3, 0.5, 3) if skew else 0.0,
        ack=randomness.pick(("self", "1", "majority", "all", "mixed")),
    )
    return _with_sources(world, randomness, share=0.3, has_all=has_all).check()


def _with_sources(
    world: Options, randomness: Randomness, *, share: float, has_all: bool
) -> Options:
    """The same world with sources that keep joining peers out; one honest peer stays, which writes."""
    is_wanted, silent = randomness.chance(share) or has_all, randomness.chance(0.5)
    room = world.peers - 1
    count = 1 + randomness.below(room)
    if not is_wanted:
        return world
    first = count if silent else 0
    if has_all and count > 1:
        first = count // 2
    return world.replaced(
        writers=min(world.writers, world.peers - count),
        silent=round(first / world.peers, 6),
        endless=round((count - first) / world.peers, 6),
    )


DRAWS: Final[dict[str, Callable[[int], Options]]] = {"drawn": drawn, "started": started}
"""How a world comes from its seed, by name."""


def fly(first: int, last: int | None, draw: str = "drawn") -> Iterator[tuple[int, Result]]:
    """Run the worlds of all seeds from `first` on: (seed, result)."""
    seed = first
    while last is None or seed <= last:
        yield seed, run(DRAWS[draw](seed))
        seed += 1


def main(arguments: Sequence[str]) -> int:
    """Run seeds until stopped; 1 if any failed."""
    draw, *seeds = arguments if arguments and arguments[0] in DRAWS else ("drawn", *arguments)
    if len(seeds) > 2 or not all(argument.isdecimal() for argument in seeds):
        sys.stderr.write(f"usage: scripts/sim [{'|'.join(DRAWS)}] [FIRST_SEED [LAST_SEED]]\n")
        return 2
    first, last = [*map(int, seeds), None, None][:2]
    failed = done = 0
    try:
        for seed, result in fly(first or 0, last, draw):
            done += 1
            if result.is_fine:
                continue
            failed += 1
            sys.stdout.write(f"seed {seed} failed\n  {result.options.command()}\n")
            for violation in result.violations:
                sys.stdout.write(f"  {violation.checker}: {violation.detail}\n")
                sys.stdout.writelines(f"    {line}\n" for line in violation.trace)
            sys.stdout.flush()
    except KeyboardInterrupt:
        pass
    sys.stdout.write(f"{done} worlds, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
