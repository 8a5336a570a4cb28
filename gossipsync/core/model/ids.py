"""Identifiers: what names a peer, an origin, a network and a link.

An origin is a peer's key and one epoch of it as 40 bytes, so that it is hashable, sortable and invisible to the garbage
collector; sorting origins sorts by peer, then by epoch.
"""

from __future__ import annotations

from base64 import b32encode
from typing import Final, NewType

PeerId = NewType("PeerId", bytes)
"""An Ed25519 public key, 32 bytes."""
Origin = NewType("Origin", bytes)
"""Peer key (32 bytes) followed by the epoch (8 bytes, big-endian)."""
NetworkId = NewType("NetworkId", bytes)
"""SHA-256 that names a network's genesis, 32 bytes."""
LinkId = NewType("LinkId", int)
"""A number that the driver gives to one live connection and never gives again."""
Epoch = NewType("Epoch", int)
"""Start time in ms << 15 | 15 random bits; below 2**63."""

PEER_BYTES: Final = 32
ORIGIN_BYTES: Final = 40
_EPOCH_RANDOM_BITS: Final = 15


def new_epoch(wall_ms: int, random_bits: int) -> Epoch:
    """A fresh epoch from the wall clock and at least 15 random bits."""
    return Epoch(
        (wall_ms & (1 << 48) - 1) << _EPOCH_RANDOM_BITS
        | random_bits & (1 << _EPOCH_RANDOM_BITS) - 1
    )


def origin_of(peer: PeerId, epoch: Epoch) -> Origin:
    """The origin of a peer's epoch."""
    return Origin(peer + epoch.to_bytes(8, "big"))


def peer_of(origin: Origin) -> PeerId:
    """The peer whose key signs for an origin."""
    return PeerId(origin[:PEER_BYTES])


def epoch_of(origin: Origin) -> Epoch:
    """The epoch of an origin."""
    return Epoch(int.from_bytes(origin[PEER_BYTES:], "big"))


def peer_text(peer: PeerId) -> str:
    """A peer id as people read it: 52 characters of lower-case base32."""
    return b32encode(peer).decode().rstrip("=").lower()
