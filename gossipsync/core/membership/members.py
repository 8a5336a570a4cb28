"""Members: what is known about every other peer, and what state it seems to be in.

A member is *alive* while it is linked or its presence keeps coming, *suspect* when that stops, *down* when it has stopped for
long, *away* when it closed itself, *left* when it gave up membership (and is then no member any more).
Invariant: of one peer's presence data the newest stamp is kept, and never an older one.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappush, heapreplace
from itertools import islice
from typing import Final

from attrs import define

from gossipsync.core.membership.presence import Presence, Stance
from gossipsync.core.model.ids import PeerId

SUSPECT_AFTER: Final = 2.5
"""Refreshes missed, after which a member is suspect."""
DOWN_AFTER: Final = 5.0
"""Refreshes missed, after which it is down."""
_REFRESH_SHARE: Final = 8
"""Members per second of refresh interval: keeps presence traffic level as the mesh grows."""
_LEAST_REFRESH: Final = 2.0
_PRESENT: Final = frozenset({"alive", "suspect"})
SHORT_BYTES: Final = 8
"""Bytes of a key by which peers name members to each other in passing."""


def refresh_s(members: int, gossip_interval_s: float) -> float:
    """How often a peer renews its presence in a mesh of this size, in seconds."""
    return gossip_interval_s * max(_LEAST_REFRESH, members / _REFRESH_SHARE)


@define
class Member:
    """One other peer."""

    peer: PeerId
    heard_s: float
    """When it was last heard of, directly or by a newer presence; monotonic."""
    presence: Presence | None = None
    hello_name: str = ""
    """What it called itself on its link."""
    is_linked: bool = False
    was_lost: bool = False
    """Its link broke, and nothing was heard since."""
    state: str = "alive"
    was_shown: bool = False
    """Has the application been told of its state?"""

    @property
    def name(self) -> str:
        """What it calls itself."""
        return self.hello_name if self.presence is None else self.presence.name

    @property
    def stance(self) -> Stance:
        """What it says of itself."""
        return Stance.UP if self.presence is None else self.presence.stance

    def judge(self, now_s: float, refresh: float) -> str:
        """The state it seems to be in now."""
        if self.stance is Stance.LEFT:
            return "left"
        if self.is_linked:
            return "alive"
        if self.stance is Stance.AWAY:
            return "away"
        silence = now_s - self.heard_s
        if silence > DOWN_AFTER * refresh:
            return "down"
        return "suspect" if self.was_lost or silence > SUSPECT_AFTER * refresh else "alive"


class Members:
    """All other members, and which of them changed since when."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._members: dict[PeerId, Member] = {}
        self._left = 0
        self._recent: dict[PeerId, tuple[int, float, Presence]] = {}
        self._stamps: dict[bytes, int] = {}
        self._short: dict[bytes, PeerId] = {}
        self._present: list[PeerId] = []
        self._places: dict[PeerId, int] = {}
        self._due: list[tuple[float, PeerId]] = []
        self._own: Presence | None = None
        self.seq = 0
        """Presence changes so far."""

    def __len__(self) -> int:
        """Members besides this peer, without those that left."""
        return len(self._members) - self._left

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def find(self, peer: PeerId) -> Member | None:
        """A member, if known."""
        return self._members.get(peer)

    def has_left(self, peer: PeerId) -> bool:
        """Has it given up membership?"""
        member = self._members.get(peer)
        return member is not None and member.state == "left"

    def set_state(self, member: Member, state: str) -> None:
        """Note the state that a member was judged to be in."""
        self._left += (state == "left") - (member.state == "left")
        member.state = state
        if state in _PRESENT:
            self._arrive(member.peer)
        else:
            self._depart(member.peer)

    def _arrive(self, peer: PeerId) -> None:
        if peer not in self._places:
            self._places[peer] = len(self._present)
            self._present.append(peer)

    def _depart(self, peer: PeerId) -> None:
        place = self._places.pop(peer, None)
        if place is None:
            return
        last = self._present.pop()
        if last != peer:
            self._present[place] = last
            self._places[last] = place

    @property
    def present(self) -> list[PeerId]:
        """Members that may be there: alive or suspect, in no order. Not to be changed."""
        return self._present

    def due(self, now_s: float, again_s: float) -> Iterator[Member]:
        """Members whose state may have changed by silence alone; each is asked for again after at most `again_s`."""
        while self._due and self._due[0][0] <= now_s:
            _, peer = self._due[0]
            heapreplace(self._due, (now_s + again_s, peer))
            yield self._members[peer]

    def heard(self, peer: PeerId, now_s: float) -> Member | None:
        """A peer has shown itself on its own link. None where there is no room for another member."""
        member = self._members.get(peer)
        if member is None:
            if len(self._members) >= self._limit:
                return None
            member = self._members[peer] = Member(peer, now_s)
            self._short[peer[:SHORT_BYTES]] = peer
            self._arrive(peer)
            heappush(self._due, (now_s, peer))
        member.heard_s = now_s
        member.was_lost = False
        return member

    def is_news(self, presence: Presence) -> bool:
        """Is it newer than what is known, so worth verifying?"""
        member = self._members.get(presence.peer)
        if member is None:
            return len(self._members) < self._limit
        return member.presence is None or presence.stamp > member.presence.stamp

    def take(self, presence: Presence, now_s: float) -> Member | None:
        """Keep a verified presence. None where there is no room."""
        member = self.heard(presence.peer, now_s)
        if member is not None:
            member.presence = presence
            self._note(presence, now_s)
        return member

    def own(self, presence: Presence, now_s: float) -> None:
        """Our own newest presence, to be told like any other."""
        self._own = presence
        self._short[presence.peer[:SHORT_BYTES]] = presence.peer
        self._note(presence, now_s)

    def _note(self, presence: Presence, now_s: float) -> None:
        self.seq += 1
        self._recent.pop(presence.peer, None)
        self._recent[presence.peer] = (self.seq, now_s, presence)
        self._stamps[presence.peer[:SHORT_BYTES]] = presence.stamp

    def presence_of(self, peer: PeerId) -> Presence | None:
        """A peer's presence, our own included."""
        if self._own is not None and peer == self._own.peer:
            return self._own
        member = self._members.get(peer)
        return None if member is None else member.presence

    def by_short(self, short: bytes) -> PeerId | None:
        """The peer whose key begins so."""
        return self._short.get(short)

    def stamp_of(self, short: bytes) -> int:
        """Stamp of the presence known of the peer whose key begins so; 0 for none."""
        return self._stamps.get(short, 0)

    def changed_within(self, since_s: float, limit: int) -> Iterator[Presence]:
        """Presence that changed since a moment, newest first."""
        for _, changed_s, presence in islice(reversed(self._recent.values()), limit):
            if changed_s < since_s:
                return
            yield presence

    def from_key(self, after: bytes, room_bytes: int) -> list[Presence]:
        """Presence data in the order of their peers' keys behind `after`, at least one if there is any."""
        chosen: list[Presence] = []
        for peer in sorted(peer for peer in self._recent if peer > after):
            presence = self._recent[peer][2]
            room_bytes -= len(presence.data)
            if room_bytes < 0 and chosen:
                break
            chosen.append(presence)
        return chosen

    def changed_since(self, seq: int) -> Iterator[tuple[int, Presence]]:
        """(sequence number, presence) of what changed after `seq`, newest first."""
        for changed, _, presence in reversed(self._recent.values()):
            if changed <= seq:
                return
            yield changed, presence
