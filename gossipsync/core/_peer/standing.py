"""Standing: the state of this peer, and who may join from whom.

Theory of operation. Each peer tells its `Stage` over each link, when the link opens and when the stage rises; links are streams,
so a stage holds for all that is heard after it. Only a peer that was ready answers reconciliations, and only a ready member's state
is evidence for a peer that joins.

- **Joining.** A peer becomes ready when it has reached what two ready members (one, if only one is linked) had when it compared with
  them, in a comparison that began after each had said that it is ready. Equality with an unready peer shows nothing.
- **Links without a stage yet.** A link that has opened less than `_SETTLE_S` ago may be a ready member's, so no peer becomes
  ready before it has heard the stages of all such links; links that open again and again hold it up for `_TURN_S` at most.
- **Founding.** Where no linked member is ready, one of them begins. Peers order themselves by stage, then by key. An established peer
  founds once it has all that the other established peers had; of the others the first in order founds, once no link has opened for
  `_SETTLE_S` and every member that is known was dialled, because one of them may be ready. Neither founds while a link is open whose
  peer has not told its stage: a busy member takes its time. The others join from the founder, and offer what they hold once they are ready.
- **Alone.** A peer that has never met a member founds a mesh of its own: whichever empty peer comes next joins from it at once.
- **Faulty members.** A second witness that brings nothing is waited for `_TURN_S`, ready members of which none brings anything
  `_STALE_S`, and a founder one `_TURN_S` for each peer that comes first. So no peer is joining at rest, whatever some members do.

`sims/readiness_model.py` is the executable model of these rules; without any one of them an invariant breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, StrEnum, auto
from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context, Link
from gossipsync.core.membership.presence import Stance
from gossipsync.core.model.events import StateChanged
from gossipsync.core.model.ids import PeerId
from gossipsync.core.model.stage import Stage
from gossipsync.core.wire.readiness import Readiness

_WITNESSES: Final = 2
"""Ready members whose state a joiner must have reached, where there are as many."""
_SETTLE_S: Final = 0.5
"""Shortest time from a start, or from the last new link, to a founding: a ready member may be linked meanwhile."""
_TURN_S: Final = 10.0
"""Patience with a second witness that brings nothing, and with each peer that founds first."""
_STALE_S: Final = 30.0
"""Patience with ready members of which none brings anything."""


class State(StrEnum):
    """The states that `status` shows."""

    ALONE = "alone"
    JOINING = "joining"
    READY = "ready"
    LEAVING = "leaving"


class Situation(Enum):
    """What decides about the next state."""

    GOING = auto()
    """This peer has said goodbye."""
    UNLINKED = auto()
    """No linked peer has told its stage."""
    LACKING = auto()
    """Members are linked, and too few of them compared."""
    COMPARED = auto()
    """All that members had when asked is here, or this peer founds the mesh."""


_NEXT: Final = {
    (State.ALONE, Situation.UNLINKED): State.ALONE,
    (State.ALONE, Situation.LACKING): State.JOINING,
    (State.ALONE, Situation.COMPARED): State.READY,
    (State.JOINING, Situation.UNLINKED): State.ALONE,
    (State.JOINING, Situation.LACKING): State.JOINING,
    (State.JOINING, Situation.COMPARED): State.READY,
    (State.READY, Situation.UNLINKED): State.ALONE,
    (State.READY, Situation.LACKING): State.READY,
    (State.READY, Situation.COMPARED): State.READY,
    **{(state, Situation.GOING): State.LEAVING for state in State},
}


@define(eq=False)
class Standing:
    """The state of one peer. `update()` looks at all links; it costs as much as there are links."""

    _ctx: Context
    stance: Stance = Stance.UP
    state: State = State.ALONE
    was_ready: bool = False
    is_established: bool = False
    """Whether this peer was ever ready with the state that it has. A peer that was not is a joiner."""
    witnesses: set[PeerId] = field(factory=set)
    """Members that remember no ended epochs that this peer does not, as far as they were asked at their present stage."""
    has_tried_all: Callable[[], bool] = bool
    """Whether every seed and member that is not linked has been dialled, with an outcome."""
    was_loaded: bool = False
    """Whether the store held any data at the start."""
    _founded_s: float | None = None
    """When this peer founded a mesh of its own, alone."""
    _is_settled: bool = False
    _stuck_s: float | None = None
    """Start of the present time without a ready member that helps."""
    _first_s: float | None = None
    """When a first ready member had been compared; the second may take its turn from then on."""
    _untold_s: float | None = None
    """Since when this peer would be ready, and waits for the stages of links that have just opened."""
    _due_s: float | None = None
    _woken_s: float = float("-inf")
    """When this peer last noticed that it had stood still: what came meanwhile is still to be read."""
    _told: Stage | None = None

    @property
    def is_up(self) -> bool:
        """Whether this peer has not said goodbye."""
        return self.stance is Stance.UP

    @property
    def stage(self) -> Stage:
        """What this peer tells its links about its state."""
        if self.state is State.READY:
            return Stage.READY
        if self.is_established:
            return Stage.ESTABLISHED
        return Stage.HOLDING if self._founded_s is not None or self._holds_data() else Stage.EMPTY

    def is_synced(self) -> bool:
        """Whether this peer has all that the members it talked to are known to have."""
        if self.state is State.ALONE:
            return self.was_ready or not self._ctx.config.seeds
        links = self._ctx.by_peer.values()
        # Nothing waits for a member that delivers nothing.
        is_failing = self._ctx.sources.is_failing
        return self.state is State.READY and all(
            link.is_synced or is_failing(link.peer) for link in links
        )

    def next_deadline(self) -> float | None:
        """When `update` may find another state although nothing has come."""
        return self._due_s

    def expire(self) -> None:
        """Look again if it is time."""
        now_s, due_s = self._ctx.now.mono_s, self._due_s
        if due_s is not None and due_s <= now_s:
            if now_s - due_s > _SETTLE_S:
                self._woken_s = now_s
            self.update()

    def heard(self, link: Link, stage: Stage) -> None:
        """A member tells its stage: what was compared with it before is no evidence for that."""
        link.stage, link.target, link.covered, link.probed = stage, None, b"", None
        link.gave_s = self._ctx.now.mono_s
        for exchange in link.exchanges.values():
            exchange.is_stale = True
        self.witnesses.discard(link.peer)

    def greet(self, link: Link) -> None:
        """Tell a new link our stage, before anything that depends on it."""
        self._told = self._told if self._told is not None else self.stage
        self._ctx.send(link, Readiness(self._told))

    def update(self) -> None:
        """Look at all links, move to the state that follows, and tell our stage if it has risen."""
        self._due_s = None
        self._settle()
        state = _NEXT[self.state, self._unless_untold(self._situation())]
        if state is not self.state:
            self.state = state
            self.was_ready |= state is State.READY
            self.is_established |= state is State.READY
            self._ctx.emit(StateChanged(state))
        if self.is_up and self._told is not (stage := self.stage):
            self._told = stage
            for link in self._ctx.by_peer.values():
                self._ctx.send(link, Readiness(stage))

    # -- the situation ---------------------------------------------------------------------------------------

    def _situation(self) -> Situation:
        if not self.is_up:
            return Situation.GOING
        links = [link for link in self._ctx.by_peer.values() if link.stage is not None]
        if not links:
            self._stuck_s = self._first_s = None
            self._found_alone()
            return Situation.UNLINKED
        if self.state is State.READY:
            return Situation.LACKING
        ready = [link for link in links if link.stage is Stage.READY]
        if ready and self._ctx.now.mono_s - _newest(ready) < _STALE_S:
            self._stuck_s = None
            return self._compare(ready)
        return self._elect([link for link in links if link.stage is not Stage.READY])

    def _unless_untold(self, situation: Situation) -> Situation:
        """Wait for the stages of links that have just opened: each may be a ready member's, and its first words on their way."""
        now_s = self._ctx.now.mono_s
        if situation is not Situation.COMPARED:
            return situation
        opened_s = max(
            (link.opened_s for link in self._ctx.by_peer.values() if link.stage is None),
            default=float("-inf"),
        )
        if opened_s + _SETTLE_S <= now_s:
            self._untold_s = None
            return situation
        self._untold_s = now_s if self._untold_s is None else self._untold_s
        return self._at(min(opened_s + _SETTLE_S, self._untold_s + _TURN_S))

    def _compare(self, ready: Sequence[Link]) -> Situation:
        """Whether as many ready members as needed have been reached."""
        now_s = self._ctx.now.mono_s
        reached = sum(map(self._has_reached, ready))
        if not reached:
            self._first_s = None
            self._wait(_newest(ready) + _STALE_S)
            return Situation.LACKING
        if reached >= min(_WITNESSES, len(ready)):
            return Situation.COMPARED
        self._first_s = now_s if self._first_s is None else self._first_s
        latest_s = min(max(self._first_s, _newest(ready)) + _TURN_S, self._first_s + _STALE_S)
        return self._at(latest_s)

    def _elect(self, links: Sequence[Link]) -> Situation:
        """Whether it is this peer that founds the mesh: no linked member is ready, or none of these helps."""
        now_s, mine = self._ctx.now.mono_s, (-self.stage, self._ctx.peer_id)
        self._stuck_s = now_s if self._stuck_s is None else self._stuck_s
        before = [link for link in links if (-(link.stage or 0), link.peer) < mine]
        if self.is_established:
            is_first = all(self._has_reached(link) for link in links if link.stage == self.stage)
        else:
            is_first = not before
        if is_first and self._is_calm():
            return Situation.COMPARED
        since_s = max(self._stuck_s, min(_newest(links), self._stuck_s + _STALE_S))
        return self._at(since_s + _TURN_S * (1 + len(before)))

    def _is_calm(self) -> bool:
        """Whether no ready member can be expected any more."""
        if self._is_mesh():
            return True
        links = self._ctx.by_peer.values()
        if not self._is_settled or any(link.stage is None for link in links):
            return False
        calm_s = self._woken_s + _SETTLE_S
        if not self.is_established:
            calm_s = max(calm_s, *(link.opened_s + _SETTLE_S for link in links))
            if not self.has_tried_all():
                return False
        return self._at(calm_s) is Situation.COMPARED

    def _is_mesh(self) -> bool:
        """Whether this peer has been the whole mesh: without seeds from its start, with seeds after long."""
        if self._founded_s is None or self.is_established:
            return False
        return not self._ctx.config.seeds or self._ctx.now.mono_s >= self._founded_s + _TURN_S

    def _at(self, moment_s: float) -> Situation:
        """COMPARED from a moment on."""
        if moment_s <= self._ctx.now.mono_s:
            return Situation.COMPARED
        self._wait(moment_s)
        return Situation.LACKING

    def _wait(self, moment_s: float) -> None:
        if moment_s > self._ctx.now.mono_s:
            self._due_s = moment_s if self._due_s is None else min(self._due_s, moment_s)

    def _has_reached(self, link: Link) -> bool:
        """Whether everything is here that this member had when it was compared at its present stage."""
        target, index_of = link.target, self._ctx.logs.index
        while target and index_of(key := next(iter(target))) >= target[key]:
            del target[key]
            link.gave_s = self._ctx.now.mono_s
        return target is not None and not target and link.peer in self.witnesses

    # -- founding --------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Note once that each seed was tried and that a first moment has passed: whoever is there could have been linked."""
        if self._is_settled:
            return
        ctx = self._ctx
        age_s = ctx.now.mono_s - ctx.started_s
        if not ctx.config.seeds and not self._has_met():
            self._is_settled = True
        else:
            is_tried = age_s >= _SETTLE_S and self.has_tried_all()
            self._is_settled = is_tried or age_s >= _TURN_S
        if not self._is_settled:
            self._wait(ctx.started_s + (_SETTLE_S if age_s < _SETTLE_S else _TURN_S))

    def _found_alone(self) -> None:
        """A peer that is alone and has never met a member is the mesh."""
        if self._founded_s is None and self._is_settled and self._ctx.directory is None:
            self._founded_s = None if self._has_met() else self._ctx.now.mono_s

    def _has_met(self) -> bool:
        members = self._ctx.members
        return bool(len(members) or members.lost)

    def _holds_data(self) -> bool:
        ctx = self._ctx
        return self.was_loaded or any(ctx.logs.index((name, ctx.origin)) for name in ctx.replicas)


def _newest(links: Sequence[Link]) -> float:
    """When any of them last brought something that was lacking; in the distant past where there are none."""
    return max((link.gave_s for link in links), default=float("-inf"))
