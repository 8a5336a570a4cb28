"""The Verifier port: Ed25519 signatures and members' certificates, checked with OpenSSL.

The core asks this for every bundle, so parsed keys and read certificates are remembered, within
bounds: a flood of unknown keys costs time, never memory.

Invariant: no call raises for what a remote sent, and nothing is accepted under a key that
`check_public_key` refuses.
"""

from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gossipsync.core.model.capability import Capability
from gossipsync.core.model.identity import check_public_key
from gossipsync.runtime.trust.reading import parse_authority, read_member

__all__ = ["X509Verifier"]

_REMEMBERED = 2048  # keys and certificates of a large mesh; below 8 MB altogether


class X509Verifier:
    """Verifies for the network whose authority's certificate (DER) it is given. Safe in any thread."""

    def __init__(self, ca_certificate: bytes) -> None:
        authority = parse_authority(ca_certificate)
        self._parse_key = lru_cache(maxsize=_REMEMBERED)(_parse_key)
        # Only successes are remembered: lru_cache keeps no exception, so garbage evicts nothing.
        self._read_member = lru_cache(maxsize=_REMEMBERED)(lambda der: read_member(der, authority))

    def verify(self, public_key: bytes, signature: bytes, message: bytes) -> bool:
        """Whether this is the key's Ed25519 signature over the message."""
        try:
            self._parse_key(public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def read_credential(self, der: bytes) -> tuple[bytes, Capability] | None:
        """The peer's key and rights in a member's certificate of this network; None for all else."""
        try:
            return self._read_member(der)
        except ValueError:
            return None


def _parse_key(public_key: bytes) -> Ed25519PublicKey:
    check_public_key(public_key)
    return Ed25519PublicKey.from_public_bytes(public_key)
