"""Lives: other runs of our own key. Those that our store has forgotten, and those that go on beside us.

Every start opens an epoch of its own, so neither can fork a log. A *forgotten* life shows itself when bundles or cells of an
epoch of ours come back that our store should have had: it is an older copy. A life *beside* us shows itself by its presence, which
only our key can have signed, when that goes on being renewed after we have started: the machine, or its folder, was copied and
both copies run. Of two, members keep links with the one whose epoch is newer; the other is told and waits.

Invariant: nobody without our key can make us believe in another life.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context
from gossipsync.core.membership.dialling import LAST_RETRY_S
from gossipsync.core.membership.presence import Presence, Stance
from gossipsync.core.model.events import Cloned, Restored
from gossipsync.core.model.ids import Epoch, epoch_of
from gossipsync.core.replication.lines import LineKey

RESTORED_SHOWN_S: Final = 600.0
"""How long after the last of what was lost has come back we say so: what a mesh gives back in a second, somebody should see."""
_BESIDE_S: Final = 4 * LAST_RETRY_S
"""How long after its last sign a life beside us is believed to go on: it may speak only when it dials."""
_LIVES: Final = 16
"""Lives of our own that are followed at a time."""


@define
class _Life:
    first_s: float
    """When we first heard of it."""
    stamp: int
    """Of its newest presence."""
    heard_s: float
    live_s: float | None = None
    """When it was last seen to live; None where it never was."""


@define(eq=False)
class Lives:
    """What this run knows of others of its key."""

    _ctx: Context
    _others: dict[Epoch, _Life] = field(factory=dict)
    _started_ms: int = 0
    _kept: dict[LineKey, int] = field(factory=dict)
    """How far our store had our own lines at the start."""
    met_epochs: dict[Epoch, None] = field(factory=dict)
    """Epochs of other lives that this run has heard of, for its presence: each is proof that this run lived after that had opened."""
    _newest: Epoch | None = None
    """The newest epoch of ours that it had, written in or not; None where it had none, as in memory, and can have forgotten nothing."""
    arrived: int = 0
    """Bundles and parts of other epochs of ours that have come."""
    _lost_s: float | None = None
    _met_s: float | None = None

    def start(self) -> None:
        """What was loaded is what our store has kept."""
        ctx = self._ctx
        self._started_ms = ctx.now.wall_ms
        self._kept = {log.key: log.index for log in ctx.logs.logs() if ctx.is_past(log.origin)}
        lasts = [epoch_of(origin) for _, origin in self._kept]
        self._newest = max([*lasts, *filter(None, [self._newest])], default=None)

    def had(self, key: LineKey, index: int) -> bool:
        """Whether our store held this bundle of another epoch of ours when this run started."""
        return index <= self._kept.get(key, 0)

    def loaded(self, epoch: Epoch) -> None:
        """In this epoch a former run was in touch with others when our store was last told so; what it wrote later may be lost."""
        self._newest = epoch

    # -- forgotten -------------------------------------------------------------------------------------------

    def came_back(self, key: LineKey, index: int) -> None:
        """A bundle or cells of an epoch of ours came from others."""
        ctx = self._ctx
        self.arrived += 1
        epoch, kept = epoch_of(key[1]), self._kept.get(key)
        if self._newest is None or self.is_beside(epoch) or epoch in ctx.epochs:
            return
        # Lines of epochs long ended may be forgotten by us and not yet by others: that is no loss.
        if index > kept if kept is not None else epoch >= self._newest:
            ctx.counters["restored-bundles"] += 1
            if not self.is_restored:
                ctx.emit(Restored(epoch))
            self._lost_s = ctx.now.mono_s

    def lost(self) -> None:
        """The store says by itself that it is older than what this peer has committed, or that parts are missing."""
        if not self.is_restored:
            self._ctx.emit(Restored(epoch_of(self._ctx.origin)))
        self._lost_s = self._ctx.now.mono_s

    @property
    def is_restored(self) -> bool:
        """Whether our store has forgotten what it once had: it said so itself, or others gave it back."""
        return self._lost_s is not None and self._ctx.now.mono_s - self._lost_s <= RESTORED_SHOWN_S

    # -- beside us -------------------------------------------------------------------------------------------

    def is_news(self, presence: Presence) -> bool:
        """Does this presence of our own key say anything of another life?"""
        known = self._others.get(presence.epoch)
        return presence.epoch not in self._ctx.epochs and (
            known is None or presence.stamp > known.stamp
        )

    def heard(self, presence: Presence) -> None:
        """A presence that our key has signed, in this life or another.

        Presence that a former run has signed may arrive long after its end. So a life is taken to go on only if its presence
        names an epoch that this run has opened, or if it is newer than an earlier one and than our start, and arrives a refresh
        interval after that: what the mesh has of a dead life arrives soon, not at once.
        """
        if not self.is_news(presence):
            return
        now_s, epoch = self._ctx.now.mono_s, presence.epoch
        known = self._others.pop(epoch, None)
        if len(self._others) >= _LIVES:
            del self._others[next(iter(self._others))]
        if presence.stance is not Stance.UP:
            return
        self._meet(epoch)
        has_met_us = not self._ctx.epochs.isdisjoint(presence.met)
        if known is None:
            known = _Life(now_s, presence.stamp, now_s)
        self._others[epoch] = known
        known.stamp, known.heard_s = presence.stamp, now_s
        is_later = now_s - known.first_s >= self._ctx.refresh_s
        if has_met_us or (presence.stamp > self._started_ms and is_later):
            was_cloned = self.is_cloned
            known.live_s = now_s
            if not was_cloned:
                self._ctx.emit(Cloned(epoch))

    def _meet(self, epoch: Epoch) -> None:
        self.met_epochs.pop(epoch, None)
        self.met_epochs[epoch] = None
        if len(self.met_epochs) > _LIVES:
            del self.met_epochs[next(iter(self.met_epochs))]

    def met(self) -> None:
        """Who answered our dial holds our own key, and is another process."""
        was_cloned, self._met_s = self.is_cloned, self._ctx.now.mono_s
        if not was_cloned:
            self._ctx.emit(Cloned(None))

    def is_beside(self, epoch: Epoch) -> bool:
        """Was this epoch of ours ever seen to go on beside us?"""
        known = self._others.get(epoch)
        return known is not None and known.live_s is not None

    def _lately(self, moment_s: float | None) -> bool:
        return moment_s is not None and self._ctx.now.mono_s - moment_s <= _BESIDE_S

    @property
    def is_cloned(self) -> bool:
        """Does another process live with our key?"""
        return self._lately(self._met_s) or any(
            self._lately(life.live_s) for life in self._others.values()
        )

    @property
    def pause_s(self) -> float:
        """How long to leave members alone whose links a newer life has; 0 where none has.

        They close ours at once, and to try often would only disturb them. But at first either life learns of the other only by what
        we say and hear before that: so we come back as often as presence is renewed.
        """
        mine, now_s = epoch_of(self._ctx.origin), self._ctx.now.mono_s
        since_s = [
            life.first_s
            for epoch, life in self._others.items()
            if epoch > mine and self._lately(life.heard_s)
        ]
        if not since_s:
            return 0.0
        return self._ctx.refresh_s if now_s - min(since_s) < LAST_RETRY_S else LAST_RETRY_S
