"""A warm start: everybody knows everybody, as if the mesh had been gossiping for long.

Each peer is made, shows its certificate and its signed presence over a link as it would to any neighbour, and is told those of all
others over the same link, which then closes. So what it knows went through the gates that gossip goes through, and is what
gossip leaves behind, as long ago as it would be. Invariant: no peer holds anything that another has not said of itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from gossipsync.core import Now, Peer
from gossipsync.core.membership.members import refresh_s
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
_SHARES: Final = 32
"""Parts of a refresh interval in which presence was heard, at least."""
_SHARE_BYTES: Final = 64 << 10
"""Presence told in one message: half of what a peer takes."""


def acquaint(drivers: Sequence[Driver]) -> None:
    """Make every driver's peer, and have it know all the others."""
    if len(drivers) < 2:
        return
    for driver in drivers:
        driver.load()
    refresh = refresh_s(len(drivers), drivers[0].config.gossip_interval_s)
    words = {
        driver.identity.peer: word
        for driver in drivers
        for word in _introduced(driver, drivers, refresh)
    }
    letters = [
        (
            refresh,
            frame(encode_message(Credentials(tuple(d.identity.credential for d in drivers)))),
        ),
        *_dated([words[peer] for peer in sorted(words)], refresh),
        # A link that broke without a word would have its other end dialled at once.
        (0.0, frame(encode_message(Parting()))),
    ]
    for driver in drivers:
        peer = driver.peer
        assert peer is not None, "it was made above"
        for age_s, data in letters:
            peer.receive_data(_LINK, data, _ago(driver, age_s))
        peer.handle_link_down(_LINK, "acquainted", driver.now())
        deque(_sent(driver, peer), maxlen=0)  # goes over a link that has gone


def _ago(driver: Driver, age_s: float) -> Now:
    now = driver.now()
    return Now(now.mono_s - age_s, now.wall_ms)


def _introduced(driver: Driver, drivers: Sequence[Driver], age_s: float) -> Iterator[bytes]:
    """Link a peer with another, and hear what it says of itself."""
    peer, neighbour = driver.peer, drivers[driver is drivers[0]]
    assert peer is not None, "it was made before"
    seen = neighbour.seen_as(is_dialer=False, dialled=None)
    peer.handle_link_up(_LINK, seen, _ago(driver, age_s))
    for data in _sent(driver, peer):
        message = decode_message(data[LENGTH_BYTES:])
        if isinstance(message, Presences):
            yield from message.data


def _dated(words: list[bytes], refresh: float) -> Iterator[tuple[float, bytes]]:
    """Everybody's word, and how long ago it was heard: in the order of keys, for so everybody renews its own (see Introductions).

    Heard all at once they would all be news, which a mesh in operation never has.
    """
    share = min(-(-len(words) // _SHARES), _SHARE_BYTES // max(map(len, words)))
    for start in range(0, len(words), share):
        data = frame(encode_message(Presences(tuple(words[start : start + share]))))
        yield refresh * (1 - start / len(words)), data


def _sent(driver: Driver, peer: Peer) -> Iterator[bytes]:
    """Carry out what a peer asks for, and give what it would send."""
    for effect in peer.drain():
        if isinstance(effect, Commit):
            driver.store.commit()
            peer.handle_committed(effect.ticket, driver.now())
        elif isinstance(effect, Send):
            yield effect.data
