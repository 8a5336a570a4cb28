"""One writing core, 64 mirrors and 10,000 read-only edges: does the core's traffic grow with its audience?

The core knows its mirrors and nobody else; each edge knows two mirrors and keeps a link to both; edges hold certificates that
let them read and not write. The core pushes one update to the mirrors it is linked to, they pass it on among themselves
and to their edges.

How to read it: `core_sent_bytes` is all that the core sent, links kept alive included; run it with 165, 1,065 and 10,065
peers (100, 1,000 and 10,000 edges) for the same time and it stays the same. `all_after_s` is when the last edge had the update.
"""

from attrs import evolve

from gossipsync.core import Limits
from gossipsync.core.model.capability import Capability
from gossipsync.sim.driver import Driver
from gossipsync.sim.options import Options
from gossipsync.sim.result import Figure
from gossipsync.sim.rogues import Rogue
from gossipsync.sim.roster import Roster
from gossipsync.sim.simulation import Simulation

OPTIONS = {"peers": 10_065, "push": True, "jitter": 0.2, "until": 10.0}
SWEEP = {"peers": (165, 1_065, 10_065)}
MIRRORS = 64
MIRRORS_OF_AN_EDGE = 2


class EdgeMesh(Simulation):
    """A mesh in three tiers: peer 0 is the core, then mirrors, then edges."""

    def __init__(self, options: Options, *, keeps_trace: bool = False) -> None:
        self.mirrors = min(MIRRORS, max(1, options.peers // 2))
        self._inner = Roster()
        super().__init__(options, keeps_trace=keeps_trace)

    def new_driver(self, *, rogue: Rogue | None = None) -> Driver:
        driver = super().new_driver(rogue=rogue)
        if driver.number <= self.mirrors:
            self._inner.add(driver.identity.peer, driver.address)
            driver.directory = self._inner
            # A mirror takes more links than an ordinary peer has a use for.
            driver.config = evolve(driver.config, limits=Limits(links=4096))
            return driver
        known = Roster()
        for turn in range(min(MIRRORS_OF_AN_EDGE, self.mirrors)):
            mirror = self.drivers[1 + (driver.number * MIRRORS_OF_AN_EDGE + turn) % self.mirrors]
            known.add(mirror.identity.peer, mirror.address)
        driver.directory = known
        driver.identity = self.authority.identity(
            driver.number, Capability(("*",), False, 0, 1 << 60)
        )
        return driver


make = EdgeMesh


def figures(simulation: EdgeMesh) -> dict[str, Figure]:
    """What the run was for, beside what every run reports."""
    core = simulation.drivers[0]
    assert core.peer is not None, "nothing stops the core"
    since_s = simulation.options.first_write_s
    changed = [simulation.observer.changed_s[driver.number] for driver in simulation.honest()]
    return {
        "edges": simulation.options.peers - 1 - simulation.mirrors,
        "core_sent_bytes": core.peer.traffic["sent_bytes"],
        "core_links": core.links,
        "all_after_s": round(max(changed) - since_s, 3) if simulation.is_settled else None,
    }
