"""What it costs when all dials of a whole mesh fail at once, in virtual time: links hold, and nobody can open another.

    python sims/storm.py --peers 100
    python sims/storm.py --peers 1000 --seconds 10

Each line is one second: CPU, dials, frames and bytes of a peer on average, how many members are suspect or down in how many views
in all. Everybody lives, so ends with exit code 1 if somebody was seen down at the end of a second.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from time import process_time

from gossipsync.sim import Options
from gossipsync.sim.simulation import Simulation

QUIET_S = 15.0
"""Before anything happens, from a warm start on; the last of its seconds is shown."""


def sent_bytes(simulation: Simulation) -> int:
    """What all peers have sent."""
    return sum(driver.peer.traffic["sent_bytes"] for driver in simulation.drivers if driver.peer)


def states(simulation: Simulation) -> Counter[str]:
    """All members in all views, by their state."""
    found: Counter[str] = Counter()
    for driver in simulation.drivers:
        if driver.peer is not None:
            found.update(driver.peer.status(driver.now()).members)
    return found


def main() -> int:
    """Print a line for each second; 1 if somebody who lives was given up."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", type=int, default=100)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10)
    given = parser.parse_args()
    options = Options(
        peers=given.peers, seed=given.seed, membership="on", jitter=0.2, latency=0.01, spread="lan"
    )
    simulation = Simulation(options)
    simulation.start()
    world, network = simulation.world, simulation.network
    world.run_until(QUIET_S - 1.0)
    is_off = False
    for second in range(given.seconds + 1):
        if second == 1:
            for driver in simulation.drivers:
                network.silence(driver.address)
        before = (process_time(), network.dials, network.frames, sent_bytes(simulation))
        world.run_until(QUIET_S + second)
        after = (process_time(), network.dials, network.frames, sent_bytes(simulation))
        cpu_s, dials, frames, sent = (b - a for a, b in zip(before, after, strict=True))
        seen, peers = states(simulation), given.peers
        is_off |= seen["down"] > 0
        print(
            f"{'before' if second == 0 else f'second {second}':>9}: {cpu_s:6.1f} CPU-s, a peer: {dials / peers:5.1f} dials, "
            f"{frames / peers:6.0f} frames, {sent / peers / 1000:6.1f} kB; suspect {seen['suspect']}, down {seen['down']}",
            flush=True,
        )
    return int(is_off)


if __name__ == "__main__":
    sys.exit(main())
