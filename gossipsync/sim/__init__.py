"""The simulator: many core peers in virtual time, in a world drawn from one seed."""

from gossipsync.sim.options import Options
from gossipsync.sim.result import Result, Violation
from gossipsync.sim.run import Progress, run

__all__ = ["Options", "Progress", "Result", "Violation", "run"]
