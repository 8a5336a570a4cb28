"""This peer's own key: random, never derived, in a file or in memory only.

The key is the peer: whoever holds it is that peer to everybody else. It is created once, at the first
start in a data folder, and never overwritten; without a data folder a start makes a new peer.

Invariant: an `Identity` never shows its private key, neither in its repr nor in an error.
"""

import errno
from pathlib import Path

from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from gossipsync.core.model.ids import PeerId
from gossipsync.errors import ConfigError, StoreFullError
from gossipsync.runtime.trust._files import create_file, read_secret

__all__ = ["IDENTITY_FILE", "Identity", "load_or_create_identity"]

IDENTITY_FILE = "identity.key"


@frozen
class Identity:
    """An Ed25519 key pair; `peer_id` is the public half."""

    peer_id: PeerId
    private_key: Ed25519PrivateKey = field(repr=False, eq=False)

    @classmethod
    def generate(cls) -> "Identity":
        """A new random identity, in memory."""
        return cls.of(Ed25519PrivateKey.generate())

    @classmethod
    def of(cls, private_key: Ed25519PrivateKey) -> "Identity":
        """The identity of a private key."""
        return cls(PeerId(private_key.public_key().public_bytes_raw()), private_key)

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes of an Ed25519 signature over the message."""
        return self.private_key.sign(message)

    def to_pem(self) -> bytes:
        """The private key as unencrypted PKCS #8 PEM: a secret."""
        return self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_or_create_identity(data_dir: Path) -> Identity:
    """The identity of a data folder; made at the first call. Raises ConfigError, StoreFullError.

    Of two processes that call this at once both get the same identity.
    """
    path = data_dir / IDENTITY_FILE
    try:
        if not path.exists():
            create_file(path, Identity.generate().to_pem())
        return read_identity(path)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise StoreFullError(
                f"no room left for {path} ({error.strerror}): make room on its disk or quota; then start again"
            ) from error
        raise ConfigError(f"cannot keep a key in {path}: {error.strerror}") from error


def read_identity(path: Path) -> Identity:
    """The identity in a PEM file of mode 0600. Raises ConfigError, FileNotFoundError if it is missing."""
    content = read_secret(path)
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        # Not the parser's words: they could quote the content.
        raise ConfigError(f"{path} holds no private key; restore it from a backup") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} holds a key that is not Ed25519")
    return Identity.of(key)
