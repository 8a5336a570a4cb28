"""Checkers: invariants of the mesh, watched from outside while a world runs and when it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossipsync.sim.result import Violation

if TYPE_CHECKING:
    from gossipsync.sim.simulation import Simulation


class Checks:
    def __init__(self, simulation: Simulation) -> None:
        self.violations: list[Violation] = []

    def look(self) -> None: ...
    def finish(self) -> None: ...
