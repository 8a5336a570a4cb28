"""A mesh falls into two halves, both go on writing, and it heals: how long until all are equal again?

From second 10 on, half of the peers cannot reach the other half for 30 s; every peer is a writer, 20 updates a second in all.
Nothing tells anybody that the mesh is whole again; the rounds find out by themselves.

How to read it: staleness climbs on both sides while the mesh is split, each side lacking the other's writes, and falls back
within a few rounds of second 40. `updates_lost` of the checkers would show as a violation. The time from the heal to
convergence is `virtual_s` − 40 once writing has stopped at second 60.
"""

OPTIONS = {
    "peers": 1000,
    "writers": 1000,
    "workload": "poisson",
    "rate": 20.0,
    "updates": 1200,
    "fanout": 2,
    "jitter": 0.2,
    "partition": (10.0, 30.0, 0.5),
}
SWEEP = {"fanout": (1, 2, 3), "seed": (1, 2, 3)}
