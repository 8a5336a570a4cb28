"""A warm start: everybody knows everybody, as if the mesh had been gossiping for long.

Each peer is made, shows its certificate and its signed presence over a link as it would to any neighbour, and is told those of all
others over the same link, which then closes. So what it knows went through the gates that gossip goes through, and is what
gossip leaves behind. Invariant: no peer holds anything that another has not said of itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from gossipsync.core import Peer
from gossipsync.core.model.effects import Commit, Send
from gossipsync.core.model.ids import LinkId
from gossipsync.core.wire.framing import LENGTH_BYTES, frame
from gossipsync.core.wire.liveness import Parting
from gossipsync.core.wire.messages import (
    Credentials,
    Presences,
    decode_message,
    encode_message,
)
from gossipsync.sim.driver import Driver

_LINK: Final = LinkId(0)
"""The network never gives this number."""
_SHARE_BYTES: Final = 64 << 10
"""Presence told in one message: half of what a peer takes."""


def acquaint(drivers: Sequence[Driver]) -> None:
    """Make every driver's peer, and have it know all the others."""
    if len(drivers) < 2:
        return
    for driver in drivers:
        driver.load()
    words = [word for driver in drivers for word in _introduced(driver, drivers)]
    frames = [
        frame(encode_message(Credentials(tuple(d.identity.credential for d in drivers)))),
        *(frame(encode_message(Presences(share))) for share in _shares(words)),
        # A link that broke without a word would have its other end dialled at once.
        frame(encode_message(Parting())),
    ]
    for driver in drivers:
        peer = driver.peer
        assert peer is not None, "it was made above"
        for data in frames:
            peer.receive_data(_LINK, data, driver.now())
        peer.handle_link_down(_LINK, "acquainted", driver.now())
        deque(_sent(driver, peer), maxlen=0)  # goes over a link that has gone


def _introduced(driver: Driver, drivers: Sequence[Driver]) -> Iterator[bytes]:
    """Link a peer with another, and hear what it says of itself."""
    peer, neighbour = driver.peer, drivers[driver is drivers[0]]
    assert peer is not None, "it was made before"
    seen = neighbour.seen_as(is_dialer=False, dialled=None)
    peer.handle_link_up(_LINK, seen, driver.now())
    for data in _sent(driver, peer):
        message = decode_message(data[LENGTH_BYTES:])
        if isinstance(message, Presences):
            yield from message.data


def _sent(driver: Driver, peer: Peer) -> Iterator[bytes]:
    """Carry out what a peer asks for, and give what it would send."""
    for effect in peer.drain():
        if isinstance(effect, Commit):
            driver.store.commit()
            peer.handle_committed(effect.ticket, driver.now())
        elif isinstance(effect, Send):
            yield effect.data


def _shares(words: list[bytes]) -> Iterator[tuple[bytes, ...]]:
    share: list[bytes] = []
    size = 0
    for word in words:
        if share and size + len(word) > _SHARE_BYTES:
            yield tuple(share)
            share, size = [], 0
        share.append(word)
        size += len(word)
    yield tuple(share)
