"""The time series of a run: one row an interval, taken from outside the peers.

Rows are plain numbers, so that NDJSON, CSV and pictures come from one place. Invariant: a row is a snapshot; taking it changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from attrs import asdict, frozen

if TYPE_CHECKING:
    from gossipsync.sim.simulation import Simulation

KINDS: Final = {
    "digest": ("digest", "equal", "compare", "want"),
    "delta": ("delta", "push"),
    "membership": ("presences", "credentials", "known", "seek", "page"),
    "other": ("prune", "stored"),
}
"""Message kinds as the result adds them up."""


@frozen
class Row:
    """One moment. Bytes are totals since the start, over all peers."""

    round: int
    virtual_s: float
    peers: int
    updates: int
    equal_share: float
    """Share of peers in the largest set that has the same."""
    links: int
    frames: int
    digest_bytes: int
    delta_bytes: int
    membership_bytes: int
    other_bytes: int

    def shown(self) -> dict[str, float]:
        """As a JSON-able map."""
        return asdict(self)


class Series:
    """Rows of one run. Traffic of peers that stopped is kept, so that totals never fall."""

    def __init__(self, simulation: Simulation) -> None:
        self.rows: list[Row] = []
        self._simulation = simulation

    def take(self) -> None:
        """Add a row for now."""
        simulation, world = self._simulation, self._simulation.world
        traffic = self.traffic()
        observer = simulation.observer
        since_s = world.now_s - simulation.options.first_write_s
        self.rows.append(
            Row(
                round=round(since_s / simulation.options.interval),
                virtual_s=round(world.now_s, 6),
                peers=len(observer),
                updates=len(simulation.ledger.entries),
                equal_share=len(observer.most_equal) / max(1, len(observer)),
                links=sum(driver.links for driver in simulation.live) // 2,
                frames=simulation.network.frames,
                **{f"{kind}_bytes": _sum(traffic, names) for kind, names in KINDS.items()},
            )
        )

    def traffic(self) -> Counter[str]:
        """Counters of all runs of all peers."""
        total: Counter[str] = Counter()
        for driver in self._simulation.drivers:
            total.update(driver.former_traffic)
            if driver.peer is not None:
                total.update(driver.peer.traffic)
        return total


def _sum(traffic: Counter[str], names: Iterable[str]) -> int:
    return sum(traffic[f"sent_{name}_bytes"] for name in names)
