"""Turns: which member a peer reconciles with next, and how long a run may keep others waiting."""

from __future__ import annotations

from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.runs import Need, Needs, Run
from gossipsync.core._peer.standing import Standing
from gossipsync.core.model.ids import LinkId
from gossipsync.core.model.stage import Stage

PATIENCE_S: Final = 10.0
"""Time for the answer to one question."""
_LONGEST_S: Final = 40.0
"""The same while bytes of it may be on their way, or from a slow source that is the only one."""
_FLOW_BYTES: Final = 16 << 10
"""Bytes in `PATIENCE_S` over a link that is at work on an answer; pings and digests are fewer."""
_BARREN_S: Final = 120.0
"""Longest time of a run in which nothing is merged, if no other member waits."""
_BARREN_BEFORE_OTHERS_S: Final = 30.0
"""The same if another member waits."""
_TURN_S: Final = 60.0
"""Longest run while another member waits."""


@define(eq=False)
class Turns:
    """The members that are needed, and the times of the run under way."""

    _ctx: Context
    _standing: Standing
    _needs: Needs = field(factory=Needs)
    _deferred: Needs = field(factory=Needs)
    """Needs that wait until the member's stage, or ours, has risen."""

    def add(self, link: LinkId, need: Need) -> None:
        """Ask this member, when its turn comes."""
        self._needs.add(link, need)

    def drop(self, link: LinkId) -> None:
        """A link has ended."""
        self._needs.drop(link)
        self._deferred.drop(link)

    def rose(self, link: Link) -> None:
        """This member's stage, or ours, has risen: its needs wait no longer."""
        for need in self._deferred.take(link.id):
            self._needs.add(link.id, need)

    def may_ask(self, link: Link) -> bool:
        """Whether this member's state may be taken over. A joiner takes it from ready members alone."""
        least = Stage.ESTABLISHED if self._standing.is_established else Stage.READY
        return link.stage is not None and link.stage >= least

    def begun(self, link: LinkId, need: Need) -> None:
        """A run with this member begins."""
        self._needs.begun(link, need)

    def next(self) -> tuple[Link, Need] | None:
        """The member whose turn it is now."""
        while (turn := self._needs.next(self._rank)) is not None:
            link = self._ctx.links.get(turn[0])
            if link is None or link.is_closing:
                continue
            if self.may_ask(link):
                return link, turn[1]
            self._deferred.add(*turn)
        return None

    def next_deadline(self) -> float | None:
        """When the first member may be asked, where no run is under way."""
        return min((self._begins_s(*turn) for turn in self._needs), default=None)

    def overrun(self, run: Run, *, is_idle: bool) -> str | None:
        """The counter by which a run is to be given up now; None if it may go on. `is_idle`: its source owes no answer."""
        turn_s, others_s = self._moments(run, is_idle=is_idle)
        if turn_s <= self._ctx.now.mono_s:
            return "reconcile-turn"
        return "reconcile-late" if others_s <= self._ctx.now.mono_s else None

    def ends_s(self, run: Run, *, is_idle: bool) -> float:
        """When a run is to be given up if nothing comes."""
        return min(self._moments(run, is_idle=is_idle))

    def _moments(self, run: Run, *, is_idle: bool) -> tuple[float, float]:
        is_waited_for = self._is_waited_for(run)
        barren_s = run.useful_s + (_BARREN_BEFORE_OTHERS_S if is_waited_for else _BARREN_S)
        if not is_idle:
            barren_s = min(
                barren_s, run.asked_s + self._patience_s(run, is_alone=not is_waited_for)
            )
        return run.began_s + _TURN_S if is_waited_for else float("inf"), barren_s

    def _patience_s(self, run: Run, *, is_alone: bool) -> float:
        """Time for one answer: longer for a source that is at work on it, or has been too slow before and is the only one."""
        link = self._ctx.links.get(run.link)
        if link is not None and link.received_bytes - run.asked_bytes >= _FLOW_BYTES:
            return _LONGEST_S
        failures = self._ctx.sources.failures_of(run.peer) if is_alone else 0
        return min(_LONGEST_S, PATIENCE_S * 2.0 ** min(failures, 8))

    def _is_waited_for(self, run: Run) -> bool:
        """Whether another member, which does not rest, waits behind this run."""
        return any(
            link != run.link and need is not Need.FORK and self._rank(link, need) == 0.0
            for link, need in self._needs
        )

    def _begins_s(self, link_id: LinkId, need: Need) -> float:
        """The moment from which a member may be asked. Data that we are known to lack is worth a try sooner."""
        link, sources = self._ctx.links.get(link_id), self._ctx.sources
        if link is None:
            return self._ctx.now.mono_s
        if need is Need.FULL or not self._standing.is_established:
            return sources.pauses_until_s(link.peer)
        return sources.rests_until_s(link.peer)

    def _rank(self, link_id: LinkId, need: Need) -> float | None:
        now_s, link = self._ctx.now.mono_s, self._ctx.links.get(link_id)
        if link is None:
            return 0.0
        if self._begins_s(link_id, need) > now_s:
            return None
        return max(0.0, self._ctx.sources.rests_until_s(link.peer) - now_s)
