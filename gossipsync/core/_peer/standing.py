"""Standing: what state this peer is in, by its own word and by its links."""

from __future__ import annotations

from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context
from gossipsync.core.membership.presence import Stance
from gossipsync.core.model.events import StateChanged
from gossipsync.core.model.ids import PeerId

_WITNESSES: Final = 2
"""Members whose state a joiner must have reached, where there are as many."""


@define(eq=False)
class Standing:
    """alone → joining → ready, and back to alone when the last link has gone; leaving at the end."""

    _ctx: Context
    stance: Stance = Stance.UP
    state: str = "alone"
    was_ready: bool = False
    witnesses: set[PeerId] = field(factory=set)
    """Members who were asked, besides, what they remember of ended epochs."""
    is_established: bool = False
    """Has this peer, with the state it has, ever been ready? Then it is no joiner."""

    @property
    def is_up(self) -> bool:
        """Has this peer not said goodbye?"""
        return self.stance is Stance.UP

    def is_synced(self) -> bool:
        """Do we have all that the members we talked to are known to have?"""
        if self.state == "alone":
            return self.was_ready or not self._ctx.config.seeds
        links = self._ctx.by_peer.values()
        return self.state == "ready" and all(link.is_synced for link in links)

    def update(self) -> None:
        """Look again."""
        links = self._ctx.by_peer.values()
        if not self.is_up:
            state = "leaving"
        elif not links:
            state = "alone"
        elif self.state == "ready":
            state = "ready"
        else:
            synced = sum(link.is_synced and link.peer in self.witnesses for link in links)
            state = "ready" if synced >= min(_WITNESSES, len(links)) else "joining"
        if state != self.state:
            self.state = state
            self.was_ready |= state == "ready"
            self.is_established |= state == "ready"
            self._ctx.emit(StateChanged(state))
