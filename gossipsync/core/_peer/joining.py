"""Joining: what a peer does when its own stage, or a member's, has risen.

A member that becomes ready is compared at once, and asked for what it could not give before; a joiner that has taken over one member's
state compares it with a second; a peer that has become ready stores that it was. None of this waits for a round.
"""

from __future__ import annotations

from attrs import define

from gossipsync.core._peer.context import Context, Link
from gossipsync.core._peer.disputes import Disputes
from gossipsync.core._peer.exchange import Exchanges
from gossipsync.core._peer.reconciling import Reconciler
from gossipsync.core._peer.standing import Standing, State
from gossipsync.core._peer.upkeep import Upkeep
from gossipsync.core.model.stage import Stage
from gossipsync.core.wire.readiness import Readiness


@define(eq=False)
class Joining:
    """The way from the first link to "ready"."""

    _ctx: Context
    _standing: Standing
    _exchanges: Exchanges
    _disputes: Disputes
    _reconciler: Reconciler
    _upkeep: Upkeep
    _is_noted: bool = False
    """Whether it was noted that this run of the peer has become ready."""

    def on_readiness(self, link: Link, message: Readiness) -> None:
        """A member tells its stage. While a link lasts a stage only rises."""
        former = link.stage
        if former is not None and message.stage <= former:
            return
        self._standing.heard(link, message.stage)
        if former is not None:
            self._exchanges.start(link)
        self._reconciler.rose(link)
        self._standing.update()

    def go_on(self) -> None:
        """Something has come, or a round is due: look whether this peer is ready now."""
        standing = self._standing
        if standing.state is State.JOINING:
            standing.update()
        if not standing.is_established:
            self._seek_second()
        elif standing.was_ready and not self._is_noted:
            self._is_noted = True
            self._upkeep.store_touched()
            for link in list(self._ctx.by_peer.values()):
                self._reconciler.rose(link)

    def _seek_second(self) -> None:
        """A joiner that has taken over one member's state compares it with another's."""
        disputes = self._disputes
        if not disputes.joined_with or self._reconciler.is_running:
            return
        seconds = [
            link
            for peer, link in self._ctx.by_peer.items()
            if link.stage is Stage.READY
            and link.target is not None
            and peer not in disputes.joined_with
        ]
        rests_until_s = self._ctx.sources.rests_until_s
        second = min(seconds, key=lambda link: rests_until_s(link.peer), default=None)
        if second is not None:
            self._reconciler.need(second)
