"""How soon a mesh sees its dead, in virtual time: one peer is killed, then one loses its network without a word.

    python sims/deaths.py --peers 100 --seeds 5 6 7 8
    python sims/deaths.py --peers 1000 --loss 0.5 --seeds 5

Each line is one seed: when the first, half and the last of the others saw it down, and how often somebody who lives was seen down
from the beginning of the run on. With `--loss` a share of all dials and exchanges is lost, and as many frames are late. Ends with exit
code 1 if somebody did not see it in time, or saw one down who lives.
"""

from __future__ import annotations

import argparse
import sys

from gossipsync.core.model.events import Event, MemberChanged
from gossipsync.sim import Options
from gossipsync.sim.driver import Driver
from gossipsync.sim.simulation import Simulation

QUIET_S = 12.0
"""Before anything happens, from a warm start on."""
STEP_S = 0.25


class Watch:
    """Who sees whom down, and since when."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.downs: dict[tuple[int, str], float] = {}
        self.wrong = 0
        self.dead: set[str] = set()
        simulation.observer.witnesses.append(self.witness)

    def witness(self, driver: Driver, event: Event) -> None:
        """A peer emitted an event. What the dead think counts for nothing."""
        if not isinstance(event, MemberChanged) or driver.config.name in self.dead:
            return
        if event.state == "down":
            self.wrong += event.name not in self.dead
            self.downs[driver.number, event.name] = self.simulation.world.now_s
        else:
            self.downs.pop((driver.number, event.name), None)

    def lose(self, driver: Driver, how: str, within_s: float) -> list[float]:
        """Lose one; after how many seconds each of the others saw it down, in order."""
        simulation, world = self.simulation, self.simulation.world
        self.dead.add(driver.config.name)
        if how == "killed":
            simulation.stop_driver(driver, leaves=False, is_for_good=False)
        else:
            simulation.network.split({driver.number: 1})
        began_s, others = world.now_s, len(simulation.drivers) - len(self.dead)
        while world.now_s < began_s + within_s:
            world.run_until(world.now_s + STEP_S)
            seen = [at_s for (_, name), at_s in self.downs.items() if name == driver.config.name]
            if len(seen) >= others:
                break
        return sorted(at_s - began_s for at_s in seen)


def main() -> int:
    """Print a line for each seed; 1 if one was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", type=int, default=100)
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[5])
    parser.add_argument("--within", type=float, default=20.0, help="Seconds until all must know.")
    given = parser.parse_args()
    is_off = False
    for seed in given.seeds:
        options = Options(
            peers=given.peers,
            seed=seed,
            membership="on",
            jitter=0.2,
            loss=given.loss,
            latency=0.01,
            spread="lan",
        )
        simulation = Simulation(options)
        watch = Watch(simulation)
        simulation.start()
        simulation.world.run_until(QUIET_S)
        told = [f"seed {seed}"]
        middle = given.peers // 2
        for number, how in ((middle, "killed"), (middle + 1, "cut off")):
            seen_s = watch.lose(simulation.drivers[number], how, given.within)
            is_off |= len(seen_s) < given.peers - len(watch.dead)
            shown = [seen_s[0], seen_s[len(seen_s) // 2], seen_s[-1]] if seen_s else []
            told.append(
                f"{how}: seen by {len(seen_s)}, " + ", ".join(f"{s:.2f}" for s in shown) + " s"
            )
        is_off |= watch.wrong > 0
        print("; ".join(told) + f"; living ones seen down: {watch.wrong}", flush=True)
    return int(is_off)


if __name__ == "__main__":
    sys.exit(main())
