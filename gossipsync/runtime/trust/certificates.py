"""Making the certificates of a network: X.509, Ed25519, signed by the network's own authority.

X.509 because TLS reads nothing else. A member's certificate names the peer's key as its subject key
and carries what the peer may do in a private extension; an invite's carries the terms of enrolment in
another one, and is good for nothing but enrolling. Both extensions hold canonical CBOR::

    capability  [1, [bucket glob, …], may_write]
    enrolment   [1, invite id (16 bytes), uses, name or null, [bucket glob, …], may_write]

`reading` is the other half.

Invariant: no certificate carries both extensions, and none is made for a key no peer may have.
"""

from datetime import UTC, datetime
from hashlib import sha256

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gossipsync.core.model import strict
from gossipsync.core.model.identity import check_public_key
from gossipsync.core.model.ids import NetworkId, PeerId

__all__ = [
    "CAPABILITY_OID",
    "ENROLMENT_OID",
    "FOREVER",
    "MAX_USES",
    "EnrolTerms",
    "Validity",
    "common_name",
    "issue_authority",
    "issue_invite",
    "issue_member",
    "network_id_of",
    "public_key_of",
]

# Arcs under 2.25 are UUIDs (ITU-T X.667): ours without asking anybody for a number.
_ARC = "2.25.110305822283920264150871219153404386701"
CAPABILITY_OID = x509.ObjectIdentifier(_ARC + ".1")
ENROLMENT_OID = x509.ObjectIdentifier(_ARC + ".2")
FORMAT = 1
_NETWORK_DOMAIN = b"gossipsync network v1"
_AUTHORITY_SERIAL = 1
MAX_USES = 10_000


@frozen
class Validity:
    """From when until when, both inclusive, aware and in UTC."""

    not_before: datetime
    not_after: datetime


# A cluster key has no expiry of its own, and its certificates must not depend on a right clock. The
# end is RFC 5280's "no well-defined expiration date".
FOREVER = Validity(datetime(2020, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))


@frozen
class EnrolTerms:
    """What the CA promised to whoever redeems an invite."""

    invite_id: bytes
    uses: int
    name: str | None
    globs: tuple[str, ...]
    may_write: bool


def network_id_of(authority: x509.Certificate) -> NetworkId:
    """The network's id: SHA-256 over a domain string and the authority's public key."""
    return NetworkId(sha256(_NETWORK_DOMAIN + public_key_of(authority)).digest())


def public_key_of(certificate: x509.Certificate) -> bytes:
    """The certificate's Ed25519 public key, 32 bytes. Raises ValueError for any other kind of key."""
    key = certificate.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("the certificate's key is not Ed25519")  # noqa: TRY004 — a remote's bytes
    return key.public_bytes_raw()


def common_name(certificate: x509.Certificate) -> str:
    """The subject's common name: the network's for an authority, the peer's for a member; "" if none."""
    values = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(values[0].value) if values else ""


def issue_authority(ca_key: Ed25519PrivateKey, network_name: str) -> x509.Certificate:
    """The self-signed certificate of a network: the same bytes for the same key and name."""
    subject = _named(network_name)
    builder = _builder(subject, subject, ca_key.public_key(), ca_key, FOREVER, _AUTHORITY_SERIAL)
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .sign(ca_key, algorithm=None)
    )


def issue_member(
    ca_key: Ed25519PrivateKey,
    authority: x509.Certificate,
    peer_id: PeerId,
    *,
    name: str,
    globs: tuple[str, ...],
    may_write: bool,
    validity: Validity,
) -> x509.Certificate:
    """A member's certificate. Raises ValueError for a public key that no peer may have."""
    check_public_key(peer_id)
    extension = strict.encode([FORMAT, list(globs), may_write])
    return _issue_leaf(
        ca_key,
        authority,
        Ed25519PublicKey.from_public_bytes(peer_id),
        name,
        validity,
        x509.UnrecognizedExtension(CAPABILITY_OID, extension),
        (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH),
    )


def issue_invite(
    ca_key: Ed25519PrivateKey,
    authority: x509.Certificate,
    invite_key: Ed25519PublicKey,
    terms: EnrolTerms,
    validity: Validity,
) -> x509.Certificate:
    """An invite's certificate: TLS lets it dial, never listen, and no peer takes it for a member's."""
    extension = strict.encode(
        [FORMAT, terms.invite_id, terms.uses, terms.name, list(terms.globs), terms.may_write]
    )
    return _issue_leaf(
        ca_key,
        authority,
        invite_key,
        "invite",
        validity,
        x509.UnrecognizedExtension(ENROLMENT_OID, extension),
        (ExtendedKeyUsageOID.CLIENT_AUTH,),
    )


def _issue_leaf(
    ca_key: Ed25519PrivateKey,
    authority: x509.Certificate,
    public_key: Ed25519PublicKey,
    name: str,
    validity: Validity,
    extension: x509.UnrecognizedExtension,
    usages: tuple[x509.ObjectIdentifier, ...],
) -> x509.Certificate:
    serial = x509.random_serial_number()
    builder = _builder(_named(name), authority.subject, public_key, ca_key, validity, serial)
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        # Not critical: OpenSSL refuses critical extensions it does not know; our readers demand it.
        .add_extension(extension, critical=False)
        .sign(ca_key, algorithm=None)
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: Ed25519PublicKey,
    ca_key: Ed25519PrivateKey,
    validity: Validity,
    serial: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(issuer, subject, public_key, serial)
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
