"""Lives are told apart: of two machines with one key both say `cloned`, and where there never was another life nobody says
`cloned` or `restored`.

They are given time, for what shows them is that the other's presence goes on; and none of it counts while the network is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gossipsync.core import Peer
from gossipsync.core.model.events import Cloned, Event
from gossipsync.core.model.ids import PeerId
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
        self._beside_s: dict[PeerId, float] = {}
        """When two with this key were last seen to run."""

    def happened(self, driver: Driver, event: Event) -> None:
        """Whom it has met may be gone when all are looked at next."""
        if isinstance(event, Cloned) and self.simulation.beside(driver):
            self._beside_s[driver.identity.peer] = self.simulation.world.now_s

    def changed(self, driver: Driver, peer: Peer) -> None:
        """Two that run at once for less than an interval may be heard of when one has gone."""
        if self.simulation.beside(driver):
            self._beside_s[peer.peer_id] = self.simulation.world.now_s

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
        key = driver.identity.peer
        if beside:
            self._beside_s[key] = now_s
        elif is_warned and not now_s - self._beside_s.get(key, -_UNTOLD_S) < _UNTOLD_S:
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
