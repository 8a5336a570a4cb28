"""Nobody's clock is pushed: what a peer stores of others is never further ahead of the latest that its own wall clock has shown than
`max_skew`, and what it stamps itself never further ahead of the latest that anybody's has: one whose clock is behind goes by the
others', so that it may write after their tokens. Else one rogue, or one wrong clock, would have the whole mesh stamp its writes years
ahead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossipsync.core import Peer
from gossipsync.core.model.hlc import Hlc, hlc_ms
from gossipsync.core.model.ids import peer_of
from gossipsync.core.replication.pieces import parse_piece
from gossipsync.sim.checkers.base import Checker, Violate
from gossipsync.sim.driver import Driver

if TYPE_CHECKING:
    from gossipsync.sim.simulation import Simulation


class Clocks(Checker):
    """Stamps against wall clocks."""

    name = "clocks"

    def __init__(self, simulation: Simulation, violate: Violate) -> None:
        super().__init__(simulation, violate)
        self._looked_at: dict[int, int] = {}
        self._stamps: dict[bytes, Hlc] = {}

    def looked(self, driver: Driver, peer: Peer) -> None:
        """Compare a writer's writes since the last look with its clock."""
        entries = self.simulation.ledger.entries
        newest_ms = self.simulation.newest_ms() + peer.config.max_skew_ms
        for entry in entries[self._looked_at.get(driver.number, 0) :]:
            if entry.writer == driver.number and hlc_ms(entry.written.hlc) > newest_ms:
                ahead_ms = hlc_ms(entry.written.hlc) - self.simulation.newest_ms()
                self.violate(f"write {entry.number} is stamped {ahead_ms:,} ms ahead", driver)
                return
        self._looked_at[driver.number] = len(entries)

    def finished(self) -> None:
        """All stores; each exact bytes are parsed once."""
        for driver, peer in self.honest():
            self.looked(driver, peer)
            bound_ms = driver.newest_ms + driver.config.max_skew_ms
            own_bound_ms = self.simulation.newest_ms() + driver.config.max_skew_ms
            for _bucket, origin, index, data in driver.store.load_pieces():
                stamp = self._stamps.get(data)
                if stamp is None:
                    stamp = self._stamps[data] = parse_piece(data).header.log_hlc
                is_own = peer_of(origin) == driver.identity.peer
                if hlc_ms(stamp) > (own_bound_ms if is_own else bound_ms):
                    self.violate(f"bundle {index} in its store is from the future", driver)
                    return
