"""Scenarios: worlds with a name and a question, each a small Python file that says what it shows and how to read it.

A scenario file has a docstring, `OPTIONS` (whatever differs from the simulator's defaults), and, where it needs them, `SWEEP`
(options and the values that `sim sweep` varies by itself) and `make(options, keeps_trace=…)` (a world other than the usual one).
Whoever names a file of their own runs it as a program. Invariant: loading one runs no world.
"""

from __future__ import annotations

from gossipsync.sim.scenarios._loading import Scenario, load, names

__all__ = ["Scenario", "load", "names"]
