"""Core peers joined by a link that is only a queue: what the core does, without threads, TLS or a loop.

The driver here is the smallest there can be. Time stands still but for `tick`; everything the peers ask for is done
at once, in order.
"""

from collections import Counter, deque
from collections.abc import Iterator
from random import Random
from time import time_ns

from gossipsync.core import LinkPeer, Now, Peer, PeerConfig
from gossipsync.core.model.effects import Commit, HangUp, Send
from gossipsync.core.model.ids import LinkId
from gossipsync.core.ports import Store
from gossipsync.core.wire.framing import LENGTH_BYTES, FrameReader
from gossipsync.core.wire.messages import decode_message
from gossipsync.runtime.trust import (
    Credentials,
    Identity,
    X509Verifier,
    credentials_from_cluster_key,
)
from gossipsync.stores import MemoryStore

__all__ = ["Wire", "core_peer", "link_peer", "make_peer", "member", "now", "payloads", "settle"]

_LINK = LinkId(1)
_FRAME_BYTES = 1 << 20
_STARTED_MS = time_ns() // 1_000_000


def now(mono_s: float = 0.0) -> Now:
    """A moment, so many seconds after the benchmark's first."""
    return Now(mono_s, _STARTED_MS + round(mono_s * 1000))


def member(cluster_key: str) -> Credentials:
    """A new member of the network."""
    return credentials_from_cluster_key(cluster_key, Identity.generate())


def make_peer(credentials: Credentials, name: str, moment: Now, store: Store | None = None) -> Peer:
    """A core peer with real certificates and signatures; its store in memory unless another is given."""
    return Peer(
        PeerConfig(network=credentials.network_id, name=name),
        peer_id=credentials.identity.peer_id,
        sign=credentials.identity.sign,
        credential=credentials.certificate,
        verifier=X509Verifier(credentials.ca_certificate),
        store=MemoryStore() if store is None else store,
        rng=Random(name),
        now=moment,
    )


def core_peer(cluster_key: str, name: str) -> tuple[Peer, Credentials]:
    """A new member and its core peer."""
    credentials = member(cluster_key)
    return make_peer(credentials, name, now()), credentials


def settle(peer: Peer, moment: Now, store: Store | None = None) -> list[bytes]:
    """Do what a peer asks for until it asks no more; what it sent on all its links. Only a store that is given commits."""
    sent: list[bytes] = []
    is_moving = True
    while is_moving:
        is_moving = False
        for effect in peer.drain():
            match effect:
                case Commit(ticket):
                    if store is not None:
                        store.commit()
                    peer.handle_committed(ticket, moment)
                    is_moving = True
                case Send(link, data):
                    sent.append(data)
                    peer.handle_sent(link, len(data), moment)
                case HangUp(_, reason):
                    raise RuntimeError(f"a link of the benchmark was closed: {reason}")
                case _:
                    pass
    return sent


def payloads(datas: list[bytes]) -> Iterator[bytes]:
    """The messages in a link's bytes."""
    reader = FrameReader(_FRAME_BYTES)
    for data in datas:
        reader.feed(data)
        yield from reader


def link_peer(peer: Peer, credentials: Credentials, *, is_dialer: bool) -> LinkPeer:
    """What the hello would have proven about a peer."""
    name = peer.config.name
    certificate = credentials.certificate
    return LinkPeer(peer.peer_id, name, peer.epoch, None, "", certificate, is_dialer, None)


class Wire:
    """Two peers and the link between them, from the first one's dialling on."""

    def __init__(self, first: tuple[Peer, Credentials], second: tuple[Peer, Credentials]) -> None:
        self.peers = (first[0], second[0])
        self.sent: Counter[str] = Counter()
        """Bytes on the wire, both ways, by kind of message."""
        self.counts: Counter[str] = Counter()
        """Messages, by their kind."""
        self.mono_s = 0.0
        self._queues: tuple[deque[bytes], deque[bytes]] = (deque(), deque())
        self.peers[0].handle_link_up(_LINK, link_peer(*second, is_dialer=True), now())
        self.peers[1].handle_link_up(_LINK, link_peer(*first, is_dialer=False), now())
        self.carry()

    def carry(self) -> None:
        """Deliver until nobody has anything to say."""
        while self.collect(0) | self.collect(1):
            for receiver, queue in enumerate(self._queues):
                self.deliver(receiver, [queue.popleft() for _ in range(len(queue))])

    def deliver(self, receiver: int, datas: list[bytes]) -> None:
        """Hand bytes to one of both."""
        peer, moment = self.peers[receiver], now(self.mono_s)
        for data in datas:
            peer.receive_data(_LINK, data, moment)

    def collect(self, sender: int) -> bool:
        """Drain one of both; its bytes wait to be taken or carried. False if it had nothing to say."""
        sent = settle(self.peers[sender], now(self.mono_s))
        self._queues[1 - sender].extend(sent)
        for payload in payloads(sent):
            kind = type(decode_message(payload)).__name__
            self.sent[kind] += LENGTH_BYTES + len(payload)
            self.counts[kind] += 1
        return bool(sent)

    def take(self, sender: int) -> list[bytes]:
        """What one of both has said and nobody has heard yet."""
        queue = self._queues[1 - sender]
        return [queue.popleft() for _ in range(len(queue))]

    def exchange(self, asker: int = 0) -> Counter[str]:
        """One exchange, asked for by one of both; the bytes it took, both ways."""
        self.mono_s += 1.0
        self.sent.clear()
        self.peers[asker].request_exchange(now(self.mono_s))
        self.carry()
        return Counter(self.sent)
