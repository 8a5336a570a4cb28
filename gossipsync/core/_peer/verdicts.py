"""Verdicts: doubts about members and dismissals, how they spread, and how whoever lives refutes them.

A statement that is news is passed on (see spreading); nobody relays what does not verify, or more doubts about one member than
count. Whoever hears itself doubted shows a newer presence, which spreads the same way and ends the doubts.

Invariant: by others' words alone nobody is down but by `ENOUGH` members that each signed it, and nobody who is linked with us and
answers. Nothing is concluded for a while after this peer's own loop stood still.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.introductions import Introductions
from gossipsync.core._peer.spreading import Spreading
from gossipsync.core.membership.allowance import Allowance
from gossipsync.core.membership.members import DOWN_AFTER, Member
from gossipsync.core.membership.presence import Stance
from gossipsync.core.membership.statements import (
    Claim,
    Statement,
    is_stated,
    make_statement,
    parse_statement,
)
from gossipsync.core.membership.suspicion import LocalHealth, Suspicion
from gossipsync.core.model import strict
from gossipsync.core.model.events import MemberChanged
from gossipsync.core.model.ids import PeerId, peer_text
from gossipsync.core.model.reasons import Reason
from gossipsync.core.wire.liveness import Statements
from gossipsync.core.wire.messages import Presences
from gossipsync.errors import NotPermittedError

_MANY: Final = 8
"""Members in doubt at once from which on that is no matter of single members: those whom others have us reach we do not probe as well."""


@define(eq=False)
class Verdicts:
    """What members say of members, at one peer."""

    _ctx: Context
    _introductions: Introductions
    _health: LocalHealth
    _put_head: Callable[[str, bytes | None], None]
    _open: dict[PeerId, Suspicion] = field(factory=dict)
    """Suspicions without a verdict."""
    _dismissals: dict[PeerId, Statement] = field(factory=dict)
    _allowances: dict[PeerId, Allowance] = field(factory=dict)
    _doubts: Allowance | None = None
    _spreading: Spreading = field(init=False)
    refuted: int = 0
    """How often we refuted a statement about ourselves."""
    _refuted_s: float = float("-inf")

    def __attrs_post_init__(self) -> None:
        self._spreading = Spreading(self._ctx, self._stands)

    # -- our own word ----------------------------------------------------------------------------------------

    def may_doubt_s(self) -> float:
        """When we may next doubt somebody: at once, unless we have just doubted many."""
        now_s, limits = self._ctx.now.mono_s, self._ctx.config.limits
        if self._doubts is None:
            self._doubts = Allowance(limits.doubts, now_s)
        self._doubts.grow(now_s, limits.doubts, limits.doubts_per_s)
        return now_s + max(0.0, 1 - self._doubts.left) / limits.doubts_per_s

    def doubt(self, peer: PeerId) -> None:
        """We have probed a member in vain, and so have those whom we asked to: say so."""
        member = self._ctx.members.find(peer)
        if member is None or member.stance is not Stance.UP:
            return
        if member.suspicion is not None and member.suspicion.own is not None:
            return
        statement = self._state(Claim.DOUBT, member)
        if self._doubts is not None:
            self._doubts.take()
        self._suspect(member).own = statement
        self._spread(statement)
        self._ctx.judge(member)

    def dismiss(self, called: str) -> PeerId:
        """Give up a member that is not there, on an operator's word: an exact name, or at least 8 characters of a peer id.

        Raises LocalError where that names no member or several, NotPermittedError for one that lives.
        """
        member = self._ctx.members.called(called)
        if member.is_linked or member.state == "alive":
            raise NotPermittedError(
                f"{member.name!r} is alive; run `gossipsync leave` there, or stop it first"
            )
        statement = self._state(Claim.DISMISSAL, member)
        self._apply(statement)
        self._spread(statement)
        return member.peer

    def _state(self, claim: Claim, member: Member) -> Statement:
        ctx = self._ctx
        # Above every stamp that its presence can have by now, on its own clock, and never further ahead than others take.
        furthest = ctx.now.wall_ms + ctx.config.max_skew_ms
        stamp = 0 if member.presence is None else member.presence.stamp
        bound = max(stamp, min(member.clock_ms(ctx.now.mono_s), furthest))
        return make_statement(
            claim,
            network=ctx.config.network,
            by=ctx.peer_id,
            about=member.peer,
            bound=bound,
            sign=ctx.sign,
        )

    # -- others' words ---------------------------------------------------------------------------------------

    def receive(self, link: Link, message: Statements) -> list[PeerId]:
        """Statements, the sender's or others'. Members doubted by somebody that we are linked with: look for yourself."""
        ctx = self._ctx
        if len(message.data) > ctx.config.limits.statements:
            ctx.refuse(link, Reason.OVERSIZE, "too many statements at once")
            return []
        to_probe: dict[PeerId, None] = {}
        against_us = -1
        for data in message.data:
            statement = self._read(link, data)
            if link.is_closing:
                to_probe.clear()  # one forgery is proof enough
                break
            if statement is None:
                continue
            if statement.about == ctx.peer_id:
                against_us = max(against_us, statement.bound)
            elif statement.claim is Claim.DOUBT and self._count(statement):
                self._spreading.add(statement, link)
                if statement.about in ctx.by_peer:
                    to_probe[statement.about] = None
            elif statement.claim is Claim.DISMISSAL and self._apply(statement):
                self._spreading.add(statement, link)
        self._spreading.flush()
        if against_us >= 0 and not link.is_closing:
            self._refute(against_us)
        return list(to_probe)

    def _read(self, link: Link, data: bytes) -> Statement | None:
        """A statement that is news, and verified."""
        ctx = self._ctx
        if len(data) > ctx.config.limits.statement_bytes:
            ctx.refuse(link, Reason.OVERSIZE, "a statement")
            return None
        try:
            statement, body, signature = parse_statement(data, ctx.config.network)
        except strict.MalformedError as error:
            ctx.refuse(link, Reason.MALFORMED, str(error))
            return None
        if not self._is_news(statement):
            self._correct(link, statement)
            return None
        if statement.bound > ctx.now.wall_ms + self._skew_ms(statement):
            ctx.refuse(link, Reason.SKEW, "a statement about the future")
            return None
        if statement.by not in ctx.credentials:
            ctx.refuse(link, Reason.NO_CREDENTIAL, "a statement by somebody without certificate")
            return None
        if not self._may_state(statement.by):
            ctx.refuse(link, Reason.RATE, "too many statements by one member")
            return None
        if not is_stated(statement, body, signature, ctx.verifier):
            ctx.refuse(link, Reason.SIGNATURE, "a statement not signed by its member")
            return None
        return statement

    def _correct(self, link: Link, statement: Statement) -> None:
        """Whoever tells of a doubt that is refuted already lacks the presence that did it: a renewal may have come between."""
        ctx, about = self._ctx, statement.about
        presence, member = ctx.members.presence_of(about), ctx.members.find(about)
        trust = None if member is None else member.trust
        shown_s = float("-inf") if trust is None else trust.refuted_s
        if about == ctx.peer_id:
            shown_s = self._refuted_s
        if (
            statement.claim is Claim.DOUBT
            and presence is not None
            and presence.stamp > statement.bound
            and ctx.now.mono_s - shown_s > ctx.config.probe_interval_s  # else it is on its way
        ):
            ctx.tell_credentials(link, (about,))
            ctx.send(link, Presences((presence.data,)))

    def _skew_ms(self, statement: Statement) -> int:
        # We refute whatever others believe, also those whose clocks are ahead of ours.
        return self._ctx.config.max_skew_ms * (2 if statement.about == self._ctx.peer_id else 1)

    def _is_news(self, statement: Statement) -> bool:
        ctx = self._ctx
        if statement.by in (ctx.peer_id, statement.about) or ctx.members.has_left(statement.by):
            return False
        if statement.about == ctx.peer_id:
            return statement.bound >= self._introductions.stamp
        member = ctx.members.find(statement.about)
        presence = None if member is None else member.presence
        if presence is not None and presence.stamp > statement.bound:
            return False
        if statement.claim is Claim.DISMISSAL:
            former = self._dismissals.get(statement.about)
            return former is None or statement.bound > former.bound
        if member is None or member.stance is not Stance.UP or statement.bound <= member.doubted:
            return False
        return member.suspicion is None or member.suspicion.is_news(statement)

    def _may_state(self, by: PeerId) -> bool:
        """A token bucket over each member's statements, whoever brings them."""
        now_s, limits = self._ctx.now.mono_s, self._ctx.config.limits
        known = self._allowances.get(by)
        if known is None:
            known = self._allowances[by] = Allowance(limits.statements, now_s)
        known.grow(now_s, limits.statements, limits.statements_per_s)
        return known.take()

    def _count(self, doubt: Statement) -> bool:
        member = self._ctx.members.find(doubt.about)
        if member is None:
            return False
        self._suspect(member).doubts[doubt.by] = doubt
        self._ctx.judge(member)
        return True

    def _suspect(self, member: Member) -> Suspicion:
        if member.suspicion is None:
            member.suspicion = Suspicion(self._ctx.now.mono_s)
        if not member.suspicion.is_concluded:
            self._open[member.peer] = member.suspicion
        return member.suspicion

    def _refute(self, bound: int) -> None:
        """We live: whoever doubts that hears it from us at once."""
        self.refuted += 1
        self._refuted_s = self._ctx.now.mono_s
        self._health.worse()  # as in Lifeguard: others found us slow
        self._introductions.renew_above(bound)

    # -- dismissals ------------------------------------------------------------------------------------------

    def _apply(self, dismissal: Statement) -> bool:
        """Give up a member, at once unless we see it alive: then it refutes this, or we do so later. Is it to be passed on?"""
        ctx, peer = self._ctx, dismissal.about
        if len(self._dismissals) >= ctx.config.limits.dismissals and peer not in self._dismissals:
            return False
        self._dismissals[peer] = dismissal
        self._put_head(f"dismissal/{peer_text(peer)}", dismissal.data)
        member = ctx.members.find(peer)
        if member is None or member.state != "alive":
            self._bar(dismissal)
        return True

    def _bar(self, dismissal: Statement) -> None:
        ctx, peer = self._ctx, dismissal.about
        member = ctx.members.find(peer)
        ctx.members.drop(peer, dismissal.bound, ctx.now.mono_s + self.memory_s)
        self._put_head(f"presence/{peer_text(peer)}", None)
        self._open.pop(peer, None)
        if member is not None:
            ctx.emit(MemberChanged(peer, member.name, "forgotten"))

    def load(self, name: str, data: bytes) -> None:
        """A dismissal that an earlier run stored. One that is malformed is dropped, from the store too, and counted."""
        ctx = self._ctx
        try:
            dismissal, _, _ = parse_statement(data, ctx.config.network)
        except strict.MalformedError:
            ctx.counters["stored-dropped"] += 1
            self._put_head(name, None)
            return
        if dismissal.bound + self.memory_s * 1000 < ctx.now.wall_ms:
            self._put_head(f"dismissal/{peer_text(dismissal.about)}", None)
            return
        self._dismissals[dismissal.about] = dismissal
        ctx.members.drop(dismissal.about, dismissal.bound, ctx.now.mono_s + self.memory_s)

    @property
    def memory_s(self) -> float:
        """How long what ends a membership is remembered: as long as older presence may be taken from anybody."""
        return self._introductions.oldest_s

    # -- spreading -------------------------------------------------------------------------------------------

    def _spread(self, statement: Statement) -> None:
        self._spreading.add(statement, None)
        self._spreading.flush()

    def greet(self, link: Link) -> None:
        """Tell a new link what is fresh; one that is to stay, also who was dismissed."""
        self._spreading.greet(link, self._dismissals.values())

    @property
    def delayed(self) -> int:
        """Statements that had to wait because there were too many."""
        return self._spreading.delayed

    def _stands(self, statement: Statement) -> bool:
        if statement.claim is Claim.DISMISSAL:
            return self._dismissals.get(statement.about) is statement
        member = self._ctx.members.find(statement.about)
        suspicion = None if member is None else member.suspicion
        return suspicion is not None and statement in suspicion.statements

    # -- deciding --------------------------------------------------------------------------------------------

    def next_deadline(self) -> float:
        """When the next suspicion is to be decided, or what waits may be told."""
        interval_s = self._ctx.config.probe_interval_s
        dues = (each.due_s(interval_s) for each in self._open.values())
        return min(self._spreading.next_s, min(dues, default=float("inf")))

    @property
    def is_crowded(self) -> bool:
        """Are so many in doubt that it is no matter of single members?"""
        return len(self._open) >= _MANY

    def postpone(self, until_s: float) -> None:
        """Our own loop stood still: whatever we did not hear is our own fault until it has had time to arrive."""
        for suspicion in self._open.values():
            suspicion.not_before_s = max(suspicion.not_before_s, until_s)

    def decide(self) -> list[PeerId]:
        """Speak the verdicts that are due. Members doubted by too few, and not by us: probe them."""
        ctx = self._ctx
        self._spreading.flush()
        to_probe = []
        for peer, suspicion in list(self._open.items()):
            member = ctx.members.find(peer)
            if member is None or member.suspicion is not suspicion:
                del self._open[peer]
            elif suspicion.due_s(ctx.config.probe_interval_s) <= ctx.now.mono_s:
                link = ctx.by_peer.get(peer)
                if link is not None and link.heard_s > suspicion.since_s:
                    ctx.members.heard(peer, ctx.now.mono_s)
                    ctx.judge(member)
                elif suspicion.may_conclude(is_linked=member.is_linked):
                    self._conclude(member, suspicion)
                else:
                    suspicion.since_s = ctx.now.mono_s
                    to_probe.append(peer)
        return to_probe

    def _conclude(self, member: Member, suspicion: Suspicion) -> None:
        ctx = self._ctx
        suspicion.is_concluded = True
        del self._open[member.peer]
        if (link := ctx.by_peer.get(member.peer)) is not None:
            ctx.hang_up(link, "unresponsive")
        ctx.judge(member)

    # -- the long absent -------------------------------------------------------------------------------------

    def evict(self, member: Member) -> None:
        """Away or down for longer than a horizon: no member any more, though its addresses are still tried."""
        ctx = self._ctx
        stamp = 0 if member.presence is None else member.presence.stamp
        presence = ctx.members.drop(member.peer, stamp, ctx.now.mono_s + self.memory_s)
        self._open.pop(member.peer, None)
        given_up: PeerId | None = member.peer
        if presence is not None and presence.stance is not Stance.LEFT:
            given_up = ctx.members.keep_lost(presence)
        if given_up is not None:
            self._put_head(f"presence/{peer_text(given_up)}", None)
        if member.state != "left":
            ctx.emit(MemberChanged(member.peer, member.name, "evicted"))

    def is_overdue(self, member: Member) -> bool:
        """Has a member been absent for longer than a horizon, and than its presence may be on its way?"""
        horizon_s = max(self._ctx.config.horizon_ms / 1000, DOWN_AFTER * self._ctx.refresh_s)
        return self._ctx.members.is_overdue(member, self._ctx.now.mono_s, horizon_s)

    def forget_old(self) -> None:
        """Drop dismissals and bounds that are not needed any more."""
        ctx = self._ctx
        ctx.members.expire_bounds(ctx.now.mono_s)
        for peer, dismissal in list(self._dismissals.items()):
            member = ctx.members.find(peer)
            presence = None if member is None else member.presence
            if member is None:
                is_over = ctx.members.bar(peer) is None
            else:
                is_over = presence is not None and presence.stamp > dismissal.bound
            if is_over:
                del self._dismissals[peer]
                self._put_head(f"dismissal/{peer_text(peer)}", None)
            elif member is not None and member.state == "down":
                self._bar(dismissal)
        oldest_s = (
            ctx.now.mono_s - ctx.config.limits.statements / ctx.config.limits.statements_per_s
        )
        for by in [by for by, known in self._allowances.items() if known.at_s < oldest_s]:
            del self._allowances[by]
