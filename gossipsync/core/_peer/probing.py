"""Probing: do the members that we are linked with live? And do those that somebody doubts?

At every tick the few links that were silent longest get a ping; whatever comes over a link is an answer. A link that breaks
without a word, a dial that is refused, and another's doubt have the member probed at once. Who does not answer is probed through
`SCOUTS` other members, which ping it or dial it; only where they reach it no more than we do, we doubt it (see verdicts). After
Das, Gupta, Motivala, "SWIM" (2002), and Dadgar, Phillips, Currey, "Lifeguard" (2018): all patience is multiplied by our own
health, and nothing is concluded for `CALM_S` after our own loop stood still.

Invariant: a constant number of pings a tick, of probes under way and of doubts a second, however many members, and however many
of them fail at once: whoever does not fit waits, in `Context.unsure`, in `_waiting` or in its probe. At most
`Limits.reaches_per_link` members that each link has us reach for.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import nsmallest
from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.pauses import PAUSE_SHARE
from gossipsync.core._peer.verdicts import Verdicts
from gossipsync.core.membership.members import Member
from gossipsync.core.membership.presence import Stance
from gossipsync.core.membership.suspicion import LocalHealth
from gossipsync.core.model.ids import LinkId, PeerId
from gossipsync.core.model.reasons import Reason
from gossipsync.core.wire.liveness import Liveness, Parting, Ping, Pong, Reach, Reached, Statements

SCOUTS: Final = 3
"""Members asked to reach one that does not answer us; SWIM's and Lifeguard's k."""
CALM_S: Final = 5.0
"""No verdicts for so long after our own loop stood still: what arrived meanwhile must be read first, and others must find us again."""
_PINGS: Final = 3
"""Links pinged a tick while all are linked with all: with those that the other ends ping, all in less than two ticks."""
_PINGS_IN_VIEW: Final = 2
"""Links pinged a tick in a sparse mesh: a dozen others have the same member in their view, and one of them is the first to wonder."""
_UNHEARD: Final = 2
"""Members probed a tick in a sparse mesh because nothing was heard of them: each costs a handshake at both ends, and where very many
are silent it was more likely a network, or a machine of many peers, that stood still, and news of them will come by itself."""
_FEWEST: Final = 4
"""By how much our own health makes the probes at once fewer, at most: whoever has lost many must still get through them."""
_SILENT: Final = 0.75
"""Probe intervals of silence after which a link is worth a ping."""
_DIRECT: Final = 0.5
"""Probe intervals to answer a ping or a dial: several round trips between continents."""
_INDIRECT: Final = 0.75
"""Probe intervals for scouts to answer: a dial of theirs, there and back."""
_LEAST_WAIT_S: Final = 0.02
"""For a turn to doubt: what is left of an allowance is not exact."""
_OVERDUE: Final = 1.25
"""Presence refreshes of silence that make a dial that timed out worth a probe; one that is refused always is."""
_TIDY_EVERY: Final = 5
"""Ticks from one look at what may be forgotten to the next."""


@define(eq=False)
class _Probe:
    number: int
    started_s: float
    due_s: float
    is_refused: bool = False
    """Has dialling it failed for sure?"""
    scouts: set[LinkId] | None = None
    """Links of those who have not yet answered; None before they are asked."""
    has_waited: bool = False
    """Had it to wait for scouts, or with its doubt?"""


@define(eq=False)
class _Errand:
    """Reaching somebody because another cannot."""

    peer: PeerId
    started_s: float
    due_s: float


@define(eq=False)
class Probing:
    """The failure detector of one peer. `dial(peer)` opens a transient link, and says whether it is being opened."""

    _ctx: Context
    _verdicts: Verdicts
    _health: LocalHealth
    _dial: Callable[[PeerId], bool]
    deadline_s: float = float("inf")
    """When to `wake`; infinite where a directory speaks for the members."""
    stalls: int = 0
    failed: int = 0
    """Probes that nobody answered."""
    delayed: int = 0
    """Probes that had to wait because there were too many at once."""
    _next_s: float = 0.0
    _calm_s: float = 0.0
    _number: int = 0
    _ticks: int = 0
    _probes: dict[PeerId, _Probe] = field(factory=dict)
    _errands: dict[tuple[LinkId, int], _Errand] = field(factory=dict)
    _waiting: dict[PeerId, None] = field(factory=dict)
    """Members to be probed when others have come to their end."""
    _asked: dict[LinkId, set[int]] = field(factory=dict)
    """Numbers of what each was asked to reach and has not answered yet, whatever has become of the probe."""

    def start(self) -> None:
        """From now on look at the others."""
        if self._ctx.directory is None:
            self._next_s = self._ctx.now.mono_s + self._span_s(1.0)
            self._arm(self._next_s)

    def _span_s(self, share: float) -> float:
        return share * self._ctx.config.probe_interval_s * self._health.factor

    def _arm(self, due_s: float) -> None:
        if due_s < self.deadline_s and self._ctx.directory is None:
            self.deadline_s = due_s

    # -- time ------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something is due."""
        now_s = self._ctx.now.mono_s
        if now_s - self.deadline_s > PAUSE_SHARE * self._ctx.config.probe_interval_s:
            self._stalled()
        for peer, probe in list(self._probes.items()):
            if probe.due_s <= now_s:
                self._due(peer, probe)
        for key, errand in list(self._errands.items()):
            if errand.due_s <= now_s:
                self._answer(key, was_reached=self._has_answered(errand.peer, errand.started_s))
        if now_s >= self._next_s:
            self._tick()
        for peer in self._verdicts.decide():
            self.check(peer)
        self._resume()
        dues = [probe.due_s for probe in self._probes.values()]
        dues += [errand.due_s for errand in self._errands.values()]
        self.deadline_s = min([self._next_s, self._verdicts.next_deadline(), *dues])

    def _stalled(self) -> None:
        """We were deaf: begin all probes anew, and conclude nothing until the others have found us again."""
        now_s = self._ctx.now.mono_s
        self.stalls += 1
        self._health.worse()
        self._calm_s = now_s + CALM_S
        self._verdicts.postpone(self._calm_s)
        for probe in self._probes.values():
            self._number += 1  # some scouts may not have answered the old one, and would be asked the same twice
            probe.number = self._number
            probe.started_s, probe.due_s = now_s, now_s + self._span_s(_DIRECT)
            probe.scouts = None

    def _tick(self) -> None:
        ctx = self._ctx
        self._ticks += 1
        jitter = 0.8 + 0.4 * ctx.rng.random()
        self._next_s = ctx.now.mono_s + self._span_s(jitter)
        silent_s = ctx.now.mono_s - self._span_s(_SILENT)
        silent = [
            link
            for link in ctx.by_peer.values()
            if link.heard_s < silent_s and link.peer not in self._probes
        ]
        pings = _PINGS_IN_VIEW if ctx.is_sparse else _PINGS
        for link in nsmallest(pings, silent, key=lambda link: (link.heard_s, link.id)):
            self.check(link.peer)
        self._check_unheard()
        if self._ticks % _TIDY_EVERY == 0:
            self._verdicts.forget_old()

    # -- probes ----------------------------------------------------------------------------------------------

    def check(self, peer: PeerId) -> None:
        """Does a member live? Ping it, or dial it where no link is open."""
        ctx = self._ctx
        member = ctx.members.find(peer)
        if peer in self._probes or member is None or not _is_expected(member):
            return
        if len(self._probes) >= self._most():
            self.delayed += 1
            self._waiting[peer] = None
            return
        self._number += 1
        now_s = ctx.now.mono_s
        probe = _Probe(self._number, now_s, now_s + self._span_s(_DIRECT))
        self._probes[peer] = probe
        link = ctx.by_peer.get(peer)
        if link is not None and not link.is_closing:
            ctx.send(link, Ping(probe.number))
        elif not self._dial(peer):
            probe.is_refused = True
            self._ask_others(peer, probe)
        self._arm(probe.due_s)

    def _resume(self) -> None:
        """Probe those who wait for it, as many as may be at once."""
        while self._waiting and len(self._probes) < self._most():
            peer = next(iter(self._waiting))
            del self._waiting[peer]
            self.check(peer)

    def _most(self) -> int:
        """Probes at once: the fewer, the worse we are, for each may cost a handshake that comes to nothing where all take too long."""
        return self._ctx.config.limits.probes // min(_FEWEST, self._health.factor)

    def _check_unheard(self) -> None:
        """Probe some of those who are suspect by silence alone, unless they were heard of meanwhile."""
        ctx = self._ctx
        left = _UNHEARD if ctx.is_sparse else len(ctx.unsure)
        while ctx.unsure and left:
            peer = next(iter(ctx.unsure))
            del ctx.unsure[peer]
            member = ctx.members.find(peer)
            if member is not None and member.state == "suspect" and member.suspicion is None:
                self.check(peer)
                left -= 1

    def _wait(self, probe: _Probe, until_s: float) -> None:
        """What a probe needs next is used up: it goes on later."""
        self.delayed += not probe.has_waited
        probe.has_waited = True
        probe.due_s = until_s
        self._arm(until_s)

    def _has_answered(self, peer: PeerId, since_s: float) -> bool:
        link = self._ctx.by_peer.get(peer)
        return link is not None and not link.is_closing and link.heard_s >= since_s

    def _due(self, peer: PeerId, probe: _Probe) -> None:
        if self._has_answered(peer, probe.started_s):
            self._lives(peer)
        elif probe.scouts is None:
            self._ask_others(peer, probe)
        else:
            self._fail(peer, probe)

    def _ask_others(self, peer: PeerId, probe: _Probe) -> None:
        """Nobody is asked for more at once than he has to take, be it that his answers are held up."""
        ctx = self._ctx
        limit = ctx.config.limits.reaches_per_link
        others = [
            link for link in ctx.by_peer.values() if link.peer != peer and not link.is_closing
        ]
        free = [link.peer for link in others if len(self._asked.get(link.id, ())) < limit]
        if others and not free:
            self._wait(probe, ctx.now.mono_s + self._span_s(_DIRECT))
            return
        probe.scouts = set()
        for other in ctx.rng.sample(free, min(SCOUTS, len(free))):
            link = ctx.by_peer[other]
            probe.scouts.add(link.id)
            self._asked.setdefault(link.id, set()).add(probe.number)
            ctx.send(link, Reach(probe.number, peer))
        if (own := ctx.by_peer.get(peer)) is not None:
            ctx.send(own, Ping(probe.number))
        probe.due_s = ctx.now.mono_s + self._span_s(_INDIRECT)
        self._arm(probe.due_s)

    def _fail(self, peer: PeerId, probe: _Probe) -> None:
        """Nobody reaches it. Scouts that are silent themselves speak against us rather than against it."""
        now_s, member = self._ctx.now.mono_s, self._ctx.members.find(peer)
        trust = None if member is None else member.trust
        if member is None or (trust is not None and trust.refuted_s >= probe.started_s):
            del self._probes[peer]  # it has refuted meanwhile what another said of it
            return
        is_calm = now_s < self._calm_s
        may_s = self._verdicts.may_doubt_s()
        if _is_expected(member) and not is_calm and may_s > now_s:
            self._wait(probe, max(may_s, now_s + _LEAST_WAIT_S))
            return
        del self._probes[peer]
        self.failed += 1
        silent = len(probe.scouts or ())
        if silent:
            self._health.worse(silent)
        if not is_calm:
            self._verdicts.doubt(peer)
            self._arm(self._verdicts.next_deadline())

    def _lives(self, peer: PeerId) -> None:
        """It has answered us."""
        if self._probes.pop(peer, None) is not None:
            self._health.better()
        member = self._ctx.members.find(peer)
        if member is not None and member.suspicion is not None:
            self._ctx.members.heard(peer, self._ctx.now.mono_s)
            self._ctx.judge(member)
        for key, errand in list(self._errands.items()):
            if errand.peer == peer:
                self._answer(key, was_reached=True)

    # -- what happens ----------------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        """Somebody is there."""
        if self._ctx.directory is None:
            self._lives(link.peer)
            self._verdicts.greet(link)

    def link_down(self, link: Link) -> None:
        """A link has ended; where nobody said so, its peer may have."""
        self._asked.pop(link.id, None)
        for key in [key for key in self._errands if key[0] == link.id]:
            del self._errands[key]
        if not link.is_parting and (not link.is_closing or link.peer in self._probes):
            self.check(link.peer)

    def dial_failed(self, peer: PeerId | None, reason: str) -> None:
        """A dial led to nobody, where a member was expected."""
        member = None if peer is None else self._ctx.members.find(peer)
        if peer is None or member is None or reason in ("busy", "self"):
            return
        errands = [key for key, errand in self._errands.items() if errand.peer == peer]
        for key in errands:
            self._answer(key, was_reached=self._has_answered(peer, self._errands[key].started_s))
        probe = self._probes.get(peer)
        if probe is not None:
            probe.is_refused = True
            if probe.scouts is None and not member.is_linked:
                self._ask_others(peer, probe)
            return
        now_s, interval_s = self._ctx.now.mono_s, self._ctx.config.probe_interval_s
        if (errands and self._verdicts.is_crowded) or (
            member.trust is not None and member.trust.lasts(now_s, interval_s)
        ):
            return
        silence_s = now_s - member.heard_s
        is_overdue = silence_s > _OVERDUE * self._ctx.refresh_s
        if (
            not member.is_linked
            and member.suspicion is None
            and (reason == "refused" or is_overdue)
        ):
            self.check(peer)

    def receive(self, link: Link, message: Liveness) -> None:
        """One message about who lives."""
        match message:
            case Ping(number):
                self._ctx.send(link, Pong(number))
            case Pong():
                self._lives(link.peer)
            case Reach():
                self._on_reach(link, message)
            case Reached():
                self._on_reached(link, message)
            case Statements():
                for peer in self._verdicts.receive(link, message):
                    self.check(peer)
                self._arm(self._verdicts.next_deadline())
            case Parting():
                link.is_parting = True

    def _on_reached(self, link: Link, message: Reached) -> None:
        asked = self._asked.get(link.id, set())
        if message.number not in asked:
            self._ctx.refuse(link, Reason.UNSOLICITED, "an answer about a member not asked for")
            return
        asked.discard(message.number)
        for peer, probe in self._probes.items():
            scouts = probe.scouts
            if scouts is not None and probe.number == message.number and link.id in scouts:
                scouts.discard(link.id)
                self._hear_scout(peer, probe, message)
                return

    def _hear_scout(self, peer: PeerId, probe: _Probe, message: Reached) -> None:
        if message.was_reached:
            del self._probes[peer]
            self._health.better()
        elif not probe.scouts and probe.is_refused:
            self._fail(peer, probe)

    # -- errands ---------------------------------------------------------------------------------------------

    def _on_reach(self, link: Link, message: Reach) -> None:
        ctx, key = self._ctx, (link.id, message.number)
        under_way = sum(asker == link.id for asker, _ in self._errands)
        if under_way >= ctx.config.limits.reaches_per_link or key in self._errands:
            ctx.refuse(link, Reason.LIMIT, "asks to reach too many at once")
            return
        now_s = ctx.now.mono_s
        self._errands[key] = _Errand(
            message.peer, now_s, now_s + _DIRECT * ctx.config.probe_interval_s
        )
        self._arm(self._errands[key].due_s)
        target = ctx.by_peer.get(message.peer)
        if target is not None and not target.is_closing:
            self._number += 1
            ctx.send(target, Ping(self._number))
        elif ctx.members.find(message.peer) is None or not self._dial(message.peer):
            self._answer(key, was_reached=message.peer == ctx.peer_id)

    def _answer(self, key: tuple[LinkId, int], *, was_reached: bool) -> None:
        del self._errands[key]
        link = self._ctx.links.get(key[0])
        if link is not None:
            self._ctx.send(link, Reached(key[1], was_reached))


def _is_expected(member: Member) -> bool:
    """Is it worth a probe, or do we know already that it is not there?"""
    is_concluded = member.suspicion is not None and member.suspicion.is_concluded
    has_own = member.suspicion is not None and member.suspicion.own is not None
    return member.stance is Stance.UP and not is_concluded and not has_own
