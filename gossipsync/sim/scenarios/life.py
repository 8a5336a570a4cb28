"""A day in the life of a small mesh that shares sessions: is anything lost, does anything come back, does it stay small?

Eight peers, six of which take requests: logins, touches and logouts, one every ten seconds, each session for half a minute. An
instance is replaced every half hour and another crashes every ten minutes, a third of these to come back from an old copy of its
store; every half hour an image of one starts beside it, key and all. Disks fail, single peers go unheard for seconds, clocks are up to
two seconds off and set anew. Deletes are remembered for an hour, so 23 times over what was there is forgotten.

How to read it: what matters is `violations`, which stays empty. `open_epochs` are those of peers that run at the end, and
`digest_lines` should be no more than what these have written in: restarts leave nothing else behind. `told_cloned` and
`told_restored` count how often a peer said so of itself, of `clones` and `restores` that there were.
"""

from gossipsync.sim.driver import Driver
from gossipsync.sim.options import Options
from gossipsync.sim.result import Figure
from gossipsync.sim.simulation import Simulation

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
OPTIONS = {
    "peers": 8,
    "writers": 6,
    "workload": "sessions",
    "rate": 0.1,
    "updates": round(0.1 * DAY_S),
    "interval": 5.0,
    "push": True,
    "membership": "on",
    "jitter": 0.2,
    "churn": 1 / 240,
    "crashes": 1 / 80,
    "restores": 1 / 3,
    "clones": 1 / 240,
    "disk_failures": 1 / 240,
    "cuts": 1 / 240,
    "skew": 2000.0,
    "clock_steps": 1 / 480,
    "max_skew": 10.0,
    "horizon": HOUR_S,
    "quiet": DAY_S - 2 * HOUR_S,
    "until": DAY_S,
}
SWEEP = {"seed": (1, 2, 3)}


class Life(Simulation):
    """The usual mesh, which counts what befalls it."""

    def __init__(self, options: Options, *, keeps_trace: bool = False) -> None:
        super().__init__(options, keeps_trace=keeps_trace)
        self.restarts = 0

    def start_driver(self, driver: Driver) -> None:
        """Count starts after the first."""
        super().start_driver(driver)
        self.restarts += driver.run > 1


make = Life


def figures(simulation: Life) -> dict[str, Figure]:
    """What the run was for, beside what every run reports."""
    honest = simulation.honest()
    lines = [_digest_lines(driver) for driver in honest]
    events = simulation.observer.events
    return {
        "written": len(simulation.ledger.entries),
        "machines": len(simulation.drivers),
        "restarts": simulation.restarts,
        "restored": sum(driver.was_restored for driver in simulation.drivers),
        "clones": len(simulation.copies),
        "told_restored": events["Restored"],
        "told_cloned": events["Cloned"],
        "open_epochs": len(honest),
        "digest_lines": max(lines),
    }


def _digest_lines(driver: Driver) -> int:
    """As `peer gossip-info` lists them."""
    assert driver.peer is not None, "whoever is honest and running"
    lines = driver.peer.gossip_info(driver.now())["vector"]
    assert isinstance(lines, list), "a row a line"
    return len(lines)
