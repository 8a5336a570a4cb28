"""Keys that come out the same in every run, and an authority that issues credentials from a ledger."""

from __future__ import annotations

from functools import cache, lru_cache
from hashlib import sha256

from attrs import frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gossipsync.core.model.capability import Capability
from gossipsync.core.model.identity import check_public_key
from gossipsync.core.model.ids import NetworkId, PeerId

NETWORK = NetworkId(sha256(b"the network of these tests").digest())
OTHER_NETWORK = NetworkId(sha256(b"another network").digest())
TOKEN_KEY = sha256(b"the token key of these tests").digest()
EVERYTHING = Capability(("*",), may_write=True, not_before_ms=0, not_after_ms=1 << 60)


@frozen
class Identity:
    """A key pair by its name."""

    name: str
    key: Ed25519PrivateKey
    peer: PeerId

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message)


@cache
def identity(name: str) -> Identity:
    key = Ed25519PrivateKey.from_private_bytes(sha256(b"key of " + name.encode()).digest())
    return Identity(name, key, PeerId(key.public_key().public_bytes_raw()))


class Authority:
    """`ports.Verifier`: real signatures, checked once each; a credential is a line in this ledger."""

    def __init__(self) -> None:
        self._issued: dict[bytes, tuple[PeerId, Capability]] = {}
        self.checks = 0

    def issue(self, peer: PeerId, capability: Capability = EVERYTHING, padding: int = 0) -> bytes:
        der = sha256(b"credential" + peer + repr(capability).encode()).digest() + bytes(padding)
        self._issued[der] = (peer, capability)
        return der

    def read_credential(self, der: bytes) -> tuple[bytes, Capability] | None:
        return self._issued.get(der)

    def verify(self, public_key: bytes, signature: bytes, message: bytes) -> bool:
        self.checks += 1
        return _verify(public_key, signature, message)


@lru_cache(maxsize=1 << 16)
def _verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        check_public_key(public_key)
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
