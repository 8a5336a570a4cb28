"""The simulator's defaults: a hundred peers in step, one update, one partner a round, no faults.

What `sim sweep` varies where no scenario is named. How to read it: as `one-update`.
"""

OPTIONS: dict[str, object] = {}
SWEEP = {"seed": (0, 1, 2, 3, 4)}
