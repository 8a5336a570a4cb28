"""Between the runtime's words and the core's: settings to a peer, connections to link peers.

Invariant: nothing is decided here; each value has one source.
"""

from random import SystemRandom
from typing import Final

from gossipsync.core import LinkPeer, Now, Peer, PeerConfig
from gossipsync.core.ports import Store
from gossipsync.runtime.settings import Settings
from gossipsync.runtime.transport import Connection, Transport
from gossipsync.runtime.trust.credentials import Credentials
from gossipsync.runtime.version import VERSION

__all__ = ["link_peer", "make_peer"]

_MS_PER_S: Final = 1000


def make_peer(settings: Settings, transport: Transport, store: Store, now: Now) -> Peer:
    """A peer with these settings and the transport's credentials. Raises StoreCorruptError."""
    credentials = transport.credentials
    return Peer(
        _config(settings, credentials),
        peer_id=credentials.identity.peer_id,
        sign=credentials.identity.sign,
        credential=credentials.certificate,
        verifier=transport.verifier,
        store=store,
        rng=SystemRandom(),
        now=now,
    )


def link_peer(connection: Connection, dialled: str | None) -> LinkPeer:
    """Who is at the other end, as hello and TLS have proven; `dialled` is the address, if we dialled."""
    remote = connection.remote
    return LinkPeer(
        peer=remote.peer_id,
        name=remote.name,
        epoch=remote.epoch,
        address=remote.address,
        version=remote.software,
        credential=connection.certificate,
        is_dialer=connection.is_dialer,
        dialled=dialled,
        protocol=remote.protocol,
    )


def _config(settings: Settings, credentials: Credentials) -> PeerConfig:
    return PeerConfig(
        network=credentials.network_id,
        name=settings.name,
        version=VERSION,
        seeds=settings.seeds,
        zone=settings.zone,
        gossip_interval_s=settings.gossip_interval,
        fanout=settings.fanout,
        max_skew_ms=round(settings.max_skew * _MS_PER_S),
        horizon_ms=round(settings.horizon * _MS_PER_S),
        token_key=credentials.token_key,
    )
