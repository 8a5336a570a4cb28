"""A tenth of the peers is replaced every minute while others write: does everybody present stay up to date?

Membership is gossiped, from three seeds on, so newcomers have to be found and the departed to be forgotten; half of those who go
say goodbye, half just vanish. After two minutes all is quiet, and whoever is there must have everything.

How to read it: links over time stay near the view's size for the mesh (log2 N + 2); staleness has a
small steady tail, newcomers catching up. Membership bytes are the price of finding each other.
"""

OPTIONS = {
    "peers": 300,
    "writers": 5,
    "workload": "poisson",
    "rate": 5.0,
    "updates": 600,
    "push": True,
    "membership": "on",
    "jitter": 0.2,
    "churn": 0.1,
    "quiet": 120.0,
}
SWEEP = {"churn": (0.0, 0.1, 0.3), "seed": (1, 2, 3)}
