"""Keys, certificates and verification in a simulated network: real Ed25519, each exact bytes verified once.

Keys are derived from the seed, so that a run can be repeated; outside a simulation a key is never derived. A certificate is the
peer's key and capability, signed by the network's authority. What one peer has verified need not be verified again for the
others of the same world, as long as key, signature and message are the very same bytes; a memo keeps just that.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from attrs import frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gossipsync.core.model.capability import Capability
from gossipsync.core.model.identity import check_public_key
from gossipsync.core.model.ids import NetworkId, PeerId
from gossipsync.core.ports import Sign

_DOMAIN: Final = b"gossipsync simulated certificate v1"
_RIGHTS: Final = Capability(("*",), True, 0, 1 << 60)
_MEMO_LIMIT: Final = 200_000
"""Verifications remembered: more than are fresh at one time in any world; bounds memory."""


@frozen(eq=False)
class Identity:
    """One peer's key and its certificate."""

    peer: PeerId
    sign: Sign
    credential: bytes


def is_signed(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """One verification, without memo."""
    try:
        check_public_key(public_key)
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class Authority:
    """The network's authority, and the verifier that all peers of a world share; satisfies `core.ports.Verifier`."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._key = self._derived("authority", 0)
        self._public = self._key.public_key().public_bytes_raw()
        self.network = NetworkId(sha256(b"simulated network" + self._public).digest())
        self.verifications = 0
        """Signatures verified, repeats of the same bytes not counted."""
        self._memo: dict[tuple[bytes, bytes, bytes], bool] = {}
        self._certificates: dict[bytes, tuple[bytes, Capability] | None] = {}

    def _derived(self, what: str, number: int) -> Ed25519PrivateKey:
        name = f"gossipsync simulated key {self._seed} {what} {number}"
        return Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())

    def identity(self, number: int, rights: Capability = _RIGHTS) -> Identity:
        """The peer with a number."""
        key = self._derived("peer", number)
        peer = PeerId(key.public_key().public_bytes_raw())
        credential = peer + self._key.sign(_DOMAIN + peer)
        # Signed a moment ago by ourselves: verifying it now would prove nothing.
        self._certificates[credential] = (peer, rights)
        return Identity(peer, key.sign, credential)

    def verify(self, public_key: bytes, signature: bytes, message: bytes) -> bool:
        """Whether these very bytes are signed."""
        name = (public_key, signature, message)
        known = self._memo.get(name)
        if known is None:
            if len(self._memo) >= _MEMO_LIMIT:
                self._memo.clear()
            self.verifications += 1
            known = self._memo[name] = is_signed(public_key, signature, message)
        return known

    def read_credential(self, der: bytes) -> tuple[bytes, Capability] | None:
        """Peer key and rights; None for what the authority did not sign."""
        if der not in self._certificates:
            peer, signature = der[:32], der[32:]
            is_genuine = self.verify(self._public, signature, _DOMAIN + peer)
            if not is_genuine:
                return None
            self._certificates[der] = (peer, _RIGHTS)
        return self._certificates[der]
