"""Nobody is blamed for what another did: a link between honest peers ends because one went or fell silent, never for a fault.

Whatever rogues make honest peers relay, park or refuse, the refusal must not fall upon the one that handed it on in good faith.
"""

from __future__ import annotations

from typing import Final

from gossipsync.core.model.events import Event, LinkClosed
from gossipsync.core.model.reasons import Reason
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.driver import Driver

_FAULTS: Final = frozenset(map(str, Reason))


class Blame(Checker):
    """No honest peer hangs up on another for a reason that means a fault."""

    name = "blame"

    def happened(self, driver: Driver, event: Event) -> None:
        """Look at links that end."""
        if not isinstance(event, LinkClosed) or event.reason not in _FAULTS:
            return
        if event.peer not in self.simulation.observer.rogues:
            self.violate(f"it hung up on an honest peer for {event.reason!r}", driver)
