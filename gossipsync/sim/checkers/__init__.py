"""Checkers: invariants of the mesh, watched from outside while a world runs and when it has ended.

In a small world every change of every peer is looked at; in a large one a sample once a round, and everybody at the end. The first
violation ends the run, so that the trace up to there is the shortest that shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossipsync.core import Peer
from gossipsync.core.model.acks import Ack
from gossipsync.core.model.events import Event
from gossipsync.sim.checkers.acks import Acks
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.checkers.blame import Blame
from gossipsync.sim.checkers.bounds import Bounds
from gossipsync.sim.checkers.causality import Causality
from gossipsync.sim.checkers.clocks import Clocks
from gossipsync.sim.checkers.convergence import Convergence
from gossipsync.sim.checkers.counters import Counters
from gossipsync.sim.checkers.durability import Durability
from gossipsync.sim.checkers.elements import Elements
from gossipsync.sim.checkers.finals import Finals
from gossipsync.sim.checkers.forks import Forks
from gossipsync.sim.checkers.liveness import Liveness
from gossipsync.sim.checkers.lives import Lives
from gossipsync.sim.checkers.prefix import Prefix
from gossipsync.sim.checkers.readiness import Readiness
from gossipsync.sim.checkers.signatures import Signatures
from gossipsync.sim.checkers.values import Values
from gossipsync.sim.checkers.vectors import Vectors
from gossipsync.sim.driver import Driver
from gossipsync.sim.ledger import Entry
from gossipsync.sim.result import Violation

if TYPE_CHECKING:
    from gossipsync.sim.simulation import Simulation

__all__ = [
    "CHECKERS",
    "Acks",
    "Blame",
    "Bounds",
    "Causality",
    "Checker",
    "Checks",
    "Clocks",
    "Convergence",
    "Counters",
    "Durability",
    "Elements",
    "Finals",
    "Forks",
    "Liveness",
    "Lives",
    "Prefix",
    "Readiness",
    "Signatures",
    "Values",
    "Vectors",
]

CHECKERS: Final[tuple[type[Checker], ...]] = (
    Acks,
    Vectors,
    Prefix,
    Values,
    Elements,
    Finals,
    Counters,
    Bounds,
    Causality,
    Blame,
    Forks,
    Lives,
    Clocks,
    Durability,
    Signatures,
    Readiness,
    Liveness,
    Convergence,
)
_SMALL_WORLD: Final = 16
"""Peers up to which every change is looked at."""
_SAMPLE: Final = 8
"""Peers looked at once a round in a larger world."""
_EAGER_ENTRIES: Final = 400
"""Writes up to which every change is looked at; beyond, the sample does, and the more was written the smaller it is for those who read
it all: a look costs as much as there was written."""


class Checks:
    """All checkers of one world."""

    def __init__(self, simulation: Simulation) -> None:
        self.violations: list[Violation] = []
        self._simulation = simulation
        self._checkers = [checker(simulation, self._violate) for checker in CHECKERS]
        # A stream of its own: checking must not change what happens.
        self._randomness = simulation.world.randomness.stream("checks")
        if simulation.options.peers <= _SMALL_WORLD:
            simulation.observer.listeners.append(self._changed)
        if simulation.observer.rogues or simulation.has_old_lives:
            simulation.observer.witnesses.append(self._happened)
        simulation.workload.applications.witnesses.append(self)

    def _changed(self, driver: Driver) -> None:
        if driver.peer is None or len(self._simulation.ledger.entries) > _EAGER_ENTRIES:
            return
        for checker in self._checkers:
            checker.changed(driver, driver.peer)

    def _happened(self, driver: Driver, event: Event) -> None:
        for checker in self._checkers:
            checker.happened(driver, event)

    def confirmed(self, driver: Driver, peer: Peer, entry: Entry, ack: Ack) -> None:
        """A writer was told that its write is stored as widely as it asked."""
        for checker in self._checkers:
            checker.confirmed(driver, peer, entry, ack)

    def read(self, driver: Driver, peer: Peer, entry: Entry) -> None:
        """A reader was told that its peer has seen a write, and is about to read."""
        for checker in self._checkers:
            checker.read(driver, peer, entry)

    def look(self) -> None:
        """Once an interval."""
        honest = self._simulation.honest()
        if len(honest) > _SAMPLE:
            writers = self._simulation.writers()[:_SAMPLE]
            honest = [*self._randomness.sample(honest, _SAMPLE), *writers]
        written = max(_EAGER_ENTRIES, len(self._simulation.ledger.entries))
        share = max(1, len(honest) * _EAGER_ENTRIES // written)
        chosen = self._randomness.sample(honest, min(share, len(honest)))
        for driver in honest:
            if driver.peer is not None:
                for checker in self._checkers:
                    if not checker.reads_all or driver in chosen:
                        checker.looked(driver, driver.peer)

    def finish(self) -> None:
        """The world has ended."""
        for checker in self._checkers:
            if not self.violations:
                checker.finished()

    def _violate(self, checker: str, detail: str, driver: Driver | None) -> None:
        simulation = self._simulation
        self.violations.append(
            Violation(
                checker,
                detail,
                None if driver is None else driver.number,
                round(simulation.world.now_s, 6),
                simulation.trace.count,
            )
        )
