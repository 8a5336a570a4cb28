"""Strangers: members of this network with which no link comes up, because no protocol is common.

One entry an address, told once and then rarely, and shown in `status` for as long as attempts go on.

Invariant: at most `STRANGERS_LIMIT` entries are held and `TOLD_LIMIT` warnings an hour are given, whatever dials us.
"""

from collections import deque
from typing import Final

from attrs import define, field, frozen

from gossipsync.core.model.ids import PeerId, peer_text
from gossipsync.core.wire.hello import Stranger
from gossipsync.core.wire.versions import OWN_PROTOCOLS

__all__ = ["STRANGERS_LIMIT", "TOLD_LIMIT", "Incompatible", "StrangerStatus", "Strangers"]

STRANGERS_LIMIT: Final = 256
"""Addresses remembered; more than a mesh has during an upgrade that goes on in parts of it."""
TOLD_LIMIT: Final = 32
"""Warnings an hour over all addresses: a member that states another address each time must not fill a disk."""
_TOLD_EVERY_S: Final = 3600.0
"""Between two warnings about one address: often enough for a log that is rotated daily."""
_SHOWN_S: Final = 600.0
"""An address that nothing was heard of for so long is not shown: dialling again takes 15 s, seeds in a large mesh minutes."""


@frozen
class Incompatible:
    """A peer of this network speaks no protocol of ours: no link is made until one of both is upgraded."""

    address: str
    peer: PeerId
    detail: str


@frozen
class StrangerStatus:
    """One incompatible peer, as `status` shows it; texts are the remote's own."""

    address: str
    peer_id: str
    name: str | None
    software: str | None
    lowest: int
    highest: int
    reason: str
    last_s: float
    """Seconds since the last attempt."""
    count: int
    detail: str


@define
class _Known:
    peer: PeerId
    stranger: Stranger
    detail: str
    told_s: float
    seen_s: float
    count: int = 1


@define
class Strangers:
    """The incompatible peers that dialled or were dialled of late. All methods belong to the trio thread."""

    _known: dict[str, _Known] = field(factory=dict, init=False)
    _told_s: deque[float] = field(factory=lambda: deque(maxlen=TOLD_LIMIT), init=False)
    """Moments of the newest warnings."""

    def meet(
        self, address: str, peer: PeerId, stranger: Stranger, now_s: float
    ) -> Incompatible | None:
        """Note one failed attempt; the event to tell, where it is due."""
        detail = OWN_PROTOCOLS.mismatch(f"the peer at {address}", stranger.protocols)
        known = self._known.pop(address, None)
        if known is not None and known.stranger.protocols == stranger.protocols:
            known.count += 1
            known.seen_s = now_s
        else:
            known = _Known(peer, stranger, detail, now_s - _TOLD_EVERY_S, now_s)
        if len(self._known) >= STRANGERS_LIMIT:
            del self._known[next(iter(self._known))]  # the one heard of longest ago
        self._known[address] = known
        is_full = len(self._told_s) == TOLD_LIMIT and now_s - self._told_s[0] < _TOLD_EVERY_S
        if is_full or now_s - known.told_s < _TOLD_EVERY_S:
            return None
        known.told_s = now_s
        self._told_s.append(now_s)
        return Incompatible(address, peer, detail)

    def link_up(self, peer: PeerId) -> None:
        """Forget a peer: it was upgraded."""
        for address in [each for each, known in self._known.items() if known.peer == peer]:
            del self._known[address]

    def shown(self, now_s: float) -> tuple[StrangerStatus, ...]:
        """Those of the last ten minutes, in the order of their addresses. Any thread."""
        return tuple(
            StrangerStatus(
                address,
                peer_text(known.peer),
                known.stranger.name,
                known.stranger.software,
                known.stranger.protocols.lowest,
                known.stranger.protocols.highest,
                "version",
                now_s - known.seen_s,
                known.count,
                known.detail,
            )
            for address, known in sorted(self._known.copy().items())
            if now_s - known.seen_s < _SHOWN_S
        )
