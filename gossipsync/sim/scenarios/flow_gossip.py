"""Updates come faster than narrow links carry them: how stale do peers get, and does the order of deltas matter?

After van Renesse, Dumitriu, Gough, Thomas, "Efficient Reconciliation and Flow Control for Anti-Entropy Protocols" (LADIS
2008): everybody writes, a delta is limited, and the rate of updates goes from what the links carry to what they do not.
Here each direction of a link carries 2,000 bytes a second and a delta has 2,000 bytes.

How to read it: `lag_p50_s` and `lag_max_s` are the ages of the oldest update that the median and the worst peer lack when
writing ends, `lag_half_way_s` the worst at half time. Where the end is about twice half time, the mesh diverges: what arrives late
makes what follows later still. Compare `ordering` depth, breadth, mixed and precise; `flow-gossip-controlled` has the same
with writers that slow down; `sims/flow_model.py` is the paper's own setting, precise reconciliation included.
"""

from gossipsync.sim.options import Options
from gossipsync.sim.report import Samples
from gossipsync.sim.result import Figure
from gossipsync.sim.simulation import Simulation

WRITING_S = 60.0
OPTIONS = {
    "peers": 32,
    "writers": 32,
    "workload": "poisson",
    "rate": 10.0,
    "updates": 1_000_000,
    "jitter": 0.2,
    "budget": 2000,
    "bandwidth": 2000,
    "until": WRITING_S,
}
SWEEP = {
    "rate": (2.0, 5.0, 10.0, 20.0, 40.0),
    "ordering": ("mixed", "precise", "depth", "breadth"),
    "seed": (1, 2),
}


class NarrowMesh(Simulation):
    """The usual mesh, measured at half time too."""

    def __init__(self, options: Options, *, keeps_trace: bool = False) -> None:
        super().__init__(options, keeps_trace=keeps_trace)
        self.samples = Samples()

    def _begin(self) -> None:
        super()._begin()
        self.world.after(self.options.end / 2, self.samples.look, self)


make = NarrowMesh


def figures(simulation: NarrowMesh) -> dict[str, Figure]:
    """What the run was for, beside what every run reports."""
    samples = simulation.samples
    samples.look(simulation)
    half_way, end = samples.rows[0], samples.rows[-1]
    entries = simulation.ledger.entries
    return {
        "written": len(entries),
        "lag_half_way_s": round(half_way.lag_max_s, 2),
        "lag_p50_s": round(end.lag_p50_s, 2),
        "lag_max_s": round(end.lag_max_s, 2),
        "held_share": round(end.held_share, 4),
    }
