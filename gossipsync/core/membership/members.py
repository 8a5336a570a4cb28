"""Members: what is known about every other peer, and what state it seems to be in.

A member is *alive* while it is linked or its presence keeps coming, *suspect* when that stops, *down* when it has stopped for
long, *away* when it closed itself, *left* when it gave up membership (and is then no member any more).
Invariant: of one peer's presence data the newest stamp is kept, and never an older one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappush, heapreplace
from itertools import islice
from typing import Final

from attrs import define

from gossipsync.core.membership.presence import SHORT_BYTES, Presence, Stance
from gossipsync.core.model.ids import PeerId

SUSPECT_AFTER: Final = 2.5
"""Refreshes missed, after which a member is suspect."""
DOWN_AFTER: Final = 5.0
"""Refreshes missed, after which it is down."""
_REFRESH_SHARE: Final = 8
"""Members per second of refresh interval: keeps presence traffic level as the mesh grows."""
_LEAST_REFRESH: Final = 2.0
_PRESENT: Final = frozenset({"alive", "suspect"})


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
    changed: int = 0
    """The presence change that brought its presence, by number."""
    changed_s: float = 0.0
    """When that was; monotonic."""
    place: int = -1
    """Where it stands in the list of those present; -1: not there."""

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
        self._recent: dict[PeerId, Member] = {}
        """Whose presence is known, ourselves included, in the order of its changes."""
        self._short: dict[bytes, Member] = {}
        self._present: list[PeerId] = []
        self._due: list[tuple[float, PeerId]] = []
        self._own: Member | None = None
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
            self._arrive(member)
        else:
            self._depart(member)

    def _arrive(self, member: Member) -> None:
        if member.place < 0:
            member.place = len(self._present)
            self._present.append(member.peer)

    def _depart(self, member: Member) -> None:
        if member.place < 0:
            return
        last = self._present.pop()
        if last != member.peer:
            self._present[member.place] = last
            self._members[last].place = member.place
        member.place = -1

    @property
    def present(self) -> list[PeerId]:
        """Members that may be there: alive or suspect, in no order. Not to be changed."""
        return self._present

    def due(self, now_s: float, refresh: float, again_s: float) -> Iterator[Member]:
        """Members whose state may have changed by silence alone; each is looked at again after at most `again_s`."""
        silent_s = now_s - SUSPECT_AFTER * refresh
        while self._due and self._due[0][0] <= now_s:
            _, peer = self._due[0]
            heapreplace(self._due, (now_s + again_s, peer))
            member = self._members[peer]
            if member.heard_s < silent_s or member.state != "alive" or not member.was_shown:
                yield member

    def heard(self, peer: PeerId, now_s: float) -> Member | None:
        """A peer has shown itself on its own link. None where there is no room for another member."""
        member = self._members.get(peer)
        if member is None:
            if len(self._members) >= self._limit:
                return None
            member = self._members[peer] = Member(peer, now_s)
            self._short[peer[:SHORT_BYTES]] = member
            self._arrive(member)
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
            self._note(member, presence, now_s)
        return member

    def own(self, presence: Presence, now_s: float) -> None:
        """Our own newest presence, to be told like any other."""
        if self._own is None:
            self._own = self._short[presence.peer[:SHORT_BYTES]] = Member(presence.peer, now_s)
        self._note(self._own, presence, now_s)

    def _note(self, member: Member, presence: Presence, now_s: float) -> None:
        self.seq += 1
        member.presence, member.changed, member.changed_s = presence, self.seq, now_s
        self._recent.pop(member.peer, None)
        self._recent[member.peer] = member

    def presence_of(self, peer: PeerId) -> Presence | None:
        """A peer's presence, our own included."""
        member = self._recent.get(peer)
        return None if member is None else member.presence

    def by_short(self, short: bytes) -> PeerId | None:
        """The peer whose key begins so."""
        member = self._short.get(short)
        return None if member is None else member.peer

    def lacking(self, rows: Iterable[bytes]) -> list[bytes]:
        """Those of the rows (see Presence.row) that tell of a presence newer than what is known."""
        lacking = []
        find = self._short.get
        for row in rows:
            member = find(row[:SHORT_BYTES])
            if member is None or member.presence is None or row > member.presence.row:
                lacking.append(row)
        return lacking

    def rows_since(self, since_s: float, limit: int) -> list[bytes]:
        """Rows (see Presence.row) of presence that changed since a moment, newest first."""
        rows: list[bytes] = []
        for member in islice(reversed(self._recent.values()), limit):
            if member.changed_s < since_s:
                break
            assert member.presence is not None, "only what has a presence is noted"
            rows.append(member.presence.row)
        return rows

    def from_key(self, after: bytes, room_bytes: int) -> list[Presence]:
        """Presence data in the order of their peers' keys behind `after`, at least one if there is any."""
        chosen: list[Presence] = []
        for peer in sorted(peer for peer in self._recent if peer > after):
            presence = self._recent[peer].presence
            assert presence is not None, "only what has a presence is noted"
            room_bytes -= len(presence.data)
            if room_bytes < 0 and chosen:
                break
            chosen.append(presence)
        return chosen

    def changed_since(self, seq: int) -> Iterator[tuple[int, Presence]]:
        """(sequence number, presence) of what changed after `seq`, newest first."""
        for member in reversed(self._recent.values()):
            if member.changed <= seq:
                return
            assert member.presence is not None, "only what has a presence is noted"
            yield member.changed, member.presence
