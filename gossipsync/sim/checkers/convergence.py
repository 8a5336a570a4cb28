"""Convergence: peers with equal vectors show equal data, and a mesh at rest becomes equal in a bounded number of rounds.

At rest all have the same of what honest peers wrote. What a rogue wrote may differ; peers that do not differ even there must show
the same, also where it signed two histories, if that was not more than a horizon ago.
"""

from __future__ import annotations

from gossipsync.core.model.bundle import FROZEN
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.clocks import after_all


class Convergence(Checker):
    """Equal fingerprints of every bucket, once faults have stopped for long enough."""

    name = "convergence"

    def finished(self) -> None:
        """Compare all with the first that has the same, bucket by bucket."""
        simulation = self.simulation
        if not simulation.is_equal:
            if simulation.options.quiet is not None:
                counted = len(simulation.observer)
                equal = len(simulation.observer.most_equal)
                self.violate(
                    f"only {equal} of {counted} peers have the same after the faults stopped"
                )
            return
        expected: dict[tuple[bytes, str], dict[str, str]] = {}
        # One moment for all, after what any clock has shown: expiries by different clocks differ rightly.
        wall_ms = after_all(driver.newest_ms for driver, _ in self.honest())
        for driver, peer in self.honest():
            if not simulation.are_branches_young and FROZEN in peer.vector().values():
                continue
            shown = {
                name: replica.totals(wall_ms).fingerprint
                for name, replica in sorted(peer.replicas.items())
            }
            shown = {name: fingerprint for name, fingerprint in shown.items() if peer.vector()}
            # The digest tells branches of forks apart, the vector shows lines that have left the digest.
            state = (peer.digest, repr(sorted(peer.vector().items())))
            first = expected.setdefault(state, shown)
            if shown != first:
                self.violate(f"equal vectors, but {shown} is not {first}", driver)
                return
