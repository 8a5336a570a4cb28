"""What every checker is: an invariant watched from outside, told when a peer changed, once an interval, and at the end; also of
events, and of what applications were told.

Invariant: a checker only asks; a world runs the same with and without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

from gossipsync.core import Peer
from gossipsync.core.model.acks import Ack
from gossipsync.core.model.events import Event
from gossipsync.core.model.hlc import hlc_ms
from gossipsync.core.replication.cells import STAMP, TOMBSTONE, cells_in, rank
from gossipsync.sim.driver import Driver
from gossipsync.sim.ledger import Entry

if TYPE_CHECKING:
    from gossipsync.sim.simulation import Simulation

Violate = Callable[[str, str, Driver | None], None]
"""(checker, what was seen, which peer)."""


class Checker:
    """One invariant."""

    name: ClassVar[str]
    reads_all: ClassVar[bool] = False
    """Does a look go through all that was ever written? Then it is made less often once that is much."""

    def __init__(self, simulation: Simulation, violate: Violate) -> None:
        self.simulation = simulation
        self._violate = violate

    def violate(self, detail: str, driver: Driver | None = None) -> None:
        """The invariant does not hold."""
        self._violate(self.name, detail, driver)

    def changed(self, driver: Driver, peer: Peer) -> None:
        """An honest peer holds something it did not hold before."""

    def looked(self, driver: Driver, peer: Peer) -> None:
        """Once an interval, for a sample of the honest peers."""

    def happened(self, driver: Driver, event: Event) -> None:
        """An honest peer emitted an event."""

    def confirmed(self, driver: Driver, peer: Peer, entry: Entry, ack: Ack) -> None:
        """A writer was told that its write is stored as widely as it asked."""

    def read(self, driver: Driver, peer: Peer, entry: Entry) -> None:
        """A reader was told that its peer has seen a write, and is about to read."""

    def finished(self) -> None:
        """The world has ended."""

    def entries_held(self, peer: Peer) -> list[Entry]:
        """Entries of the ledger that a peer's vector claims, and its own that are not sealed yet."""
        return self.simulation.ledger.held_by(peer)

    def may_be_forgotten(self, entry: Entry) -> bool:
        """Is it a delete, or has it expired, so long ago by anybody's clock that a newcomer need not be told of it?

        Peers keep shadows for twice the largest skew longer, but states are compared without those that may be gone by then.
        """
        options = self.simulation.options
        ended_ms = (
            hlc_ms(entry.written.hlc) if entry.op in ("delete", "remove") else entry.expires_ms
        )
        if ended_ms is None:
            return False
        return ended_ms + 1000 * options.horizon <= self.simulation.newest_ms()

    def unknown_of(self, entries: list[Entry], peer: Peer) -> Entry | None:
        """The newest of these writes to a key of which a peer knows nothing that new; None where it knows all.

        A key that knows its newest write knows all before it. A write may have lost to one that is forgotten by now, and whose own
        line this peer need not claim yet: a reconciliation that was cut has brought cells and moved no line.
        """
        newest_of: dict[tuple[str, str], Entry] = {}
        for entry in entries:
            known = newest_of.get((entry.bucket, entry.key))
            if known is None or entry.written.hlc > known.written.hlc:
                newest_of[entry.bucket, entry.key] = entry
        for (bucket, key), entry in newest_of.items():
            if self.may_be_forgotten(entry):
                continue
            replica = peer.replicas.get(bucket)
            group = None if replica is None else replica.group(key)
            newest = 0
            for cell in () if group is None else cells_in(group):
                is_tombstone = cell[1] == TOMBSTONE
                newest = max(newest, rank(cell) if is_tombstone else cell[STAMP])
            if newest < entry.written.hlc and not self._was_deleted(entry):
                return entry
        return None

    def _was_deleted(self, entry: Entry) -> bool:
        """Whether it lost to a write that may be forgotten. A tombstone covers writes with its own stamp, too."""
        return any(
            later.written.hlc + (later.op == "delete") > entry.written.hlc
            and later is not entry
            and self.may_be_forgotten(later)
            for later in self.simulation.ledger.by_key[entry.bucket, entry.key]
        )

    def may_be_ahead(self, driver: Driver, peer: Peer) -> bool:
        """May its state hold more than its vector claims? Reconciling brings cells first, and the lines when all have come.

        Of a copy nobody knows how far the one whose store it has had got.
        """
        if driver in self.simulation.copies:
            return True
        asked = ("sent_fetch_bytes", "sent_dump_bytes")
        return any(driver.former_traffic[name] or peer.traffic.get(name) for name in asked)

    def honest(self) -> Iterator[tuple[Driver, Peer]]:
        """Every honest peer that runs."""
        for driver in self.simulation.honest():
            if driver.peer is not None:
                yield driver, driver.peer
