"""Disputes: what becomes of a cell that one side of a reconciliation holds and the other's line covers.

An entry at or below my line that is not in my state has lost. It is taken back only when two members offer it at my present
vector (one, where there is only one); a cell of mine that every other present member has refused so is given up. Whoever was
out of touch for longer than the horizon yields where the other knows better; a joiner yields always.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context
from gossipsync.core._peer.standing import Standing
from gossipsync.core.model.events import Yielded
from gossipsync.core.model.hlc import hlc_ms
from gossipsync.core.model.ids import Origin, PeerId, epoch_of, peer_of
from gossipsync.core.model.now import Now
from gossipsync.core.replication.cells import INDEX, ORIGIN, Cell, cell_hash
from gossipsync.core.replication.lines import LineKey

QUORUM: Final = 2
"""Members whose word is enough, where there are so many."""

_Name = tuple[str, str, Origin, bytes]


@define(eq=False)
class Disputes:
    """Votes, and how long this peer has been out of touch."""

    _ctx: Context
    _standing: Standing
    joined_with: set[PeerId] = field(factory=set)
    """Members whose state a joiner has taken over, or compared with."""
    _offers: dict[_Name, dict[PeerId, bytes]] = field(factory=dict)
    _refusals: dict[_Name, dict[PeerId, bytes]] = field(factory=dict)
    _undecided_at: bytes = b""
    """The vector at which a vote was not enough."""
    _asked: dict[PeerId, None] = field(factory=dict)
    """Who was asked for votes at that vector."""
    _touch: Now | None = None
    """When an exchange with a member was last completed; what an older run has stored of that, before there was one."""
    _known: dict[LineKey, int] | None = None
    """What we knew when we lost touch; None while we have it."""
    _yielded: int = 0

    # -- touch -----------------------------------------------------------------------------------------------

    def touched(self) -> None:
        """An exchange with a member was completed; whoever is back has yielded first."""
        if not self.is_back:
            self._touch, self._known = self._ctx.now, None

    def lost_touch(self, ago_s: float = 0.0) -> None:
        """The last link has ended, or a store was loaded that was in touch so long ago: what we know now is what we knew then."""
        if self._known is None:
            self._known = {line.key: line.index for line in self._ctx.logs.lines}
            if self._touch is None:
                now = self._ctx.now
                self._touch = Now(now.mono_s - ago_s, now.wall_ms - round(ago_s * 1000))

    @property
    def is_back(self) -> bool:
        """Have we been out of touch for longer than the horizon, by either clock, and not made up for it yet?

        A machine that stands still does not see its links end; and where it is a virtual one, its monotonic clock may stand still
        with it. If it was only the wall clock that somebody set, we ask the mesh and find that it knows no better.
        """
        if self._touch is None or not self._standing.is_established:
            return False
        now, touch = self._ctx.now, self._touch
        away_s = max(now.mono_s - touch.mono_s, (now.wall_ms - touch.wall_ms) / 1000)
        return away_s > self._ctx.config.horizon_ms / 1000

    def completed(self, peer: PeerId, *, is_joining: bool, is_whole: bool) -> None:
        """A reconciliation with a member has come to its end, or a probe has shown that none is needed."""
        self._standing.witnesses.add(peer)
        if not is_whole:
            return
        if is_joining:
            self.joined_with.add(peer)
        elif self.is_back:
            self._ctx.emit(Yielded(peer, self._yielded))
        self._touch, self._known, self._yielded = self._ctx.now, None, 0

    # -- cells -----------------------------------------------------------------------------------------------

    def offered(self, bucket: str, key: str, cell: Cell, peer: PeerId) -> bool:
        """A member offers a cell that our line covers and our state lacks: is it to be taken back?

        Who wrote it needs no second voice: he could as well write it again, and he must not lose what he confirmed because one member
        told others how far he had written, and not what.
        """
        if peer == peer_of(cell[ORIGIN]):
            return True
        quorum = min(QUORUM, max(1, len(self._ctx.members.present)))
        return self._vote(self._offers, (bucket, key, cell), peer, quorum)

    def yields(self, bucket: str, key: str, cell: Cell, peer: PeerId, *, is_joining: bool) -> bool:
        """A member has had this cell of ours and has it no more: do we give it up?"""
        if is_joining:
            return True
        if self.is_back:
            self.lost_touch()
            assert self._known is not None, "known from then on"
            gone = self._known.get((bucket, cell[ORIGIN]), 0) >= cell[INDEX]
            self._yielded += gone
            return gone
        if peer_of(cell[ORIGIN]) == self._ctx.peer_id:
            return False
        quorum = max(QUORUM, len(self._ctx.members.present))
        return self._vote(self._refusals, (bucket, key, cell), peer, quorum)

    def _vote(
        self,
        ballots: dict[_Name, dict[PeerId, bytes]],
        what: tuple[str, str, Cell],
        peer: PeerId,
        quorum: int,
    ) -> bool:
        """Note a vote, which counts for our present vector only; are there enough now?"""
        now = self._ctx.logs.lines.digest()
        bucket, key, cell = what
        name = (bucket, key, cell[ORIGIN], cell_hash(cell))
        if name not in ballots and len(ballots) >= self._ctx.config.limits.votes:
            del ballots[next(iter(ballots))]
        votes = ballots.setdefault(name, {})
        votes[peer] = now
        is_enough = sum(ballot == now for ballot in votes.values()) >= quorum
        if not is_enough:
            if self._undecided_at != now:
                self._undecided_at, self._asked = now, {}
            self._asked[peer] = None
        return is_enough

    @property
    def is_undecided(self) -> bool:
        """Have too few voted on anything at our present vector?"""
        return self._undecided_at == self._ctx.logs.lines.digest()

    def ask_next(self, peers: Iterable[PeerId]) -> PeerId | None:
        """Whom to ask for a further vote; each once at one vector, for what is undecided may have been settled elsewhere."""
        for peer in peers:
            if peer not in self._asked:
                self._asked[peer] = None
                return peer
        return None

    # -- epochs ----------------------------------------------------------------------------------------------

    def is_over(self, key: LineKey) -> bool:
        """Has the epoch ended, as far as we know: has its peer opened a newer one, left, or been away for a horizon?

        Never one that nothing signed has shown yet: of those anybody could invent any number.
        """
        ctx = self._ctx
        origin = key[1]
        peer, epoch = peer_of(origin), epoch_of(origin)
        if peer == ctx.peer_id:
            return epoch < epoch_of(ctx.origin)
        link = ctx.by_peer.get(peer) if ctx.directory is None else None
        if link is not None:
            return link.epoch > epoch
        if ctx.logs.newest_epoch(peer) > epoch:
            return True
        member = ctx.members.find(peer)
        if member is None or member.presence is None:
            # Nobody has heard of it for long, or not yet: its last writes tell which.
            log = ctx.logs.find(key)
            return log is not None and ctx.now.wall_ms - hlc_ms(log.hlc) > ctx.config.horizon_ms
        if member.presence.epoch != epoch:
            return member.presence.epoch > epoch
        if member.state == "left":
            return True
        return ctx.now.mono_s - member.heard_s > ctx.config.horizon_ms / 1000
