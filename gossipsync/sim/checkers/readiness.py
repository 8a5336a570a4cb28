"""Readiness is true: a peer that becomes ready knows every write that a ready member had when it was asked.

A peer can ask a member no earlier than their link is up and the member is ready, so the member's vector is noted at that moment. A
peer that becomes ready must know the newest write to each key of at least one of the members that it could ask, if there are
any: a write counts as known where its key knows a newer one. A peer with no ready member begins the mesh, and is not judged; nor
is one that may not have heard yet that a member linked before has become ready, or one that two ready rogues may have deceived. A
member of which there are copies cannot be blamed either: over the link of an older life only presence is told. Worlds in which frames
overtake each other or come twice are not judged: a member's word about itself holds for all that it says later only because links
are streams.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from gossipsync.core import Peer
from gossipsync.core.model.events import Event, StateChanged
from gossipsync.core.model.ids import LinkId, peer_of
from gossipsync.core.replication.lines import LineKey
from gossipsync.sim.checkers.base import Checker
from gossipsync.sim.driver import Driver
from gossipsync.sim.ledger import Entry

_HEARD: Final = (2.0, 20.0)
"""Longest time until a linked peer knows that a member has become ready, gossip intervals and median one-way latencies."""
_WITNESSES: Final = 2
"""Ready members that a joining peer believes."""
_LARGE_WORLD: Final = 64
"""Peers beyond which nothing is noted: the vectors of all pairs would take more than the world itself."""


@frozen
class _Noted:
    """A ready member's vector at the moment from which it could be asked."""

    member: int
    run: int
    since_s: float
    known_s: float
    """When the peer knows that the member is ready, at the latest."""
    vector: dict[LineKey, int]


class Readiness(Checker):
    """State `ready` against the writes of ready members."""

    name = "readiness"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]  # the base's own arguments, passed through
        self._noted: dict[tuple[int, int], dict[LinkId, _Noted]] = {}
        """By a joining peer's number and run."""
        simulation = self.simulation
        options = simulation.options
        are_streams = not (options.reorders or options.duplicates)
        if simulation.roster is None and are_streams and options.peers <= _LARGE_WORLD:
            simulation.observer.meetings.append(self._linked)
            simulation.observer.witnesses.append(self._said)

    def _linked(self, driver: Driver) -> None:
        self._note(driver, heard_s=0.0)
        for other in self._around(driver):
            self._note(other, heard_s=0.0)

    def _said(self, driver: Driver, event: Event) -> None:
        if not isinstance(event, StateChanged) or driver.peer is None:
            return
        if event.state == "ready":
            self._judge(driver, driver.peer)
            options = self.simulation.options
            heard_s = _HEARD[0] * options.interval + _HEARD[1] * options.latency
            for other in self._around(driver):
                self._note(other, heard_s=heard_s)
        else:
            self._note(driver, heard_s=0.0)

    def _note(self, driver: Driver, *, heard_s: float, is_late: bool = False) -> None:
        """Note the vectors of ready members that a peer has just become able to ask; `is_late`: though it says ready."""
        if driver.peer is None or (driver.peer.state == "ready" and not is_late):
            return
        noted = self._noted.setdefault((driver.number, driver.run), {})
        for link, number in driver.neighbours.items():
            other = self.simulation.drivers[number]
            known = noted.get(link)
            is_known = known is not None and known.run == other.run
            if is_known or other.peer is None or other.is_rogue or other.peer.state != "ready":
                continue
            vector = self._given_away(other, other.peer)
            now_s = self.simulation.world.now_s
            noted[link] = _Noted(number, other.run, now_s, now_s + heard_s, vector)

    def _given_away(self, driver: Driver, peer: Peer) -> dict[LineKey, int]:
        """A member's vector, without own writes that its store lacks: those it keeps to itself until they are stored."""
        return {
            (bucket, origin): min(index, driver.store.was_stored(bucket, origin))
            if peer_of(origin) == peer.peer_id
            else index
            for (bucket, origin), index in self.simulation.observer.vector_of(peer).items()
        }

    def _judge(self, driver: Driver, peer: Peer) -> None:
        # A link may have come up at the very moment.
        self._note(driver, heard_s=0.0, is_late=True)
        noted = self._noted.pop((driver.number, driver.run), {})
        asked = [noted[link] for link in driver.neighbours if link in noted]
        lacking: list[tuple[_Noted, Entry]] = []
        for one in asked:
            member = self.simulation.drivers[one.member]
            if member.peer is None or member.run != one.run or member.peer.state != "ready":
                continue
            entry = self._unknown(one, peer, member.peer)
            if entry is None:
                return
            if self._has_heard(one) and not self.simulation.was_copied(member):
                lacking.append((one, entry))
        if lacking and self._liars(driver) < _WITNESSES:
            one, entry = lacking[0]
            self.violate(
                f"it says ready and lacks write {entry.number} of {entry.key!r}, which peer {one.member} "
                f"had at {one.since_s:.3f} s, when it could first be asked",
                driver,
            )

    def _has_heard(self, one: _Noted) -> bool:
        """Whether the peer knows that a member is ready: by its first words, or by later ones that met no cut."""
        now_s = self.simulation.world.now_s
        is_by_first_words = one.known_s == one.since_s
        whole_s = self.simulation.network.whole_s
        return one.known_s <= now_s and (is_by_first_words or whole_s >= now_s - one.since_s)

    def _unknown(self, one: _Noted, peer: Peer, member: Peer) -> Entry | None:
        """A write that the member had, and has still, and of which the peer knows nothing that new."""
        held = [
            entry
            for entry in self.simulation.ledger.entries
            if one.vector.get((entry.bucket, entry.written.origin), 0) >= entry.written.index
        ]
        entry = self.unknown_of(held, peer)
        if entry is None or self.unknown_of([entry], member) is not None:
            return None
        return entry

    def _liars(self, driver: Driver) -> int:
        return sum(
            other.is_rogue and other.peer is not None and other.peer.state == "ready"
            for other in self._around(driver)
        )

    def _around(self, driver: Driver) -> list[Driver]:
        drivers = self.simulation.drivers
        return [drivers[number] for number in driver.neighbours.values()]
