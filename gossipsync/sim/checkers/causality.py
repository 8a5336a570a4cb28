"""Causality under tokens: a write that comes after the token of another is ordered after it, whatever the clocks say."""

from __future__ import annotations

from gossipsync.sim.checkers.base import Checker


class Causality(Checker):
    """Stamps follow tokens."""

    name = "causality"

    def finished(self) -> None:
        """Compare each write with the one whose token it came after."""
        entries = self.simulation.ledger.entries
        for entry in entries:
            if entry.after is None:
                continue
            earlier = entries[entry.after]
            if entry.written.hlc <= earlier.written.hlc:
                self.violate(
                    f"write {entry.number} came after {earlier.number} and is stamped before it",
                    self.simulation.drivers[entry.writer],
                )
                return
