"""Credentials and TLS of the second implementation, from docs/protocol.md: Identifiers, Credentials, Connection."""

from __future__ import annotations

import base64
import hashlib
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CAPABILITY = x509.ObjectIdentifier("2.25.110305822283920264150871219153404386701.1")
SIGNATURE_HEAD = bytes.fromhex("300506032b6570034100")
FROM, TO = datetime(2020, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def is_signed(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class Network:
    """All that follows from a cluster key."""

    def __init__(self, cluster_key: str) -> None:
        raw = base64.b32decode(cluster_key.removeprefix("gsk1-").upper())
        secret, check = raw[:32], raw[32:]
        domain = b"gossipsync cluster key checksum v1"
        assert hashlib.sha256(domain + secret).digest()[:3] == check
        info = b"gossipsync cluster key v1: certificate authority"
        seed = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)
        self.ca_key = Ed25519PrivateKey.from_private_bytes(seed)
        self.id = hashlib.sha256(b"gossipsync network v1" + public_bytes(self.ca_key)).digest()
        self.ca = self._issue(self.ca_key, "gossipsync cluster", serial=1)

    def _issue(self, key: Ed25519PrivateKey, name: str, *, serial: int) -> x509.Certificate:
        is_authority = key is self.ca_key
        named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gossipsync cluster")])
        own = hashlib.sha1(public_bytes(key)).digest()
        authority = hashlib.sha1(public_bytes(self.ca_key)).digest()
        builder = (
            x509.CertificateBuilder(issuer, named, key.public_key(), serial, FROM, TO)
            .add_extension(x509.SubjectKeyIdentifier(own), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier(authority, None, None), critical=False)
            .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), True)
            .add_extension(
                x509.KeyUsage(
                    not is_authority, False, False, False, False, is_authority, False, False, False
                ),
                critical=True,
            )
        )
        if not is_authority:
            usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
            rights = cbor2.dumps([1, ["*"], True], canonical=True)
            builder = builder.add_extension(
                x509.ExtendedKeyUsage(usages), critical=False
            ).add_extension(x509.UnrecognizedExtension(CAPABILITY, rights), critical=False)
        return builder.sign(self.ca_key, algorithm=None)

    def member(self, key: Ed25519PrivateKey) -> bytes:
        """A member's certificate, DER."""
        serial = x509.random_serial_number()
        issued = self._issue(key, "peer", serial=serial)
        return issued.public_bytes(serialization.Encoding.DER)

    def read_member(self, der: bytes) -> bytes | None:
        """The public key of a member's certificate; None if it is not one, by the page's order of checks."""
        size = int.from_bytes(der[2:4], "big")
        if der[:2] != b"\x30\x82" or len(der) != size + 4:
            return None
        signed, tail = der[4:-74], der[-74:]
        if tail[:10] != SIGNATURE_HEAD:
            return None
        if not is_signed(public_bytes(self.ca_key), tail[10:], signed):
            return None
        shown = x509.load_der_x509_certificate(der)
        if shown.issuer != self.ca.subject:
            return None
        shown.extensions.get_extension_for_oid(CAPABILITY)
        key = shown.public_key()
        assert isinstance(key, Ed25519PublicKey)
        return key.public_bytes_raw()


@dataclass
class Identity:
    """One peer's key and certificate."""

    network: Network
    key: Ed25519PrivateKey
    epoch: int

    def __post_init__(self) -> None:
        self.peer = public_bytes(self.key)
        self.certificate = self.network.member(self.key)
        self.origin = self.peer + self.epoch.to_bytes(8, "big")

    def tls(self, *, is_dialer: bool) -> ssl.SSLContext:
        """TLS 1.3 alone, both ends shown, the network's CA alone trusted, no tickets."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if is_dialer else ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        if not is_dialer:
            context.num_tickets = 0
        pem = self.network.ca.public_bytes(serialization.Encoding.PEM).decode()
        context.load_verify_locations(cadata=pem)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "own.pem"
            private = self.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            shown = ssl.DER_cert_to_PEM_cert(self.certificate)
            path.write_bytes(private + shown.encode())
            context.load_cert_chain(path)
        return context
