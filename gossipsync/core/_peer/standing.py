"""Standing: what state this peer is in, by its own word and by its links."""

from __future__ import annotations

from typing import Final

from attrs import define, field

from gossipsync.core._peer.context import Context
from gossipsync.core.membership.presence import Stance
from gossipsync.core.model.events import StateChanged
from gossipsync.core.model.ids import PeerId

_FOUNDING_S: Final = 10.0
"""How long members must all have been joining until one of them begins: one that is ready may yet be met."""
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
    unready: set[PeerId] = field(factory=set)
    """Members that are joining themselves, by their last word."""
    _stuck_s: float | None = None
    """Since when we have met nobody else."""
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
            helpful = [link for link in links if link.is_synced or link.peer not in self.unready]
            synced = sum(link.is_synced and link.peer in self.witnesses for link in helpful)
            is_in = helpful and synced >= min(_WITNESSES, len(helpful))
            state = "ready" if is_in or self._is_to_found(is_stuck=not helpful) else "joining"
        if state != self.state:
            self.state = state
            self.was_ready |= state == "ready"
            self.is_established |= state == "ready"
            self._ctx.emit(StateChanged(state))

    def _is_to_found(self, *, is_stuck: bool) -> bool:
        """Are all who are here joining, each from another, so that one of them has to begin?

        None has anything that the others must not lose to, for nobody is here who knows better. The one with the smallest key
        begins; the others join from it, and then it takes over what they have.
        """
        now_s = self._ctx.now.mono_s
        if not is_stuck:
            self._stuck_s = None
        elif self._stuck_s is None:
            self._stuck_s = now_s
        is_first = all(self._ctx.peer_id < peer for peer in self._ctx.by_peer)
        return self._stuck_s is not None and now_s - self._stuck_s > _FOUNDING_S and is_first
