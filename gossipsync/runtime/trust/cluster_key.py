"""The cluster key: one secret from which every instance derives the same certificate authority.

Right for instances of one service in one trust domain: they start from one environment variable and
need no enrolment. Whoever holds the key can mint members, so a network with a cluster key knows no
rights per peer; to put somebody out, the key is changed.

Format: ``gsk1-`` and 56 characters of lower-case base32: 32 random bytes, 3 bytes of checksum.
The CA's Ed25519 seed and the key under which tokens are authenticated come from it by HKDF-SHA256
with different info strings, so that neither reveals the other.

Invariant: the same text gives the same network on any machine; a mistyped one gives a ConfigError.
"""

import secrets
from base64 import b32decode, b32encode
from hashlib import sha256

from attrs import field, frozen
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gossipsync.errors import ConfigError

__all__ = ["ClusterSecrets", "derive_secrets", "keygen"]

_PREFIX = "gsk1-"
_KEY_BYTES = 32
_CHECKSUM_BYTES = 3
_CHECKSUM_DOMAIN = b"gossipsync cluster key checksum v1"
_CA_INFO = b"gossipsync cluster key v1: certificate authority"
_TOKEN_INFO = b"gossipsync cluster key v1: token authentication"


@frozen
class ClusterSecrets:
    """What a cluster key stands for."""

    ca_key: Ed25519PrivateKey = field(repr=False, eq=False)
    token_key: bytes = field(repr=False)


def keygen() -> str:
    """A new random cluster key as text: a secret."""
    return _to_text(secrets.token_bytes(_KEY_BYTES))


def derive_secrets(cluster_key: str) -> ClusterSecrets:
    """The CA key and token key of a cluster key. Raises ConfigError for a mistyped one."""
    key = _parse(cluster_key)
    return ClusterSecrets(
        Ed25519PrivateKey.from_private_bytes(_derive(key, _CA_INFO)), _derive(key, _TOKEN_INFO)
    )


def _derive(key: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(key)


def _checksum(key: bytes) -> bytes:
    return sha256(_CHECKSUM_DOMAIN + key).digest()[:_CHECKSUM_BYTES]


def _to_text(key: bytes) -> str:
    return _PREFIX + b32encode(key + _checksum(key)).decode().lower()


def _parse(text: str) -> bytes:
    folded = text.strip().lower()
    if not folded.startswith(_PREFIX):
        raise ConfigError(f"a cluster key starts with {_PREFIX}; make one with: gossipsync keygen")
    try:
        raw = b32decode(folded.removeprefix(_PREFIX).upper())
    except ValueError:
        # Without the cause: it would carry the secret into a traceback.
        raise ConfigError("the cluster key has characters that no cluster key has") from None
    key, checksum = raw[:_KEY_BYTES], raw[_KEY_BYTES:]
    if len(key) != _KEY_BYTES or checksum != _checksum(key):
        raise ConfigError("the cluster key is mistyped or cut short: its checksum does not match")
    return key
