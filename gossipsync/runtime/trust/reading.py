"""Reading certificates that anybody may have sent: a member's, an invite's, an authority's.

OpenSSL has judged them before a link opens, but bundles carry them too, and what a certificate lets a
peer do stands in an extension that only we read.

Invariant: `read_member` and `read_invite` never accept the same certificate, neither accepts one that
the network's authority did not sign, and whatever the bytes are the only exception is ValueError.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gossipsync.core.model import strict
from gossipsync.core.model.capability import Capability
from gossipsync.core.model.identity import check_public_key
from gossipsync.core.model.ids import PeerId
from gossipsync.runtime.trust.certificates import (
    CAPABILITY_OID,
    ENROLMENT_OID,
    MAX_USES,
    EnrolTerms,
    Validity,
    public_key_of,
)

__all__ = ["parse_authority", "read_invite", "read_member"]

_EXTENSION_DEPTH = 2
_INVITE_ID_BYTES = 16
_MAX_CERTIFICATE_BYTES = 16 * 1024  # 64 patterns of 128 bytes, twice
_SIGNATURE_BYTES = 64
_SEQUENCE = bytes.fromhex("3082")  # two bytes of length follow: ours are never below 256 bytes
_ALGORITHM = bytes.fromhex("300506032b6570 034100")  # OID 1.3.101.112; BIT STRING, 0 unused bits


def parse_authority(der: bytes) -> x509.Certificate:
    """A network's own certificate. Raises ValueError unless it is self-signed, Ed25519 and a CA."""
    with _foreign_errors():
        authority = _parse(der, None)
        if not _is_authority(authority):
            raise ValueError("the certificate is not an authority's")
        return authority


def read_member(der: bytes, authority: x509.Certificate) -> tuple[PeerId, Capability]:
    """The peer and its rights in a member's certificate. Raises ValueError for anything else.

    The dates are returned, not judged: TLS judges them when a link opens.
    """
    certificate, content = _read(der, authority, CAPABILITY_OID, ENROLMENT_OID)
    match strict.decode(content, _EXTENSION_DEPTH):
        case (int(form), tuple(globs), bool(may_write)) if strict.are_ints(form) and form == 1:
            pass
        case _:
            raise ValueError("not the shape of a capability")
    if not all(isinstance(glob, str) for glob in globs):
        raise ValueError("not the shape of a capability")
    with _foreign_errors():  # the parser reads keys and dates when they are asked for
        key = public_key_of(certificate)
        start = _milliseconds(certificate.not_valid_before_utc)
        end = _milliseconds(certificate.not_valid_after_utc)
    check_public_key(key)
    return PeerId(key), Capability(globs, may_write, start, end)


def read_invite(der: bytes, authority: x509.Certificate) -> tuple[EnrolTerms, Validity]:
    """The terms in an invite's certificate. Raises ValueError for anything else."""
    certificate, content = _read(der, authority, ENROLMENT_OID, CAPABILITY_OID)
    match strict.decode(content, _EXTENSION_DEPTH):
        case (
            int(form),
            bytes(invite_id),
            int(uses),
            str() | None as name,
            tuple(globs),
            bool(may_write),
        ) if (
            len(invite_id) == _INVITE_ID_BYTES
            and strict.are_ints(form, uses)
            and form == 1
            and 0 < uses <= MAX_USES
            and all(isinstance(glob, str) for glob in globs)
        ):
            terms = EnrolTerms(invite_id, uses, name, globs, may_write)
        case _:
            raise ValueError("not the shape of an invite's terms")
    with _foreign_errors():
        return terms, Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def _parse(der: bytes, authority: x509.Certificate | None) -> x509.Certificate:
    """A certificate that the authority (None: itself) signed, in the one encoding it has.

    The signature comes first: the parser of X.509 sees nothing of others' that ours did not sign.
    """
    if authority is not None:
        _check_signature(der, public_key_of(authority))
    certificate = x509.load_der_x509_certificate(der)
    if authority is None:
        _check_signature(der, public_key_of(certificate))
    if certificate.issuer != (authority or certificate).subject:
        raise ValueError("the certificate names another authority")
    return certificate


def _check_signature(der: bytes, public_key: bytes) -> None:
    """A certificate is SEQUENCE {signed part, algorithm, signature}; around the part we fix every byte.

    Left to the parser, the count of unused bits of the signature could be altered unnoticed.
    """
    start, end = len(_SEQUENCE) + 2, len(der) - len(_ALGORITHM) - _SIGNATURE_BYTES
    if not start < end < _MAX_CERTIFICATE_BYTES:
        raise ValueError("not the size of a certificate")
    head = _SEQUENCE + (len(der) - start).to_bytes(2, "big")
    if der[:start] != head or der[end:-_SIGNATURE_BYTES] != _ALGORITHM:
        raise ValueError("not a certificate signed with Ed25519, in canonical form")
    key = Ed25519PublicKey.from_public_bytes(public_key)
    key.verify(der[-_SIGNATURE_BYTES:], der[start:end])


def _read(
    der: bytes,
    authority: x509.Certificate,
    wanted: x509.ObjectIdentifier,
    refused: x509.ObjectIdentifier,
) -> tuple[x509.Certificate, bytes]:
    """A certificate that the authority signed, and the content of the one extension of ours it has."""
    with _foreign_errors():
        certificate = _parse(der, authority)
        found = {extension.oid: extension for extension in certificate.extensions}
        if wanted not in found or refused in found:
            raise ValueError("the certificate is for another purpose")
        if _is_authority(certificate):
            raise ValueError("an authority is no peer")
        value = found[wanted].value
        assert isinstance(value, x509.UnrecognizedExtension)
        return certificate, value.value


def _is_authority(certificate: x509.Certificate) -> bool:
    return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@contextmanager
def _foreign_errors() -> Iterator[None]:
    """Whatever the parser makes of a remote's bytes is a ValueError: its own errors have no root."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"not a certificate: {error}") from error


def _milliseconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
