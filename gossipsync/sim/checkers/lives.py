"""Lives are told apart: of two machines with one key both say `cloned`, and where there never was another life nobody says
`cloned` or `restored`.

They are given time, for what shows them is that the other's presence goes on; and none of it counts while the network is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossipsync.core import Peer
from gossipsync.core.model.reasons import WarningCode
from gossipsync.sim.checkers.base import Checker, Violate
from gossipsync.sim.driver import Driver

if TYPE_CHECKING:
    from gossipsync.sim.simulation import Simulation

_TOLD_S: Final = 240.0
"""How long two that run at once may not know it: presence comes by gossip, and only what is said anew shows a life."""
_UNTOLD_S: Final = 300.0
"""How long after the end of one the other may still warn."""


class Lives(Checker):
    """Warnings against what really runs."""

    name = "lives"

    def __init__(self, simulation: Simulation, violate: Violate) -> None:
        super().__init__(simulation, violate)
        self._since_s: dict[tuple[int, int, int, int], float] = {}
        """Two machines with one key, and their runs -> since when they were seen to run, with no cut anywhere."""

    def looked(self, driver: Driver, peer: Peer) -> None:
        """Compare what it says with who runs."""
        simulation, now_s = self.simulation, self.simulation.world.now_s
        if not simulation.network.is_whole:
            self._since_s.clear()
        warnings = peer.warnings()
        is_warned = WarningCode.CLONED in warnings
        beside = simulation.beside(driver)
        for other in beside:
            pair = (driver.number, driver.run, other.number, other.run)
            since_s = self._since_s.setdefault(pair, now_s)
            if now_s - since_s > _TOLD_S and not is_warned and simulation.roster is None:
                self.violate(
                    f"peer {other.number} has had its key for {_TOLD_S:g} s, and it does not say so",
                    driver,
                )
                return
        # A copy that has run for a fraction of an interval may be heard of when it has gone.
        beside_s = simulation.beside_s.get(driver.identity.peer, -_UNTOLD_S)
        if is_warned and not beside and not now_s - beside_s < _UNTOLD_S:
            self.violate("it says that it was cloned, and nobody else has its key", driver)
            return
        was_copied = driver.was_restored or any(
            copy.identity is driver.identity for copy in simulation.copies
        )
        if WarningCode.RESTORED in warnings and not was_copied:
            self.violate("it says that its store is an old copy, which it never was", driver)

    def finished(self) -> None:
        """Everybody once more."""
        for driver, peer in self.honest():
            self.looked(driver, peer)
