"""Convergence: peers with equal vectors show equal data, and a mesh at rest becomes equal in a bounded number of rounds."""

from __future__ import annotations

from gossipsync.sim.checkers.base import Checker


class Convergence(Checker):
    """Equal fingerprints of every bucket, once faults have stopped for long enough."""

    name = "convergence"

    def finished(self) -> None:
        """Compare everybody with the first, bucket by bucket."""
        simulation = self.simulation
        if not simulation.is_settled:
            if simulation.options.quiet is not None:
                counted = len(simulation.observer)
                equal = len(simulation.observer.most_equal)
                self.violate(
                    f"only {equal} of {counted} peers have the same after the faults stopped"
                )
            return
        expected: dict[str, str] | None = None
        # One moment for all, after what any clock has shown: expiries by different clocks differ rightly.
        wall_ms = max((driver.newest_ms for driver, _ in self.honest()), default=0)
        for driver, peer in self.honest():
            shown = {
                name: replica.totals(wall_ms).fingerprint
                for name, replica in sorted(peer.replicas.items())
            }
            shown = {name: fingerprint for name, fingerprint in shown.items() if peer.vector()}
            if expected is None:
                expected = shown
            elif shown != expected:
                self.violate(f"equal vectors, but {shown} is not {expected}", driver)
                return
