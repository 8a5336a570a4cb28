"""A mesh falls into two halves, both go on writing, and it heals: how long until all are equal again?

From second 10 on, half of the peers cannot reach the other half for 20 s. Twenty peers write, some on each side, five updates a
second in all, for a minute. Nothing tells anybody that the mesh is whole again; the rounds find out by themselves.

How to read it: staleness climbs on both sides while the mesh is split, each side lacking the other's writes, and falls back
within a few rounds of second 30. An update lost on the way, or two peers that disagree in the end, would be a violation.
"""

OPTIONS = {
    "peers": 1000,
    "writers": 20,
    "workload": "poisson",
    "rate": 5.0,
    "updates": 300,
    "fanout": 2,
    "jitter": 0.2,
    "partition": (10.0, 20.0, 0.5),
}
SWEEP = {"fanout": (1, 2, 3), "seed": (1, 2, 3)}
