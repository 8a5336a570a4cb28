"""Invites: a text that lets one new peer, or a few, obtain a certificate.

An invite is a short-lived key with an enrol-only certificate, and where to find an issuer. Its terms
are signed into that certificate, so the issuer keeps nothing until a use is spent; then one file per
use, created exclusively and flushed before the answer, makes two at once impossible, across restarts
too. The file holds the key that was enrolled, so that a joiner whose answer was lost may ask again.

Format: ``gsi1.`` and base64url without padding of canonical CBOR
``[1, authority DER, [issuer address, …], invite private key (32 bytes), invite certificate DER]``.

Invariant: an invite with n uses enrols at most n different keys.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_bytes

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from gossipsync.core.model import strict
from gossipsync.core.model.address import is_address
from gossipsync.core.model.capability import Capability
from gossipsync.core.model.ids import NetworkId, PeerId
from gossipsync.errors import ConfigError, NotPermittedError
from gossipsync.runtime.trust._files import create_file, read_secret
from gossipsync.runtime.trust.certificates import (
    MAX_USES,
    EnrolTerms,
    Validity,
    issue_invite,
    network_id_of,
    public_key_of,
)
from gossipsync.runtime.trust.credentials import Credentials
from gossipsync.runtime.trust.identity import Identity
from gossipsync.runtime.trust.reading import parse_authority, read_invite

__all__ = ["Invite", "create_invite", "parse_invite", "spend_use"]

_PREFIX = "gsi1."
_FORMAT = 1
_DEPTH = 2
_MAX_TEXT = 16 * 1024  # two certificates and a few addresses take 2 KiB
_MAX_ADDRESSES = 16
_MAX_NAME_BYTES = 64
# An issuer whose clock is set back a little must still accept what it has just made.
_BACKDATE = timedelta(minutes=5)
_MAX_TTL = timedelta(days=366)


@frozen
class Invite:
    """A parsed invite; certificates are DER."""

    network_id: NetworkId
    ca_certificate: bytes = field(repr=False)
    addresses: tuple[str, ...]
    identity: Identity
    certificate: bytes = field(repr=False)
    terms: EnrolTerms
    not_after: datetime


def create_invite(
    credentials: Credentials,
    addresses: tuple[str, ...],
    *,
    name: str | None = None,
    globs: tuple[str, ...] = ("*",),
    may_write: bool = True,
    uses: int = 1,
    ttl: timedelta = timedelta(hours=1),
) -> str:
    """An invite as text: a secret. `addresses` are "host:port" under which the issuer is reached.

    Raises NotPermittedError where this peer is no issuer, ConfigError for terms out of bounds.
    """
    if credentials.issuer is None:
        raise NotPermittedError(
            "this peer cannot invite: invites are made where `gossipsync init` made the network; "
            "with a cluster key, give the new peer the key instead"
        )
    _check_terms(addresses, name, globs, uses, ttl)
    key = Ed25519PrivateKey.generate()
    now = datetime.now(UTC)
    certificate = issue_invite(
        credentials.issuer.ca_key,
        x509.load_der_x509_certificate(credentials.ca_certificate),
        key.public_key(),
        EnrolTerms(token_bytes(16), uses, name, globs, may_write),
        Validity(now - _BACKDATE, now + ttl),
    ).public_bytes(Encoding.DER)
    body = [
        _FORMAT,
        credentials.ca_certificate,
        list(addresses),
        key.private_bytes_raw(),
        certificate,
    ]
    return _PREFIX + urlsafe_b64encode(strict.encode(body)).decode().rstrip("=")


def parse_invite(text: str) -> Invite:
    """The invite in a text. Raises ConfigError for a damaged or expired one; never quotes it."""
    folded = "".join(text.split())  # mail and terminals break long lines
    if not folded.startswith(_PREFIX) or len(folded) > _MAX_TEXT:
        raise ConfigError(f"that is no invite: an invite starts with {_PREFIX}")
    try:
        invite = _decode(folded.removeprefix(_PREFIX))
    except ValueError:
        # Without the cause: it could carry the secret into a traceback.
        raise ConfigError("the invite is damaged or cut short; copy the whole text again") from None
    if datetime.now(UTC) > invite.not_after:
        raise ConfigError(
            f"the invite expired at {invite.not_after:%Y-%m-%d %H:%M} UTC; ask for a new one"
        )
    return invite


def spend_use(folder: Path, terms: EnrolTerms, peer_id: PeerId) -> bool:
    """Durably note that the invite enrols this key; False if its uses are spent on others.

    Blocking. The same key may ask again: it gets the use it already has.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    for use in range(terms.uses):
        path = folder / f"{terms.invite_id.hex()}.{use}"
        if not path.exists() and create_file(path, peer_id.hex().encode()):
            return True
        if read_secret(path) == peer_id.hex().encode():
            return True
    return False


def _check_terms(
    addresses: tuple[str, ...], name: str | None, globs: tuple[str, ...], uses: int, ttl: timedelta
) -> None:
    if not 0 < len(addresses) <= _MAX_ADDRESSES:
        raise ConfigError(f"an invite names 1 to {_MAX_ADDRESSES} addresses of the issuer")
    if not all(map(is_address, addresses)):
        raise ConfigError("an invite's addresses are host:port, each with a port to dial")
    if name is not None and not 0 < len(name.encode()) <= _MAX_NAME_BYTES:
        raise ConfigError(f"a name has 1 to {_MAX_NAME_BYTES} bytes")
    if not 0 < uses <= MAX_USES:
        raise ConfigError(f"an invite has 1 to {MAX_USES} uses")
    if not timedelta(0) < ttl <= _MAX_TTL:
        raise ConfigError("an invite lives more than nothing and at most a year")
    try:
        Capability(globs, may_write=True, not_before_ms=0, not_after_ms=0)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not globs:
        raise ConfigError("an invite names at least one bucket pattern")


def _decode(text: str) -> Invite:
    try:
        body = strict.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), _DEPTH)
    except binascii.Error as error:
        raise ValueError("not base64") from error
    match body:
        case (
            int(form),
            bytes(ca),
            tuple(addresses),
            bytes(seed),
            bytes(certificate),
        ) if strict.are_ints(form) and form == _FORMAT:
            pass
        case _:
            raise ValueError("not the shape of an invite")
    if not 0 < len(addresses) <= _MAX_ADDRESSES or not all(map(is_address, addresses)):
        raise ValueError("no addresses, too many, or not host:port")
    authority = parse_authority(ca)
    identity = Identity.of(Ed25519PrivateKey.from_private_bytes(seed))
    terms, validity = read_invite(certificate, authority)
    if public_key_of(x509.load_der_x509_certificate(certificate)) != identity.peer_id:
        raise ValueError("the key is not the certificate's")
    return Invite(
        network_id_of(authority), ca, addresses, identity, certificate, terms, validity.not_after
    )
