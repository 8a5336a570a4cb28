"""One update spreads through a mesh: how many rounds until half, 99 % and all of the peers have it?

Every peer talks with `fanout` random partners a round, and each exchange goes both ways (push-pull), so the share of peers that
have the update grows like an epidemic: it more than doubles a round at first, and in the end what is left is squared away.
Loss loses the opening of an exchange with its probability.

How to read it: `rounds_to` counts whole intervals from the write. Compare with `sims/ideal_epidemic.py`, which knows
nothing of peers, messages or bytes: the core should be within one round of it. `bytes_per_peer` shows what a round costs.
"""

OPTIONS = {"peers": 1000}
SWEEP = {
    "peers": (100, 1000),
    "fanout": (1, 2, 3),
    "loss": (0.0, 0.1, 0.25),
    "seed": (1, 2, 3, 4, 5),
}
