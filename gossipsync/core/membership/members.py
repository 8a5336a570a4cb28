"""Members: what is known about every other peer, and what state it seems to be in.

A member is *alive* while it is linked or its presence keeps coming, *suspect* when that stops, *down* when it has stopped for
long, *away* when it closed itself, *left* when it gave up membership (and is then no member any more).
Invariant: of one peer's presence data the newest stamp is kept, and never an older one.
"""

from __future__ import annotations

from collections.abc import Iterator
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
        self._recent: dict[PeerId, int] = {}
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

    def heard(self, peer: PeerId, now_s: float) -> Member | None:
        """A peer has shown itself on its own link. None where there is no room for another member."""
        member = self._members.get(peer)
        if member is None:
            if len(self._members) >= self._limit:
                return None
            member = self._members[peer] = Member(peer, now_s)
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
            self.seq += 1
            self._recent.pop(presence.peer, None)
            self._recent[presence.peer] = self.seq
        return member

    def own(self, presence: Presence) -> None:
        """Our own newest presence, to be told like any other."""
        self._own = presence
        self.seq += 1
        self._recent.pop(presence.peer, None)
        self._recent[presence.peer] = self.seq

    def changed_since(self, seq: int) -> Iterator[tuple[int, Presence]]:
        """(sequence number, presence) of what changed after `seq`, newest first."""
        for peer in reversed(self._recent):
            if self._recent[peer] <= seq:
                return
            member = self._members.get(peer)
            presence = self._own if member is None else member.presence
            assert presence is not None, "only presences are noted as changed"
            yield self._recent[peer], presence
