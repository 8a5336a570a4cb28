"""Members: what is known about every other peer, and what state it seems to be in.

A member is *alive* while it is linked or its presence keeps coming, *suspect* when that stops or somebody doubts that it lives,
*down* by a verdict (see suspicion) or when its presence has stopped for long, *away* when it closed itself, *left* when it gave
up membership (and is then no member any more). Whoever was away or down for a horizon is evicted: no member either, but its
addresses are kept and tried now and then, so that two halves of a mesh find each other after any time (hashicorp/memberlist#222).
Invariant: of one peer's presence data the newest stamp is kept, and never an older one, not even after it was evicted or dismissed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush, heapreplace
from itertools import islice
from typing import Final

from attrs import define

from gossipsync.core.membership.drawing import Crowd
from gossipsync.core.membership.presence import SHORT_BYTES, Presence, Stance
from gossipsync.core.membership.suspicion import Suspicion, Trust
from gossipsync.core.model.ids import PeerId, peer_text
from gossipsync.core.model.member_name import member_called
from gossipsync.core.ports import Rng

SUSPECT_AFTER: Final = 2.5
"""Refreshes missed, after which a member is suspect."""
DOWN_AFTER: Final = 5.0
"""Refreshes missed, after which it is down."""
_REFRESH_SHARE: Final = 8
"""Members per second of refresh interval: keeps presence traffic level as the mesh grows."""
_LEAST_REFRESH: Final = 2.0
_PRESENT: Final = frozenset({"alive", "suspect"})
_ABSENT: Final = frozenset({"down", "away", "left"})
_LOST: Final = 1024
"""Evicted members whose addresses are kept, about 1 kB each: a mesh cut in halves needs one of the other half."""


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
    lost_stamp: int | None = None
    """Its link broke when its clock showed this (ms, as we guess), and nothing newer was heard since."""
    suspicion: Suspicion | None = None
    """The doubts about it that stand."""
    doubted: int = -1
    """The highest bound of doubts that ended for us because we have heard it ourselves; -1 once it has refuted them for all."""
    trust: Trust | None = None
    """What it has refuted; None where nobody doubted it, or it was reached since."""
    state: str = "alive"
    was_shown: bool = False
    """Has the application been told of its state?"""
    changed: int = 0
    """The presence change that brought its presence, by number."""
    changed_s: float = 0.0
    """When that was; monotonic."""

    @property
    def name(self) -> str:
        """What it calls itself."""
        return self.hello_name if self.presence is None else self.presence.name

    @property
    def stance(self) -> Stance:
        """What it says of itself."""
        return Stance.UP if self.presence is None else self.presence.stance

    @property
    def zone(self) -> str:
        """Where it says it is."""
        return "" if self.presence is None else self.presence.zone

    @property
    def is_doubted(self) -> bool:
        """Is there a doubt about it that it has not yet refuted?"""
        return self.suspicion is not None or self.doubted >= 0

    def clock_ms(self, now_s: float) -> int:
        """What its clock shows now, going by its own stamps: never ahead of it but where it was set back."""
        if self.presence is None:
            return 0
        return self.presence.stamp + max(0, round((now_s - self.changed_s) * 1000))

    def judge(self, now_s: float, refresh: float) -> str:
        """The state it seems to be in now."""
        if self.stance is Stance.LEFT:
            return "left"
        if self.stance is Stance.AWAY and not self.is_linked:
            return "away"
        suspicion = self.suspicion
        if suspicion is not None and suspicion.is_concluded:
            return "down"
        if suspicion is not None and (suspicion.own is not None or not self.is_linked):
            return "suspect"
        if self.is_linked:
            return "alive"
        silence = now_s - self.heard_s
        if silence > DOWN_AFTER * refresh:
            return "down"
        is_lost = self.lost_stamp is not None or silence > SUSPECT_AFTER * refresh
        return "suspect" if is_lost else "alive"


class Members:
    """All other members, and which of them changed since when."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._members: dict[PeerId, Member] = {}
        self._left = 0
        self._recent: dict[PeerId, Member] = {}
        """Whose presence is known, ourselves included, in the order of its changes."""
        self._short: dict[bytes, Member] = {}
        self._crowd = Crowd()
        self._bounds: dict[PeerId, tuple[int, float]] = {}
        """Of whom no presence up to a stamp is taken until a moment: they were evicted or dismissed."""
        self._barred: dict[bytes, bytes] = {}
        """The same by the first bytes of their keys, as rows (see Presence.row)."""
        self._lost: dict[PeerId, Presence] = {}
        self._returned: dict[PeerId, tuple[float, bool]] = {}
        """When evicted members came back, and whether this peer was with others meanwhile."""
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

    def called(self, word: str) -> Member:
        """The one member that a word stands for, those that have left excepted. Raises LocalError: see `member_called`."""
        return member_called(
            word,
            (
                (member.name, peer_text(member.peer), member)
                for member in self
                if member.state != "left"
            ),
        )

    def has_left(self, peer: PeerId) -> bool:
        """Has it given up membership?"""
        member = self._members.get(peer)
        return member is not None and member.state == "left"

    def set_state(self, member: Member, state: str) -> None:
        """Note the state that a member was judged to be in."""
        self._left += (state == "left") - (member.state == "left")
        member.state = state
        if state in _PRESENT:
            self._crowd.arrive(member.peer, member.zone)
        else:
            self._crowd.depart(member.peer)

    @property
    def present(self) -> list[PeerId]:
        """Members that may be there: alive or suspect, in no order. Not to be changed."""
        return self._crowd.everybody

    def has_far(self, zone: str) -> bool:
        """May anybody be there in another zone?"""
        return self._crowd.has_far(zone)

    def draw_far(self, rng: Rng, count: int, zone: str) -> list[PeerId]:
        """Partners in other zones: see drawing."""
        return self._crowd.draw_far(rng, count, zone)

    def draw(self, rng: Rng, count: int, zone: str) -> list[PeerId]:
        """Partners for a peer in `zone`: see drawing."""
        return self._crowd.draw(rng, count, zone)

    def due(self, now_s: float, refresh: float, again_s: float) -> Iterator[Member]:
        """Members whose state may have changed by silence alone; each is looked at again after at most `again_s`, later where it was heard of lately."""
        patience_s = SUSPECT_AFTER * refresh
        silent_s = now_s - patience_s
        while self._due and self._due[0][0] <= now_s:
            peer = self._due[0][1]
            member = self._members.get(peer)
            if member is None:
                heappop(self._due)
                continue
            if member.heard_s < silent_s or member.state != "alive" or not member.was_shown:
                heapreplace(self._due, (now_s + again_s, peer))
                yield member
            else:
                due_s = member.heard_s + patience_s
                heapreplace(self._due, (max(now_s + again_s, min(due_s, now_s + refresh)), peer))

    def heard(self, peer: PeerId, now_s: float) -> Member | None:
        """A peer has shown itself on its own link: nobody's doubt counts against that. None where there is no room."""
        member = self._member(peer, now_s)
        if member is not None:
            self._unbar(peer)
            member.heard_s = now_s
            member.lost_stamp = None
            if member.suspicion is not None:
                member.doubted = max(member.doubted, member.suspicion.bound)
            member.suspicion = member.trust = None
        return member

    def _member(self, peer: PeerId, now_s: float) -> Member | None:
        member = self._members.get(peer)
        if member is None:
            if len(self._members) >= self._limit:
                return None
            was_with_others = not self._members.keys() <= self._returned.keys()
            member = self._members[peer] = Member(peer, now_s)
            if self._lost.pop(peer, None) is not None:
                self._returned[peer] = (now_s, was_with_others)
                if len(self._returned) > _LOST:
                    del self._returned[next(iter(self._returned))]
            self._short[peer[:SHORT_BYTES]] = member
            self._crowd.arrive(peer, "")
            heappush(self._due, (now_s, peer))
        return member

    def is_news(self, presence: Presence) -> bool:
        """Is it newer than what is known, so worth verifying?"""
        member = self._members.get(presence.peer)
        if member is None:
            bound = self._bounds.get(presence.peer)
            is_barred = bound is not None and presence.stamp <= bound[0]
            return not is_barred and len(self._members) < self._limit
        return member.presence is None or presence.stamp > member.presence.stamp

    def take(self, presence: Presence, now_s: float) -> Member | None:
        """Keep a verified presence, and end what it refutes. None where there is no room.

        One that its peer made before it was lost, or doubted, comes late over others, and says nothing about its life.
        """
        member = self._member(presence.peer, now_s)
        if member is None:
            return None
        self._unbar(presence.peer)
        if member.lost_stamp is not None and presence.stamp > member.lost_stamp:
            member.lost_stamp = None
        was_doubted = member.is_doubted
        if member.suspicion is not None and member.suspicion.end_before(presence.stamp):
            member.suspicion = None
        if presence.stamp > member.doubted:
            member.doubted = -1
        if was_doubted and not member.is_doubted:
            member.trust = member.trust or Trust()
            member.trust.refute(now_s)
        if member.lost_stamp is None and member.suspicion is None:
            member.heard_s = now_s
        self._note(member, presence, now_s)
        return member

    def is_overdue(self, member: Member, now_s: float, span_s: float) -> bool:
        """Has a member been absent, or gone for good, for longer than a span?"""
        return member.state in _ABSENT and not member.is_linked and now_s - member.heard_s > span_s

    def drop(self, peer: PeerId, bound: int, until_s: float) -> Presence | None:
        """No member any more, and no presence of it up to a stamp is taken until a moment. Its presence, if it had one."""
        if len(self._bounds) >= self._limit:
            self._unbar(next(iter(self._bounds)))
        self._bounds[peer] = (bound, until_s)
        self._barred[peer[:SHORT_BYTES]] = peer[:SHORT_BYTES] + bound.to_bytes(8, "big")
        member = self._members.pop(peer, None)
        self._lost.pop(peer, None)
        if member is None:
            return None
        self._left -= member.state == "left"
        self._crowd.depart(peer)
        self._recent.pop(peer, None)
        short = peer[:SHORT_BYTES]
        if self._short.get(short) is member:
            del self._short[short]
        return member.presence

    def expire_bounds(self, now_s: float) -> None:
        """Forget bounds whose time is over: older presence is refused for its age by then."""
        for peer in [peer for peer, (_, until_s) in self._bounds.items() if until_s <= now_s]:
            self._unbar(peer)

    def _unbar(self, peer: PeerId) -> None:
        if self._bounds.pop(peer, None) is not None:
            self._barred.pop(peer[:SHORT_BYTES], None)  # another key may begin with the same bytes

    def bar(self, peer: PeerId) -> int | None:
        """The stamp up to which no presence of a peer is taken; None for no bound."""
        bound = self._bounds.get(peer)
        return None if bound is None else bound[0]

    @property
    def lost(self) -> list[PeerId]:
        """Evicted members whose addresses are still tried."""
        return list(self._lost)

    def lost_since(self, wall_ms: int) -> int:
        """Evicted members whose last presence is newer than a moment."""
        return sum(presence.stamp > wall_ms for presence in self._lost.values())

    def returned_since(self, since_s: float) -> int:
        """Evicted members that have come back since a moment, to a peer that was with other members meanwhile."""
        self._returned = {
            peer: known for peer, known in self._returned.items() if known[0] >= since_s
        }
        return sum(was_with_others for _, was_with_others in self._returned.values())

    def keep_lost(self, presence: Presence) -> PeerId | None:
        """Keep an evicted member's addresses; whom we gave up for it, where there are too many."""
        self._lost[presence.peer] = presence
        if len(self._lost) <= _LOST:
            return None
        oldest = next(iter(self._lost))
        del self._lost[oldest]
        return oldest

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
        return self._lost.get(peer) if member is None else member.presence

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
            if member is None and row <= self._barred.get(row[:SHORT_BYTES], b""):
                continue
            if member is None or member.presence is None or row > member.presence.row:
                lacking.append(row)
        return lacking

    def rows_since(self, since_s: float, limit: int, seq: int = 0) -> list[bytes]:
        """Rows (see Presence.row) of presence that changed since a moment and after `seq`, newest first."""
        rows: list[bytes] = []
        for member in islice(reversed(self._recent.values()), limit):
            if member.changed_s < since_s or member.changed <= seq:
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
