"""Credentials: all that one peer needs to be a member of one network.

They come from a cluster key or from a credentials folder, and look the same afterwards; only
`is_issuer` (may this peer enrol others?) and `has_cluster_key` (does the network know rights per
peer?) tell them apart.

Invariant: nothing secret shows in a repr.
"""

from pathlib import Path

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from gossipsync.core.model.capability import Capability
from gossipsync.core.model.ids import NetworkId
from gossipsync.runtime.trust.certificates import (
    FOREVER,
    common_name,
    issue_authority,
    issue_member,
    network_id_of,
)
from gossipsync.runtime.trust.cluster_key import derive_secrets
from gossipsync.runtime.trust.identity import Identity
from gossipsync.runtime.trust.reading import read_member

__all__ = ["Credentials", "Issuer", "credentials_from_cluster_key"]

_CLUSTER_NAME = "gossipsync cluster"
_ALL_BUCKETS = ("*",)


@frozen
class Issuer:
    """The authority's private key, and the folder in which used invites are marked."""

    ca_key: Ed25519PrivateKey = field(repr=False, eq=False)
    folder: Path


@frozen
class Credentials:
    """One peer's membership of one network. Certificates are DER; `token_key` is shared by all members.

    `issuer` is None unless this peer may enrol others.
    """

    network_id: NetworkId
    network_name: str
    ca_certificate: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    identity: Identity
    capability: Capability
    token_key: bytes = field(repr=False)
    has_cluster_key: bool
    issuer: Issuer | None = None

    @property
    def is_issuer(self) -> bool:
        """Whether this peer can invite and enrol others."""
        return self.issuer is not None

    @property
    def certificate_name(self) -> str:
        """The peer's name in its certificate: the default for its name in the mesh."""
        return common_name(x509.load_der_x509_certificate(self.certificate))


def credentials_from_cluster_key(cluster_key: str, identity: Identity) -> Credentials:
    """Credentials that this instance mints for itself. Raises ConfigError for a mistyped key."""
    secrets = derive_secrets(cluster_key)
    authority = issue_authority(secrets.ca_key, _CLUSTER_NAME)
    certificate = issue_member(
        secrets.ca_key,
        authority,
        identity.peer_id,
        name="peer",
        globs=_ALL_BUCKETS,
        may_write=True,
        validity=FOREVER,
    ).public_bytes(Encoding.DER)
    return Credentials(
        network_id=network_id_of(authority),
        network_name=_CLUSTER_NAME,
        ca_certificate=authority.public_bytes(Encoding.DER),
        certificate=certificate,
        identity=identity,
        capability=read_member(certificate, authority)[1],
        token_key=secrets.token_key,
        has_cluster_key=True,
    )
